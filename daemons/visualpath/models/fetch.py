"""One file from the network, by HTTP: resumed where it stopped, tried again, from several mirrors.

What has come lies in a `.part` file until somebody has checked it. Only what the server says is judged here (status,
length, whether it is the same file as before); the content is not.
"""

from __future__ import annotations

import re
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
from visualpath.models.manifest import Expected

BLOCK_BYTES = 256 << 10
PROGRESS_BYTES = 1 << 20
"""An attempt that brought so much begins the count of attempts anew."""
AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
MAX_REDIRECTS = 5


class Refused(ModelError):
    """This server will not give the file; asking it again would not help."""


class Broken(Exception):
    """This attempt failed; another may not. `wait_s`: when the server says it may be asked again."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


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
            OSError: the disk refuses; the same.
        """
        if self.expected.size_bytes is not None and self.here_bytes() == self.expected.size_bytes:
            return self._began().url
        left, refusals, failures = list(dict.fromkeys(urls)), [], 0
        while left:
            url = left[failures % len(left)]
            before_bytes = self.here_bytes()
            try:
                self._attempt(url)
                return url
            except Refused as error:
                left.remove(url)
                refusals.append(f"{url}: {error}")
                self.watch.note(refusals[-1])
            except Broken as error:
                progressed = self.here_bytes() - before_bytes >= PROGRESS_BYTES
                failures = 1 if progressed else failures + 1
                if failures >= self.patience.attempts:
                    raise ModelError(f"{url}: {error}; given up after {failures} attempts in a row") from error
                wait_s = self.patience.wait_s(failures, error.wait_s)
                self.watch.note(f"{url}: {error}; tried again in {wait_s:.1f} s, from {self.here_bytes()} bytes on")
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
        with _pool(url, self.patience) as pool:
            try:
                response = pool.request(
                    "GET",
                    url,
                    headers={"Accept-Encoding": "identity", "User-Agent": "visualpath", **headers},
                    preload_content=False,
                    retries=Retry(None, connect=0, read=0, other=0, redirect=MAX_REDIRECTS),
                )
            except urllib3.exceptions.HTTPError as error:
                raise _failure(error) from error
            with closing(response):
                offset = self._judge(response, offset)
                if offset == 0:
                    self.start.write_bytes(msgspec.json.encode(Start(url, _mark(response))))
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
        if status in AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Broken(_status(status), Retry().get_retry_after(response) or 0.0)
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.forget()
            raise Broken("the server has less than has come: begun anew")
        if status == HTTPStatus.PARTIAL_CONTENT:
            first = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if first is None or int(first[1]) != offset:
                self.forget()
                raise Broken("the server gave another part than was asked for: begun anew")
        elif status != HTTPStatus.OK:
            raise Refused(_status(status))
        elif offset:
            self.watch.note("the server does not resume, or the file has changed: begun anew")
            offset = 0
        self._judge_kind(response, offset)
        return offset

    def _judge_kind(self, response: urllib3.BaseHTTPResponse, offset: int) -> None:
        length = response.headers.get("Content-Length", "")
        whole = self.expected.size_bytes
        if whole is not None and length.isdecimal() and offset + int(length) != whole:
            raise Refused(f"has {offset + int(length)} bytes, the manifest says {whole}")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise Refused("gave a web page, not the file")

    def _take(self, response: urllib3.BaseHTTPResponse, offset: int) -> None:
        length = response.headers.get("Content-Length", "")
        whole = offset + int(length) if length.isdecimal() else self.expected.size_bytes
        there = offset
        with self.part.open("ab" if offset else "wb") as out:
            self.watch.progress(there, whole)
            try:
                while block := response.read1(BLOCK_BYTES):  # read() would throw away the last of a cut connection
                    there += len(block)
                    if whole is not None and there > whole:
                        self.forget()
                        raise Refused(f"gives more than the {whole} bytes that it should have")
                    out.write(block)
                    self.watch.progress(there, whole)
            except urllib3.exceptions.HTTPError as error:
                raise _failure(error) from error
        if whole is not None and there < whole:
            raise Broken(f"cut off at {there} of {whole} bytes")


def _pool(url: str, patience: Patience) -> urllib3.PoolManager:
    """Connections to a server, through the proxy that the environment names (http_proxy, https_proxy, no_proxy)."""
    timeout = Timeout(connect=patience.connect_s, read=patience.silence_s)
    address, proxies = parse_url(url), getproxies()
    proxy = proxies.get(address.scheme or "", proxies.get("all", ""))
    if not proxy or proxy_bypass(address.netloc or ""):
        return urllib3.PoolManager(timeout=timeout)
    at = parse_url(proxy)
    headers = make_headers(proxy_basic_auth=unquote(at.auth)) if at.auth else {}
    try:
        return urllib3.ProxyManager(at._replace(auth=None).url, proxy_headers=headers, timeout=timeout)
    except urllib3.exceptions.ProxySchemeUnknown:
        raise Refused(
            f"the proxy {at.scheme}://{at.netloc} is of no kind that is spoken here: name one of http"
        ) from None


def _mark(response: urllib3.BaseHTTPResponse) -> str:
    """What a server knows this content by; a weak ETag does not promise the same bytes."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _status(status: int) -> str:
    phrase = next((known.phrase for known in HTTPStatus if known == status), "")
    return f"HTTP {status} {phrase}".rstrip()


def _failure(error: urllib3.exceptions.HTTPError) -> Refused | Broken:
    """What an error of the library means, without its inner names and addresses."""
    cause: Exception = (error.reason or error) if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    text = re.sub(r"^\w+\(.*?\): ", "", str(cause)) or type(cause).__name__
    if isinstance(cause, urllib3.exceptions.LocationValueError):
        return Refused(f"leads to what is no http(s) address: {text}")
    if isinstance(cause, urllib3.exceptions.SSLError):
        return Refused(f"{text}; $SSL_CERT_FILE may name the certificates that are trusted here")
    if isinstance(cause, urllib3.exceptions.TimeoutError):
        return Broken(f"nothing came in time: {text}")
    return Broken(text)
