"""One file from the network, by HTTP: resumed where it stopped, tried again, from several mirrors.

What has come lies in a `.part` file until somebody has checked it. Only what the server says is judged here (status,
length, whether it is the same file as before); the content is not.
"""

from __future__ import annotations

import errno
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import msgspec
import urllib3
from urllib3.util import Retry, Timeout, make_headers, parse_url

from visualpath.core.errors import ModelError
from visualpath.models.answer import (
    Broken,
    Refused,
    asked_wait_s,
    left_https,
    mark,
    meaning,
    phrase,
    shown,
    told_length,
)
from visualpath.models.manifest import Expected

BLOCK_BYTES = 256 << 10
MEBIBYTE = 1 << 20
PROGRESS_BYTES = 1 << 20
"""An attempt that brought so much more than was ever there begins the count of attempts anew."""
AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
MAX_REDIRECTS = 5


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds, and how often to try."""

    connect_s: float = 10.0
    silence_s: float = 30.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    attempts: int = 6

    def wait_s(self, failures: int, asked_s: float) -> float:
        """Before the next attempt: doubled each time, or what the server asked for."""
        return min(max(self.first_wait_s * 2.0 ** (failures - 1), asked_s), self.longest_wait_s)


@dataclass(frozen=True)
class Watch:
    """Who is told: `progress` the bytes there are, and of how many (None: not known); `note` what went wrong."""

    progress: Callable[[int, int | None], None] = lambda _there, _all: None
    note: Callable[[str], None] = lambda _text: None


class Start(msgspec.Struct, frozen=True):
    """Where a part began to come from, and the server's mark of that file: an ETag, a date, or ""."""

    url: str
    mark: str


@dataclass
class Fetch:
    """Brings one file into `part`, going on with what lies there.

    Args:
        part: the file that grows; `start`, beside it, says where it is from.
        expected: what the manifest says of the whole.
    """

    part: Path
    start: Path
    expected: Expected
    watch: Watch = field(default_factory=Watch)
    patience: Patience = field(default_factory=Patience)

    def run(self, urls: Sequence[str]) -> str:
        """Fetch it; returns the URL that gave its end.

        Raises:
            ModelError: no URL gives it; what has come stays.
            OSError: the disk refuses; the same, but of a full disk, which is given back what was taken.
        """
        if self.expected.size_bytes is not None and self.here_bytes() == self.expected.size_bytes:
            return self._began().url
        left, refusals, failures, most_bytes = list(dict.fromkeys(urls)), [], 0, self.here_bytes()
        while left:
            url = left[failures % len(left)]
            try:
                self._attempt(url)
                return url
            except Refused as error:
                left.remove(url)
                refusals.append(f"{shown(url)}: {error}")
                self.watch.note(refusals[-1])
            except Broken as error:
                failures = 1 if self.here_bytes() - most_bytes >= PROGRESS_BYTES else failures + 1
                most_bytes = max(most_bytes, self.here_bytes())
                if failures >= self.patience.attempts:
                    raise ModelError(f"{shown(url)}: {error}; given up after {failures} attempts in a row") from error
                wait_s = self.patience.wait_s(failures, error.wait_s)
                from_on = f"tried again in {wait_s:.1f} s, from {self.here_bytes()} bytes on"
                self.watch.note(f"{shown(url)}: {error}; {from_on}")
                time.sleep(wait_s)
        raise ModelError("; ".join(refusals))

    def here_bytes(self) -> int:
        """How much has come."""
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        """Begin anew next time."""
        self.part.unlink(missing_ok=True)
        self.start.unlink(missing_ok=True)

    def _attempt(self, url: str) -> None:
        """Ask once, and take what comes.

        Raises:
            Broken, Refused, OSError.
        """
        offset, headers = self._resumed(url)
        with connections(url, Timeout(connect=self.patience.connect_s, read=self.patience.silence_s)) as pool:
            try:
                response = pool.request(
                    "GET",
                    url,
                    headers={"Accept-Encoding": "identity", "User-Agent": "visualpath", **headers},
                    preload_content=False,
                    retries=Retry(None, connect=0, read=0, other=0, redirect=MAX_REDIRECTS),
                )
            except urllib3.exceptions.HTTPError as error:
                raise meaning(error) from error
            with closing(response):
                offset = self._judge(response, offset)
                if offset == 0:
                    self.start.write_bytes(msgspec.json.encode(Start(url, mark(response))))
                self._take(response, offset)

    def _resumed(self, url: str) -> tuple[int, dict[str, str]]:
        """How much of what is here can be kept, and the headers that ask for the rest."""
        offset, began = self.here_bytes(), self._began()
        if offset == 0 or (self.expected.size_bytes is not None and offset > self.expected.size_bytes):
            return 0, {}
        same = {"If-Range": began.mark} if began.url == url and began.mark else {}
        if not same and self.expected.sha256 is None:
            return 0, {}  # nobody could tell whether the two halves are of one file
        return offset, {"Range": f"bytes={offset}-", **same}

    def _began(self) -> Start:
        try:
            return msgspec.json.decode(self.start.read_bytes(), type=Start)
        except (FileNotFoundError, msgspec.MsgspecError):
            return Start("", "")

    def _judge(self, response: urllib3.BaseHTTPResponse, offset: int) -> int:
        """From which byte on the answer is; it is one that can be taken."""
        status = response.status
        if left_https(response):
            raise Refused("leads from https to http, where anybody on the way could change the file")
        if status in AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Broken(phrase(status), asked_wait_s(response))
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.forget()
            raise Broken("the server has less than has come: begun anew")
        if status == HTTPStatus.PARTIAL_CONTENT:
            first = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if first is None or int(first[1]) != offset:
                self.forget()
                raise Broken("the server gave another part than was asked for: begun anew")
            self.watch.note(f"goes on from {offset / MEBIBYTE:.1f} MiB, which were here already")
        elif status != HTTPStatus.OK:
            raise Refused(phrase(status))
        elif offset:
            self.watch.note("the server does not resume, or the file has changed: begun anew")
            offset = 0
        self._judge_kind(response, offset)
        return offset

    def _judge_kind(self, response: urllib3.BaseHTTPResponse, offset: int) -> None:
        length, whole = told_length(response), self.expected.size_bytes
        if whole is not None and length is not None and offset + length != whole:
            raise Refused(f"has {offset + length} bytes, the manifest says {whole}")
        free = shutil.disk_usage(self.part.parent).free + (self.here_bytes() - offset)
        if length is not None and length > free:
            raise Refused(f"has {length / MEBIBYTE:.0f} MiB to give, and {free / MEBIBYTE:.0f} MiB are free")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise Refused("gave a web page, not the file")

    def _take(self, response: urllib3.BaseHTTPResponse, offset: int) -> None:
        length = told_length(response)
        whole = offset + length if length is not None else self.expected.size_bytes
        try:
            there = self._write(response, offset, whole)
        except urllib3.exceptions.HTTPError as error:
            raise meaning(error) from error
        except OSError as error:
            if error.errno == errno.ENOSPC:  # a full disk is not to be filled with halves
                self.forget()
            raise OSError(error.errno, error.strerror, str(self.part)) from error
        if whole is not None and there < whole:
            raise Broken(f"cut off at {there} of {whole} bytes")

    def _write(self, response: urllib3.BaseHTTPResponse, offset: int, whole: int | None) -> int:
        """Append what comes; returns how much there is then."""
        there = offset
        with self.part.open("ab" if offset else "wb") as out:
            self.watch.progress(there, whole)
            while block := response.read1(BLOCK_BYTES):  # read() would throw away the last of a cut connection
                there += len(block)
                if whole is not None and there > whole:
                    self.forget()
                    raise Refused(f"gives more than the {whole} bytes that it should have")
                out.write(block)
                self.watch.progress(there, whole)
        return there


def connections(url: str, timeout: Timeout) -> urllib3.PoolManager:
    """Connections to a server, through the proxy that the environment names (http_proxy, https_proxy, no_proxy).

    Raises:
        Refused: the proxy is of no kind that is spoken here.
    """
    address, proxies = parse_url(url), getproxies()
    proxy = proxies.get(address.scheme or "", proxies.get("all", ""))
    if not proxy or proxy_bypass(address.netloc or ""):
        return urllib3.PoolManager(timeout=timeout)
    at = parse_url(proxy if "://" in proxy else f"http://{proxy}")
    headers = make_headers(proxy_basic_auth=unquote(at.auth)) if at.auth else {}
    try:
        return urllib3.ProxyManager(at._replace(auth=None).url, proxy_headers=headers, timeout=timeout)
    except urllib3.exceptions.ProxySchemeUnknown:
        raise Refused(
            f"the proxy {at.scheme}://{at.netloc} is of no kind that is spoken here: name one of http"
        ) from None
