"""Fetching files that others publish: checked before they are read, whole or not there at all."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ssd_keras.cache import CACHE as CACHE
from ssd_keras.cache import cache_folder as cache_folder
from ssd_keras.errors import UserError, one_line
from ssd_keras.files import disk_errors, sync, write_text
from ssd_keras.reading import exists
from ssd_keras.weights.catalogue import Remote
from ssd_keras.weights.checksums import check as check
from ssd_keras.weights.checksums import first_use as first_use
from ssd_keras.weights.files import MAX_FILE_BYTES
from ssd_keras.weights.mirror import MIRROR as MIRROR
from ssd_keras.weights.mirror import SCHEMES
from ssd_keras.weights.mirror import mirror_of as mirror_of
from ssd_keras.weights.progress import Progress, megabytes
from ssd_keras.weights.progress import tell as tell

# Schemes that tell who answers, for files whose checksum is not known.
SECURE = ("https",)
TRIES = 5
PAUSE_SECONDS = 2.0
TIMEOUT_SECONDS = 30.0
_BLOCK = 1 << 18


class _CutOff(Exception):
    """A connection that ended before the file did."""


def fetch(file: Remote, folder: Path, advice: str) -> Path:
    """The file, checked: the one in the folder, that of a local mirror, or one that is fetched.

    A connection that is cut is taken up again, here or by the next call. What is not complete has
    another name, and what is not the file that was published is removed.

    Args:
        file: what to fetch.
        folder: where it is kept; one process at a time works in it.
        advice: what the user can do if it cannot be had; ends the errors.

    Raises:
        UserError: it cannot be had, or is not what was published.
    """
    place = folder / file.name
    if exists(place):
        with _with_advice(f"Remove it. {advice}"):
            check(place, file, folder)
        return place
    source = mirror_of(file)
    if isinstance(source, Path):
        with _with_advice(advice):
            if not exists(source):
                raise UserError(f"There is no '{file.name}' in '{source.parent}' ({MIRROR}).")
            check(source, file, folder)
        return source
    return _fetch(file, source, place, advice)


def _fetch(file: Remote, address: str, place: Path, advice: str) -> Path:
    part = place.with_name(f"{place.name}.part")
    with _with_advice(advice):
        _check_address(address, file)
        _check_writable(part)
        _download(file, address, part)
        try:
            check(part, file, place.parent)
        except UserError as error:
            for left in (part, _validator_file(part)):
                left.unlink(missing_ok=True)
            reason = str(error).partition(": ")[2].rstrip(".")
            raise UserError(
                f"What {address} gave for '{file.name}' is not the file that was published: "
                f"{reason}; it was removed."
            ) from error
    with disk_errors(place, ""):
        sync(part)
        os.replace(part, place)
        _validator_file(part).unlink(missing_ok=True)
    return place


def _check_writable(part: Path):
    """Finds out before anything comes that it can be kept, and not behind a link, elsewhere."""
    with disk_errors(part, f" Let {CACHE} name another folder."):
        if part.is_symlink():
            part.unlink()
        part.open("ab").close()
        if not _size(part):
            part.unlink()


@contextlib.contextmanager
def _with_advice(advice: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')}. {advice}".strip()) from error


def _check_address(address: str, file: Remote):
    scheme = urllib.parse.urlsplit(address).scheme
    if scheme not in (SCHEMES if file.sha256 else SECURE):
        reason = "" if file.sha256 else ", because its checksum is not known"
        raise UserError(f"'{file.name}' is taken over https only{reason}, not from {address}.")


def _download(file: Remote, address: str, part: Path):
    progress = Progress(file.size)
    for left in reversed(range(TRIES)):
        try:
            _go_on(file, address, part, progress)
            progress.end()
            return
        except _CutOff as error:
            progress.end()
            done = _size(part)
            if not left:
                raise UserError(
                    f"The connection to {address} was cut after {megabytes(done, file.size)} "
                    f"({error}): the same command goes on from there."
                ) from error
            tell(f"The connection was cut after {megabytes(done, file.size)}: once more.")
            time.sleep(PAUSE_SECONDS)


def _go_on(file: Remote, address: str, part: Path, progress: Progress):
    """Appends to the part what is missing of it, or begins anew where the server wants that."""
    have = _resumable(part, file)
    if have == file.size:
        return
    with _open(address, file, part, have) as response:
        start, end = _extent(response, have, address, file)
        if not start:
            _remember_validator(part, response)
        progress.begin(start, end)
        with disk_errors(part, ""), open(part, "r+b" if start else "wb") as out:
            out.seek(start)
            out.truncate()
            done = start
            for block in _blocks(response):
                done += len(block)
                if done > (end or MAX_FILE_BYTES):
                    raise _no_end(address, end)
                out.write(block)
                progress.show(done)
    if end is not None and done < end:
        raise _CutOff("it ended early")


def _resumable(part: Path, file: Remote) -> int:
    """Bytes of an earlier try that can be built upon: where a checksum or the server vouches."""
    have = _size(part)
    if file.size is not None and have > file.size:
        return 0
    return have if file.sha256 or _validator(part) else 0


@contextlib.contextmanager
def _open(address: str, file: Remote, part: Path, have: int):
    headers = {"User-Agent": "ssd-keras", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := _validator(part):
            headers["If-Range"] = validator
    request = urllib.request.Request(address, headers=headers)
    try:
        response = urllib.request.build_opener(_Redirects(file)).open(
            request, timeout=TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError as error:
        error.close()
        raise _http_fault(address, error, part) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "reason", error)
        raise UserError(f"{address} cannot be reached ({one_line(reason)}).") from error
    with response:
        yield response


def _http_fault(address: str, error: urllib.error.HTTPError, part: Path) -> Exception:
    if error.code == 416:  # the file is shorter than what is there of it
        part.unlink(missing_ok=True)
        return _CutOff("its file is shorter than what was there of it")
    if error.code >= 500 or error.code == 429:
        return _CutOff(f"it answered {error.code} {one_line(error.reason or '')}")
    return UserError(f"{address} answered {error.code} {one_line(error.reason or '')}.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows other addresses as long as they are no less safe than the first."""

    def __init__(self, file: Remote):
        self.file = file

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """A request for the other address."""
        schemes = [urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl)]
        _check_address(newurl, self.file)
        if schemes == ["https", "http"]:
            raise UserError(f"{req.full_url} leads to {newurl}, which is not safe.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _extent(response, have: int, address: str, file: Remote) -> tuple[int, int | None]:
    """The first byte that comes, and the number of bytes of the whole file if it is known."""
    start, end = 0, response.length
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != have:
            raise UserError(f"{address} gave another part of the file than it was asked for.")
        start, end = have, int(match[3])
    if file.size is not None and end not in (None, file.size):
        raise UserError(
            f"{address} has {end:,} bytes, but '{file.name}' has {file.size:,}: it is another file."
        )
    if end is None and not file.sha256 and not response.chunked:
        raise UserError(f"{address} does not say how long '{file.name}' is, nor does anybody else.")
    if end is not None and end > MAX_FILE_BYTES:
        raise _no_end(address, None)
    return start, file.size if end is None else end


def _no_end(address: str, size: int | None) -> UserError:
    return UserError(
        f"{address} gives more than the {size or MAX_FILE_BYTES:,} bytes that the file may have."
    )


def _blocks(response) -> Iterator[bytes]:
    while True:
        try:
            block = response.read1(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise _CutOff(one_line(error)) from error
        if not block:
            return
        yield block


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


# What tells the server which file the first part is of.


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.of")


def _validator(part: Path) -> str:
    try:
        text = _validator_file(part).read_bytes()[:200].decode("ascii")
    except (OSError, ValueError):
        return ""
    return text if re.fullmatch(r'"[^"\r\n]+"', text) else ""


def _remember_validator(part: Path, response):
    place, tag = _validator_file(part), response.headers.get("ETag", "")
    place.unlink(missing_ok=True)
    if re.fullmatch(r'"[!#-~]{1,150}"', tag):
        write_text(place, tag)
