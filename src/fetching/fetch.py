"""An address on the web → a whole, checked file on the disk, through drops, restarts and servers that misbehave.

What has come so far is TARGET.part (src/fetching/part.py); what came whole and failed its check, TARGET.damaged. How
far it was verified who sent the file stays in TARGET.json.
"""

from __future__ import annotations

import functools
import http.client
import re
import shutil
import ssl
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tqdm import tqdm

from src.command import UserError
from src.fetching.address import is_secure, shown
from src.fetching.part import Part, Version, part_of

if TYPE_CHECKING:
    from requests import Response
    from tenacity import RetryCallState

    Get = Callable[..., Response]

TRIES = 8  # in a row without a new byte
FIRST_WAIT = 1.0  # seconds before the second of them, doubled each time and jittered by as much again
LONGEST_WAIT = 60.0  # seconds, also where the server asks for more
TIMEOUT = (30.0, 60.0)  # seconds to connect, and from one byte to the next
BLOCK = 256 * 1024  # bytes, at most, from one look at the progress bar to the next
MISFITS = 2  # replies in a row that do not go on where asked to, and then the whole file is asked for

CHANGED = "the file on the server has changed"
ELSEWHERE = "dataset.archive, dataset.lists and model.weights take another address, or a file that is on this disk"


class DamagedError(UserError):
    """The bytes are not what they should be, and asking for the rest of them would not help."""


class _RetryableError(Exception):
    """A request that failed in a way that another may not, in `wait` seconds at the earliest."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


def fetch(
    url: str,
    target: Path,
    *,
    check: Callable[[Path], None],
    room: int = 0,
    ca_bundle: Path | None = None,
    insecure: bool = False,
) -> None:
    """Download `url` to `target`, going on from what an earlier call left; nothing is asked if `target` exists.

    `check` is given the whole file before it gets its name. A `DamagedError` of it sets the file aside, so that the
    next call starts afresh; after any other exception the next call only checks again. `room` is how many bytes must
    be free on the disk once the file is there. `ca_bundle` is a PEM file of certificates to trust besides the public
    ones; `insecure` trusts anyone.

    Raises `UserError` for what another request would not mend, when `TRIES` in a row brought nothing, when the disk
    has too little room, and when another process is at it.
    """
    if target.exists():
        return
    if insecure and ca_bundle:
        raise UserError("dataset.insecure switches off what dataset.ca_bundle is for; set one of the two")
    target.parent.mkdir(parents=True, exist_ok=True)
    tls = "none" if not is_secure(url) else "switched off" if insecure else "verified"
    with part_of(target, url, tls) as part:
        if not part.whole:
            with _connected(url, ca_bundle=ca_bundle, insecure=insecure) as get:
                _until_whole(part, get, room=room)
        part.to_disk()
        try:
            check(part.path)
        except DamagedError:
            damaged = target.with_name(f"{target.name}.damaged")
            part.path.replace(damaged)
            part.record.unlink()
            print(f"note: what came is kept as {damaged}; the next call starts again", file=sys.stderr)
            raise
        part.becomes(target)


@contextmanager
def _connected(url: str, *, ca_bundle: Path | None, insecure: bool) -> Iterator[Get]:
    """A function that asks for `url` with given headers; certificates are trusted as the settings say."""
    import requests
    from urllib3.exceptions import InsecureRequestWarning

    with requests.Session() as session, _trusted(ca_bundle) as bundle, warnings.catch_warnings():
        if insecure:
            warnings.simplefilter("ignore", InsecureRequestWarning)
            host = urlsplit(url).hostname
            print(f"warning: TLS verification is off for {host}: anyone could answer in its name", file=sys.stderr)
        # An explicit choice goes with each request: environment variables would override one of the session.
        yield functools.partial(session.get, url, stream=True, timeout=TIMEOUT, verify=False if insecure else bundle)


@contextmanager
def _trusted(ca_bundle: Path | None) -> Iterator[str | None]:
    """A file of the public roots and the certificates of `ca_bundle`; None, for what the environment says, without.

    Both in one file, as OpenSSL trusts an intermediate certificate only where it also finds the root above it.
    """
    if ca_bundle is None:
        yield None
        return
    import requests

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_bundle)
        own = ca_bundle.read_bytes()
    except ssl.SSLError as error:
        raise UserError(f"dataset.ca_bundle: {ca_bundle} holds no certificate in PEM format: {error}") from None
    except OSError as error:
        raise UserError(f"dataset.ca_bundle: {ca_bundle} cannot be read: {error.strerror}") from None
    with tempfile.NamedTemporaryFile(suffix=".pem") as both:
        both.write(Path(requests.certs.where()).read_bytes() + b"\n" + own)
        both.flush()
        yield both.name


def _until_whole(part: Part, get: Get, *, room: int) -> None:
    """Ask until the file is whole. Raises `UserError` when `TRIES` in a row have brought nothing."""
    import tenacity

    def count(state: RetryCallState) -> None:
        if part.size > part.to_beat:
            state.attempt_number = 0

    def wait(state: RetryCallState) -> float:
        return max(backoff(state), min(state.outcome.exception().wait, LONGEST_WAIT))

    def say(state: RetryCallState) -> None:
        print(
            f"note: {state.outcome.exception()}; next try in {state.upcoming_sleep:.0f} s, from byte {part.size:,}",
            file=sys.stderr,
        )

    backoff = tenacity.wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT, jitter=FIRST_WAIT)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_RetryableError),
        after=count,
        wait=wait,
        stop=tenacity.stop_after_attempt(TRIES),
        before_sleep=say,
        reraise=True,
    )
    try:
        retrying(_ask, part, get, room=room)
    except _RetryableError as last:
        then = "starts again" if part.unusable else "goes on from there"
        raise UserError(
            f"{shown(part.url)}: {last}, and {TRIES} tries in a row brought nothing; {part.size:,} bytes are kept in "
            f"{part.path} and the same command {then}; {ELSEWHERE}"
        ) from last


def _ask(part: Part, get: Get, *, room: int) -> None:
    """One request; returns with the file whole. Raises `_RetryableError` where another may bring more."""
    part.to_beat = max(part.to_beat, part.size)
    if why := part.unusable:
        part.cut(0, why)
    headers = {"Accept-Encoding": "identity"}
    if part.size and part.misfits < MISFITS:
        headers["Range"] = f"bytes={part.size}-"
        if part.version.validator:
            headers["If-Range"] = part.version.validator
    with _answer(part.url, get, headers) as response:
        if _is_the_end(part, response):
            part.belongs_to(replace(part.version, length=part.size))
            return
        _take(part, response, start=_start(part, response), room=room)


def _answer(url: str, get: Get, headers: dict[str, str]) -> Response:
    """An answer that has to do with the file. Raises `UserError` for one that will stay the same."""
    import requests
    from urllib3.exceptions import HTTPError

    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, HTTPError)
    try:
        response = get(headers=headers)
    except broken as error:
        cause = _cause(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UserError(
                f"{urlsplit(error.request.url).hostname} cannot prove who it is: {cause.verify_message}. Two ways out: "
                "a PEM file with the missing intermediate certificate, --ca-bundle FILE (dataset.ca_bundle); or "
                "dataset.insecure: true, which switches verification off for this download and is recorded in the "
                "log and with every run in MLflow"
            ) from None
        raise _RetryableError(f"no answer: {_in_words(cause)}") from error
    except OSError as error:  # as are all others of requests, and a bundle of the environment that is not there
        raise UserError(f"{shown(url)}: {_in_words(error)}; {ELSEWHERE}") from None
    passed = [each.url for each in (*response.history, response) if not is_secure(each.url)]
    if is_secure(url) and passed:
        response.close()
        raise UserError(f"{shown(url)}: the server leads to {shown(passed[0])}, where anyone could answer; {ELSEWHERE}")
    status = response.status_code
    if status in (200, 206) or (status == 416 and "Range" in headers):
        return response
    response.close()
    said = f"the server answers {status} {response.reason}".rstrip()
    if status in (408, 429) or status >= 500:
        raise _RetryableError(said, wait=_retry_after(response))
    raise UserError(f"{shown(url)}: {said}; {ELSEWHERE}")


def _is_the_end(part: Part, response: Response) -> bool:
    """Whether nothing was left to send: the file's length was not known, and the last reply broke off after it."""
    if response.status_code != 416:
        return False
    offered = _offered(response)
    if offered.length == part.size and not part.version.differs(offered):
        return True
    _drop_if_changed(part, offered)
    part.misfits += 1
    raise _RetryableError("the server has nothing from there on")


def _start(part: Part, response: Response) -> int:
    """The byte of the file that the reply begins with: the first, or the one after the part.

    What is certainly of another file is dropped, and nothing else ever is. Raises `_RetryableError` for a reply that
    does not fit what is there.
    """
    offered = _offered(response)
    if response.status_code == 200:
        # A network that wants a login answers in everybody's name; that must not cost what is there.
        is_page = "html" in response.headers.get("Content-Type", "")
        if part.version is not None and is_page and (part.version.differs(offered) or offered == Version()):
            raise _RetryableError("a web page came instead of the file")
        _drop_if_changed(part, offered)
        return 0
    first = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    fits = part.version is not None and first is not None and int(first[1]) == part.size and not _is_encoded(response)
    if _drop_if_changed(part, offered):
        raise _RetryableError(CHANGED)
    if not fits or (part.version.validator is None and offered.length is None):
        part.misfits += 1
        raise _RetryableError("the server does not go on where it is asked to")
    part.to_beat = part.size
    part.misfits = 0
    return part.size


def _drop_if_changed(part: Part, offered: Version) -> bool:
    """Drop what is there if it is certainly not of the file that the server has now. Returns whether it was."""
    too_long = offered.length is not None and part.size > offered.length
    if changed := part.version is not None and (too_long or part.version.differs(offered)):
        part.cut(0, CHANGED)
    return changed


def _offered(response: Response) -> Version:
    """What the reply says of the whole file."""
    if response.status_code != 200:
        total = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
        length = int(total[1]) if total else None
    elif _is_encoded(response):
        return Version()  # all else is about the encoded bytes
    else:
        length = response.raw.length_remaining
    return Version(response.headers.get("ETag"), response.headers.get("Last-Modified"), length)


def _is_encoded(response: Response) -> bool:
    """Whether the body is compressed on the way, though this was asked not to be."""
    codings = response.headers.get("Content-Encoding", "").lower().split(",")
    return any(coding.strip() in response.raw.CONTENT_DECODERS for coding in codings)


def _check_room(part: Part, length: int | None, room: int) -> None:
    needed = room + (length - part.size if length is not None else 0)
    free = shutil.disk_usage(part.path.parent).free
    if needed > free:
        raise UserError(
            f"{part.path.parent}: {needed:,} bytes are needed, for the rest of the download and what is made of it, "
            f"and {free:,} are free; make room, and the same command goes on from here"
        )


def _take(part: Part, response: Response, *, start: int, room: int) -> None:
    """Append what the reply's body, from byte `start` of the file on, has beyond the part, each byte as it comes.

    What the part has already is compared; where it differs, it was of another file, and the reply's bytes take over.
    """
    from urllib3.exceptions import HTTPError

    offered, had, decode = _offered(response), part.size, _is_encoded(response)
    version = part.version if had else offered
    version = replace(version, length=offered.length if version.length is None else version.length)
    _check_room(part, version.length, room)
    if not (comparing := start < had):
        part.belongs_to(version)
    bar = tqdm(total=version.length, initial=start, desc=part.path.stem, unit="B", unit_scale=True, disable=None)
    try:
        with bar:
            # Not iter_content: it holds a block back until it is full, and loses it where the connection breaks.
            while (most := _at_most(version.length, start)) and (
                block := response.raw.read1(most, decode_content=decode)
            ):
                if comparing:
                    there = part.read(start, len(block))
                    if not block.startswith(there):
                        had = start + next(i for i, (a, b) in enumerate(zip(there, block, strict=False)) if a != b)
                        part.cut(had, CHANGED)
                        version = offered
                    if start + len(block) > had:
                        part.belongs_to(version)
                        comparing = False
                part.file.write(block[max(had - start, 0) :])
                start += len(block)
                bar.update(len(block))
    except HTTPError as error:
        raise _RetryableError(f"the connection broke: {_in_words(_cause(error))}") from error
    end = max(start, had) if version.length is None else version.length
    if start != end:
        raise _RetryableError(f"the reply ended {end - start:,} bytes early")
    part.belongs_to(replace(version, length=end))


def _at_most(length: int | None, start: int) -> int:
    """Bytes to read in one go: none beyond the file's length."""
    return BLOCK if length is None else max(min(BLOCK, length - start), 0)


def _retry_after(response: Response) -> float:
    """Seconds that the server asks to be left alone, given as a number or a date; 0 if it does not ask."""
    asked = response.headers.get("Retry-After", "0")
    if asked.isdecimal():
        return float(asked)
    try:
        return (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # neither; or a date without a time zone
        return 0.0


def _cause(error: BaseException) -> BaseException:
    """The error of the socket, TLS or HTTP below those that requests and urllib3 wrap around it."""
    import requests
    from urllib3.exceptions import HTTPError

    while isinstance(error, (requests.RequestException, HTTPError)) and (below := error.__cause__ or error.__context__):
        error = below
    return error


def _in_words(error: BaseException) -> str:
    """The error in one line, with no more of an address than may be shown."""
    if isinstance(error, http.client.IncompleteRead):
        return "closed in mid-reply"
    return re.sub(r"\w+://[^\s'\"]+", lambda url: shown(url[0]), " ".join(str(error).split()))
