"""Members given in Python → the bytes of a RAR archive (versions 4 and 5), for tests that need archives made to order.

Nothing is compressed here: a member's bytes are stored, or are what another archive holds for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from zlib import crc32

UNIX_LINK, JUNCTION, HARD_LINK, FILE_COPY = 1, 3, 4, 5


@dataclass(frozen=True)
class Entry:
    """One member, whose header may say other things than are true.

    `size` and `crc` are those of `data` unless given. With a `method` of 1 to 5, `data` is compressed. `mode` is that
    of a Unix system; `split` says that a next volume goes on with this member. RAR 5 alone knows `redirect`, the type
    and target of a link, and `blake2sp`, a checksum in place of the CRC; none at all if it is empty.
    """

    name: str
    data: bytes = b""
    size: int | None = None
    crc: int | None = None
    method: int = 0
    mode: int = 0o100644
    solid: bool = False
    encrypted: bool = False
    split: bool = False
    redirect: tuple[int, str] | None = None
    blake2sp: bytes | None = None

    @property
    def unpacked(self) -> tuple[int, int]:
        """The size and CRC that the header gives."""
        size = len(self.data) if self.size is None else self.size
        return size, crc32(self.data) if self.crc is None else self.crc

    @property
    def is_folder(self) -> bool:
        return self.mode & 0o170000 == 0o040000


def folder(name: str) -> Entry:
    return Entry(name, mode=0o040755)


def rar4(*entries: Entry, solid: bool = False, headers_encrypted: bool = False, comment: bytes = b"") -> bytes:
    """An archive as RAR 3 and 4 write it; `comment` is compressed."""
    volume = any(entry.split for entry in entries)
    blocks = [_block4(0x73, 0x0008 * solid | 0x0080 * headers_encrypted | 0x0111 * volume, bytes(6))]
    if comment:
        blocks.append(_file4(0x7A, Entry("CMT", comment, size=100, method=3)))
    blocks += [_file4(0x74, entry) for entry in entries]
    return b"Rar!\x1a\x07\0" + b"".join(blocks) + _block4(0x7B, 0x4000 | volume, b"")


def _file4(kind: int, entry: Entry) -> bytes:
    flags = 0x8300 | 0x0002 * entry.split | 0x0004 * entry.encrypted | 0x0010 * entry.solid | 0x00E0 * entry.is_folder
    size, crc = entry.unpacked
    name = entry.name.encode()
    unix, date, version, method = 3, 0x3A21 << 16, 29, 0x30 + entry.method
    sizes = [(number & 0xFFFFFFFF, number >> 32) for number in (len(entry.data), size)]
    (packed, packed_high), (unpacked, unpacked_high) = sizes
    fields = struct.pack("<LLBLLBB", packed, unpacked, unix, crc, date, version, method)
    fields += struct.pack("<HLLL", len(name), entry.mode, packed_high, unpacked_high)
    return _block4(kind, flags, fields + name) + entry.data


def _block4(kind: int, flags: int, fields: bytes) -> bytes:
    head = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", crc32(head) & 0xFFFF) + head


def rar5(*entries: Entry, solid: bool = False) -> bytes:
    """An archive as RAR 5 and later write it."""
    blocks = [_block5(1, _number(0x04 * solid)), *map(_file5, entries), _block5(5, _number(0))]
    return b"Rar!\x1a\x07\1\0" + b"".join(blocks)


def _file5(entry: Entry) -> bytes:
    size, crc = entry.unpacked
    has_crc = entry.blake2sp is None
    unix, compression, name = 1, entry.method << 7 | 0x40 * entry.solid, entry.name.encode()
    fields = _number(0x01 * entry.is_folder | 0x04 * has_crc) + _number(size) + _number(entry.mode)
    fields += struct.pack("<L", crc) * has_crc
    fields += b"".join(map(_number, (compression, unix, len(name)))) + name
    extra = b""
    if entry.encrypted:
        extra += _record(1, bytes(2) + b"\x0f" + bytes(32))
    if entry.blake2sp:
        extra += _record(2, _number(0) + entry.blake2sp)
    if entry.redirect is not None:
        kind, target = entry.redirect
        extra += _record(5, _number(kind) + _number(0) + _number(len(target.encode())) + target.encode())
    return _block5(2, fields, extra=extra, data=entry.data)


def _record(kind: int, content: bytes) -> bytes:
    return _number(len(_number(kind) + content)) + _number(kind) + content


def _block5(kind: int, fields: bytes, *, extra: bytes = b"", data: bytes = b"") -> bytes:
    flags = 0x01 * bool(extra) | 0x02 * bool(data)
    sizes = b"".join(_number(len(part)) for part in (extra, data) if part)
    head = _number(kind) + _number(flags) + sizes + fields + extra
    head = _number(len(head)) + head
    return struct.pack("<L", crc32(head)) + head + data


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth bit says that more follow."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*result, value])
