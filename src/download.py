"""The dataset's source → data/raw/CLASS/VIDEO.ext and its inventory data/videos.csv.

    python -m src.download

The embedded dataset is drawn here; a folder of your own is linked, not copied. This stage runs in every
`dvc repro`: it takes a second, and it is how an added, changed or removed video is noticed.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

from src import command, files, parallel, paths, tables

COLUMNS = ["video", "label", "group", "part"]
STAMP = "source.json"  # in data/raw: from what the videos there were drawn


def synthetic(raw: Path, *, actors: int, clips: int, seed: int, processes: int | None) -> list[dict[str, str]]:
    """Draw what is missing of the embedded dataset and return its inventory; the actor is the group."""
    from src.datasets import synthetic

    recipe = {"dataset": "synthetic", "seed": seed, "drawn_by": synthetic.version()}
    stamp, text = raw / STAMP, json.dumps(recipe, indent=1) + "\n"
    names = synthetic.names(actors=actors, clips=clips)
    _remove_others(raw, keep={*names, STAMP} if stamp.exists() and stamp.read_text() == text else set())
    files.write_text(stamp, text)
    missing = [raw / name for name in names if not (raw / name).exists()]
    for path, died in parallel.each(
        functools.partial(synthetic.write_clip, seed=seed), missing, processes=processes, title="drawing"
    ):
        if died:
            raise command.UserError(f"{path}: the process that drew it died; is there memory left?")
    return [{"video": n, "label": n.split("/")[0], "group": n.split("_")[-2], "part": ""} for n in names]


def folder(raw: Path, *, path: Path, group: str | None) -> list[dict[str, str]]:
    """Link the videos of a folder or list into `raw` and return their inventory; the videos are left alone.

    Raises `UserError` if they lie in `raw` itself.
    """
    from src.datasets import folder

    sources = folder.find(path, group=group)
    for source in sources:
        if source.path.parent.resolve().is_relative_to(raw.resolve()):
            raise command.UserError(f"dataset.path: {source.path} lies in {raw} itself; move your videos elsewhere")
    names = folder.raw_names(sources)
    targets = {raw / name: source.path.resolve() for name, source in zip(names, sources, strict=True)}
    right = {link for link, target in targets.items() if link.is_symlink() and link.readlink() == target}
    _remove_others(raw, keep={link.relative_to(raw).as_posix() for link in right})
    for link in targets.keys() - right:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(targets[link])
    if any(not source.group for source in sources):
        print(
            "warning: no groups are known, so each file is its own. If several clips come from one recording or "
            "person, they will stand in train and test alike and the test accuracy will be too high: set "
            "dataset.group, or a group column in the list.",
            file=sys.stderr,
        )
    return [
        {"video": name, "label": source.label, "group": source.group or name, "part": source.part}
        for name, source in zip(names, sources, strict=True)
    ]


def _remove_others(raw: Path, *, keep: set[str]) -> None:
    """Remove links, and files that were drawn here. Raises `UserError` rather than remove anything else."""
    from src.datasets import synthetic

    drawn = (raw / STAMP).exists()
    for path in sorted(raw.rglob("*"), key=lambda path: path.name == STAMP):  # last, as it says what may be removed
        if (path.is_dir() and not path.is_symlink()) or path.relative_to(raw).as_posix() in keep:
            continue
        ours = path.is_symlink() or path.name.startswith(".")
        if not (ours or (drawn and (path.name == STAMP or synthetic.NAME.fullmatch(path.name)))):
            raise command.UserError(f"{path} was put there by hand and would be lost; move it elsewhere")
        path.unlink()
    for path in sorted(raw.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def main() -> None:
    params = command.settings(__doc__)
    dataset = params.dataset
    files.borrow(paths.RAW)
    if dataset.name == "synthetic":
        rows = synthetic(
            paths.RAW,
            actors=dataset.actors,
            clips=dataset.clips,
            seed=dataset.seed,
            processes=params.runtime.processes,
        )
    else:
        rows = folder(paths.RAW, path=paths.MAIN / Path(dataset.path).expanduser(), group=dataset.group)
    tables.write(paths.VIDEOS, rows, columns=COLUMNS)
    labels, groups = ({row[key] for row in rows} for key in ("label", "group"))
    print(f"data/raw: {len(rows)} videos of {len(labels)} classes in {len(groups)} groups")


if __name__ == "__main__":
    command.run(main)
