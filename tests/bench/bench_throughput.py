"""Fusion over real sockets with four pushers: what decoding, and aligning and deciding, cost beside bare receiving.

Run: python tests/bench/bench_throughput.py [--frames N] [--rounds R]

Four processes push OBS of the same frames as fast as they are taken, over ipc. They are received three ways in turn:
by a bare loop of recv; by the daemons' poll loop with typed decoding; and by the fusion daemon as it runs on the box,
with sequence accounting, rate caps, alignment, two rules, counters and the record. The ratios of one run decide; rates
are for orientation, on whatever machine this is. Exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import zmq

from visualpath.core.errors import Unreachable
from visualpath.runtime.config import Config, load_config
from visualpath.runtime.control import ControlClient
from visualpath.runtime.service import Service
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.endpoints import FUSION
from visualpath_protocol.messages import Bound, Bye, Obs, ObservationBody, Ping, Skip
from visualpath_protocol.sockets import OBSERVATIONS, connect

SOURCES = ("face", "pose", "gesture", "quality")
STEP = 50
"""Frames that one pusher may be ahead of another."""
PUSHER_HWM = 1000
"""An extractor has 100 and drops what is more; the pushers wait instead, and should not wait often."""
FRAME_NS = 1_000_000_000 // 30
TARGETS = {"received and decoded": 100_000, "through aligner and rules": 40_000}
TIMEOUT_S = 60.0

CONFIG = """
run_dir: run
streams: {cam1: {source: none.mp4, pace: fast}}
extractors: {face: {}, pose: {}, gesture: {}, quality: {}}
fusion:
  max_rate: 10000000
  rules:
    - {label: never, when: {all: [face.count >= 2, pose.count >= 1]}, for: 500ms}
    - {label: nor, when: {any: [gesture.confidence >= 0.95, quality.blur >= 0.9]}}
log: {level: error}
"""


def push(address: str, source: str, frames: int, ready: Barrier, together: Barrier, taken: Event) -> None:
    """A pusher's process: shows itself, then sends everything, encoded before, in step with the others."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = replace(OBSERVATIONS, hwm=PUSHER_HWM)
    socket = connect(context, link, address)
    socket.send(encode(Ping(source=source, instance="i1", streams=["cam1"], state="ready")))
    messages = [encode(observation(source, frame_id)) for frame_id in range(frames)]
    ready.wait()
    for start in range(0, frames, STEP):
        together.wait()
        for message in messages[start : start + STEP]:
            socket.send(message)
    taken.wait()
    socket.close()
    context.term()


def observation(source: str, frame_id: int) -> Obs:
    """As a detector sends it: three signals, two timings, 200 bytes."""
    t_ns = frame_id * FRAME_NS
    signals = {"count": 1.0, "confidence": 0.9, "blur": 0.1}
    return Obs(
        source=source, instance="i1", seq=frame_id, stream="cam1", epoch=0, frame_id=frame_id, t_ns=t_ns, mono_ns=t_ns,
        observations=[ObservationBody(signals=signals)], bound_ns=t_ns, timing={"decode_ms": 1.5, "extract_ms": 20.0},
    )  # fmt: skip


@contextmanager
def pushers(config: Config, frames: int) -> Iterator[Callable[[], None]]:
    """Four pushers, ready; gives what lets them go."""
    address = config.endpoints().address(FUSION, OBSERVATIONS.name)
    spawn = multiprocessing.get_context("spawn")
    ready, taken = spawn.Barrier(len(SOURCES) + 1), spawn.Event()
    together = spawn.Barrier(len(SOURCES))
    processes = [
        spawn.Process(target=push, args=(address, source, frames, ready, together, taken)) for source in SOURCES
    ]
    for process in processes:
        process.start()
    try:
        yield lambda: ready.wait(TIMEOUT_S) and None
        taken.set()
        for process in processes:
            process.join(TIMEOUT_S)
    finally:
        for process in processes:
            process.kill()
            process.join()


def receive_bare(config: Config, frames: int) -> float:
    """Nothing but recv: what ZeroMQ and pyzmq cost. Returns seconds, as the others do."""
    with closing(Service(FUSION, config)) as service:
        socket = service.bind(OBSERVATIONS)
        left = frames * len(SOURCES) + len(SOURCES)  # each sends a PING first
        with pushers(config, frames) as go:
            started = time.perf_counter()
            go()
            while left:
                try:
                    socket.recv_multipart(zmq.NOBLOCK)
                    left -= 1
                except zmq.Again:
                    socket.poll()
            return time.perf_counter() - started


def receive_decoded(config: Config, frames: int) -> float:
    """The poll loop, and every message decoded and validated."""
    with closing(Service(FUSION, config)) as service:
        codec = Codec(Obs, Skip, Bound, Ping, Bye, max_bytes=OBSERVATIONS.max_bytes)
        left = frames * len(SOURCES)

        def on_parts(parts: list[bytes]) -> None:
            nonlocal left
            left -= isinstance(service.decode(codec, parts[-1], "obs"), Obs)
            if not left:
                service.loop.stop()

        service.loop.watch(service.bind(OBSERVATIONS), on_parts)
        with pushers(config, frames) as go:
            started = time.perf_counter()
            go()
            service.loop.run()
            return time.perf_counter() - started


def receive_fused(config: Config, frames: int) -> float:
    """The fusion daemon in its own process. Every frame must become a complete set of all sources."""
    daemon = subprocess.Popen([sys.executable, "-m", "visualpath.fusion", "--config", str(config.path)])
    try:
        with closing(ControlClient(config.endpoints())) as client:
            await_daemon(client)
            with pushers(config, frames) as go:
                await_status(client, lambda status: len(status["sources"]) == len(SOURCES))
                started = time.perf_counter()
                go()
                counters = await_status(client, lambda status: status["counters"].get("sets", 0) >= frames)["counters"]
                took = time.perf_counter() - started
        if counters["sets.complete"] != frames or any(counters[f"fused.{source}"] != frames for source in SOURCES):
            raise SystemExit(f"not every frame became a complete set of all sources: {counters}")
        return took
    finally:
        daemon.terminate()
        daemon.wait(TIMEOUT_S)


def await_daemon(client: ControlClient) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            client.ask(FUSION, "status", timeout_ms=100)
        except Unreachable:
            continue
        return
    raise SystemExit("fusion does not answer")


def await_status(client: ControlClient, condition: Callable[[dict], bool]) -> dict:  # type: ignore[type-arg]
    """Asks every 20 ms: that is how exact the time is."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        status: dict = client.ask(FUSION, "status", timeout_ms=10_000)  # type: ignore[type-arg]
        if condition(status):
            return status
        time.sleep(0.02)
    raise SystemExit(f"not within {TIMEOUT_S:g} s; the last status: {status}")


WAYS: dict[str, Callable[[Config, int], float]] = {
    "bare recv": receive_bare,
    "received and decoded": receive_decoded,
    "through aligner and rules": receive_fused,
}


def measure(way: str, frames: int) -> float:
    """OBS a second."""
    folder = Path(tempfile.mkdtemp(prefix="vp-", dir="/tmp"))  # ipc paths are short
    (folder / "visualpath.yaml").write_text(CONFIG)
    try:
        return frames * len(SOURCES) / WAYS[way](load_config(folder / "visualpath.yaml"), frames)
    finally:
        shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=25_000, help="of each source")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(f"{len(SOURCES)} pushers x {args.frames} OBS, {args.rounds} rounds, load {os.getloadavg()[0]:.1f}")
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        for way in WAYS:
            rates[way].append(measure(way, args.frames))
    bare = statistics.median(rates["bare recv"])
    met = True
    for way, measured in rates.items():
        rate, target = statistics.median(measured), TARGETS.get(way)
        verdict = "" if target is None else f"  target {target}: {'met' if rate >= target else 'MISSED'}"
        met &= target is None or rate >= target
        print(f"{way:<28} {rate:>9.0f} OBS/s  {rate / bare:5.2f} of bare recv{verdict}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
