"""`python -m visualpath.process.child`: the process of a worker; it hosts one extractor until its parent goes.

It speaks over the socket whose number it is given (see `channel`). What a plug-in prints goes to the parent's log.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

from visualbase.frame import Frame
from visualpath.core.errors import PluginError, told
from visualpath.core.extractor import BaseExtractor
from visualpath.plugin.discovery import load_extractor
from visualpath.process.channel import (
    FROM_PARENT,
    CannotStart,
    Channel,
    ChannelClosed,
    Done,
    Failed,
    Hello,
    Work,
    bodies,
    observed,
    packed,
)
from visualpath.process.view import AnyFrame, JpegFrame
from visualpath.process.worker import InlineWorker, WorkerResult, with_traceback
from visualpath_protocol.codec import pack
from visualpath_protocol.messages import ObservationBody

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def main(argv: list[str] | None = None) -> int:
    """Entry point; exit status 1: the extractor cannot be used."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True, help="of the socket to the parent")
    parser.add_argument("--extractor", required=True, help="an entry point's name, or module:Class")
    parser.add_argument("--source", required=True, help="the name its observations carry")
    parser.add_argument("--config", default="{}", help="JSON")
    args = parser.parse_args(argv)
    # An inference that hangs would outlive a parent that is killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with socket.socket(fileno=args.fd) as sock:
        if _parent_has_gone(sock):
            return 0
        try:
            worker = InlineWorker(find(args.extractor), json.loads(args.config), args.source)
        except PluginError as error:
            Channel(sock).send(packed(CannotStart(error=with_traceback(error))))
            return 1
        with worker, suppress(ChannelClosed):
            serve(Channel(sock), worker)
    return 0


def _parent_has_gone(sock: socket.socket) -> bool:
    """Whether it went before the kernel knew that this process ends with it."""
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def find(name: str) -> type[BaseExtractor]:
    """The extractor of an entry point, or at `module:Class`.

    Raises:
        PluginError: it is not there, or cannot be imported.
    """
    module, mark, attribute = name.partition(":")
    if not mark:
        return load_extractor(name)
    try:
        found = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise PluginError(f"extractor {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, BaseExtractor)):
        raise PluginError(f"{name!r} is no BaseExtractor")
    return found


def serve(parent: Channel, worker: InlineWorker) -> None:
    """Work until the parent has gone, which ends it by ChannelClosed."""
    parent.send(packed(Hello(version=worker.version, depends=worker.depends)))
    while (received := parent.receive()) is not None:
        work, picture = FROM_PARENT.decode(received[0]), received[1]
        seen = {source: observed(said, source, work.frame_id, work.t_ns) for source, said in work.seen.items()}
        parent.send(answer(work.number, worker.process(frame_of(work, picture), seen)))


def answer(number: int, result: WorkerResult) -> list[memoryview]:
    """A result as the bytes that go to the parent; what cannot be sent is an error, with the reason."""
    error = result.error
    if error is None:
        try:
            said: Any = pack(bodies(result.observations), list[ObservationBody])
            return packed(Done(number=number, observations=said, timing_ms=result.timing_ms))
        except Exception as reason:
            error = f"data cannot be sent: {told(reason)}"
    return packed(Failed(number=number, error=error, timing_ms=result.timing_ms))


def frame_of(work: Work, picture: bytearray) -> AnyFrame:
    """The frame that a request is about."""
    place = {
        "frame_id": work.frame_id,
        "t_ns": work.t_ns,
        "epoch": work.epoch,
        "wall_ns": work.wall_ns,
        "width": work.width,
        "height": work.height,
    }
    if work.kind == "jpeg":
        return JpegFrame(bytes(picture), stream=work.stream, **place)
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = np.frombuffer(picture, np.uint8).reshape(work.shape)
    return Frame(pixels, stream=work.stream, **place)


if __name__ == "__main__":
    sys.exit(main())
