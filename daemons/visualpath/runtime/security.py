"""The section `security` of visualpath.yaml: CURVE keys, for endpoints that are tcp."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec

from visualpath.runtime.yaml_source import Key, YamlSource, nearest
from visualpath_protocol.keys import KeyFolder, Keyring, is_key_name


class SecurityConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who this machine is, and whom it knows.

    Attributes:
        keys: folder of keys: those of this machine, and of whom it lets in.
        key: name of this machine's pair; without it there is no tcp beyond loopback.
        servers: by daemon, the name of the machine where it runs, if that is another.
    """

    keys: str = "keys"
    key: str = ""
    servers: dict[str, str] = {}

    def keyring(self, base: Path) -> Keyring | None:
        """The keys to use; None if there are none. `base` is the folder that relative paths count from."""
        return Keyring(KeyFolder(base / self.keys), self.key, self.servers) if self.key else None


def check_security(security: SecurityConfig, daemons: Collection[str], source: YamlSource) -> None:
    """Refuse names that cannot be.

    Args:
        daemons: that the configuration knows.

    Raises:
        ConfigError: with file, line and key.
    """
    names: dict[Key, str] = {("security", "key"): security.key} if security.key else {}
    for daemon, name in security.servers.items():
        place = ("security", "servers", daemon)
        if daemon not in daemons:
            raise source.error(place, "there is no such daemon" + nearest(daemon, daemons))
        names[place] = name
    for key, name in names.items():
        if not is_key_name(name):
            raise source.error(key, f"{name!r} is no valid name of a key")
    if security.servers and not security.key:
        raise source.error(("security", "servers"), "needs `key`, the name of this machine's own pair")
