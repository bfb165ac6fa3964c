"""`dvc push` here, `git clone` and `dvc pull` there: the model arrives, and evaluates there as it did here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.conftest import Checkout
from tests.test_pipeline import ran


def test_a_clone_elsewhere_pulls_the_model_and_gets_its_numbers(reproduced: Checkout, tmp_path: Path):
    here = Checkout(tmp_path / "here", reproduced.env | {"DVC_SITE_CACHE_DIR": str(tmp_path / "here-site-cache")})
    shutil.copytree(reproduced.path, here.path, symlinks=True)
    here.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    here.run("git", "commit", "-qam", "remote")
    assert "files pushed" in here.run("dvc", "push").stdout

    there = Checkout(tmp_path / "there", here.env | {"DVC_SITE_CACHE_DIR": str(tmp_path / "there-site-cache")})
    here.run("git", "clone", "-q", str(here.path), str(there.path))
    there.run("dvc", "pull")
    for name in ("artifacts/model.pt", "data/splits/test.csv", "artifacts/evaluation/predictions.csv"):
        assert (there.path / name).read_bytes() == (here.path / name).read_bytes()
    without = there.run("python", "-m", "src.evaluate", check=False)
    assert without.returncode == 1
    assert "run `dvc repro extract_frames`" in without.stderr

    # Videos and frames do not travel: they come from where they came from the first time.
    assert ran(there.run("dvc", "repro").stdout) == ["download", "extract_frames"]
    metrics = (there.path / "artifacts/metrics.json").read_text()
    (there.path / "artifacts/metrics.json").unlink()
    there.run("python", "-m", "src.evaluate")
    assert json.loads((there.path / "artifacts/metrics.json").read_text()) == json.loads(metrics)
    assert there.run("git", "status", "--porcelain").stdout == ""
