"""What MLflow has of the experiment → tables to look at, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.tracking import store

if TYPE_CHECKING:
    import pandas as pd


def runs() -> pd.DataFrame:
    """A row a run, the latest first: `name`, `status`, `started`, its settings and its latest numbers; by the run's id.

    Raises `UserError` if MLflow does not answer.
    """
    import pandas as pd

    client, experiment = store.configured()
    rows = {
        run.info.run_id: {
            "name": run.info.run_name,
            "status": run.info.status,
            "started": pd.to_datetime(run.info.start_time, unit="ms"),
            **run.data.params,
            **run.data.metrics,
        }
        for run in store.pages(client.search_runs, [experiment], order_by=["attributes.start_time DESC"])
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def curves(run: str, keys: Sequence[str]) -> pd.DataFrame:
    """The points of some of a run's numbers, a column each, by the step at which they were recorded."""
    import pandas as pd

    client, _ = store.configured()
    columns = {key: {point.step: point.value for point in client.get_metric_history(run, key)} for key in keys}
    return pd.DataFrame(columns).sort_index()
