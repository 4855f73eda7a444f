"""Pictures in a folder as a source: single files in natural order, at a fixed rate."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Annotated
from urllib.parse import unquote, urlsplit

import msgspec
from av.error import FFmpegError

from visualbase import jpeg
from visualbase.errors import DamagedJpeg, SourceError
from visualbase.sources.base import Picture, Source, SourceInfo
from visualbase.sources.encoder import FrameEncoder, quarter_turns
from visualbase.sources.file import first_video, open_file
from visualbase.sources.query import read_query
from visualpath_protocol.clock import NS_PER_S

_HINT = "write images:///folder?fps=10 or images:///folder/*.jpg?fps=10"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_WILDCARDS = frozenset("*?[")
_JPEG_BEGINS = b"\xff\xd8"
_EXIF = b"Exif\0\0"
_EXIF_WITHIN = 1 << 16


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fps: Annotated[float, msgspec.Meta(ge=0.001, le=1000)] = 10.0


class ImageSource(Source):
    """The pictures of a folder, or those that a pattern names, in natural order (`2.jpg` before `10.jpg`).

    JPEGs are not encoded anew, unless EXIF says that they lie on their side. Picture n is at n / fps, also where one
    before it cannot be read: that is counted in `dropped` as `damaged`. Pictures may differ in size.

    Args:
        pattern: a folder, or a path with the wildcards * ? [ ] (and ** for folders in it).
        fps: pictures per second.
        loop: begin again at the end, on a time line that goes on.
        jpeg_quality: 1 to 100.

    Raises:
        SourceError: no such folder, or no picture in it that can be read.
    """

    live = False

    def __init__(self, pattern: str, *, fps: float = 10.0, loop: bool = False, jpeg_quality: int = 85) -> None:
        self.dropped = {"damaged": 0}
        self._pattern = pattern
        self._loop = loop
        self._interval = NS_PER_S / Fraction(fps).limit_denominator(1001)
        self._encoder = FrameEncoder(pattern, jpeg_quality)
        self._paths = _paths(pattern)
        self._rest = self._read_all()
        self._first = next(self._rest)
        self.info = SourceInfo(self._first.width, self._first.height, fps, origin_ns=0)

    def pictures(self) -> Iterator[Picture]:
        """All pictures in order; with `loop`, without end."""
        return chain([self._first], self._rest)

    def close(self) -> None:
        """Nothing is open between two pictures."""

    def _read_all(self) -> Iterator[Picture]:
        number = 0
        while True:
            readable = False
            for path in self._paths:
                data = self._read(path)
                if data is None:
                    self.dropped["damaged"] += 1
                else:
                    readable = True
                    yield Picture(round(number * self._interval), data, *jpeg.size(data))
                number += 1
            if not readable:
                raise SourceError(self._pattern, f"none of its {len(self._paths)} pictures can be read", "try others")
            if not self._loop:
                return

    def _read(self, path: str) -> bytes | None:
        try:
            with open(path, "rb") as file:
                data = file.read()
            is_jpeg = data.startswith(_JPEG_BEGINS) and jpeg.whole_size(data) is not None
            if is_jpeg and _EXIF not in data[:_EXIF_WITHIN]:
                return data
            with open_file(path) as container:
                frame = next(container.decode(first_video(container, path)), None)
            if frame is None:
                return None
            return data if is_jpeg and quarter_turns(frame) == 0 else self._encoder.encode(frame)
        except (OSError, FFmpegError, DamagedJpeg, SourceError):
            return None


def images_at(uri: str, *, loop: bool, jpeg_quality: int) -> ImageSource:
    """The source at an `images://` address."""
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise SourceError(uri, f"{parts.netloc!r} is another host", _HINT)
    fps = read_query(uri, _Query, _HINT).fps
    return ImageSource(unquote(parts.path), fps=fps, loop=loop, jpeg_quality=jpeg_quality)


def names_images(path: str) -> bool:
    """Whether a path means pictures: a folder, or a pattern that is not the name of a file."""
    return os.path.isdir(path) or (not _WILDCARDS.isdisjoint(path) and not os.path.exists(path))


def _paths(pattern: str) -> list[str]:
    if os.path.isdir(pattern):
        names = [os.path.join(pattern, name) for name in os.listdir(pattern) if not name.startswith(".")]
        found = [path for path in names if path.lower().endswith(_SUFFIXES)]
    elif not _WILDCARDS.isdisjoint(pattern):
        found = glob.glob(pattern, recursive=True)
    else:
        raise SourceError(pattern, "no such folder", _HINT)
    found = [path for path in found if os.path.isfile(path)]
    if not found:
        raise SourceError(pattern, "no pictures there", f"give a folder with {' '.join(_SUFFIXES)}, or a pattern")
    return sorted(found, key=lambda path: (_natural(path), path))


def _natural(path: str) -> list[tuple[int, str]]:
    """Numbers in names count by their value."""
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d*)(\D*)", path)]
