"""One file of a key: written whole or not at all, and read only if nobody else could have written or read it."""

from __future__ import annotations

import errno
import os
import stat
import struct
import tempfile
from pathlib import Path

from zmq.utils import z85

from visualpath_protocol.errors import KeyFileError

KEY_LENGTH = 40
"""Characters of 32 bytes in Z85."""
MAX_FILE_BYTES = 1 << 20
"""25,000 revoked keys of one name."""
OTHERS = 0o077
"""Rights that a secret must not give."""
ANYBODY = stat.S_IWOTH
"""Rights that nothing here must give."""


def write_file(path: Path, text: bytes, mode: int, *, replace: bool = False) -> None:
    """All or nothing, never readable for more than `mode` says, and still there after a power cut."""
    fd, part = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(text + b"\n")
            file.flush()
            os.fsync(fd)
        if replace:
            os.rename(part, path)
        else:
            os.link(part, path)  # a rename would replace
    finally:
        Path(part).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(folder)
    os.close(folder)


def check_mode(path: Path, status: os.stat_result, forbidden: int) -> None:
    """Refuse a file or folder that gives one of the forbidden rights."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        what, mend = ("written", "o-w") if forbidden == ANYBODY else ("read", "600")
        raise KeyFileError(f"{path} may be {what} by others (mode {mode:04o}): chmod {mend} {path}")


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO is not waited for


def read_lines(path: Path, forbidden: int = 0) -> list[list[bytes]]:
    """The words of each line that has any.

    Raises:
        KeyFileError: the file gives one of the forbidden rights.
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=_open) as file:
        check_mode(path, os.fstat(file.fileno()), forbidden)
        text = file.read(MAX_FILE_BYTES + 1) or b""
    if len(text) > MAX_FILE_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return [words for line in text.splitlines() if (words := line.split())]


def read_key(path: Path, forbidden: int) -> list[bytes]:
    """A key, and the words behind it.

    Raises:
        KeyFileError: it is none, there are more, or others have a forbidden right. What it is, is not told: it may be
            a secret.
        OSError: it cannot be read.
    """
    lines = read_lines(path, forbidden)
    if len(lines) != 1 or not is_key(lines[0][0]):
        raise KeyFileError(f"{path} holds no key: it must be one line, with {KEY_LENGTH} characters of Z85")
    return lines[0]


def is_key(text: bytes) -> bool:
    """Whether it is 32 bytes in Z85."""
    try:
        return len(text) == KEY_LENGTH and len(z85.decode(text)) == KEY_LENGTH * 4 // 5
    except (KeyError, ValueError, struct.error):
        return False
