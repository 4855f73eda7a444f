"""Clips from a file: exactly the frames that were asked for, or as stored, from the keyframe before.

clip = ClipExtractor().extract("match.mp4", 12_000_000_000, 17_000_000_000)
clip.save("goal.mp4")
"""

from __future__ import annotations

import operator
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from visualbase.clip import Gap
from visualbase.cut.copy import copy_span
from visualbase.cut.exact import encode_span
from visualbase.cut.output import SoundRefused
from visualbase.cut.reading import Cut, CutReader, Entry, Span, find_entry
from visualbase.errors import MuxError, NoSpace
from visualbase.mux import is_no_space
from visualbase.sources import local_path
from visualbase.sources.file import FileSource

Mode = Literal["exact", "copy"]


class ClipExtractor:
    """Cuts spans out of files. Event times are those of the file as a source: see `FileSource`."""

    def extract(self, source: str | os.PathLike[str], t_start_ns: int, t_end_ns: int, *, mode: Mode = "exact") -> Clip:
        """Cut [t_start_ns, t_end_ns] out of a file, both ends included; the file is not needed afterwards.

        Frame i is shown during [t_i, t_{i+1}), as everywhere: a frame belongs to the span if that interval meets it.

        Args:
            source: a path, or a `file://` address.
            t_start_ns: event time; may lie before the file's first frame.
            t_end_ns: event time, not before the start; may lie after the file's last frame. Equal to the start, it
                asks for the one frame shown then.
            mode: "exact" holds the frames of the span and no other, encoded anew as H.264 (CRF 18), each at its time.
                "copy" encodes nothing: it begins with the keyframe at or before the start, and may hold a few frames
                more at the end, where the last of the span cannot be decoded without them. Sound is copied in both.

        Returns:
            The clip, which is nowhere until it is saved.

        Raises:
            SourceError: the file cannot be read, or nothing of the span is in it.
            MuxError: what is in the file cannot be written into an MP4, or the temporary folder's disk fails.
            NoSpace: there is no room in the temporary folder (TMPDIR).
            ValueError: the span ends before it starts, or there is no such mode.
            TypeError: a time is no whole number, as seconds are not.
        """
        asked = Span(operator.index(t_start_ns), operator.index(t_end_ns))
        if asked.to_ns < asked.from_ns:
            raise ValueError(f"a span from {t_start_ns} to {t_end_ns} ns ends before it starts")
        if mode not in ("exact", "copy"):
            raise ValueError(f'there is no mode {mode!r}: "exact" or "copy"')
        name = os.fspath(source)
        path = local_path(name)
        with FileSource(path) as opened:
            origin_ns = opened.info.origin_ns
        with _temporary_folder() as folder:
            target = Path(folder, "clip.mp4")
            try:
                cut = _cut(path, origin_ns, asked, mode, target, with_sound=True)
                sound = "kept" if cut.sounds else "none"
            except SoundRefused as refused:
                cut = _cut(path, origin_ns, asked, mode, target, with_sound=False)
                sound = f"left out: {refused}"
            file = target.open("rb")  # outlives its name: nothing is left behind, however this process ends
        return Clip(name, mode, asked, cut.delivered, cut.frames, _gaps(asked, cut.delivered), sound, file)


@dataclass(frozen=True)
class Clip:
    """A clip that has been cut, as an MP4 without a name; time 0 in it is `delivered.from_ns`.

    Attributes:
        source: what it was cut from.
        mode: "exact" or "copy".
        asked: the span that was asked for.
        delivered: from the first frame's time until the last one ends.
        frames: how many it holds. What is damaged in the file may be among those that "copy" takes over.
        gaps: what of `asked` is absent, and why: `before_start` and `after_end` of the file.
        sound: "kept", "none" (there is none in that time), or "left out: ..." with the reason.
    """

    source: str
    mode: Mode
    asked: Span
    delivered: Span
    frames: int
    gaps: tuple[Gap, ...]
    sound: str
    _file: BinaryIO = field(repr=False, compare=False)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the clip to a file, all or nothing and safe against a power cut; may be called again.

        Args:
            path: of the file; an existing one is replaced.

        Raises:
            NoSpace: there is no room on its disk.
            MuxError: it cannot be written there.
        """
        final = Path(path)
        temporary = final.with_name(f".{final.name}.tmp")
        try:
            try:
                self._write(temporary)
                temporary.replace(final)
                _sync(final.parent)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(final, error) from error
        return final

    def close(self) -> None:
        """Let go of the clip's bytes, as happens at its end anyway; it cannot be saved any more."""
        self._file.close()

    def __del__(self) -> None:
        self._file.close()

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, path: Path) -> None:
        self._file.seek(0)
        with path.open("wb") as copy:
            shutil.copyfileobj(self._file, copy)
            copy.flush()
            os.fsync(copy.fileno())


def _cut(path: str, origin_ns: int, asked: Span, mode: Mode, target: Path, *, with_sound: bool) -> Cut:
    entry = find_entry(path, origin_ns, asked.from_ns)
    cut = None
    while cut is None:
        with CutReader(path, origin_ns, entry, with_sound=with_sound) as reader:
            cut = copy_span(reader, asked, target) if mode == "copy" else encode_span(reader, asked, target)
        entry = Entry()  # what is marked as a keyframe cannot be decoded: from the beginning
    return cut


def _gaps(asked: Span, delivered: Span) -> tuple[Gap, ...]:
    gaps = []
    if delivered.from_ns > asked.from_ns:
        gaps.append(Gap(asked.from_ns, delivered.from_ns, "before_start"))
    if delivered.to_ns < asked.to_ns:
        gaps.append(Gap(delivered.to_ns, asked.to_ns, "after_end"))
    return tuple(gaps)


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="visualpath-clip-")
    except OSError as error:
        raise _refused(tempfile.tempdir or "TMPDIR", error) from error


def _refused(where: Path | str, error: OSError) -> MuxError:
    kind = NoSpace if is_no_space(error) else MuxError
    return kind(f"{where}: {error.strerror}: check the folder and the space on its disk")


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
