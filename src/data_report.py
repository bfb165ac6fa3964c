"""data/videos.csv, data/splits and data/frames → artifacts/data_report.html: can this data be trusted?

    python -m src.data_report

One page, pictures and all. It begins with what needs attention, which is printed as well; what is not there yet is
named with the command that makes it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import median

from tqdm import tqdm

from src import command, files, paths
from src.report import page
from src.report.findings import PLACES, Clip, Finding, by, findings, identical, rates, read, sides, sizes
from src.video.manifest import frame_file

SHEET = (4, 4)  # videos of a class, and frames of each


@dataclass(frozen=True)
class Sheet:
    """The contact sheet of a class: a row of frames for each of `clips`."""

    label: str
    clips: Sequence[Clip]
    picture: page.Picture


def headline(clips: Sequence[Clip]) -> str:
    """How much there is, in one line."""
    classes, groups = by(clips, lambda clip: clip.label), by(clips, lambda clip: clip.group)
    seconds = sum(clip.seconds for clip in clips)
    length = f", {page.duration(seconds)}" if seconds else ""
    return f"{page.count(clips, 'video')} of {page.count(classes, 'class')} in {page.count(groups, 'group')}{length}"


def per_class(clips: Sequence[Clip]) -> dict[str, dict[str, tuple[int, int]]]:
    """How many videos and groups each class has on each side that has any, and in `total`."""
    return {
        label: {
            side: (len(of), len({clip.group for clip in of}))
            for side, of in [*by(members, lambda clip: clip.side).items(), ("total", members)]
        }
        for label, members in by(clips, lambda clip: clip.label).items()
    }


def examples(clips: Sequence[Clip]) -> list[Clip]:
    """All of them, the best examples first: one video of each group, from each side in turn, then the others."""
    queues = by(clips, lambda clip: clip.side)
    turns = zip_longest(*(queues.get(place, []) for place in PLACES))
    in_turn = [clip for turn in turns for clip in turn if clip]
    firsts = {clip.group: clip for clip in reversed(in_turn)}
    return sorted(in_turn, key=lambda clip: firsts[clip.group] is not clip)


def contact_sheets(clips: Sequence[Clip], frames: Path) -> tuple[list[Sheet], list[Finding]]:
    """A sheet for every class with frames: videos of different groups, each by frames spread evenly over it.

    For a video whose frame file is damaged the next one stands in, and a finding names the file.
    """
    import av

    from src.video import store

    videos, columns = SHEET
    sheets, damaged, looked_at = [], [], 0
    classes = by([clip for clip in clips if clip.frames], lambda clip: clip.label)
    for label, members in tqdm(classes.items(), desc="pictures", unit="class", disable=None):
        rows = {}
        for clip in examples(members):
            file = frames / frame_file(clip.name)
            moments = [clip.frames * (2 * number + 1) // (2 * columns) for number in range(columns)]
            looked_at += 1
            try:
                rows[clip] = store.read(file, moments)
            except (av.FFmpegError, OSError, IndexError, ValueError):  # no file or container, fewer frames, no JPEG
                damaged.append(os.path.relpath(file))
            if len(rows) == videos:
                break
        if rows:
            sheets.append(Sheet(label, list(rows), page.contact_sheet(list(rows.values()))))
    if not damaged:
        return sheets, []
    text = f"{len(damaged):,} of {looked_at:,} frame files looked at cannot be read"
    way_out = f"remove {'it' if len(damaged) == 1 else 'them'} and run `dvc repro extract_frames`"
    return sheets, [Finding(f"{text}; {way_out}", damaged, problem=True)]


def html(clips: Sequence[Clip], attention: Sequence[Finding], sheets: Sequence[Sheet]) -> str:
    """The page."""
    measured = sorted([clip for clip in clips if clip.frames], key=lambda clip: clip.seconds)
    lengths = [clip.seconds for clip in measured]
    usual = median(lengths) if lengths else 0.0
    return page.render(
        "data_report.html",
        headline=headline(clips),
        attention=attention,
        classes=per_class(clips),
        sides=sides(clips, among=PLACES),
        measured=measured,
        median=usual,
        bars=page.histogram(lengths, limit=4 * usual) if lengths else [],
        sizes=sizes(measured),
        rates=rates(measured),
        identical=[(alike, sides(alike)) for alike in identical(clips)],
        refused=[clip for clip in clips if clip.refused],
        sheets=sheets,
        anchors={sheet.label: f"class-{number}" for number, sheet in enumerate(sheets)},
    )


def main() -> None:
    params = command.settings(__doc__)
    from src.video.sampling import span

    extract = params.extract.of_frames()
    clips, missing = read(videos=paths.VIDEOS, splits=paths.SPLITS, frames=paths.FRAMES, extract=extract)
    net = params.model.network()
    clip_frames = span(frames=net["frames"], stride=net["stride"])
    found = findings(clips, clip_frames=clip_frames, fps=params.extract.fps)
    sheets, damaged = contact_sheets(clips, paths.FRAMES)
    attention = sorted([*missing, *damaged, *found], key=lambda finding: not finding.problem)
    files.write_text(paths.DATA_REPORT, html(clips, attention, sheets))
    print(headline(clips))
    for finding in attention:
        print(": ".join(filter(None, [finding.kind, finding.text, finding.first])))
    if not attention:
        print("nothing needs attention")
    print(os.path.relpath(paths.DATA_REPORT))


if __name__ == "__main__":
    command.run(main)
