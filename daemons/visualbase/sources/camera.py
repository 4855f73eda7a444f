"""`v4l2:///dev/video0`: a camera at this machine, by OpenCV."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import msgspec
import numpy as np

from visualbase import jpeg
from visualbase.errors import DamagedJpeg, SourceError, Stalled
from visualbase.sources.base import Picture, Source, SourceInfo
from visualbase.sources.query import read_query
from visualpath_protocol.clock import NS_PER_S, mono_ns

_HINT = "write v4l2:///dev/video0?width=1280&height=720&fps=30"
_MOTION_JPEG = "MJPG"
_TIMEOUT_VARIABLE = "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"
_Side = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked of the camera, which takes what it has that comes near; 0: as it is."""

    width: _Side = 0
    height: _Side = 0
    fps: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0


class CameraSource(Source):
    """A V4L2 device. Motion JPEG is asked for and handed on; what gives none is encoded.

    `t_ns` is CLOCK_MONOTONIC when the picture was taken from the driver. `dropped` counts `damaged` pictures.

    Args:
        uri: see `_HINT`.
        timeout_ns: how long to wait for a picture, in full seconds (rounded up); OpenCV takes the first source's.
        jpeg_quality: 1 to 100, for a camera without Motion JPEG.

    Raises:
        SourceError: no such device, or it gives no pictures; or OpenCV is not installed.
    """

    live = True

    def __init__(self, uri: str, *, timeout_ns: int, jpeg_quality: int = 85) -> None:
        query = read_query(uri, _Query, _HINT)
        path = _device(uri)
        cv2 = _opencv(uri, timeout_ns)
        self.dropped = {"damaged": 0}
        self._uri = uri
        self._jpeg_quality = jpeg_quality
        self._capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SourceError(uri, "cannot be opened as a camera", "is it one, and not in use by another program?")
        wanted = cv2.VideoWriter.fourcc(*_MOTION_JPEG)
        self._capture.set(cv2.CAP_PROP_FOURCC, wanted)
        for name, value in (("FRAME_WIDTH", query.width), ("FRAME_HEIGHT", query.height), ("FPS", query.fps)):
            if value:
                self._capture.set(getattr(cv2, f"CAP_PROP_{name}"), value)
        self._hands_on = int(self._capture.get(cv2.CAP_PROP_FOURCC)) == wanted
        if self._hands_on:
            self._hands_on = bool(self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))
        self.info = SourceInfo(
            width=int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            fps=max(0.0, float(self._capture.get(cv2.CAP_PROP_FPS))),
            origin_ns=0,
        )

    def pictures(self) -> Iterator[Picture]:
        """Pictures as they come, until the camera gives none for the timeout or is unplugged: that is `Stalled`."""
        last_ns = -1
        while True:
            if not self._capture.grab():
                raise Stalled(self._uri, "the camera gives no picture", "is it still plugged in?")
            last_ns = max(mono_ns(), last_ns + 1)
            got, data = self._capture.retrieve()
            try:
                if not got:
                    raise DamagedJpeg("OpenCV made nothing of it")
                picture = self._jpeg_of(data)
                size = jpeg.size(picture)
            except DamagedJpeg:
                self.dropped["damaged"] += 1
            else:
                yield Picture(last_ns, picture, *size)

    def close(self) -> None:
        """Let the device go."""
        self._capture.release()

    def _jpeg_of(self, data: Any) -> bytes:
        """`data` is the JPEG's bytes where they are handed on, else pixels in B, G, R order."""
        if self._hands_on:
            handed_on = np.asarray(data, dtype=np.uint8).tobytes()
            if jpeg.whole_size(handed_on) is None:
                raise DamagedJpeg("colours that no camera sends")
            return handed_on
        return jpeg.encode(np.ascontiguousarray(data[:, :, ::-1]), quality=self._jpeg_quality)


def _device(uri: str) -> str:
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.netloc or not path:
        raise SourceError(uri, "no device in it", _HINT)
    if not os.path.exists(path):
        raise SourceError(uri, "no such device", "is it plugged in? `ls /dev/video*` shows what is there")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(uri, "no permission", "put this user into the group of the device, usually video")
    return path


def _opencv(uri: str, timeout_ns: int) -> Any:
    """OpenCV; it is not part of an installation without cameras."""
    os.environ.setdefault(_TIMEOUT_VARIABLE, str(math.ceil(timeout_ns / NS_PER_S)))
    try:
        import cv2
    except ImportError as error:
        raise SourceError(
            uri,
            f"cameras need OpenCV, which is not installed ({error})",
            'install "opencv-python-headless<5" into the venv core (extra `camera` of visualpath)',
        ) from None
    return cv2
