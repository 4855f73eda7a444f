"""Sources in the network: rtsp(s):// and http(s)://, by FFmpeg's demuxers and decoders by way of PyAV."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import av
import av.error
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.video.frame import VideoFrame

from visualbase import jpeg
from visualbase.errors import NoAnswer, SourceError, Stalled
from visualbase.sources.base import Picture, Source, SourceInfo
from visualbase.sources.encoder import FrameEncoder
from visualbase.sources.file import FALLBACK_INTERVAL, Decoding, Shown, TimeLine, first_video
from visualbase.sources.intake import Arrival, Intake
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S, mono_ns

LATE_NS = 250 * NS_PER_MS
"""A picture that has waited longer for the decoder makes way for a newer one."""
PROBED_NS = 20 * NS_PER_MS
"""What comes within this of the opening was sent before, while FFmpeg looked at the stream."""

_LOOK_AFTER = "look after the camera and the network"
_PROBE_US = "200000"
_NOBODY = (
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH,
    errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN,
)  # fmt: skip


class StreamSource(Source):
    """The first video stream at an address. RTSP goes over TCP.

    What has no end is live: `t_ns` is CLOCK_MONOTONIC when the packet came that completed the picture. Pictures come
    at the pace of the sender; where decoding or whoever takes them is slower, the newest wins. A file on a web server
    is read like one on the disk.

    Motion JPEG is not encoded anew. `dropped` counts `behind` (left out because newer ones had come), `damaged`
    (packets that the decoder refused) and, for a file, `not_rising`.

    Args:
        uri: rtsp://, rtsps://, http:// or https://; it may hold user and password, percent-encoded.
        timeout_ns: how long to wait for the connection, and for each next picture of a live stream.
        jpeg_quality: 1 to 100.

    Raises:
        NoAnswer: nobody answers there.
        SourceError: the answer is an error, or nothing that can be shown.
    """

    def __init__(self, uri: str, *, timeout_ns: int, jpeg_quality: int = 85) -> None:
        self.dropped = {"behind": 0, "damaged": 0, "not_rising": 0}
        self._uri = uri
        self._timeout_ns = timeout_ns
        self._encoder = FrameEncoder(uri, jpeg_quality)
        self._container = _open(uri, timeout_ns)
        self._intake: Intake | None = None
        try:
            self._stream = first_video(self._container, uri)
            self.live = _is_live(self._container, uri)
        except SourceError:
            self._container.close()
            raise
        codec = self._stream.codec_context
        self._decoding = Decoding(self._stream, self.dropped)
        self._last_t_ns = -1
        self.info = SourceInfo(codec.width, codec.height, float(self._stream.average_rate or 0), origin_ns=0)

    def pictures(self) -> Iterator[Picture]:
        """All pictures; those of a live stream from the newest at the opening on."""
        return self._live_pictures() if self.live else self._stored_pictures()

    def close(self) -> None:
        """Hang up. May wait as long as the timeout, while FFmpeg waits for the network."""
        if self._intake is not None:
            self._intake.stop()
        self._container.close()

    def _live_pictures(self) -> Iterator[Picture]:
        self._intake = intake = Intake(self._container, self._stream)
        intake.start()
        opened_ns = last_ns = mono_ns()
        thrown_away = fruitless = 0
        while (arrival := self._next(intake, last_ns + self._timeout_ns, fruitless)) is not None:
            self.dropped["behind"] += intake.dropped - thrown_away
            thrown_away = intake.dropped
            fruitless += 1
            for shown in self._decoding.shown_by(arrival.packet):
                fruitless = 0
                if not intake.more_waiting() or not self._is_old(arrival, opened_ns):
                    yield self._picture(shown, max(arrival.t_ns, self._last_t_ns + 1))
                last_ns = mono_ns()

    def _next(self, intake: Intake, deadline_ns: int, fruitless: int) -> Arrival | None:
        """The next packet; None at the end of the stream.

        Args:
            fruitless: packets since the last picture.
        """
        arrival = intake.take(max(0, deadline_ns - mono_ns()) / NS_PER_S)
        if arrival is not None and mono_ns() < deadline_ns:
            return arrival
        if arrival is None and intake.ended and not isinstance(intake.error, ExitError):
            if intake.error is None:
                return None
            raise _broken(self._uri, intake.error)
        what = f"no picture in {fruitless} packets" if fruitless else "nothing has come"
        raise Stalled(self._uri, f"{what} for {self._timeout_ns / NS_PER_S:g} s", _LOOK_AFTER)

    def _is_old(self, arrival: Arrival, opened_ns: int) -> bool:
        if arrival.t_ns - opened_ns < PROBED_NS:  # not counted: the stream begins with the newest picture
            return True
        late = mono_ns() - arrival.t_ns > LATE_NS
        self.dropped["behind"] += late
        return late

    def _stored_pictures(self) -> Iterator[Picture]:
        rate = self._stream.average_rate
        line = TimeLine(1 / rate if rate else FALLBACK_INTERVAL)
        try:
            for packet in self._container.demux(self._stream):
                for shown in self._decoding.shown_by(packet):
                    pts, time_base = shown.pts, shown.time_base
                    t_ns = line.place_or_anew(None if pts is None or time_base is None else pts * time_base)
                    if t_ns is None:
                        self.dropped["not_rising"] += 1
                    else:
                        yield self._picture(shown, t_ns)
        except FFmpegError as error:
            raise _broken(self._uri, error) from None

    def _picture(self, shown: Shown, t_ns: int) -> Picture:
        self._last_t_ns = t_ns
        data = self._encoder.encode(shown) if isinstance(shown, VideoFrame) else bytes(shown)
        return Picture(t_ns, data, *jpeg.size(data))


def _open(uri: str, timeout_ns: int) -> InputContainer:
    # What a server sends cannot make FFmpeg read local files: its http protocol allows none by default.
    options = {"analyzeduration": _PROBE_US}
    if uri.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    started_ns = mono_ns()
    try:
        return av.open(uri, options=options, timeout=timeout_ns / NS_PER_S, metadata_errors="replace")
    except FFmpegError as error:
        # "from None": FFmpeg's own message holds the address, and that may hold a password.
        raise _refused(uri, error, None if mono_ns() - started_ns < timeout_ns else timeout_ns) from None


def _refused(uri: str, error: FFmpegError, timed_out_ns: int | None) -> SourceError:
    if timed_out_ns is not None:  # what FFmpeg says of it depends on what it was doing
        return NoAnswer(uri, f"no answer for {timed_out_ns / NS_PER_S:g} s", "is it switched on, and in the network?")
    reason = error.strerror or type(error).__name__
    if error.errno in _NOBODY:
        return NoAnswer(uri, reason.lower(), "is it switched on, and are host and port right?")
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return SourceError(uri, reason, "check user and password; special characters in them must be percent-encoded")
    if isinstance(error, (av.error.HTTPError, av.error.HTTPClientError, av.error.HTTPServerError)):
        return SourceError(uri, reason, "check the path, and what the server says")
    if isinstance(error, av.error.OSError):
        return SourceError(uri, reason, "check the host's name and the network")
    return SourceError(uri, reason, "is that a video stream? try the address with ffprobe")


def _broken(uri: str, error: FFmpegError) -> SourceError:
    return SourceError(uri, f"the connection broke ({error.strerror})", _LOOK_AFTER)


def _is_live(container: InputContainer, uri: str) -> bool:
    if uri.lower().startswith("rtsp"):
        return True
    endless = not container.duration
    if endless and container.format.name.startswith("hls"):
        raise SourceError(uri, "live HLS comes in pieces of seconds", "give the camera's rtsp:// or MJPEG address")
    return endless
