"""A video that shows what was seen and decided, for a person to watch.

What is drawn depends on no plug-in: a mapping in an observation's data that has x, y, w, h is a box, an array called
landmarks or keypoints is a set of points (x, y first), all in fractions of the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any
from zlib import crc32

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visualbase import jpeg
from visualpath.core.observation import Observation
from visualpath.process.offline import Looked
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.messages import Trig

_TIME_BASE = Fraction(1, 1_000_000)
_COLOURS = ("#4cc9f0", "#f9c74f", "#90be6d", "#f94144", "#c77dff", "#f8961e")
_TEXT = "#ffffff"
_FIRED = "#ff2d55"
_SHADOW = "#000000"
SHOWN_NS = 1_500_000_000
"""For how long it is told that it fired."""
FRAMED_NS = 300_000_000
"""For how long the picture has a frame then."""
LABELS = ("track_id", "role", "gesture", "handedness", "confidence", "score", "yaw", "pitch", "smile")
"""What of a box is written beside it, if it has it."""
POINTS = ("landmarks", "keypoints")
READABLE = 640
"""Pixels of the longer side, at least: what is written would hide a smaller picture."""
_FAR = 100.0
"""In pictures."""


class Overlay:
    """Writes the video: H.264, each picture at its time, as large as the first, or a multiple where that is small.

    Args:
        path: of the MP4.
        size: (width, height) of the first picture, in pixels.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        times = max(1, -(-READABLE // max(size)))
        self._size = max(2, size[0] // 2 * 2 * times), max(2, size[1] // 2 * 2 * times)
        self._font_size = max(11, self._size[1] // 45)
        self._font = ImageFont.load_default(self._font_size)
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        self._stream = self._container.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "23"})
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _TIME_BASE
        self._first_ns: int | None = None
        self._fired: list[Trig] = []

    def add(self, looked: Looked, triggers: list[Trig], notes: list[str]) -> None:
        """One frame.

        Args:
            triggers: what fired on it.
            notes: lines about the decision.
        """
        frame = looked.frame
        self._fired = [each for each in self._fired + triggers if frame.t_ns - each.t_end_ns < SHOWN_NS]
        bgr = jpeg.decode(frame.jpeg, width_at_least=None, pixel_format="bgr")
        picture = Image.fromarray(np.ascontiguousarray(bgr[:, :, ::-1]))
        if picture.size != self._size:
            picture = picture.resize(self._size)
        draw = ImageDraw.Draw(picture)
        lines = [f"#{frame.frame_id}  {frame.t_ns / NS_PER_S:.3f} s"]
        colours = colours_of(looked.results)
        for source, result in looked.results.items():
            self._draw_boxes(draw, result.observations, colours[source])
            lines.append(_line(source, result.error, result.observations))
        self._write(draw, (6, 4), lines + notes)
        self._draw_fired(draw, frame.t_ns)
        self._encode(np.asarray(picture), frame.t_ns)

    def close(self) -> None:
        """Write what is left."""
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()

    def _draw_boxes(self, draw: ImageDraw.ImageDraw, observations: tuple[Observation[Any], ...], colour: str) -> None:
        width, height = self._size
        for each in (item for observation in observations for item in _mappings(observation.data)):
            for name in POINTS:
                points = each.get(name)
                if isinstance(points, np.ndarray) and points.ndim == 2 and points.shape[1] >= 2:
                    radius = 0 if len(points) > 100 else 2
                    for x, y in (points[_drawable(points[:, :2]), :2] * (width, height)).tolist():
                        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
            if (box := _box(each)) is not None:
                left, top, right, bottom = (box * (width, height)).ravel().tolist()
                draw.rectangle((left, top, right, bottom), outline=colour, width=2)
                self._write(draw, (left + 2, bottom + 2), [_label(each)], colour)

    def _draw_fired(self, draw: ImageDraw.ImageDraw, t_ns: int) -> None:
        if not self._fired:
            return
        width, height = self._size
        if t_ns - self._fired[-1].t_end_ns < FRAMED_NS:
            draw.rectangle((0, 0, width - 1, height - 1), outline=_FIRED, width=max(3, height // 120))
        lines = [f"{each.label}  {each.score:.2f}  {each.reason}" for each in self._fired]
        self._write(draw, (6, height - (len(lines) + 0.5) * self._line_height()), lines, _FIRED)

    def _line_height(self) -> float:
        return self._font_size * 1.25

    def _write(self, draw: ImageDraw.ImageDraw, at: tuple[float, float], lines: list[str], colour: str = _TEXT) -> None:
        x, y = at
        for line in lines:
            draw.text((x, y), line, fill=colour, font=self._font, stroke_width=2, stroke_fill=_SHADOW)
            y += self._line_height()

    def _encode(self, rgb: np.ndarray[Any, np.dtype[np.uint8]], t_ns: int) -> None:
        self._first_ns = t_ns if self._first_ns is None else self._first_ns
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = round((t_ns - self._first_ns) / 1000), _TIME_BASE
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


def colours_of(extractors: Iterable[str]) -> dict[str, str]:
    """The colour of each extractor's boxes: by its name, or where that one is taken, the next that is not."""
    taken: dict[str, str] = {}
    for name in sorted(extractors):
        first = crc32(name.encode()) % len(_COLOURS)
        free = [each for each in (*_COLOURS[first:], *_COLOURS[:first]) if each not in taken.values()]
        taken[name] = free[0] if free else _COLOURS[first]
    return taken


def _mappings(data: Any) -> Iterator[Mapping[str, Any]]:
    items = data if isinstance(data, (list, tuple)) else [data]
    return (item for item in items if isinstance(item, Mapping))


def _box(each: Mapping[str, Any]) -> np.ndarray[Any, Any] | None:
    """Its left top and right bottom corner in fractions of the picture; None: it is no box that can be drawn."""
    if not all(isinstance(each.get(key), (int, float)) for key in "xywh"):
        return None
    corners = np.array([[each["x"], each["y"]], [each["x"] + each["w"], each["y"] + each["h"]]], float)
    return np.sort(corners, axis=0) if _drawable(corners).all() else None


def _drawable(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which of the points are in the picture, or not so far from it that nobody could draw to there."""
    near: np.ndarray[Any, Any] = (np.abs(points) < _FAR).all(axis=1)  # not so for what is no number, too
    return near


def _label(each: Mapping[str, Any]) -> str:
    known = ((name, each.get(name)) for name in LABELS)
    return "  ".join(f"{name} {_short(value)}" for name, value in known if value is not None)


def _line(source: str, error: str | None, observations: tuple[Observation[Any], ...]) -> str:
    if error is not None:
        return f"{source}: failed: {error.partition(chr(10))[0]}"
    signals = {name: value for observation in observations for name, value in observation.signals.items()}
    return f"{source}: " + ("  ".join(f"{name} {_short(value)}" for name, value in signals.items() if value) or "-")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
