"""What every command has: settings from the command line, a quick start, and errors in one line."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src import command, paths
from tests.bare_checkout import bare_checkout

COMMANDS = ["download", "split", "extract_frames", "train", "evaluate", "params", "data_report"]
COMMANDS += ["export", "predict", "compare", "preview", "ablation", "tune"]
HEAVY = ["torch", "mlflow", "numpy", "av", "matplotlib", "scipy", "pandas", "dvc", "optuna"]


def ending(error: BaseException) -> str:
    """What `run` prints for an error of `main`; `sys.exit` of a text ends with status 1."""

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        command.run(main)
    return ended.value.code


def loaded(code: str, *, cwd: str | os.PathLike = paths.ROOT) -> set[str]:
    """The modules that are loaded once `code` has run."""
    code += "\nimport sys; print('modules:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_no_heavy_library_and_names_the_shared_options(name):
    code = f"import sys, src.{name} as module\nsys.argv = ['x', '--help']\ntry: module.main()\nexcept SystemExit: pass"
    assert loaded(code) & set(HEAVY) == set()
    shown = subprocess.run(
        [sys.executable, "-m", f"src.{name}", "--help"], cwd=paths.ROOT, capture_output=True, text=True
    )
    assert shown.returncode == 0
    assert f"usage: python -m src.{name} " in shown.stdout
    assert "--params FILE" in shown.stdout
    assert "--set KEY=VALUE" in shown.stdout


@pytest.mark.parametrize(
    "modules",
    ["src.download", "src.split", "src.extract_frames, src.video.store, src.video.decode", "src.datasets.synthetic"],
)
def test_the_data_stages_do_without_torch(modules):
    assert loaded(f"import {modules}") & {"torch", "mlflow", "dvc", "matplotlib"} == set()


def test_settings_come_from_the_file_and_then_from_set(tmp_path, monkeypatch):
    file = tmp_path / "other.yaml"
    command_line = ["x", "--params", str(file), "--set", "train.lr=1e-3", "--set", "split.seed=5"]
    file.write_text(paths.PARAMS.read_text().replace("\nsplit:", "\nsplit: # mine\n"))
    monkeypatch.setattr(sys, "argv", command_line)
    params = command.settings("A stage.")
    assert (params.train.lr, params.split.seed) == (0.001, 5)


def test_what_the_user_can_mend_is_one_line():
    assert ending(command.UserError("class Walk is empty")) == "error: class Walk is empty"


def test_ctrl_c_is_one_line():
    assert ending(KeyboardInterrupt()) == "interrupted: the same command goes on from here"


def test_of_several_processes_the_first_speaks_for_all(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    assert ending(command.UserError("class Walk is empty")) == "error: class Walk is empty"
    assert ending(KeyboardInterrupt()).startswith("interrupted")
    monkeypatch.setenv("RANK", "3")
    assert ending(command.UserError("class Walk is empty")) == "error on rank 3: class Walk is empty"
    assert ending(KeyboardInterrupt()) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_line_that_names_the_folder(number):
    message = ending(OSError(number, os.strerror(number), "/big/disk/.clip.avi.123"))
    assert message.startswith(f"error: {os.strerror(number).lower()} in /big/disk; make room")
    assert "\n" not in message


def test_a_full_disk_is_recognised_where_python_does_not_know_the_file():
    def main() -> None:
        with Path("/dev/full").open("w") as file:
            file.write("x")

    with pytest.raises(SystemExit) as ended:
        command.run(main)
    assert ended.value.code.startswith("error: no space left on device; make room")


def test_an_error_of_the_program_keeps_its_traceback():
    with pytest.raises(PermissionError):
        ending(PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError())


def test_a_reader_that_stops_early_is_no_error(tmp_path):
    checkout = bare_checkout(tmp_path / "project")
    done = checkout.run("bash", "-c", "env -u PYTHONUNBUFFERED python -m src.params show | true; echo ${PIPESTATUS[0]}")
    assert done.stderr == ""
    assert done.stdout in ("0\n", "1\n")


def test_a_failed_command_prints_no_traceback(tmp_path):
    checkout = bare_checkout(tmp_path / "project")
    done = checkout.run("python", "-m", "src.split", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {checkout.path / 'data' / 'videos.csv'}: no such file\n"
