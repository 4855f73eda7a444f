"""What keeping a moment costs: 5 s of 1080p, beside x264 ultrafast on the same frames in the same run.

    bench_clip.py [--frames 150]

Targets: the mux's CPU at most 0.03 of x264 ultrafast's; playable at most 0.3 s after the last frame that is needed.
Exit code 0: both are met.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from visualbase import jpeg
from visualbase.ring import RingReader, RingWriter
from visualbase.transcode import transcode
from visualpath.clip.files import ClipFolder
from visualpath.clip.order import ClipOrder
from visualpath.clip.recording import Recording
from visualpath_protocol.messages import FrameHeader, Trig, make_trig_id

WIDTH, HEIGHT, FPS = 1920, 1080, 30
FRAME_NS = 1_000_000_000 // FPS
MAX_SHARE, MAX_PLAYABLE_S = 0.03, 0.3


def pictures(count: int) -> Iterator[np.ndarray]:
    """Smooth shapes that move, under a sensor's noise: what is still or repeats itself would flatter x264."""
    chance = np.random.default_rng(7)
    coarse = chance.integers(30, 220, (HEIGHT // 40 + 2, (WIDTH + 6 * count) // 40 + 2, 3), dtype=np.uint8)
    scene = av.VideoFrame.from_ndarray(coarse, format="rgb24").reformat(
        width=coarse.shape[1] * 40, height=coarse.shape[0] * 40, interpolation="BICUBIC"
    )
    wide = scene.to_ndarray().astype(np.int16)
    grains = [chance.normal(0, 4, (HEIGHT, WIDTH, 1)).astype(np.int16) for _ in range(8)]
    for n in range(count):
        grain = np.roll(grains[n % 8], 97 * n, axis=0)
        yield np.clip(wide[:HEIGHT, 6 * n : 6 * n + WIDTH] + grain, 0, 255).astype(np.uint8)


def order(count: int) -> ClipOrder:
    trig = Trig(
        trig_id=make_trig_id("cam1", 1, "bench", 0), stream="cam1", epoch=1, label="bench", reason="", score=1.0,
        frame_id=0, t_start_ns=0, t_end_ns=0,
    )  # fmt: skip
    asked = 0, (count - 1) * FRAME_NS
    return ClipOrder(clip_id=trig.trig_id, stream="cam1", epoch=1, asked=asked, triggers=(trig,))


def fill_ring(folder: Path, jpegs: list[bytes]) -> list[FrameHeader]:
    with RingWriter(folder, "cam1", 1, max_seconds=60, max_bytes=1 << 30) as ring:
        return [
            ring.append(
                FrameHeader(
                    stream="cam1", epoch=1, frame_id=n, t_ns=n * FRAME_NS, wall_ns=time.time_ns(), mono_ns=0,
                    width=WIDTH, height=HEIGHT, payloads=[],
                ),
                data,
            )
            for n, data in enumerate(jpegs)
        ]  # fmt: skip


def keep(folder: Path, headers: list[FrameHeader], reader: RingReader) -> tuple[float, float, float]:
    """CPU s of taking all frames, CPU s of all, and s from the frame that completes the clip to its name."""
    recording = Recording(order(len(headers) - 1), FRAME_NS, reader, ClipFolder(folder))
    started = time.process_time()
    for header in headers[:-1]:
        recording.feed(header)
    complete = time.monotonic()
    assert recording.feed(headers[-1])
    muxed = time.process_time() - started
    recording.save()
    return muxed, time.process_time() - started, time.monotonic() - complete


def encode_ultrafast(path: Path, jpegs: list[bytes]) -> float:
    """CPU s of what a re-encoding recorder does, in all its threads; without decoding the JPEGs, in this one."""
    decoding = 0.0
    started = time.process_time()
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for n, data in enumerate(jpegs):
            before = time.thread_time()
            pixels = jpeg.decode(data, width_at_least=None, pixel_format="bgr")
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24").reformat(format="yuv420p")
            decoding += time.thread_time() - before
            frame.pts, frame.time_base = n, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return time.process_time() - started - decoding


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=5 * FPS)
    jpegs = [jpeg.encode(frame) for frame in pictures(parser.parse_args().frames + 1)]
    with tempfile.TemporaryDirectory(prefix="vp-bench-") as name:
        folder = Path(name)
        headers = fill_ring(folder / "ring", jpegs)
        with RingReader(folder / "ring", "cam1") as reader:
            rounds = [keep(folder / f"clips{n}", headers, reader) for n in range(3)]
        muxed_s, kept_s, playable_s = (sorted(column)[1] for column in zip(*rounds, strict=True))
        x264_s = encode_ultrafast(folder / "x264.mp4", jpegs[:-1])
        [clip] = (folder / "clips0").glob("*/*.mp4")
        started = time.process_time()
        transcode(clip, folder / "h264.mp4")
        h264_s = time.process_time() - started
        h264_bytes = (folder / "h264.mp4").stat().st_size
    seconds = (len(jpegs) - 1) / FPS
    share = muxed_s / x264_s
    print(f"{seconds:g} s of {WIDTH}x{HEIGHT} at {FPS} fps, {sum(map(len, jpegs)) // len(jpegs) >> 10} KiB a JPEG")
    print(f"mux: {muxed_s:.3f} CPU s = {share:.4f} of x264 ultrafast ({x264_s:.2f} CPU s); target {MAX_SHARE}")
    print(f"with sum, sync and sidecar: {kept_s:.3f} CPU s = {kept_s / x264_s:.4f}")
    print(f"playable {playable_s:.3f} s after the last needed frame; target {MAX_PLAYABLE_S}")
    print(f"in the background: H.264 {h264_s:.2f} CPU s = {h264_s / x264_s:.2f}; "
          f"{h264_bytes / sum(map(len, jpegs)):.3f} of the bytes")  # fmt: skip
    return 0 if share <= MAX_SHARE and playable_s <= MAX_PLAYABLE_S else 1


if __name__ == "__main__":
    sys.exit(main())
