"""A clip of JPEGs into H.264 that every browser plays: frame for frame, each at its own time.

`python -m visualbase.transcode SOURCE TARGET PID` is how the daemon PID runs it: in a process of its own, at the lowest
priority. In a thread, the interpreter's lock would be held by something that the scheduler starves.
Exit codes: 0 done, 1 it cannot be done, 74 the disk is full; then a line on stderr says why.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from visualbase.errors import MuxError, NoSpace
from visualbase.mux import is_no_space

EXIT_FAILED = 1
EXIT_NO_SPACE = 74
LOWEST_PRIORITY = 19
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""

_TIME_BASE = Fraction(1, 1_000_000)
_BT601 = 6  # what JPEGs are in; unsaid, players take a large picture for BT.709
_LIMITED_RANGE = 1
_OPTIONS = {"preset": "veryfast", "crf": "23", "bf": "0"}
"""Without B-frames each time is in the file as it is; with them an edit list would shift all of them."""


def transcode(source: Path, target: Path) -> int:
    """Write `target`: H.264 in MP4, its index in front. Odd sizes get a further row or column.

    Returns:
        How many frames were written: as many as `source` has, each at the same time to 1 µs.

    Raises:
        MuxError: `source` cannot be read to its end, or `target` not be written.
        NoSpace: for want of room.
    """
    try:
        with (
            av.open(f"file:{source}") as reader,
            av.open(f"file:{target}", "w", format="mp4", options={"movflags": "faststart"}) as writer,
        ):
            return _encode(reader, writer)
    except (FFmpegError, OSError, IndexError) as error:
        kind = NoSpace if isinstance(error, (FFmpegError, OSError)) and is_no_space(error) else MuxError
        raise kind(f"{source} into {target.name}: {error}") from error


def _encode(reader: InputContainer, writer: OutputContainer) -> int:
    jpegs = reader.streams.video[0]
    h264 = _add_stream(writer, jpegs)
    graph = _graph(jpegs)
    ends: dict[int, int] = {}  # the encoder knows no durations
    expected = jpegs.frames
    written = 0
    for packet in reader.demux(jpegs):
        if packet.pts is not None and packet.duration:
            start = _ticks(packet.pts, packet.time_base)
            ends[start] = _ticks(packet.pts + packet.duration, packet.time_base)
        for frame in packet.decode():
            written += _write(writer, h264, ends, _converted(graph, frame))
    written += _write(writer, h264, ends, None)
    if written != expected:
        raise MuxError(f"{written} of {expected} frames could be encoded")
    return written


def _add_stream(writer: OutputContainer, jpegs: VideoStream) -> VideoStream:
    h264 = writer.add_stream("libx264", rate=jpegs.average_rate or 25, options=_OPTIONS)
    h264.width, h264.height = (size + size % 2 for size in (jpegs.width, jpegs.height))
    h264.pix_fmt = "yuv420p"
    h264.time_base = h264.codec_context.time_base = _TIME_BASE
    h264.codec_context.thread_count = 1  # never more than one core, however idle the machine
    h264.codec_context.color_range = _LIMITED_RANGE
    h264.codec_context.colorspace = _BT601
    return h264


def _graph(jpegs: VideoStream) -> Graph:
    """JPEG's full range, in whatever subsampling, to limited range 4:2:0 of an even size."""
    graph = Graph()
    chain: list[FilterContext] = [
        graph.add_buffer(template=jpegs, time_base=_TIME_BASE),
        graph.add("scale", "in_range=full:out_range=limited:out_color_matrix=bt601"),
        graph.add("format", "yuv420p"),
        graph.add("pad", "ceil(iw/2)*2:ceil(ih/2)*2"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*chain).configure()
    return graph


def _converted(graph: Graph, frame: VideoFrame) -> VideoFrame:
    assert frame.pts is not None
    assert frame.time_base is not None
    frame.pts, frame.time_base = _ticks(frame.pts, frame.time_base), _TIME_BASE
    graph.push(frame)
    converted = graph.pull()
    assert isinstance(converted, VideoFrame)
    converted.pict_type = av.video.frame.PictureType.NONE  # every JPEG is a keyframe; not every H.264 picture
    return converted


def _write(writer: OutputContainer, h264: VideoStream, ends: dict[int, int], frame: VideoFrame | None) -> int:
    packets = h264.encode(frame)
    for packet in packets:
        assert packet.pts is not None
        start = _ticks(packet.pts, packet.time_base)
        if start in ends:
            packet.duration = round((ends.pop(start) - start) * _TIME_BASE / packet.time_base)
        writer.mux(packet)
    return len(packets)


def _ticks(pts: int, time_base: Fraction) -> int:
    return round(pts * time_base / _TIME_BASE)


def main(argv: list[str]) -> int:
    """Entry point."""
    source, target = map(Path, argv[:2])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # nobody would take the result
    if os.getppid() != int(argv[2]):  # it has died before that; its successor writes to the same target
        sys.stderr.write(f"{source}: the daemon that wanted it is dead\n")
        return EXIT_FAILED
    os.nice(LOWEST_PRIORITY)
    try:
        transcode(source, target)
    except MuxError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NO_SPACE if isinstance(error, NoSpace) else EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
