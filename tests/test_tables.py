"""Tables that come back as they were written, and other people's tables that say what is wrong with them."""

import pytest

from src import tables
from src.command import UserError

ODD = [
    {"video": "Walk/a, b.mp4", "label": 'say "hi"', "group": ""},
    {"video": "Tänze/ü – 1.mp4", "label": "two\nlines", "group": " spaces "},
]


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "below" / "table.csv"
    tables.write(path, ODD, columns=["video", "label", "group"])
    assert tables.read(path, columns=["group", "video"]) == ODD
    assert path.read_bytes().startswith(b"video,label,group\n")


def test_numbers_come_back_as_text(tmp_path):
    tables.write(tmp_path / "table.csv", [{"frames": 12}], columns=["frames"])
    assert tables.read(tmp_path / "table.csv") == [{"frames": "12"}]


def test_a_table_of_excel_is_read(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfvideo, label \r\na.mp4,Walk\r\n\r\nb.mp4,Run\r\n")
    rows = [{"video": "a.mp4", "label": "Walk"}, {"video": "b.mp4", "label": "Run"}]
    assert tables.read(path, columns=["video", "label"]) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"video;label\na.mp4;Walk\n", r"table.csv: no column video, label; its header is \['video;label'\]"),
        (b"", r"table.csv: no column video, label; its header is \[\]"),
        (b"video,label\na.mp4\n", "table.csv: row 2 has not as many cells as the header"),
        (b"video,label\na.mp4,Walk\nb.mp4,Run,x\n", "table.csv: row 3 has not as many cells as the header"),
        (b"video,label\n\xe9.mp4,Walk\n", "table.csv: not a CSV table: 'utf-8' codec"),
        (b'video,label\n"a"b,Walk\n', "table.csv: not a CSV table"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_with_the_reason(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        tables.read(path, columns=["video", "label"])


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none.csv: no such file"):
        tables.read(tmp_path / "none.csv")


def test_a_failed_write_leaves_the_table_as_it_was_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    tables.write(path, [{"frames": 1}], columns=["frames"])

    def torn():
        yield {"frames": 2}
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        tables.write(path, torn(), columns=["frames"])
    assert tables.read(path) == [{"frames": "1"}]
    assert list(tmp_path.iterdir()) == [path]
