"""What a stage records, in the store at the root: no server is needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from src import paths
from src.tracking import origin
from src.tracking.recorder import Recorder, shown
from src.tracking.spool import Spool
from tests.conftest import Checkout
from tests.tracking.test_spool import RUN, lines
from tests.tracking.trainings import client_of, points, python, runs, spools


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    """A spool that nobody sends."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    return Spool.create(RUN)


def recorded(spool: Spool) -> list[tuple[int, dict[str, float]]]:
    return [(record["step"], record["values"]) for record in lines(spool.records) if record["kind"] == "points"]


def test_neither_mlflow_nor_torch_nor_the_network_is_imported():
    code = "import src.tracking.recorder, sys; print({'mlflow', 'torch', 'requests', 'urllib3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_each_step_of_a_key_is_recorded_once_also_by_the_next_process(mine: Spool):
    first = Recorder(mine)
    first.points({"loss": 0.5}, step=1)
    first.points({"loss": 0.25, "lr": 0.1}, step=2)
    again = Recorder(mine)
    again.points({"loss": 0.5}, step=1)
    again.points({"loss": 0.25, "lr": 0.1, "new": 1}, step=2)
    again.points({"loss": 0.125}, step=3)
    again.results({"best": 3})
    again.results({"best": 3})
    assert recorded(mine) == [
        (1, {"loss": 0.5}),
        (2, {"loss": 0.25, "lr": 0.1}),
        (2, {"new": 1.0}),
        (3, {"loss": 0.125}),
        (0, {"best": 3.0}),
    ]


def test_it_goes_by_the_spools_name_until_mlflow_has_one(mine: Spool):
    recorder = Recorder(mine)
    assert re.fullmatch("[0-9a-f]{16}", recorder.spool)
    assert recorder.run_id == recorder.spool
    mine.run_id = "0123456789abcdef0123456789abcdef"
    assert recorder.run_id == "0123456789abcdef0123456789abcdef"


def of_bytes(number: int):
    """What writes so large a checkpoint."""
    return lambda path: path.write_bytes(b"x" * number)


def there(spool: Spool) -> list[str]:
    return sorted(path.name for path in (spool.folder / "files").rglob("*.pt"))


def test_checkpoints_that_fall_out_before_they_were_sent_are_gone(mine: Spool, capsys: pytest.CaptureFixture):
    recorder = Recorder(mine, checkpoints=3500 / 1e9)
    for epoch, best in ((1, 1), (2, 2), (3, 2), (4, 2)):
        recorder.checkpoint(of_bytes(1000), epoch=epoch, best=best)
    assert there(mine) == ["epoch-0002.pt", "epoch-0003.pt", "epoch-0004.pt"]
    again = Recorder(mine, checkpoints=3500 / 1e9)
    again.checkpoint(of_bytes(1000), epoch=4, best=2)
    again.checkpoint(of_bytes(1000), epoch=5, best=5)
    assert there(mine) == ["epoch-0003.pt", "epoch-0004.pt", "epoch-0005.pt"]
    assert capsys.readouterr().err == ""


def test_without_a_share_no_checkpoint_is_written(mine: Spool):
    Recorder(mine).checkpoint(lambda path: pytest.fail("written"), epoch=1, best=1)
    assert there(mine) == []


@pytest.mark.parametrize(
    ("share", "expected", "said"), [(1500, ["epoch-0001.pt"], "only the best one is kept"), (900, [], "none is kept")]
)
def test_too_small_a_share_is_said_once(mine: Spool, capsys: pytest.CaptureFixture, share, expected, said):
    recorder = Recorder(mine, checkpoints=share / 1e9)
    for epoch in (1, 2, 3):
        recorder.checkpoint(of_bytes(1000), epoch=epoch, best=1)
    assert there(mine) == expected
    warned = capsys.readouterr().err
    assert warned.count("warning: runtime.checkpoints") == 1
    assert warned.endswith(f"{said}\n")


def test_a_password_is_not_printed():
    assert shown("https://me:secret@example.org/mlflow") == "https://example.org/mlflow"
    assert shown("postgresql://host:1/db?user=me&password=secret") == "postgresql://host:1/db"
    assert shown(None) == "mlflow.db"


def test_a_run_in_the_store_at_the_root_is_complete(checkout: Checkout):
    (checkout.path / "data" / "raw").mkdir(parents=True)
    (checkout.path / "data" / "raw" / "source.json").write_text(json.dumps({"dataset": "mine"}))
    (checkout.path / "stage.py").write_text(
        "import pathlib, sys\n"
        "from src.tracking.recorder import recording\n"
        "def write(path): path.write_bytes(b'x' * 1000)\n"
        "settings, tags = {'train': {'lr': 0.1}}, {'a': 'b'}\n"
        "with recording(settings=settings, tags=tags, name='mine', checkpoints=2.5e-6) as recorder:\n"
        "    for epoch in (1, 2, 3, 4):\n"
        "        recorder.points({'loss': 1 / epoch}, step=epoch)\n"
        "        recorder.checkpoint(write, epoch=epoch, best=min(epoch, 2))\n"
        "    recorder.results({'best_epoch': 2}, [pathlib.Path('src/paths.py')], folder='code')\n"
        "assert not {'mlflow', 'torch', 'requests'} & set(sys.modules)\n"
        "print(recorder.run_id)\n"
    )
    done = checkout.run("python", "-m", "stage")
    (run,) = runs(checkout)
    assert done.stdout == f"{run.info.run_id}\n"
    assert done.stderr == ""
    assert (run.info.status, run.info.run_name, run.data.params) == ("FINISHED", "mine", {"train.lr": "0.1"})
    assert run.data.tags.items() >= {
        ("a", "b"),
        ("source.dataset", "mine"),
        ("git.commit", "none"),
        ("mlflow.source.name", "python -m stage"),
        ("mlflow.source.type", "LOCAL"),
        ("checkpoint.best", "2"),
        ("checkpoint.last", "4"),
    }
    assert {"mlflow.user", "host", "process", "spool"} <= run.data.tags.keys()
    assert points(checkout, run, "loss") == [(1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)]
    files = {path.name for path in (checkout.path / "mlruns" / run.info.run_id / "artifacts").rglob("*.*")}
    assert files == {"epoch-0002.pt", "epoch-0004.pt", "paths.py"}
    assert spools(checkout) == []
    experiment = client_of(checkout).get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_spool_is_gone_on_with_only_where_it_belongs(remote: Checkout):
    code = """
with recording(**OPTIONS) as first:
    first.points({"loss": 1}, step=1)
    raise KeyboardInterrupt
"""
    remote.run(*python(code), check=False)
    (name,) = spools(remote)
    code = """
with recording(**OPTIONS, spool=sys.argv[1]) as recorder:
    recorder.points({"loss": 0.5}, step=2)
print(recorder.spool)
"""
    other = Checkout(remote.path, remote.env | {"MLFLOW_EXPERIMENT_NAME": f"another {name}"})
    assert other.run(*python(code, name)).stdout != f"{name}\n"
    assert [points(other, run, "loss") for run in runs(other)] == [[(2, 0.5)]]
    assert remote.run(*python(code, name)).stdout == f"{name}\n"
    assert [points(remote, run, "loss") for run in runs(remote)] == [[(1, 1.0), (2, 0.5)]]
    assert remote.run(*python(code, "0123456789abcdef")).stdout != f"{name}\n"
    assert len(runs(remote)) == 2


def test_without_git_no_commit_is_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert origin.commit() == {"git.commit": "none"}
