"""The process behind a worker: how it is started, spoken to, and ended."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from visualbase.frame import Frame
from visualpath.core.errors import PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.process.channel import Channel, Work, bodies, packed
from visualpath.process.mailbox import Seen
from visualpath.process.output import OutputDrain
from visualpath.process.view import AnyFrame, check_pixels

STOP_PATIENCE_S = 2.0
"""How long a child may take to close its models."""
LAST_WORDS_S = 1.0


class ChildProcess:
    """One child, running, in a session of its own: Ctrl-C is for its parent, and what it starts can be ended with it.

    Args:
        command: from `child_command`.
        name: for the log.

    Raises:
        PluginError: the interpreter cannot be run.

    Attributes:
        channel: to it; does not block.
        sock: what the channel runs over.
        pidfd: becomes readable when the process has ended.
    """

    def __init__(self, command: list[str], name: str) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        self.channel = Channel(self.sock)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*command, "--fd", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **_import_path(command[0])},
                    start_new_session=True,
                )
            except OSError as error:
                self.sock.close()
                raise PluginError(f"worker {name!r}: {command[0]} cannot be run: {error.strerror}") from error
        assert self._process.stdout is not None, "a pipe was asked for"
        self.pidfd = os.pidfd_open(self._process.pid)
        self._output = OutputDrain(self._process.stdout, f"worker {name}")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def end(self, *, orderly: bool) -> None:
        """End it, wait for it, and let go of everything.

        Args:
            orderly: let it close its models first; else, or if that takes too long, it is killed.
        """
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # which tells it to end, also if a fork of this process has the socket
        self.sock.close()
        if orderly:
            self._ends_within(STOP_PATIENCE_S)
        self._kill()
        self._output.last_words(LAST_WORDS_S)
        os.close(self.pidfd)

    def obituary(self) -> str:
        """How it ended, and what it said last; for a child that has ended or is about to."""
        if not self._ends_within(LAST_WORDS_S):
            return "its process closed the connection"
        code = self._kill()
        how = f"killed by {_signal_name(-code)}" if code < 0 else f"exit status {code}"
        words = self._output.last_words(LAST_WORDS_S)
        return f"its process ended: {how}" + (f"; it said last:\n{words}" if words else "")

    def _ends_within(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _kill(self) -> int:
        """Kill it, if it has not ended, and all that it has started; its exit code."""
        if self._process.returncode is None:  # until then no other process can have its number
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        return self._process.wait()


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _import_path(python: str) -> dict[str, str]:
    """A child by the same Python imports what this process can, wherever that found it."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} if python == sys.executable else {}


def child_command(
    python: str | Path, extractor: type[BaseExtractor] | str, source: str, config: Mapping[str, Any]
) -> list[str]:
    """The command that starts a child.

    Raises:
        PluginError: the class has no name to import it by, or the configuration is no JSON.
    """
    if isinstance(extractor, str):
        name = extractor
    elif extractor.__module__ == "__main__" or "<locals>" in extractor.__qualname__:
        raise PluginError(
            f"{extractor.__qualname__} cannot be imported by another process: define it at the top of a module that is "
            "not the program itself"
        )
    else:
        name = f"{extractor.__module__}:{extractor.__qualname__}"
    try:
        text = json.dumps(dict(config))
    except (TypeError, ValueError) as error:
        raise PluginError(f"the configuration of {source!r} must be JSON values: {error}") from error
    module = ["-m", "visualpath.process.child"]
    return [str(python), *module, "--extractor", name, "--source", source, "--config", text]


def work_parts(number: int, frame: AnyFrame, seen: Seen) -> list[memoryview]:
    """A request as the bytes that go to a child.

    Raises:
        TypeError: something in it has no form on the wire.
        ValueError: the pixels are none.
    """
    if isinstance(frame, Frame):
        check_pixels(frame.data)
    work = Work(
        number=number,
        kind="pixels" if isinstance(frame, Frame) else "jpeg",
        shape=frame.data.shape if isinstance(frame, Frame) else (),
        frame_id=frame.frame_id,
        t_ns=frame.t_ns,
        stream=frame.stream,
        epoch=frame.epoch,
        wall_ns=frame.wall_ns,
        width=frame.width,
        height=frame.height,
        seen={source: bodies(observations) for source, observations in seen.items()},
    )
    picture = np.ascontiguousarray(frame.data).data.cast("B") if isinstance(frame, Frame) else frame.jpeg
    return packed(work, picture)
