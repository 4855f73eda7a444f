"""CURVE keys in a folder: whom this machine knows, and who it is itself.

`NAME.pub` is the public key of somebody who may connect to what this machine binds: one line of Z85, and behind it the
links that are open to that key, if not all are. `NAME.key` is the secret that belongs to it, where this machine is
NAME. `NAME.revoked` has the public keys, one in a line, that were NAME's and let nobody in any more.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from visualpath_protocol.errors import KeyFileError

FOLDER_MODE = 0o755
PUBLIC_MODE = 0o644
SECRET_MODE = 0o600
KEY_LENGTH = 40
"""Characters of 32 bytes in Z85."""
MAX_FILE_BYTES = 4096

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
"""As long as a daemon's: a daemon may have a key of its own."""


def is_key_name(name: str) -> bool:
    """Whether a key may be called so."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class KeyPair:
    """Both keys of one machine or daemon, in Z85."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class ClientKeys:
    """What the asking side of a connection needs: its own pair, and the public key of whom it means to reach."""

    own: KeyPair
    server: bytes


@dataclass(frozen=True)
class Known:
    """Whose a public key is.

    Attributes:
        links: that it opens; empty: all.
        revoked: it opens nothing any more.
    """

    name: str
    links: frozenset[str] = frozenset()
    revoked: bool = False

    def may_use(self, link: str) -> bool:
        """Whether the key opens this link."""
        return not self.revoked and (not self.links or link in self.links)


@dataclass(frozen=True)
class KeyFolder:
    """The files; every call reads them anew.

    Raises:
        KeyFileError: by each method, where a file is missing, unsafe, or holds no key.
    """

    path: Path

    def new(self, name: str, links: Iterable[str] = ()) -> KeyPair:
        """Make a pair and both its files."""
        for path in (self._file(name, "pub"), self._file(name, "key")):
            if path.exists():
                raise KeyFileError(f"{path} is there already: `vpctl keys revoke {name}` ends it, or take another name")
        public, secret = zmq.curve_keypair()
        try:
            self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            _write(self._file(name, "key"), secret, SECRET_MODE)
            _write(self._file(name, "pub"), b" ".join((public, *(link.encode() for link in links))), PUBLIC_MODE)
        except OSError as error:
            raise KeyFileError(f"{self.path}: no key can be made: {error.strerror}") from error
        return KeyPair(public, secret)

    def revoke(self, name: str) -> None:
        """Let nobody in any more by the key of this name, and delete its secret if it is here."""
        public = self.public(name)
        revoked = self._file(name, "revoked")
        try:
            before = revoked.read_bytes().split() if revoked.exists() else []
            _write(revoked, b"\n".join((*before, public)), PUBLIC_MODE)
            self._file(name, "pub").unlink()
            self._file(name, "key").unlink(missing_ok=True)
        except OSError as error:
            raise KeyFileError(f"{revoked}: {name} cannot be revoked: {error.strerror}") from error

    def public(self, name: str) -> bytes:
        """The public key of this name."""
        path = self._file(name, "pub")
        try:
            return _keys(path)[0]
        except FileNotFoundError:
            raise KeyFileError(
                f"{path} is missing: copy it from the machine that has it, or make it by `vpctl keys new {name}`"
            ) from None
        except OSError as error:
            raise KeyFileError(f"{path}: {error.strerror}") from error

    def has_secret(self, name: str) -> bool:
        """Whether the secret of this name is here; it may yet be one that this process must not read."""
        return self._secret_path(name).exists()

    def pair(self, name: str) -> KeyPair:
        """The secret of this name, and the public key that belongs to it."""
        path = self._secret_path(name)
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077 and path.parent == self.path:  # systemd cares for those that it hands over
                raise KeyFileError(f"{path} may be read by others (mode {mode:04o}): chmod 600 {path}")
            secret = _keys(path)[0]
        except FileNotFoundError:
            raise KeyFileError(f"{path} is missing: `vpctl keys new {name}` makes it") from None
        except OSError as error:
            raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
        return KeyPair(zmq.curve_public(secret), secret)

    def known(self) -> tuple[dict[bytes, Known], list[str]]:
        """Whose each public key is, and what is wrong with files that were passed over.

        Raises:
            OSError: the folder cannot be listed.
        """
        found: dict[bytes, Known] = {}
        wrong: list[str] = []
        for path in sorted(self.path.iterdir()):  # what is revoked comes last and counts
            if path.suffix not in (".pub", ".revoked"):
                continue
            try:
                if not is_key_name(path.stem):
                    raise KeyFileError(f"{path}: its name is none of a key's")
                for public in _keys(path) if path.suffix == ".revoked" else _keys(path)[:1]:
                    links = _links(path) if path.suffix == ".pub" else frozenset()
                    if not found.get(public, Known("")).revoked:
                        found[public] = Known(path.stem, links, path.suffix == ".revoked")
            except FileNotFoundError:
                continue  # deleted just now
            except (KeyFileError, OSError) as error:
                wrong.append(str(error))
        return found, wrong

    def _file(self, name: str, suffix: str) -> Path:
        if not is_key_name(name):
            raise KeyFileError(f"{name!r} is no valid name of a key: use a-z, 0-9, '_' and '-'")
        return self.path / f"{name}.{suffix}"

    def _secret_path(self, name: str) -> Path:
        """In the folder, or where systemd has laid it for this unit alone (LoadCredential)."""
        own = self._file(name, "key")
        handed_over = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / own.name
        return handed_over if handed_over.exists() else own


@dataclass(frozen=True)
class Keyring:
    """Which keys of a folder this machine uses.

    Attributes:
        own: name of this machine's pair.
        servers: by daemon, the name of the machine where it runs, if that is another.
    """

    folder: KeyFolder
    own: str
    servers: Mapping[str, str]

    def serving(self) -> KeyPair:
        """The pair of all that this machine binds."""
        return self.folder.pair(self.own)

    def asking(self, client: str, server: str) -> ClientKeys:
        """The keys by which one of this machine's daemons (or `vpctl`) reaches another daemon.

        A daemon that has a pair of its own name uses that: so it need not be able to read the machine's.
        """
        own = client if self.folder.has_secret(client) else self.own
        return ClientKeys(self.folder.pair(own), self.folder.public(self.servers.get(server, self.own)))


def _write(path: Path, text: bytes, mode: int) -> None:
    """All or nothing, and never readable for more than `mode` says."""
    part = path.with_name(f".{path.name}.tmp")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(text + b"\n")
        file.flush()
        os.fsync(fd)
    part.rename(path)


def _read(path: Path) -> list[list[bytes]]:
    """The words of each line that has any."""
    with path.open("rb") as file:
        return [words for line in file.read(MAX_FILE_BYTES).splitlines() if (words := line.split())]


def _keys(path: Path) -> list[bytes]:
    """The first word of each line.

    Raises:
        KeyFileError: one of them is no key, or there is none. What it is, is not told: it may be a secret.
    """
    keys = [words[0] for words in _read(path)]
    if not keys or not all(map(_is_key, keys)):
        raise KeyFileError(f"{path} holds no key: it must be {KEY_LENGTH} characters of Z85")
    return keys


def _links(path: Path) -> frozenset[str]:
    return frozenset(word.decode(errors="replace") for word in _read(path)[0][1:])


def _is_key(text: bytes) -> bool:
    try:
        return len(text) == KEY_LENGTH and len(z85.decode(text)) == KEY_LENGTH * 4 // 5
    except (KeyError, ValueError, struct.error):
        return False
