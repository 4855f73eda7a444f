"""What tracing costs, by level: CPU of one frame's way through an extractor and fusion, beside the same without trace.

Run: python tests/bench/bench_trace.py [--rounds R]

A real path in one process, so that its CPU time can be read exactly: a 640x480 JPEG is decoded and looked at by the
lightest extractor there is (`quality`), reported over ipc by the extractor's reporter, received, aligned and decided
by the fusion daemon, and traced by both into files. The levels take turns in blocks of frames; the order is shuffled. A
heavier extractor makes every ratio smaller. Exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from facemoment.extractors.quality import QualityExtractor
from visualbase import jpeg
from visualbase.frame import Frame
from visualpath.extractor.reporter import Reporter
from visualpath.fusion.daemon import FusionDaemon
from visualpath.observability import TraceLevel
from visualpath.process.host import ExtractorHost
from visualpath.process.packing import pack_observations
from visualpath.runtime.config import load_config
from visualpath.runtime.service import Service
from visualpath_protocol.clock import mono_ns
from visualpath_protocol.endpoints import FUSION, extractor_daemon
from visualpath_protocol.messages import FrameHeader, Ping
from visualpath_protocol.sockets import OBSERVATIONS

TARGETS = {TraceLevel.MINIMAL: 0.01, TraceLevel.NORMAL: 0.05, TraceLevel.VERBOSE: 0.15}
FRAME_NS = 1_000_000_000 // 30
BLOCK = 50
WIDTH, HEIGHT = 640, 480

CONFIG = """
run_dir: run
streams: {cam1: {source: none.mp4, pace: fast}}
extractors: {quality: {}}
fusion:
  max_rate: 10000000
  rules: [{label: dark, when: quality.brightness <= 0.01}]
log: {level: error}
"""


class FramePath:
    """One frame's way, from its JPEG to its set."""

    def __init__(self, service: Service, fusion: Service) -> None:
        link = service.connect(OBSERVATIONS, FUSION)
        registration = Ping(source="quality", instance="i1", streams=["cam1"], state="ready")
        self._reporter = Reporter(service, link, registration)
        self._link = link
        self._counters = fusion.counters
        self._host = ExtractorHost(QualityExtractor, "quality", {})
        self._host.open()
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
        picture = np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)
        self._jpeg = jpeg.encode(picture)
        self._next_id = 0
        while not link.poll(0, 2):
            time.sleep(0.01)
        self._reporter.send_ping("ready", 0)

    def walk(self, frames: int) -> float:
        """CPU seconds of this process for so many frames, all threads."""
        started = time.process_time()
        for _ in range(frames):
            self._step()
        while self._counters["sets"] < self._next_id:
            time.sleep(0.001)
        return time.process_time() - started

    def _step(self) -> None:
        frame_id, self._next_id = self._next_id, self._next_id + 1
        header = FrameHeader(
            stream="cam1", epoch=0, frame_id=frame_id, t_ns=frame_id * FRAME_NS, wall_ns=0, mono_ns=mono_ns(),
            width=WIDTH, height=HEIGHT, payloads=[],
        )  # fmt: skip
        self._reporter.picked(header)
        started = time.perf_counter_ns()
        pixels = jpeg.decode(self._jpeg, width_at_least=QualityExtractor.input_width, pixel_format="gray")
        decode_ms = (time.perf_counter_ns() - started) / 1e6
        frame = Frame(
            data=pixels, frame_id=frame_id, t_ns=header.t_ns, stream="cam1", epoch=0, wall_ns=0, width=WIDTH,
            height=HEIGHT,
        )  # fmt: skip
        handled = self._host.handle(frame)
        timing = {"decode_ms": decode_ms, "extract_ms": handled.extract_ms}
        self._reporter.observed(header, pack_observations(handled.observations), timing)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=150, help=f"blocks of {BLOCK} frames for each level")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vp-", dir="/tmp"))  # ipc paths are short
    try:
        used = measure(folder, args.rounds)
    finally:
        shutil.rmtree(folder)
    print(f"{args.rounds} blocks of {BLOCK} frames for each level, load {os.getloadavg()[0]:.1f}")
    off, met = used[TraceLevel.OFF], True
    print(f"{'OFF':<8} {statistics.median(off) / BLOCK * 1e6:7.1f} us of CPU a frame")
    for level, target in TARGETS.items():
        # Blocks of one round are compared with each other, so that what the machine does meanwhile cancels out.
        over = statistics.median(mine / none - 1 for mine, none in zip(used[level], off, strict=True))
        met &= over < target
        print(f"{level.name:<8} {over:+7.2%} of OFF  target < {target:.0%}: {'met' if over < target else 'MISSED'}")
    return 0 if met else 1


def measure(folder: Path, rounds: int) -> dict[TraceLevel, list[float]]:
    """CPU seconds of each block, by level."""
    (folder / "visualpath.yaml").write_text(CONFIG)
    config = load_config(folder / "visualpath.yaml")
    used: dict[TraceLevel, list[float]] = {level: [] for level in TraceLevel}
    with (
        closing(Service(FUSION, config)) as fusion_service,
        closing(Service(extractor_daemon("quality"), config)) as service,
        closing(FusionDaemon(fusion_service)) as daemon,
    ):
        loop = threading.Thread(target=daemon.run)
        loop.start()
        path = FramePath(service, fusion_service)
        path.walk(BLOCK)
        levels = list(TraceLevel)
        for _ in range(rounds):
            random.shuffle(levels)
            for level in levels:
                for traced in (service, fusion_service):
                    traced.trace.configure(level=level)
                used[level].append(path.walk(BLOCK))
        fusion_service.loop.stop()
        loop.join()
    return used


if __name__ == "__main__":
    raise SystemExit(main())
