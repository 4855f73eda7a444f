"""Where pictures come from. A scheme is added here; whoever reads a source need not know which it is."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from visualbase.address import SCHEMES
from visualbase.errors import SourceError
from visualbase.sources.base import Source
from visualpath_protocol.clock import NS_PER_S

DEFAULT_TIMEOUT_NS = 5 * NS_PER_S


def open_source(
    uri: str, *, loop: bool = False, jpeg_quality: int = 85, timeout_ns: int = DEFAULT_TIMEOUT_NS
) -> Source:
    """Open a source; it is closed by `close()` or at the end of a `with`.

    | uri | source |
    |---|---|
    | a path, `file:///absolute/path` | a video file; a folder or a pattern (`*.jpg`) of pictures at 10 per second |
    | `images:///folder?fps=5`, `images:///folder/*.png?fps=5` | pictures |
    | `rtsp://`, `rtsps://`, `http://`, `https://` | a stream; by http(s) also a file on a web server |
    | `v4l2:///dev/video0?width=1280&height=720&fps=30` | a camera at this machine |
    | `synthetic://?width=640&height=480&fps=30&frames=300&vfr=0&seed=0&live=0` | see `sources.synthetic` |

    Args:
        uri: see above.
        loop: begin again at the end, on a time line that goes on; without meaning for a stream or a camera.
        jpeg_quality: 1 to 100, of what is not JPEG already.
        timeout_ns: how long a stream or a camera may keep silent.

    Raises:
        SourceError: it cannot be opened, or nothing here reads its scheme.
    """
    # Imported late: the light install has no av, and reads no sources.
    scheme, mark, _ = uri.partition("://")
    if not mark or scheme == "file":
        return _open_path(local_path(uri), loop=loop, jpeg_quality=jpeg_quality)
    if scheme == "images":
        from visualbase.sources.images import images_at

        return images_at(uri, loop=loop, jpeg_quality=jpeg_quality)
    if scheme in ("rtsp", "rtsps", "http", "https"):
        from visualbase.sources.stream import StreamSource

        return StreamSource(uri, timeout_ns=timeout_ns, jpeg_quality=jpeg_quality)
    if scheme == "v4l2":
        from visualbase.sources.camera import CameraSource

        return CameraSource(uri, timeout_ns=timeout_ns, jpeg_quality=jpeg_quality)
    if scheme == "synthetic":
        from visualbase.sources.synthetic import SyntheticSource

        return SyntheticSource(uri, loop=loop, jpeg_quality=jpeg_quality)
    raise SourceError(uri, "nothing here reads this scheme", f"give a path or one of {', '.join(SCHEMES)}")


def _open_path(path: str, *, loop: bool, jpeg_quality: int) -> Source:
    from visualbase.sources.file import FileSource
    from visualbase.sources.images import ImageSource, names_images

    if names_images(path):
        return ImageSource(path, loop=loop, jpeg_quality=jpeg_quality)
    return FileSource(path, loop=loop, jpeg_quality=jpeg_quality)


def local_path(uri: str) -> str:
    """The path that a path or a `file://` address names.

    Raises:
        SourceError: it is no such address, or one of another host.
    """
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise SourceError(uri, "this is no file", "give a path or a file:// address")
    if parts.netloc not in ("", "localhost"):
        raise SourceError(uri, f"{parts.netloc!r} is another host", "write file:///absolute/path, with three slashes")
    return unquote(parts.path)
