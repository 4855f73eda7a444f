"""What a store remembers of a model: what was pinned, and which files were found right, so that a start is fast."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from visualpath.runtime.files import write_durably

log = logging.getLogger(__name__)


class Seen(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A file whose content was hashed, as it was then; one that was written since has another time or inode."""

    size_bytes: int
    mtime_ns: int
    inode: int
    sha256: str

    @classmethod
    def of(cls, path: Path, sha256: str) -> Seen:
        """The file as it is, which has just been hashed.

        Raises:
            OSError: it is not there any more.
        """
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, sha256)


class Record(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Of one model.

    Attributes:
        origin: the URL or file that it came from; "" if it was laid there by hand.
        pins: sha256 of the files that no manifest has one of, by name: that of the first one that was taken.
        seen: the files that were hashed, by name.
    """

    origin: str = ""
    pins: dict[str, str] = {}
    seen: dict[str, Seen] = {}


def read_record(path: Path) -> Record:
    """What is remembered; nothing if there is no record or it cannot be read, then all is hashed again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return Record()
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("%s cannot be read (%s): files are hashed again, and pins are lost", path, error)
        return Record()


def write_record(path: Path, record: Record) -> None:
    """Replace what is remembered, all or nothing.

    Raises:
        OSError: the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, msgspec.json.format(msgspec.json.encode(record)))
