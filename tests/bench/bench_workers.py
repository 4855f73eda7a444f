"""What a worker costs: the round trip of a 720p frame to an extractor that does nothing, at every level of isolation.

    bench_workers.py [--frames 300]

Beside each stands the floor, measured in turns with it: the same bytes over a bare socket pair to a bare process, which
reads them and answers with one byte. JPEG frames are decoded at every level, so there the floor decodes too; what
remains is what the worker adds. The exit code is 1 if a worker is slower than the original, or uses more CPU.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from idle import Idle

from visualbase import jpeg
from visualbase.frame import Frame
from visualpath.core.isolation import IsolationLevel
from visualpath.process import BaseWorker, WorkerLauncher
from visualpath.process.view import AnyFrame, JpegFrame

WIDTH, HEIGHT = 1280, 720
ORIGINAL_P50_MS, ORIGINAL_CPU_MS = 13.6, 12.4
"""Of the original's worker, one by one: its round trip, and the CPU of parent and child for a frame."""
BLOCK = 50
"""Frames after which another takes its turn."""
IN_FLIGHT = 4
LENGTH_BYTES = 4
VENV = Path(sys.prefix).parent / "light"
"""Another than this one, built by `make venvs`."""


@dataclass(slots=True)
class Figures:
    """Of one way to look at frames; `took_ms` has the round trip of each."""

    took_ms: list[float]
    wall_s: float = 0.0
    parent_ms: float = 0.0
    child_ms: float = 0.0

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.took_ms, n=100, method="inclusive")[percent - 1]

    @property
    def cpu_ms(self) -> float:
        """CPU of both processes for a frame."""
        return (self.parent_ms + self.child_ms) / len(self.took_ms)


Look = Callable[[], Future[Any]]


class Floor:
    """A bare process at the other end of a bare socket pair; answers one byte to the bytes of one frame."""

    def __init__(self, frame: AnyFrame) -> None:
        self._data = frame.data.tobytes() if isinstance(frame, Frame) else frame.jpeg
        self._decodes = isinstance(frame, JpegFrame)
        self._sock, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            self._sock.close()
            self._serve(theirs)
            os._exit(0)
        theirs.close()

    def look(self) -> Future[Any]:
        self._sock.sendall(len(self._data).to_bytes(LENGTH_BYTES, "big"))
        self._sock.sendall(self._data)
        done: Future[Any] = Future()
        done.set_result(self._sock.recv(1))
        return done

    def close(self) -> None:
        self._sock.close()
        os.waitpid(self.pid, 0)

    def _serve(self, sock: socket.socket) -> None:
        while length := sock.recv(LENGTH_BYTES, socket.MSG_WAITALL):
            data = bytearray(int.from_bytes(length, "big"))
            rest = memoryview(data)
            while rest:
                rest = rest[sock.recv_into(rest) :]
            if self._decodes:
                jpeg.decode(bytes(data), width_at_least=None, pixel_format="bgr")
            sock.send(b".")


def child_of(worker: BaseWorker) -> int | None:
    """The pid of its process: the one child of the threads that bear its name."""
    for thread in threading.enumerate():
        if thread.name == f"worker-{worker.source}" and thread.native_id is not None:
            children = Path(f"/proc/self/task/{thread.native_id}/children").read_text().split()
            return int(children[0]) if children else None
    return None


def cpu_ms(pid: int | None) -> float:
    """CPU time of another process so far, all threads that run; 0 if there is none."""
    if pid is None:
        return 0.0
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def run(look: Look, pid: int | None, in_flight: int, frames: int, figures: Figures) -> None:
    """So many frames, of which so many are in work at once."""
    began, parent, child = time.perf_counter(), time.process_time_ns(), cpu_ms(pid)
    waiting: list[tuple[int, Future[Any]]] = []
    for number in range(frames + in_flight - 1):
        if number < frames:
            waiting.append((time.perf_counter_ns(), look()))
        if number >= in_flight - 1:
            started, future = waiting.pop(0)
            future.result()
            figures.took_ms.append((time.perf_counter_ns() - started) / 1e6)
    figures.wall_s += time.perf_counter() - began
    figures.parent_ms += (time.process_time_ns() - parent) / 1e6
    figures.child_ms += cpu_ms(pid) - child


def looking(worker: BaseWorker, frame: AnyFrame) -> Look:
    def look() -> Future[Any]:
        return worker.process_async(frame)

    return look


def pictures() -> Iterator[tuple[str, AnyFrame]]:
    """A gradient with some noise: a JPEG of it is about as large as one of a real scene."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    noise = np.random.default_rng(0).integers(0, 24, (HEIGHT, WIDTH))
    rgb = np.stack([rows % 256, columns % 256, noise + 100], axis=-1).astype(np.uint8)
    yield "pixels", Frame(np.ascontiguousarray(rgb[:, :, ::-1]), 0, 0, width=WIDTH, height=HEIGHT)
    yield "jpeg", JpegFrame(jpeg.encode(rgb), 0, 0, width=WIDTH, height=HEIGHT)


def measure(frame: AnyFrame, frames: int) -> dict[str, Figures]:
    """All ways, in turns, by name."""
    with ExitStack() as open_:
        floor = Floor(frame)  # first: it forks, and there are no threads yet
        open_.callback(floor.close)
        ways: dict[str, tuple[Look, int | None, int]] = {"floor": (floor.look, floor.pid, 1)}
        for level in IsolationLevel:
            worker = open_.enter_context(WorkerLauncher.create(Idle, level, VENV, source=level.value, fallback=False))
            look, pid = looking(worker, frame), child_of(worker)
            ways[level.value] = look, pid, 1
            if level is not IsolationLevel.INLINE:
                ways[f"{level.value}, {IN_FLIGHT} in flight"] = look, pid, IN_FLIGHT
        found = {name: Figures([]) for name in ways}
        for look, pid, in_flight in ways.values():
            run(look, pid, in_flight, BLOCK, Figures([]))
        for _ in range(0, frames, BLOCK):
            for name, (look, pid, in_flight) in ways.items():
                run(look, pid, in_flight, BLOCK, found[name])
    return found


def report(found: dict[str, Figures]) -> Iterator[tuple[str, bool]]:
    floor = found["floor"]
    print("                       p50 ms  p99 ms  frames/s   CPU ms a frame   |  of the floor's  |  of the original's")
    print("                                                 parent    child   |    p50      CPU  |     p50       CPU")
    for name, each in found.items():
        count, p50 = len(each.took_ms), each.percentile(50)
        print(
            f"{name:22}{p50:7.2f}{each.percentile(99):8.2f}{count / each.wall_s:10.0f}"
            f"{each.parent_ms / count:9.2f}{each.child_ms / count:9.2f}   |"
            f"{p50 / floor.percentile(50):7.2f}{each.cpu_ms / floor.cpu_ms:9.2f}  |"
            f"{p50 / ORIGINAL_P50_MS:8.2f}{each.cpu_ms / ORIGINAL_CPU_MS:10.2f}"
        )
    for name in (IsolationLevel.PROCESS.value, IsolationLevel.VENV.value):
        p50, cpu = found[name].percentile(50), found[name].cpu_ms
        yield f"{name}: p50 {p50:.1f} ms, the original {ORIGINAL_P50_MS}", p50 < ORIGINAL_P50_MS
        yield f"{name}: CPU {cpu:.1f} ms a frame, the original {ORIGINAL_CPU_MS}", cpu < ORIGINAL_CPU_MS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=300, help="of each way (default: 300)")
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where the other venv finds `idle`
    verdicts = []
    for kind, frame in pictures():
        size = frame.data.nbytes if isinstance(frame, Frame) else len(frame.jpeg)
        turns = f"{args.frames} frames each way, in turns of {BLOCK}"
        print(f"\n{WIDTH}x{HEIGHT} as {kind}, {size / 1e6:.2f} MB; {turns}; load {os.getloadavg()[0]:.1f}")
        verdicts += [(f"{kind}, {text}", met) for text, met in report(measure(frame, args.frames))]
    print()
    for target, met in verdicts:
        print(f"{'met   ' if met else 'MISSED'}  {target}")
    return 0 if all(met for _, met in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
