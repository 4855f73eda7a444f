"""Everything this distribution raises.

ProtocolError
├── MalformedMessage     bytes that are no message of this link
│   └── VersionMismatch  a message of another major version
├── OversizedMessage     larger than the link allows
├── InvalidName          a stream, source, daemon or label that breaks the naming rule
└── EndpointError        an address that cannot be used
    ├── AddressInUse     a live daemon has it already
    └── KeyFileError     a CURVE key that it needs is missing, unsafe or none
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of all errors of the wire."""


class MalformedMessage(ProtocolError):
    """The bytes are no message of this link."""


class VersionMismatch(MalformedMessage):
    """The message comes from a peer with another major version of the protocol.

    Attributes:
        theirs: the peer's major version.
        message_id: the `id` of a COMMAND, so that it can be refused by a REPLY; "" for other messages.
    """

    def __init__(self, tag: str, theirs: int, ours: int, *, message_id: str = "") -> None:
        super().__init__(
            f"{tag[:32]}: protocol major version {theirs}, this side speaks {ours}; install matching versions"
        )
        self.theirs = theirs
        self.message_id = message_id


class OversizedMessage(ProtocolError):
    """The message is larger than its link allows."""


class InvalidName(ProtocolError, ValueError):
    """The name breaks the rule: it becomes a topic, a file name and a unit name."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(
            f"{what} {name!r} is no valid name: use 1 to 32 of a-z, 0-9, '_' and '-', starting with a letter or digit"
        )


class EndpointError(ProtocolError):
    """The address cannot be used."""


class AddressInUse(EndpointError):
    """A live daemon of this name holds the address already."""


class KeyFileError(EndpointError):
    """A file of keys is missing, unsafe, or holds none."""
