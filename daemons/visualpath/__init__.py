"""visualpath: keeps the moments that matter in live video on an edge box.

`import visualpath as vp; vp.process_video(...)` works in a program; nothing is imported before it is asked for, since
each daemon, and each plug-in, pays only for what it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visualpath.video import VideoResult, process_video

__all__ = ["VideoResult", "process_video"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from visualpath import video

    return getattr(video, name)
