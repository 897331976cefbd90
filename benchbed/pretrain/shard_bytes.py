"""The bytes of a shard from front to back: a file, a URL that may break off, or a command."""

import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

from benchbed.errors import DataError

URL_SCHEMES = ("https://", "http://")
TIMEOUT_S = 60.0
"""How long a server may say nothing."""
PAUSES_S = (1.0, 5.0, 20.0)
"""Waits before a URL is asked again; bytes that arrive start the count anew."""
PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)
"""HTTP answers that may be different a moment later (RFC 9110, RFC 6585, RFC 8470)."""
BUFFER = 1 << 18


@contextmanager
def opened_shard(shard: str) -> Iterator[BinaryIO]:
    """Open a shard for reading once.

    `https://…` and `http://…` go on where they broke off (by a range request, if the file is still
    the same). `pipe:COMMAND` runs COMMAND in the shell and reads what it prints: such a source is a
    program, to be trusted like one. Anything else is a path.

    Raises:
        DataError: missing, unreachable, changed on the way, or the command failed.
    """
    if shard.startswith("pipe:"):
        with _command(shard) as output:
            yield output
    elif shard.startswith(URL_SCHEMES):
        with BufferedReader(_Url(shard), BUFFER) as body:
            yield body
    else:
        try:
            file = Path(shard).open("rb")  # noqa: SIM115
        except OSError as error:
            raise DataError(
                f"{shard}: the shard cannot be read ({error.strerror}); put it back, or correct the"
                " pattern"
            ) from error
        with file:
            yield file


def read_url(url: str) -> bytes | None:
    """The whole body behind a URL, for small files; None where there is no such file (404).

    Raises:
        DataError: unreachable.
    """
    try:
        with BufferedReader(_Url(url), BUFFER) as body:
            return body.read()
    except DataError as error:
        if isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == 404:
            return None
        raise


class _Url(RawIOBase):
    """A body that is asked for again from where it broke off."""

    def __init__(self, url: str) -> None:
        self._url, self._at, self._failures = url, 0, 0
        self._version: tuple[str | None, str | None] | None = None
        self._response: HTTPResponse | None = None
        self._length: int | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while True:
            try:
                response = self._response or self._ask()
                count = response.readinto(buffer)
                if count or self._length is None or self._at >= self._length:
                    self._at += count
                    self._failures = 0 if count else self._failures
                    return count
                raise ConnectionError(f"broke off after {self._at} of {self._length} bytes")
            except (OSError, HTTPException) as error:
                self._drop()
                self._wait_or_give_up(error)

    def close(self) -> None:
        self._drop()
        super().close()

    def _ask(self) -> HTTPResponse:
        headers = {"User-Agent": "benchbed", "Accept-Encoding": "identity"}
        if self._at:
            headers["Range"] = f"bytes={self._at}-"
        request = urllib.request.Request(self._url, headers=headers)
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)
        self._response = response
        start = self._at if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        version = (response.headers.get("ETag"), response.headers.get("Last-Modified"))
        if self._version is None:
            self._version, self._length = version, total
        elif (version, total) != (self._version, self._length):
            raise DataError(f"{self._url}: the file changed while it was read; run again")
        for skipped in range(start, self._at, BUFFER):
            response.read(min(BUFFER, self._at - skipped))
        return response

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _wait_or_give_up(self, error: Exception) -> None:
        final = False
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            final = error.code not in PASSING_STATUS
        if final or self._failures == len(PAUSES_S):
            raise DataError(
                f"{self._url}: cannot be read ({error}); check the address and the connection, and"
                " run again"
            ) from error
        time.sleep(PAUSES_S[self._failures])
        self._failures += 1


@contextmanager
def _command(shard: str) -> Iterator[BinaryIO]:
    command = shard.removeprefix("pipe:")
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdout is not None
        try:
            yield cast(BinaryIO, process.stdout)
            # To the end, or the command dies of a closed pipe and seems to have failed.
            while process.stdout.read(BUFFER):
                pass
        except DataError as error:
            # If the command failed, a tar that breaks off is only what came of it.
            _require_success(shard, process, said, error)
            raise
        except BaseException:
            process.kill()
            raise
        _require_success(shard, process, said, None)


def _require_success(
    shard: str, process: "subprocess.Popen[bytes]", said: BinaryIO, error: Exception | None
) -> None:
    if process.stdout is not None:
        process.stdout.close()
    try:
        status = process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    # A reader that stopped early (an error of its own) closes the pipe on the command.
    stopped_early = error is not None and status in (-9, -13, 141)
    if status and not stopped_early:
        said.seek(0)
        lines = said.read()[-2000:].decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        raise DataError(
            f"{shard}: the command failed with status {status} ({last}); run it by hand to see why"
        ) from error
