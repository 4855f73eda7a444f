"""What a server's answer says, and what an error of the network means for the next attempt."""

from __future__ import annotations

import re
import ssl
from http import HTTPStatus
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import NewConnectionError  # a TimeoutError, though nothing was waited for
from urllib3.util import Retry

from visualpath.core.errors import ModelError


class Refused(ModelError):
    """This server will not give the file; asking it again would not help."""


class Broken(Exception):
    """This attempt failed; another may not. `wait_s`: when the server says it may be asked again."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def shown(url: str) -> str:
    """An address for people, without its query, in which a token may stand."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def left_https(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the way here went from https to http, on any redirect."""
    history = response.retries.history if response.retries is not None else ()
    was_safe = bool(history) and (history[0].url or "").startswith("https:")
    return was_safe and any((hop.redirect_location or "").lower().startswith("http:") for hop in history)


def told_length(response: urllib3.BaseHTTPResponse) -> int | None:
    """How many bytes the server says that it gives."""
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


def asked_wait_s(response: urllib3.BaseHTTPResponse) -> float:
    """How long the server wants to be left alone."""
    try:
        return Retry().get_retry_after(response) or 0.0
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):  # a number or a year with too many digits
        return 0.0


def mark(response: urllib3.BaseHTTPResponse) -> str:
    """What a server knows this content by; a weak ETag does not promise the same bytes."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def phrase(status: int) -> str:
    """A status for people."""
    known = next((known.phrase for known in HTTPStatus if known == status), "")
    return f"HTTP {status} {known}".rstrip()


def meaning(error: urllib3.exceptions.HTTPError) -> Refused | Broken:
    """What an error of the library means, without its inner names and addresses."""
    cause: Exception = (error.reason or error) if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    text = re.sub(r"^\w+\(.*?\): ", "", str(cause)) or type(cause).__name__
    if isinstance(cause, urllib3.exceptions.LocationValueError):
        return Refused("leads to what is no http(s) address")
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in cause.args):  # other SSLErrors are broken lines
        return Refused(f"{text}; $SSL_CERT_FILE may name the certificates that are trusted here")
    if isinstance(cause, urllib3.exceptions.TimeoutError) and not isinstance(cause, NewConnectionError):
        return Broken(f"nothing came in time: {text}")
    return Broken(text)
