"""data/raw → data/frames: one Motion-JPEG file a video, and a manifest of what is in it.

    python -m src.extract_frames

All cores decode, one video a process. Videos already done with the same settings are kept, so an interrupted
run goes on. A file that cannot be read is a named line in the manifest and in the summary.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from pathlib import Path

from src import command, files, parallel, paths, tables
from src.command import UserError
from src.video.manifest import COLUMNS, frame_file

Row = dict[str, str]

SAVE_EVERY = 5.0  # seconds of work that a killed run may lose


def extract(
    names: list[str],
    *,
    raw: Path,
    frames: Path,
    short_side: int,
    fps: float,
    quality: int,
    processes: int | None,
) -> list[Row]:
    """Bring `frames` in line with the videos `names` of `raw` and return the manifest's rows, in order of names."""
    settings = {"short_side": short_side, "fps": fps, "quality": quality}
    stamp = json.dumps(settings | {"made_by": _version()}, indent=1) + "\n"
    rows = _already_done(frames, names, stamp=stamp)
    _tidy(frames, rows)
    # The stamp comes after the rows that it vouches for.
    _save(frames, rows)
    files.write_text(frames / "settings.json", stamp)
    work = functools.partial(_extract_one, raw=raw, frames=frames, **settings)
    saved = time.monotonic()
    try:
        tasks = [(name, rows.get(name)) for name in names]
        for (name, _), row in parallel.each(work, tasks, processes=processes, title="extracting"):
            rows[name] = row if isinstance(row, dict) else _refused(name, "", "the decoder crashed on it")
            if time.monotonic() - saved > SAVE_EVERY:
                _save(frames, rows)
                saved = time.monotonic()
    finally:
        _save(frames, rows)
    _tidy(frames, rows)
    return [rows[name] for name in sorted(names)]


def check(rows: list[Row], *, on_error: str) -> None:
    """Report refused videos; raise `UserError` if `on_error` is `fail` or a class has lost all its videos."""
    refused = [row for row in rows if row["refused"]]
    for row in refused:
        print(f"refused: {row['video']}: {row['refused']}")
    labels = {row["video"].split("/")[0] for row in rows}
    lost = sorted(labels - {row["video"].split("/")[0] for row in rows if not row["refused"]})
    if lost:
        raise UserError(f"class {', '.join(lost)} has lost all its videos (named above); mend or replace them")
    if refused and on_error == "fail":
        raise UserError(
            f"{len(refused)} of {len(rows)} videos could not be read (named above); mend or remove them, "
            "or go on without them: extract.on_error: skip"
        )


def _extract_one(
    task: tuple[str, Row | None], *, raw: Path, frames: Path, short_side: int, fps: float, quality: int
) -> Row:
    """The manifest's row of a video; `task` is its name and the row of what is there already."""
    from src.video import store
    from src.video.decode import UnreadableVideoError, read_frames

    name, done = task
    source = raw / name
    try:
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return _refused(name, "", "the file is gone" if isinstance(error, FileNotFoundError) else error.strerror)
    if done and done["sha256"] == sha256:
        return done
    try:
        decoded = read_frames(source, short_side=short_side, fps=fps)
        count, height, width = store.write(frames / frame_file(name), decoded, fps=fps, quality=quality)
    except UnreadableVideoError as error:
        return _refused(name, sha256, str(error))
    return {
        "video": name,
        "frames": str(count),
        "height": str(height),
        "width": str(width),
        "sha256": sha256,
        "refused": "",
    }


def _refused(name: str, sha256: str, reason: str) -> Row:
    return {"video": name, "frames": "0", "height": "0", "width": "0", "sha256": sha256, "refused": reason}


def _version() -> str:
    """A fingerprint of the code that makes frames: other code may make others of the same video."""
    sources = (Path(__file__).with_name("video") / name for name in ("decode.py", "jpeg.py", "store.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _already_done(frames: Path, names: list[str], *, stamp: str) -> dict[str, Row]:
    """Rows of the last manifest for `names` whose frame files are there, if it was made in the same way."""
    written, manifest = frames / "settings.json", frames / "manifest.csv"
    if not (manifest.exists() and written.exists() and written.read_text() == stamp):
        return {}
    rows = {row["video"]: row for row in tables.read(manifest, columns=COLUMNS) if not row["refused"]}
    return {name: rows[name] for name in names if name in rows and (frames / frame_file(name)).exists()}


def _save(frames: Path, rows: dict[str, Row]) -> None:
    tables.write(frames / "manifest.csv", [rows[name] for name in sorted(rows)], columns=COLUMNS)


def _tidy(frames: Path, rows: dict[str, Row]) -> None:
    """Remove what belongs to none of `rows`."""
    keep = {frame_file(row["video"]) for row in rows.values() if not row["refused"]}
    keep |= {"manifest.csv", "settings.json"}
    for path in frames.rglob("*"):
        if path.is_file() and path.relative_to(frames).as_posix() not in keep:
            path.unlink()


def main() -> None:
    params = command.settings(__doc__)
    files.borrow(paths.FRAMES)
    names = sorted(row["video"] for row in tables.read(paths.VIDEOS, columns=["video"]))
    settings = params.extract.model_dump(exclude={"on_error"})
    rows = extract(names, raw=paths.RAW, frames=paths.FRAMES, processes=params.runtime.processes, **settings)
    read = [row for row in rows if not row["refused"]]
    print(f"data/frames: {len(read)} of {len(rows)} videos, {sum(int(row['frames']) for row in read)} frames")
    check(rows, on_error=params.extract.on_error)


if __name__ == "__main__":
    command.run(main)
