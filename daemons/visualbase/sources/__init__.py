"""Where pictures come from. A scheme is added here; whoever reads a source need not know which it is."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from visualbase.errors import SourceError
from visualbase.sources.base import Source


def open_source(uri: str, *, loop: bool = False, jpeg_quality: int = 85) -> Source:
    """Open a source; it is closed by `close()` or at the end of a `with`.

    Args:
        uri: a path, or `file://` and an absolute path.
        loop: begin again at the end, on a time line that goes on.
        jpeg_quality: 1 to 100.

    Raises:
        SourceError: it cannot be opened, or nothing here reads its scheme.
    """
    # Imported late: the light install has no av, and reads no sources.
    from visualbase.sources.file import FileSource

    return FileSource(_local_path(uri), loop=loop, jpeg_quality=jpeg_quality)


def _local_path(uri: str) -> str:
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    if parts.scheme != "file":
        # The address itself may carry a password: it stays out of the message.
        raise SourceError(f"{parts.scheme}://...", "not supported yet", "give a path or a file:// address")
    if parts.netloc not in ("", "localhost"):
        raise SourceError(uri, f"{parts.netloc!r} is another host", "write file:///absolute/path, with three slashes")
    return unquote(parts.path)
