"""The MP4 that a cut goes into: index first, its time 0 is the first picture's."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from visualbase.errors import MuxError, NoSpace
from visualbase.mux import HEADER_BYTES, is_no_space

MediaPacket: TypeAlias = "Packet[Any]"
"""Of pictures or of sound."""


class SoundRefused(Exception):
    """FFmpeg cannot take this sound over; the message says which and why."""


class ClipFile:
    """Writes packets of pictures and of sound, at their own times less that of the first picture.

    For a `with`: FFmpeg keeps a file that is not closed open for ever, and with it its room on the disk.

    Args:
        path: file to write.
        source: file that they come from, for errors.

    Raises:
        MuxError: the file cannot be created.
        NoSpace: for want of room.
    """

    def __init__(self, path: Path, source: str) -> None:
        self.source = source
        self._folder = path.parent
        self._zero = Fraction(0)  # seconds, in the source's time
        self._sound: dict[int, Stream] = {}
        try:
            path.write_bytes(bytes(HEADER_BYTES))  # a file whose header finds no room stays open, even if closed
            self._container: OutputContainer = av.open(
                f"file:{path}", "w", format="mp4", container_options={"movflags": "+faststart"}
            )
        except (FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def copy_pictures(self, template: VideoStream, first: Fraction) -> Stream:
        """Add a stream for packets as they are in `template`; the first picture is at `first` seconds.

        Raises:
            MuxError: an MP4 cannot hold such.
        """
        self._zero = first
        try:
            return self._container.add_stream_from_template(template, opaque=True)
        except (ValueError, FFmpegError):
            raise MuxError(
                f'{self.source}: {template.codec_context.name} video does not go into an MP4 as it is: use mode="exact"'
            ) from None

    def encode_pictures(self, rate: Fraction, first: Fraction, options: dict[str, str]) -> VideoStream:
        """Add a stream for H.264 packets to come; the first picture is at `first` seconds."""
        self._zero = first
        return self._container.add_stream("libx264", rate=rate.limit_denominator(1 << 16), options=options)

    def copy_sound(self, template: AudioStream) -> None:
        """Add a stream for packets as they are in `template`.

        Raises:
            SoundRefused: an MP4 cannot hold such.
        """
        try:
            self._sound[template.index] = self._container.add_stream_from_template(template, opaque=True)
        except (ValueError, FFmpegError):
            raise SoundRefused(f"{template.codec_context.name} does not go into an MP4") from None

    def start(self) -> None:
        """Write the header; all streams must be there.

        Raises:
            MuxError: an MP4 cannot hold them, or a failing disk.
            NoSpace: the disk is full.
        """
        try:
            self._container.start_encoding()
        except (FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def add(self, packet: MediaPacket, stream: Stream) -> None:
        """Add a packet of pictures that has the source's times.

        Raises:
            MuxError: a failing disk, or a packet that FFmpeg refuses.
            NoSpace: the disk is full.
        """
        try:
            self._container.mux_one(self._moved(packet, stream))
        except (FFmpegError, ValueError) as error:
            raise self._failed(error) from error

    def add_encoded(self, packet: MediaPacket) -> None:
        """Add a packet of pictures whose times count from the first.

        Raises:
            MuxError: a failing disk.
            NoSpace: the disk is full.
        """
        try:
            self._container.mux_one(packet)
        except FFmpegError as error:
            raise self._failed(error) from error

    def add_sound(self, packet: MediaPacket) -> None:
        """Add a packet of sound that has the source's times.

        Raises:
            SoundRefused: FFmpeg refuses it.
            NoSpace: the disk is full.
        """
        name = packet.stream.codec_context.name
        try:
            self._container.mux_one(self._moved(packet, self._sound[packet.stream.index]))
        except FFmpegError as error:
            if is_no_space(error):
                raise self._failed(error) from error
            raise SoundRefused(f"{name} with damage ({error.strerror})") from None

    def finish(self) -> None:
        """Write the index and close.

        Raises:
            MuxError: a failing disk.
            NoSpace: the disk is full.
        """
        try:
            self._container.close()
        except FFmpegError as error:
            raise self._failed(error) from error

    def __enter__(self) -> ClipFile:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(FFmpegError):  # what failed is on its way already
            self._container.close()

    def _moved(self, packet: MediaPacket, stream: Stream) -> MediaPacket:
        assert packet.time_base is not None
        by = round(self._zero / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - by
        packet.dts = None if packet.dts is None else packet.dts - by
        packet.stream = stream
        return packet

    def _failed(self, error: Exception) -> MuxError:
        if isinstance(error, (FFmpegError, OSError)) and is_no_space(error):
            return NoSpace(f"{self.source}: no room for its clip in {self._folder}: make some, or set TMPDIR")
        reason = error.strerror if isinstance(error, (FFmpegError, OSError)) else str(error)
        return MuxError(f"{self.source}: its clip cannot be written: {reason}")
