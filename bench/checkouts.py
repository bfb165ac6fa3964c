"""A dataset → a checkout of this project with its settings, frames and splits, to run the pipeline's commands in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src import command, paths


@dataclass(frozen=True)
class Dataset:
    """Videos as a user would name them: `recipes` and `settings` for `src.params apply`, the path by an `option`."""

    name: str
    title: str
    recipes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    option: str | None = None


def lay_out(dataset: Dataset, checkout: Path, videos: dict[str, Path | None]) -> Path:
    """`checkout`, with the dataset's settings in params.yaml, its frames and its splits; its code is made ours."""
    for part in ("src", "recipes"):
        shutil.rmtree(checkout / part, ignore_errors=True)
        shutil.copytree(paths.ROOT / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(paths.PARAMS, checkout)
    changes = list(dataset.settings)
    if dataset.option:
        if videos[dataset.option] is None:
            raise command.UserError(f"--{dataset.option}: where are the videos of {dataset.title}?")
        changes.append(f"dataset.path={videos[dataset.option].resolve()}")
    run(checkout, "src.params", "apply", *dataset.recipes, *(part for each in changes for part in ("--set", each)))
    for stage in ("download", "split", "extract_frames"):
        run(checkout, f"src.{stage}", stdout=subprocess.DEVNULL)
    return checkout


def run(checkout: Path, module: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command of the pipeline. Raises `UserError` if it fails; it has said why."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=checkout, check=False, text=True, **options)
    if done.returncode < 0 or done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        raise command.UserError(f"python -m {module} {' '.join(arguments)} in {checkout} failed; see above")
    return done
