"""What a clip in the making holds so far, beside its file: a killed daemon goes on where it was.

The ring is too short for that: a clip of several triggers may last longer. The pictures lie in the unfinished MP4 as
they are, one behind the other; the journal has a line for each frame that was wanted, with the place of its picture.
Nothing is synced: after a power cut the pictures are looked at before they are believed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from visualbase import jpeg as jpegs
from visualbase.errors import DamagedJpeg, Evicted
from visualpath.clip.files import ClipFolder, delete, older
from visualpath_protocol.messages import FrameHeader

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
TAIL_BYTES = 64
"""Cameras pad their JPEGs."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One frame: where its picture begins in the part, and how long it is; 0 bytes: it could not be had."""

    header: FrameHeader
    offset: int = 0
    length: int = 0


class Journal:
    """Writes the lines; each reaches the kernel at once.

    Raises:
        OSError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)

    def add(self, entry: Entry) -> None:
        """Note one frame."""
        self._file.write(msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        """Stop writing."""
        self._file.close()


class Salvage:
    """What an earlier run left of a clip. It is set aside first: another crash while it is read loses nothing."""

    def __init__(self, folder: ClipFolder, clip_id: str) -> None:
        self._part, self._journal = older(folder.part(clip_id)), older(folder.journal(clip_id))
        if not self._journal.exists():  # else the crash came while it was being read
            for fresh in (folder.part(clip_id), folder.journal(clip_id)):  # the journal last: then all is set aside
                with suppress(FileNotFoundError):
                    fresh.replace(older(fresh))
        self._places: dict[int, Entry] = {}

    def headers(self) -> Iterator[FrameHeader]:
        """The frames that were wanted so far, in order; ends at the first line that is not whole."""
        with suppress(FileNotFoundError, msgspec.DecodeError):
            for line in self._journal.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    return
                entry = msgspec.json.decode(line, type=Entry)
                self._places[entry.header.frame_id] = entry
                yield entry.header

    def read(self, header: FrameHeader) -> bytes:
        """A frame's picture.

        Raises:
            Evicted: it was not written any more.
        """
        entry = self._places.get(header.frame_id)
        if entry is not None and entry.length:
            with suppress(FileNotFoundError, DamagedJpeg), self._part.open("rb") as part:
                picture = os.pread(part.fileno(), entry.length, entry.offset)
                whole = len(picture) == entry.length and picture.startswith(SOI) and EOI in picture[-TAIL_BYTES:]
                if whole and jpegs.size(picture):
                    return picture
        raise Evicted(f"{self._part} does not hold {header}")

    def discard(self) -> None:
        """All has been read over. The journal goes first: without it the fresh one counts."""
        delete([self._journal, self._part])
