"""Runs by either name, their checkpoints, and which of them are pruned; on a server, which keeps the artifacts."""

from __future__ import annotations

import pytest

from tests.conftest import Checkout
from tests.tracking.trainings import client_of, python, runs, wait_for

TRAIN = """
def write(path): path.write_bytes(b"%4d" % int(path.stem[-4:]) * 250)
with recording(**OPTIONS, checkpoints=3.5e-6, name=sys.argv[1]) as recorder:
    for epoch in range(1, 6):
        recorder.checkpoint(write, epoch=epoch, best=2)
print(recorder.spool)
"""
"""Of five checkpoints with 1000 bytes, 2, 4 and 5 are kept."""


@pytest.fixture
def trained(remote: Checkout) -> tuple[Checkout, str]:
    return remote, remote.run(*python(TRAIN, "first")).stdout.strip()


def fetch(checkout: Checkout, *asked: tuple[str, int | None]) -> list[str]:
    """What `store.checkpoint` says and holds for each."""
    code = f"""
from src.tracking import store
for run, epoch in {asked!r}:
    try:
        path = store.checkpoint(run, epoch)
        print(path.name, path.read_text()[:4])
    except store.UserError as error:
        print(error)
"""
    return checkout.run("python", "-c", code).stdout.splitlines()


def kept(checkout: Checkout, run: str) -> list[str]:
    return [each.path for each in client_of(checkout).list_artifacts(run, "checkpoints")]


def test_a_checkpoint_is_found_by_either_name_of_the_run(trained):
    checkout, spool = trained
    copies = checkout.path / "copies"
    copies.mkdir()
    checkout = Checkout(checkout.path, checkout.env | {"TMPDIR": str(copies)})
    (run,) = runs(checkout)
    assert kept(checkout, run.info.run_id) == [f"checkpoints/epoch-000{epoch}.pt" for epoch in (2, 4, 5)]
    where = f"MLflow at {checkout.env['MLFLOW_TRACKING_URI']} has no checkpoint of"
    assert fetch(checkout, (run.info.run_id, None), (spool, 5), (spool, 3), ("0123", None)) == [
        "epoch-0002.pt    2",
        "epoch-0005.pt    5",
        f"{where} epoch 3 of run {spool}: there is 2, 4, 5",
        f"{where} run 0123: there is no such run",
    ]
    assert list(copies.iterdir()) == []  # who asked has ended
    away = Checkout(checkout.path, checkout.env | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    done = away.run("python", "-c", "from src.tracking import store; store.checkpoint('0123')", check=False)
    assert "UserError: MLflow at http://127.0.0.1:9 does not answer" in done.stderr


def test_the_oldest_runs_are_pruned_but_for_what_is_in_use(trained):
    checkout, _ = trained
    checkout.run(*python("".join(TRAIN.replace("sys.argv[1]", f"'{name}'") for name in ("second", "third", "fourth"))))
    first, second, third, fourth = (run.info.run_id for run in runs(checkout))
    client = client_of(checkout)
    client.create_registered_model(checkout.path.parent.name)
    client.create_model_version(checkout.path.parent.name, f"runs:/{first}/checkpoints", run_id=first)
    client.update_run(second, status="RUNNING")

    prune = ("python", "-m", "src.tracking", "prune", "--gb", "0.000009")  # of 12,000 bytes, 9,000 may stay
    dry = checkout.run(*prune, "--dry-run").stdout.splitlines()
    assert dry == [
        "4 runs have checkpoints, 0.000 GB",
        f"first ({first}): kept, a registered model came from it",
        f"second ({second}): kept, it is running",
        f"third ({third}): would remove 0.000 GB",
        "0.000 GB would be left",
    ]
    assert len(kept(checkout, third)) == 3
    done = checkout.run(*prune).stdout
    assert f"third ({third}): removed" in done
    assert [len(kept(checkout, run)) for run in (first, second, third, fourth)] == [3, 3, 0, 3]
    assert "checkpoint.best" not in client.get_run(third).data.tags
    assert fetch(checkout, (third, None))[0].endswith("it has none; see runtime.checkpoints")

    everything = checkout.run("python", "-m", "src.tracking", "prune", "--gb", "0").stdout
    assert everything.endswith("are left, more than 0: the others are in use\n")
    assert [len(kept(checkout, run)) for run in (first, second, third, fourth)] == [3, 3, 0, 0]


def test_a_store_that_was_being_made_when_its_process_was_killed_is_made_anew(checkout: Checkout):
    """Some of its tables there and some not, MLflow could open it never again."""
    (checkout.path / "mlflow.db").unlink()
    make = ("python", "-c", "from src.tracking import store; store.configured()")
    with checkout.start(*make) as first:
        wait_for(lambda: list(checkout.path.glob(".mlflow.db.*")), every=0.01)
        first.kill()
    assert first.returncode == -9
    assert not (checkout.path / "mlflow.db").exists()
    checkout.run(*make)
    assert (checkout.path / "mlflow.db").exists()
