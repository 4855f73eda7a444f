"""Version of PROTOCOL.md. A peer with another major version is refused; minor versions add fields only."""

PROTOCOL_VERSION = "1.0"
PROTOCOL_MAJOR = 1
