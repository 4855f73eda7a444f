"""Everything the media layer raises on purpose.

MediaError
├── SourceError   a source cannot be opened or read
│   ├── NoAnswer  nobody answers at its address
│   ├── Stalled   it is live and sends nothing any more
│   └── Disconnected  it is live and its stream has ended
├── DamagedJpeg   bytes that are no whole JPEG
├── Evicted       the ring no longer holds these bytes
├── RingFull      the ring has no room for a frame, even with everything else deleted
└── MuxError      a clip cannot be written
    ├── NoSpace       for want of room on its disk
    └── OtherSize     because a picture has another size than those before
"""

from __future__ import annotations

from visualbase.address import shown


class MediaError(Exception):
    """Base of all errors of the media layer."""


class SourceError(MediaError):
    """The source cannot be opened or read. The message names it, without passwords, the reason and what to do."""

    def __init__(self, uri: str, reason: str, hint: str) -> None:
        self.uri = shown(uri)
        super().__init__(f"source {self.uri!r}: {reason}; {hint}")
        self.reason = reason


class NoAnswer(SourceError):
    """Nobody answers at the address of the source; trying again soon costs nobody anything."""


class Stalled(SourceError):
    """The source is live and sends nothing any more."""


class Disconnected(SourceError):
    """The source is live, and its stream has ended."""


class DamagedJpeg(MediaError):
    """The bytes are no whole JPEG."""


class Evicted(MediaError):
    """The ring no longer holds these bytes: they were asked for too late."""


class RingFull(MediaError):
    """The ring has no room for a frame, even with everything else deleted."""


class MuxError(MediaError):
    """A clip cannot be written."""


class NoSpace(MuxError):
    """There is no room on the clip's disk."""


class OtherSize(MuxError):
    """A clip has pictures of one size; this one begins another clip."""
