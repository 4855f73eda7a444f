"""Addresses of sources as they may be shown: whoever reads a log or a status learns no user and no password."""

from __future__ import annotations

from urllib.parse import urlsplit

_WITHOUT_SECRETS = ("file", "images", "synthetic", "v4l2")
SCHEMES = (*_WITHOUT_SECRETS, "rtsp", "rtsps", "http", "https")
"""What `visualbase.sources.open_source` reads, beside paths."""


def shown(uri: str) -> str:
    """A path or local address as it is; of one in the network the scheme, the host and the port.

    Cameras take passwords before the host, in the query and even in the path, so all of that is left out. Where it is
    unclear which part is the host (an `@` in a password that is not percent-encoded, no `@` at all), the host is too.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme.lower() in _WITHOUT_SECRETS:
        return uri
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises where it is none: `user:password` without a host reads like one
    except ValueError:
        return f"{scheme}://..."
    _, _, host = parts.netloc.rpartition("@")
    unclear = "@" in rest[len(parts.netloc) :] or "%40" in host
    return f"{scheme}://..." if unclear else f"{scheme}://{host}/..."
