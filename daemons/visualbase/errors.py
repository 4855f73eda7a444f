"""Everything the media layer raises on purpose.

MediaError
├── SourceError   a source cannot be opened or read
├── DamagedJpeg   bytes that are no whole JPEG
├── Evicted       the ring no longer holds these bytes
├── RingFull      the ring has no room for a frame, even with everything else deleted
└── MuxError      a clip cannot be written
"""

from __future__ import annotations


class MediaError(Exception):
    """Base of all errors of the media layer."""


class SourceError(MediaError):
    """The source cannot be opened or read. The message names it, the reason and what to do."""

    def __init__(self, uri: str, reason: str, hint: str) -> None:
        super().__init__(f"source {uri!r}: {reason}; {hint}")
        self.uri = uri
        self.reason = reason


class DamagedJpeg(MediaError):
    """The bytes are no whole JPEG."""


class Evicted(MediaError):
    """The ring no longer holds these bytes: they were asked for too late."""


class RingFull(MediaError):
    """The ring has no room for a frame, even with everything else deleted."""


class MuxError(MediaError):
    """A clip cannot be written."""
