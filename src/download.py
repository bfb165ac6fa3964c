"""The dataset's source → data/raw/CLASS/VIDEO.ext and its inventory data/videos.csv.

    python -m src.download [--ca-bundle FILE]

The embedded dataset is drawn here; a folder of your own is linked, not copied; UCF101 and HMDB51 are fetched from
their publishers into data/downloads (going on where an interrupted download stopped), unpacked there and linked. This
stage runs in every `dvc repro`: it takes a second, and it is how an added, changed or removed video is noticed.
"""

from __future__ import annotations

import difflib
import functools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from src import command, files, parallel, paths, tables
from src.command import UserError

if TYPE_CHECKING:
    from src.fetching.downloads import Downloads

COLUMNS = ["video", "label", "group", "part1", "part2", "part3"]
"""`partN`: the side on which the dataset's own division N has the video (train, val, test, none), "" if it has none."""

STAMP = paths.SOURCE.name

LISTS_BYTES = 20_000_000  # far more than the official lists hold

Row = dict[str, str]


def synthetic(
    raw: Path, *, actors: int, clips: int, seed: int, processes: int | None, classes: list[str] | None = None
) -> list[Row]:
    """Draw what is missing of the embedded dataset and return its inventory; the actor is the group."""
    from src.datasets import synthetic

    recipe = {"dataset": "synthetic", "seed": seed, "drawn_by": synthetic.version()}
    stamp, text = raw / STAMP, json.dumps(recipe, indent=1) + "\n"
    as_before = stamp.exists() and stamp.read_bytes() == text.encode()
    chosen = _chosen(synthetic.CLASSES, classes)
    names = [name for name in synthetic.names(actors=actors, clips=clips) if name.split("/")[0] in chosen]
    _remove_others(raw, keep={*names, STAMP} if as_before else set())
    files.write_text(stamp, text)
    missing = [raw / name for name in names if not (raw / name).exists()]
    for path, died in parallel.each(
        functools.partial(synthetic.write_clip, seed=seed), missing, processes=processes, title="drawing"
    ):
        if died:
            raise UserError(f"{path}: the process that drew it died; is there memory left?")
    return [_row(name, name.split("/")[0], name.split("_")[-2]) for name in names]


def folder(raw: Path, *, path: Path, group: str | None, classes: list[str] | None = None) -> list[Row]:
    """Link the videos of a folder or list into `raw` and return their inventory; the videos are left alone.

    Raises `UserError` if they lie in `raw` itself.
    """
    from src.datasets import folder

    sources = folder.find(path, group=group)
    chosen = _chosen({source.label for source in sources}, classes)
    sources = [source for source in sources if source.label in chosen]
    names = folder.raw_names(sources)
    _link(raw, {name: source.path for name, source in zip(names, sources, strict=True)})
    if any(not source.group for source in sources):
        print(
            "warning: no groups are known, so each file is its own. If several clips come from one recording or "
            "person, they will stand in train and test alike and the test accuracy will be too high: set "
            "dataset.group, or a group column in the list.",
            file=sys.stderr,
        )
    return [
        _row(name, source.label, source.group or name, source.part) for name, source in zip(names, sources, strict=True)
    ]


def official(
    raw: Path,
    downloads: Downloads,
    *,
    name: str,
    path: Path | None,
    archive: str | None,
    lists: str | None,
    sha256: str | None,
    partial: bool,
    classes: list[str] | None = None,
) -> list[Row]:
    """Link UCF101 or HMDB51 (`name`) into `raw` and return its inventory, with the official splits.

    The videos are those below `path`; without it, of `archive` (a file or address), or of the publisher's archive.
    `lists` is a folder, an archive or an address. Raises `UserError` listing the videos that are not there, unless
    `partial`; and naming the setting, before anything is fetched, where nothing is at a path.
    """
    from src.datasets import hmdb51, ucf101
    from src.datasets import official as lists_of

    dataset = {"ucf101": ucf101, "hmdb51": hmdb51}[name]
    publisher = dataset.PUBLISHER
    lists = lists or publisher.lists
    videos = None if path else archive or publisher.videos
    settings = {"setting": "dataset.archive", "unpacked": publisher.unpacked_bytes, "nested": publisher.nested}
    if videos:
        downloads.check(videos, size=publisher.archive_bytes, **settings)
    elif not path.is_dir():
        wrong = "is a file; an archive is for dataset.archive" if path.exists() else "does not exist"
        raise UserError(f"dataset.path: {path} {wrong}")
    downloads.check(lists, setting="dataset.lists", size=LISTS_BYTES, unpacked=LISTS_BYTES)
    clips = dataset.clips(downloads.folder(lists, setting="dataset.lists", unpacked=LISTS_BYTES))
    chosen = _chosen({clip.label for clip in clips}, classes)
    clips = [clip for clip in clips if clip.label in chosen]
    source = {"dataset": name}
    if videos:
        path = downloads.folder(videos, sha256=sha256, **settings)
    else:
        source["path"] = str(path)
    source |= downloads.source(videos, lists=lists)
    found, missing, unlisted = lists_of.locate(clips, path)
    listing = raw.parent / "missing.txt"
    listing.unlink(missing_ok=True)
    if missing:
        files.write_text(listing, "".join(f"{video}\n" for video in missing))
        text = f"{path}: {lists_of.describe_missing(clips, missing)}\nall of them: {listing}"
        if not partial:
            way_out = "to go on without them, on purpose: dataset.partial: true"
            if videos and downloads.is_ours(path):
                way_out = f"remove {path} and it is unpacked again; where the archive itself lacks them, {way_out}"
            raise UserError(f"{text}\n{way_out}")
        print(f"note: {text}", file=sys.stderr)
        source["missing"] = len(missing)
    if unlisted and not classes:
        print(f"note: {len(unlisted)} videos that no official list names are left out, e.g. {unlisted[0]}")
    _link(raw, found)
    files.write_text(raw / STAMP, json.dumps(source, indent=1) + "\n")
    return [_row(clip.name, clip.label, clip.group, *clip.parts) for clip in clips if clip.name in found]


def _row(video: str, label: str, group: str, *parts: str) -> Row:
    return dict(zip(COLUMNS, (video, label, group, *parts, "", "", ""), strict=False))


def _chosen(labels: Iterable[str], classes: list[str] | None) -> set[str]:
    """The classes to use. Raises `UserError` for one in `dataset.classes` that is none of `labels`."""
    labels = set(labels)
    for name in classes or ():
        if name not in labels:
            near = difflib.get_close_matches(name, labels, n=1)
            raise UserError(
                f"dataset.classes: there is no class {name}" + (f"; did you mean {near[0]}?" if near else "")
            )
    return set(classes or labels)


def _link(raw: Path, sources: dict[str, Path]) -> None:
    """Make `raw` hold a link for each name, and nothing else. Raises `UserError` if a source lies in `raw` itself."""
    for source in sources.values():
        if source.parent.resolve().is_relative_to(raw.resolve()):
            raise UserError(f"dataset.path: {source} lies in {raw} itself; move your videos elsewhere")
    targets = {raw / name: source.resolve() for name, source in sources.items()}
    right = {link for link, target in targets.items() if link.is_symlink() and link.readlink() == target}
    _remove_others(raw, keep={link.relative_to(raw).as_posix() for link in right})
    for link in targets.keys() - right:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(targets[link])


def _remove_others(raw: Path, *, keep: set[str]) -> None:
    """Remove links, and files that were drawn here. Raises `UserError` rather than remove anything else."""
    from src.datasets import synthetic

    stamp = raw / STAMP
    drawn = _says_drawn(stamp)
    for path in sorted(raw.rglob("*"), key=lambda path: path.name == STAMP):  # last, as it says what may be removed
        if (path.is_dir() and not path.is_symlink()) or path.relative_to(raw).as_posix() in keep:
            continue
        ours = path.is_symlink() or path.name.startswith(".") or path == stamp
        if not (ours or (drawn and synthetic.NAME.fullmatch(path.name))):
            raise command.UserError(f"{path} was put there by hand and would be lost; move it elsewhere")
        path.unlink()
    for path in sorted(raw.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _says_drawn(stamp: Path) -> bool:
    """Whether the files beside the note `stamp` were drawn; so they are if a full disk or a power cut spoilt it."""
    if not stamp.exists():
        return False
    try:
        return json.loads(stamp.read_bytes())["dataset"] == "synthetic"
    except (ValueError, KeyError, TypeError):
        return True


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--ca-bundle", metavar="FILE", help="certificates to trust (PEM); as dataset.ca_bundle")
    arguments = parser.parse_args()
    params = command.settings_of(arguments)
    dataset = params.dataset
    path = dataset.path and paths.MAIN / Path(dataset.path).expanduser()
    files.borrow(paths.RAW)
    if dataset.name == "synthetic":
        settings = dataset.model_dump(include={"actors", "clips", "seed", "classes"})
        rows = synthetic(paths.RAW, **settings, processes=params.runtime.cores)
    elif dataset.name == "folder":
        rows = folder(paths.RAW, path=path, **dataset.model_dump(include={"group", "classes"}))
    else:
        from src.fetching.downloads import Downloads

        bundle = arguments.ca_bundle or dataset.ca_bundle
        bundle = bundle and paths.MAIN / Path(bundle).expanduser()
        downloads = Downloads(paths.DOWNLOADS, paths.CHECKSUMS, bundle, dataset.insecure)
        settings = dataset.model_dump(include={"name", "archive", "lists", "sha256", "partial", "classes"})
        rows = official(paths.RAW, downloads, path=path, **settings)
    tables.write(paths.VIDEOS, rows, columns=COLUMNS)
    labels, groups = ({row[key] for row in rows} for key in ("label", "group"))
    print(f"data/raw: {len(rows)} videos of {len(labels)} classes in {len(groups)} groups")


if __name__ == "__main__":
    command.run(main)
