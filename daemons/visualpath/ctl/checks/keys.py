"""Whether the keys for connections over tcp are there, and safe."""

from __future__ import annotations

from visualpath.ctl.checks.finding import Examined, Findings, ok, problem, warning
from visualpath_protocol.errors import KeyFileError
from visualpath_protocol.sockets import is_tcp


def check_keys(examined: Examined) -> Findings:
    """The machine's own pair, the public keys of others, and files that hold none; nothing where nothing is tcp."""
    config = examined.config
    links = [name for name, address in config.endpoint_overrides.items() if is_tcp(address)]
    if not links:
        return
    if config.keys is None:
        yield warning(f"tcp without keys: {', '.join(links)}; every user of this machine may connect")
        return
    folder, mend = config.keys.folder, "docs/operations.md, Over a network, has the steps"
    try:
        known, wrong = folder.known()
        own = config.keys.own
        if config.keys.serving().public != folder.public(own):
            yield problem(
                f"{folder.path}: {own}.pub and {own}.key are no pair", f"copy the {own}.pub that belongs to it"
            )
            return
        for name in config.keys.servers.values():
            folder.public(name)
    except KeyFileError as error:
        yield problem(str(error), mend)
    else:
        for each in wrong:
            yield warning(each, "mend it, or move it away if it is no key's")
        names = sorted(each.name for each in known.values() if not each.revoked)
        yield ok(f"keys of {', '.join(names)} for {', '.join(links)}")
