"""The process behind a worker: how it is started, spoken to, and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visualbase.frame import Frame
from visualpath.core.errors import PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.process.channel import Channel, Work, bodies, packed
from visualpath.process.mailbox import Seen
from visualpath.process.output import OutputDrain
from visualpath.process.view import AnyFrame

STOP_PATIENCE_S = 2.0
"""How long a child may take to close its models."""
LAST_WORDS_S = 1.0


class ChildProcess:
    """One child, running.

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
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
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
        self.sock.close()  # which tells it to end
        if orderly:
            try:
                self._process.wait(STOP_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        else:
            self._process.kill()
        self._process.wait()
        os.close(self.pidfd)

    def obituary(self) -> str:
        """How it ended, and what it said last; for a child that has ended or is about to."""
        try:
            code = self._process.wait(LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            return "its process closed the connection"
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        words = self._output.last_words(LAST_WORDS_S)
        return f"its process ended: {how}" + (f"; it said last:\n{words}" if words else "")


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
    """
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
    picture = frame.data.data.cast("B") if isinstance(frame, Frame) else frame.jpeg
    return packed(work, picture)
