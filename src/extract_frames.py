"""data/raw → data/frames: one Motion-JPEG file a video, and a manifest of what is in it.

    python -m src.extract_frames

All cores decode, one video a process. Videos already done with the same settings are kept, so an interrupted
run goes on. A file that cannot be read is a named line in the manifest and in the summary.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from src import command, parallel, paths, tables
from src.command import UserError
from src.video.manifest import COLUMNS, frame_file

Row = dict[str, str]


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
    done = _already_done(frames, settings)
    _remove_others(frames, keep={frame_file(name) for name in done} | {"manifest.csv", "settings.json"})
    (frames / "settings.json").write_text(json.dumps(settings, indent=1) + "\n")
    work = functools.partial(_extract_one, raw=raw, frames=frames, done=done, **settings)
    rows = {}
    try:
        for name, row in parallel.each(work, names, processes=processes, title="extracting"):
            rows[name] = row if isinstance(row, dict) else _refused(name, "", "the decoder crashed on it")
    finally:
        # Also when interrupted: what has been extracted so far need not be extracted again.
        keep = {name: row for name, row in done.items() if name not in rows} if len(rows) < len(names) else {}
        manifest = [row for _, row in sorted((keep | rows).items())]
        tables.write(frames / "manifest.csv", manifest, columns=COLUMNS)
    _remove_others(
        frames,
        keep={frame_file(r["video"]) for r in manifest if not r["refused"]} | {"manifest.csv", "settings.json"},
    )
    return manifest


def check(rows: list[Row], *, on_error: str) -> None:
    """Report refused videos; raise `UserError` if `on_error` is `fail` or a class has lost all its videos."""
    refused = [row for row in rows if row["refused"]]
    for row in refused:
        print(f"refused: {row['video']}: {row['refused']}")
    labels = {row["video"].split("/")[0] for row in rows}
    lost = sorted(labels - {row["video"].split("/")[0] for row in rows if not row["refused"]})
    if lost:
        raise UserError(f"class {lost[0]} has lost all its videos (named above); mend or replace them")
    if refused and on_error == "fail":
        raise UserError(
            f"{len(refused)} of {len(rows)} videos could not be read (named above); mend or remove them, "
            "or go on without them: extract.on_error: skip"
        )


def _extract_one(
    name: str, *, raw: Path, frames: Path, done: dict[str, Row], short_side: int, fps: float, quality: int
) -> Row:
    from src.video import store
    from src.video.decode import UnreadableVideoError, read_frames

    source = raw / name
    try:
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if name in done and done[name]["sha256"] == sha256:
            return done[name]
        decoded = read_frames(source, short_side=short_side, fps=fps)
        count, height, width = store.write(frames / frame_file(name), decoded, fps=fps, quality=quality)
    except UnreadableVideoError as error:
        return _refused(name, sha256, str(error))
    except FileNotFoundError:
        return _refused(name, "", "the file is gone")
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


def _already_done(frames: Path, settings: dict[str, float]) -> dict[str, Row]:
    """Rows of the last manifest whose frame files are there, if it was made with the same settings."""
    written = frames / "settings.json"
    if not written.exists() or json.loads(written.read_text()) != settings or not (frames / "manifest.csv").exists():
        return {}
    rows = tables.read(frames / "manifest.csv", columns=COLUMNS)
    return {row["video"]: row for row in rows if not row["refused"] and (frames / frame_file(row["video"])).exists()}


def _remove_others(frames: Path, *, keep: set[str]) -> None:
    frames.mkdir(parents=True, exist_ok=True)
    for path in frames.rglob("*"):
        if path.is_file() and path.relative_to(frames).as_posix() not in keep:
            path.unlink()


def main() -> None:
    params = command.settings(__doc__)
    paths.borrow(paths.FRAMES)
    names = sorted(row["video"] for row in tables.read(paths.VIDEOS, columns=["video"]))
    settings = params.extract.model_dump(exclude={"on_error"})
    rows = extract(names, raw=paths.RAW, frames=paths.FRAMES, processes=params.runtime.processes, **settings)
    read = [row for row in rows if not row["refused"]]
    print(f"data/frames: {len(read)} of {len(rows)} videos, {sum(int(row['frames']) for row in read)} frames")
    check(rows, on_error=params.extract.on_error)


if __name__ == "__main__":
    command.run(main)
