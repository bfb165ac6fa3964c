"""An address on the web → what of it may be shown and written down, for it may carry a password or a signature."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit


def is_address(place: str) -> bool:
    """Whether this is one, or else a path on the disk."""
    return "://" in place


def is_secure(url: str) -> bool:
    return url.lower().startswith("https:")


def shown(place: str) -> str:
    """An address without its user, password and query; a path as it is."""
    if not is_address(place):
        return place
    return re.sub(r"://[^/]*@", "://", re.split(r"[?#]", place, maxsplit=1)[0])


def identity(url: str) -> str:
    """What may be shown of it, with eight digits by which it is told from others that differ in the rest."""
    return f"{shown(url)}#{_hash(url)}"


def file_name(place: str) -> str:
    """The last name in the path; `download` if an address has none."""
    if not is_address(place):
        return Path(place).name
    name = PurePosixPath(unquote(urlsplit(place).path)).name
    return "download" if name in ("", "..") else name


def unique_name(place: str) -> str:
    """The last name in the path, and where the query of an address says which file is meant, of that address alone."""
    hashed = f"{_hash(place)}/" if is_address(place) and urlsplit(place).query else ""
    return hashed + file_name(place)


def below(root: Path, url: str) -> Path:
    """ROOT/HOST/HASH/NAME: where what comes from this address goes, and nothing from any other."""
    host = urlsplit(url).netloc.rpartition("@")[2].replace(":", "_")
    return root / host / _hash(url) / file_name(url)


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:8]
