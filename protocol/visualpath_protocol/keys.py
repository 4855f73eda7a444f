"""CURVE keys in a folder: whom this machine knows, and who it is itself.

`NAME.pub` is the public key of somebody who may connect to what this machine binds: one line of Z85, and behind it the
links that are open to that key, if not all are. `NAME.key` is the secret that belongs to it, where this machine is
NAME. `NAME.revoked` has the public keys, one in a line, that were NAME's and let nobody in any more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import zmq

from visualpath_protocol.errors import KeyFileError
from visualpath_protocol.key_file import ANYBODY, OTHERS, check_mode, is_key, read_key, read_lines, write_file

FOLDER_MODE = 0o755
PUBLIC_MODE = 0o644
SECRET_MODE = 0o600

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
        secret_path, public_path = self._file(name, "key"), self._file(name, "pub")
        public, secret = zmq.curve_keypair()
        try:
            for path in (secret_path, public_path):
                if path.exists():
                    raise FileExistsError
            if not self.path.is_dir():
                self.path.mkdir(parents=True, exist_ok=True)
                self.path.chmod(FOLDER_MODE)  # whatever the umask: the daemons may be another user's
            write_file(secret_path, secret, SECRET_MODE)
            try:
                write_file(public_path, b" ".join((public, *(link.encode() for link in links))), PUBLIC_MODE)
            except OSError:
                secret_path.unlink()
                raise
        except FileExistsError:
            raise KeyFileError(
                f"{self.path / name}.* is there already: `vpctl keys revoke {name}` ends it, or take another name"
            ) from None
        except OSError as error:
            raise KeyFileError(f"{self.path}: no key can be made: {error.strerror}") from error
        return KeyPair(public, secret)

    def revoke(self, name: str) -> bool:
        """Let nobody in any more by the key of this name, and delete its secret if it is here.

        Returns:
            False if there is none but those of this name that were revoked before.
        """
        path, secret_path, revoked = (self._file(name, suffix) for suffix in ("pub", "key", "revoked"))
        try:
            has_public, has_secret = os.path.exists(path), os.path.exists(secret_path)
            if not has_public and not has_secret and revoked.exists() and _revoked(revoked)[0]:
                return False
            public = self.pair(name).public if has_secret and not has_public else self.public(name)
            before = revoked.read_bytes() if revoked.exists() else b""
            write_file(revoked, b"\n".join((*before.splitlines(), public)), PUBLIC_MODE, replace=True)
            path.unlink(missing_ok=True)
            secret_path.unlink(missing_ok=True)
        except OSError as error:
            raise KeyFileError(f"{revoked}: {name} cannot be revoked: {error.strerror}") from error
        return True

    def public(self, name: str) -> bytes:
        """The public key of this name."""
        path = self._file(name, "pub")
        try:
            return read_key(path, ANYBODY)[0]
        except FileNotFoundError:
            raise KeyFileError(
                f"{path} is missing: copy it from the machine that has it, or make it by `vpctl keys new {name}`"
            ) from None
        except OSError as error:
            raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error

    def has_secret(self, name: str) -> bool:
        """Whether the secret of this name is here; it may yet be one that this process must not read."""
        return os.path.exists(self._secret_path(name))

    def pair(self, name: str) -> KeyPair:
        """The secret of this name, and the public key that belongs to it."""
        path = self._secret_path(name)
        try:
            forbidden = OTHERS if path.parent == self.path else 0  # systemd cares for those that it hands over
            secret = read_key(path, forbidden)[0]
        except FileNotFoundError:
            raise KeyFileError(f"{path} is missing: `vpctl keys new {name}` makes it") from None
        except OSError as error:
            raise KeyFileError(
                f"{path} cannot be read: {error.strerror}: it must belong to the user that runs this, or come by "
                "LoadCredential= of systemd"
            ) from error
        return KeyPair(zmq.curve_public(secret), secret)

    def known(self, last: Mapping[bytes, Known] = MappingProxyType({})) -> tuple[dict[bytes, Known], list[str]]:
        """Whose each public key is, and what is wrong with files.

        Args:
            last: what was read before: it stands for a file that cannot be read, but not for one that holds no key.
        """
        try:
            check_mode(self.path, self.path.stat(), ANYBODY)
            paths = sorted(self.path.iterdir())
        except FileNotFoundError:
            raise KeyFileError(f"{self.path} is missing: `vpctl keys new NAME` makes it, with the first key") from None
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be read: {error.strerror}") from error
        found: dict[bytes, Known] = {}
        wrong: list[str] = []
        for path in paths:
            if path.suffix not in (".pub", ".revoked"):
                continue
            revoked = path.suffix == ".revoked"
            try:
                entries, damaged = _revoked(path) if revoked else (_admitted(path), [])
                wrong += damaged
            except FileNotFoundError:
                continue  # deleted just now
            except KeyFileError as error:
                wrong.append(str(error))
                continue
            except OSError as error:
                wrong.append(f"{path} cannot be read: {error.strerror}")
                entries = {key: each for key, each in last.items() if (each.name, each.revoked) == (path.stem, revoked)}
            for public, each in entries.items():
                if public not in found or not found[public].revoked:
                    found[public] = each
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
        return ClientKeys(self.folder.pair(own), self._public(self.servers.get(server, self.own)))

    def _public(self, name: str) -> bytes:
        """This machine's own public key comes from its secret, so that nobody can change it by its public file."""
        if name == self.own:
            with suppress(KeyFileError):  # a daemon with a pair of its own need not be able to read the machine's
                return self.folder.pair(name).public
        return self.folder.public(name)


def _admitted(path: Path) -> dict[bytes, Known]:
    """The key of a `.pub`."""
    if not is_key_name(path.stem):
        raise KeyFileError(f"{path}: its name is none of a key's")
    public, *links = read_key(path, ANYBODY)
    return {public: Known(path.stem, frozenset(link.decode(errors="replace") for link in links))}


def _revoked(path: Path) -> tuple[dict[bytes, Known], list[str]]:
    """The keys of a `.revoked`, whatever it is called and whatever else it holds; and what that is."""
    lines = read_lines(path)
    keys = [words[0] for words in lines if is_key(words[0])]
    wrong = [f"{path}: {len(lines) - len(keys)} of {len(lines)} lines hold no key"] if len(keys) < len(lines) else []
    return {key: Known(path.stem, revoked=True) for key in keys}, wrong
