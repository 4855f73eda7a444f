"""What goes over visualpath's wire, and nothing else. PROTOCOL.md beside this package is the normative text."""

from visualpath_protocol.version import PROTOCOL_MAJOR, PROTOCOL_VERSION

__all__ = ["PROTOCOL_MAJOR", "PROTOCOL_VERSION"]
