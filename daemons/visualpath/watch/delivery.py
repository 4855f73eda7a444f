"""One attempt to tell one event: a command that is run, or an address that it is posted to.

What is said of a failure shows neither arguments, nor paths of addresses, nor headers: there may be secrets in them.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from visualpath.models.answer import Refused, asked_wait_s, meaning, phrase
from visualpath.models.fetch import AGAIN, connections
from visualpath.runtime.hooks import HookConfig
from visualpath_protocol.clock import NS_PER_S

LOOK_S = 0.1
"""How often it is looked whether a command has ended."""
NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""A command must not speak to systemd in the daemon's name."""

Event = Mapping[str, Any]

logging.getLogger("urllib3").setLevel(logging.INFO)  # below that it tells the paths of addresses


class Untold(Exception):
    """This attempt failed.

    Args:
        again: whether another may not.
        wait_s: when the other side says it may be asked again.
    """

    def __init__(self, message: str, *, again: bool = True, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.again = again
        self.wait_s = wait_s


def address_of(hook: HookConfig) -> str:
    """Whom a hook tells, for people."""
    if hook.exec:
        return hook.exec[0]
    parts = urlsplit(hook.webhook)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def deliver(hook: HookConfig, event: Event, folder: Path, stopping: threading.Event) -> None:
    """Tell it once.

    Args:
        folder: in which a command is run.
        stopping: ends a command that runs.

    Raises:
        Untold: it was not told, as far as can be known.
    """
    body = json.dumps(event).encode() + b"\n"
    if hook.exec:
        _run(hook, event, body, folder, stopping)
    else:
        _post(hook, body)


def _run(hook: HookConfig, event: Event, body: bytes, folder: Path, stopping: threading.Event) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    environ |= {f"VP_{key.upper()}": str(value).replace("\0", " ") for key, value in event.items()}
    try:
        process = subprocess.Popen(
            hook.exec,
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            start_new_session=True,
        )
    except OSError as error:
        raise Untold(f"cannot be run: {error.strerror}") from error
    try:
        _feed(process, body)
        code = _await(process, hook.timeout_ns / NS_PER_S, stopping)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if code:
        raise Untold(f"killed by {_signal(-code)}" if code < 0 else f"exit status {code}")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of those for real time have none
        return f"signal {number}"


def _feed(process: subprocess.Popen[bytes], body: bytes) -> None:
    """An event fits into the pipe, so that nothing waits for a command that does not read."""
    assert process.stdin is not None
    try:
        with process.stdin as pipe:
            pipe.write(body)
    except BrokenPipeError:
        return  # it has what it wanted from its environment


def _await(process: subprocess.Popen[bytes], timeout_s: float, stopping: threading.Event) -> int:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            if stopping.is_set():
                raise Untold("stopped in the middle of it") from None
            if time.monotonic() > deadline:
                raise Untold(f"no end after {timeout_s:g} s: killed") from None


def _post(hook: HookConfig, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "visualpath", **hook.headers}
    timeout_s = hook.timeout_ns / NS_PER_S
    try:
        with connections(hook.webhook, urllib3.Timeout(total=timeout_s)) as pools, _cut_after(timeout_s, pools, hook):
            response = pools.request(
                "POST", hook.webhook, body=body, headers=headers, preload_content=False, retries=False, redirect=False
            )
            status, wait_s = response.status, asked_wait_s(response)
            response.close()  # nobody reads what it says beside its status
    except Refused as error:
        raise Untold(str(error)) from error
    except urllib3.exceptions.HTTPError as error:
        raise Untold(_meaning(error)) from None  # its own text has the address
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        again = status in AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        raise Untold(phrase(status), again=again, wait_s=wait_s)


@contextmanager
def _cut_after(timeout_s: float, pools: urllib3.PoolManager, hook: HookConfig) -> Iterator[None]:
    """Cut the line then: the library's own timeout begins anew with every byte that comes."""
    pool = pools.connection_from_url(hook.webhook)
    make: Any = pool.ConnectionCls
    made: list[Any] = []
    is_late = threading.Event()

    def make_and_keep(**options: Any) -> Any:
        made.append(make(**options))
        return made[-1]

    def cut() -> None:
        is_late.set()
        for line in [connection.sock for connection in made if connection.sock is not None]:
            with suppress(OSError):  # it has ended
                socket.socket.shutdown(line, socket.SHUT_RDWR)

    pool.ConnectionCls = make_and_keep  # type: ignore[assignment]
    timer = threading.Timer(timeout_s, cut)
    timer.start()
    try:
        yield
    except urllib3.exceptions.HTTPError:
        if is_late.is_set():
            raise Untold(f"nothing came in time: no whole answer after {timeout_s:g} s") from None
        raise
    finally:
        timer.cancel()


def _meaning(error: urllib3.exceptions.HTTPError) -> str:
    """Without what the server wrote: it may be what it was sent, and that has the address."""
    causes = [each for each in error.args if isinstance(each, http.client.HTTPException)]
    if any(isinstance(each, http.client.RemoteDisconnected) for each in causes):
        return "it has hung up without an answer"
    if causes:
        return "its answer is no HTTP, or too long"
    return str(meaning(error))
