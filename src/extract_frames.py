"""data/raw → data/frames: one Motion-JPEG file a video, and a manifest of what is in it.

    python -m src.extract_frames

All cores decode, one video a process, or those of a Dask cluster (runtime.cluster). Videos already done with the
same settings are kept, so an interrupted run goes on. A file that cannot be read is a named line in the manifest and
in the summary.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections import Counter
from pathlib import Path

from src import command, files, parallel, paths, tables
from src.command import UserError
from src.video import extraction
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
    limit: float,
    processes: int | None,
    cluster: str | None = None,
) -> list[Row]:
    """Bring `frames` in line with the videos `names` of `raw` and return the manifest's rows, in order of names.

    `limit` is in seconds a video. With `cluster`, workers on other machines see `raw` and `frames` under these paths.
    """
    settings = {"short_side": short_side, "fps": fps, "quality": quality}
    made_by = extraction.version()
    stamp = json.dumps(settings | {"made_by": made_by}, indent=1) + "\n"
    rows = _already_done(frames, names, stamp=stamp)
    # The stamp comes after the rows that it vouches for.
    _write(frames, rows)
    _tidy(frames, rows)
    files.write_text(frames / "settings.json", stamp)
    work = functools.partial(extraction.extract_one, raw=raw, frames=frames, limit=limit, made_by=made_by, **settings)
    tasks = [(name, rows.get(name)) for name in names]
    try:
        for (name, _), row in parallel.each(work, tasks, processes=processes, cluster=cluster, title="extracting"):
            rows[name] = _after_death(name, row, limit=limit) if isinstance(row, parallel.Died) else row
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


def remarks(rows: list[Row]) -> list[str]:
    """What is odd about videos that were read, a line each."""
    sizes = Counter(f"{row['source_width']}×{row['source_height']}" for row in rows)
    rates = Counter(f"{float(row['source_fps']):.4g}" for row in rows)
    wrong = sum(0 < int(row["header_frames"]) != int(row["source_frames"]) for row in rows)
    alike = sum(times - 1 for times in Counter(row["sha256"] for row in rows).values())
    found = []
    for what, unit, counts in (("sizes", "", sizes), ("rates", " fps", rates)):
        if len(counts) > 1:
            common = ", ".join(f"{value}{unit} in {times}" for value, times in counts.most_common(3))
            found.append(f"the videos have {len(counts)} {what}: {common}{', …' if len(counts) > 3 else ''}")
    if wrong:
        found.append(f"{wrong} videos hold another number of frames than their header claims")
    if alike:
        found.append(f"{alike} videos are byte-identical to another one")
    return found


def _after_death(name: str, died: parallel.Died, *, limit: float) -> Row:
    return extraction.refused(
        name, "", extraction.too_slow(limit) if died.after >= limit else "the decoder crashed on it"
    )


def _already_done(frames: Path, names: list[str], *, stamp: str) -> dict[str, Row]:
    """Rows for those of `names` whose frame files are there, if they were made in the same way."""
    written, manifest = frames / "settings.json", frames / "manifest.csv"
    if not (manifest.exists() and written.exists() and written.read_text() == stamp):
        return {}
    known = tables.read(manifest, columns=COLUMNS) + extraction.noted(frames)
    rows = {row["video"]: row for row in known if not row["refused"]}
    return {name: rows[name] for name in names if name in rows and _has_frames(frames / frame_file(name))}


def _has_frames(file: Path) -> bool:
    """Whether it is there, and not emptied by a power cut."""
    return file.exists() and file.stat().st_size > 0


def _save(frames: Path, rows: dict[str, Row]) -> None:
    """Write the manifest, with what workers have done and not handed in."""
    rows |= {row["video"]: row for row in extraction.noted(frames)}
    _write(frames, rows)


def _write(frames: Path, rows: dict[str, Row]) -> None:
    """Write the manifest; workers' notes, of which all that is true is among the rows, have then served."""
    os.sync()  # frames reach the disk before the rows that vouch for them
    tables.write(frames / "manifest.csv", [rows[name] for name in sorted(rows)], columns=COLUMNS)
    shutil.rmtree(frames / extraction.ROWS, ignore_errors=True)


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
    rows = extract(
        names,
        raw=paths.RAW,
        frames=paths.FRAMES,
        **params.extract.of_frames(),
        limit=params.extract.time_limit,
        processes=params.runtime.cores,
        cluster=params.runtime.cluster,
    )
    read = [row for row in rows if not row["refused"]]
    size = sum((paths.FRAMES / frame_file(row["video"])).stat().st_size for row in read) / 1e9
    frames = sum(int(row["frames"]) for row in read)
    print(f"data/frames: {len(read)} of {len(rows)} videos, {frames} frames, {size:.2g} GB")
    for remark in remarks(read):
        print(f"note: {remark}; `python -m src.data_report` names them")
    check(rows, on_error=params.extract.on_error)


if __name__ == "__main__":
    command.run(main)
