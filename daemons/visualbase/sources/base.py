"""What a source is: one blocking iterator of pictures.

A source knows neither retry nor state nor pace. Whoever drives it, in a thread of its own, owns
those: it opens the source anew after a SourceError and simply stops iterating when it wants no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known once a source is open.

    Attributes:
        width: of the first picture, in pixels.
        height: of the first picture, in pixels.
        fps: nominal frames per second; 0.0 if unknown.
        origin_ns: the source's own time at t_ns 0: its time is t_ns + origin_ns. Below 0 where
            the source starts below 0, otherwise 0.
    """

    width: int
    height: int
    fps: float
    origin_ns: int


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a source.

    Attributes:
        t_ns: event time in ns, never negative, above that of the picture before; where it falls, the clock of a
            file was set back and another time line begins. Of a live source CLOCK_MONOTONIC at capture.
        jpeg: the picture; 4:2:0 if it was encoded here, else as it came.
        width: in pixels.
        height: in pixels.
    """

    t_ns: int
    jpeg: bytes
    width: int
    height: int


class Source(Protocol):
    """An open source; used and closed by one thread.

    Attributes:
        live: pictures come when they come, and an end is a disconnect; a source that is not live can be
            read as fast as wished.
        info: what is known of it.
        dropped: pictures and packets of which nothing came out, by reason.
    """

    live: bool
    info: SourceInfo
    dropped: dict[str, int]

    def pictures(self) -> Iterator[Picture]:
        """All pictures from the first on, to be called once. Blocks until the next is there.

        Raises:
            SourceError: the source fails and would have to be opened anew.
        """
        ...

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        ...

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
