"""The one class a plug-in author writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Literal

from visualbase.frame import Frame
from visualpath.core.errors import PluginError
from visualpath.core.observation import Observation

Extracted = Observation[Any] | list[Observation[Any]] | None

HOSTS_KEYS = ("backend", "backends", "ladder")
"""In the `config:` of an extractor that has backends; they are not in `self.config`."""

Loader = Callable[[Mapping[str, Any]], Any]
"""Takes the extractor's `config:`, gives the models of one backend, which become `self.models`."""

PictureFormat = Literal["bgr", "gray"]

DropStrategy = Literal["skip_oldest", "skip_intermediate", "skip_busy", "keyframe_only"]
"""Which frames an extractor that is slower than its stream does not look at; each is said, but for `keyframe_only`'s.

skip_oldest: one frame waits, the newest. skip_intermediate: two wait, the oldest and the newest. skip_busy: none
waits. keyframe_only: of every N frames only one is looked at, and of these the newest waits.
"""


class BaseExtractor(ABC):
    """Looks at frames and says what it sees.

    The host makes one object per stream (trackers and filters belong to one stream) and calls it from
    one thread, frame by frame, in order. It calls `load_models` once per process and sets `models`
    on each object before the first frame, so that heavy models are loaded once and shared.

    Class attributes:
        name: the extractor's name; also its default source name.
        version: the plug-in's own version, reported by `vpctl`.
        input_width: the picture is decoded at the smallest of the scales 1/8 ... 8/8 that is at least
            this wide (pixels); None: full size.
        pixel_format: "bgr" for (height, width, 3), "gray" for (height, width, 1), which decodes faster.
        depends: the extractors, by the names visualpath.yaml gives them, whose observations it needs. Then `extract`
            takes them as its second parameter: `def extract(self, frame, seen=None)`, a dict of lists of
            `Observation` of the same frame by extractor. A frame that one of them skips is skipped here too.
        backends: by name, what loads the models of each way to do the work, in place of `load_models`. All give objects
            with the same methods. `backend: x` or `backends: [x, y]` in `config:` chooses (default: the first); these
            two keys and `ladder` are the host's. It puts another object into `self.models` between two frames when one
            fails, and may show a frame again that `extract` failed on: call the models first, then change what is
            remembered of the past. A loader runs a model once before it returns it, raises what it likes, and may be
            called in another thread than `extract` is.
        backend_pictures: `input_width` and `pixel_format` of the backends, by name, that want other pictures than the
            class attributes say. Of several that are chosen all get the widest, and "bgr" if one of them wants that.
        backend_settings: by backend, the keys of `config:` that it reads and others do not. One of these is refused
            where none that reads it is chosen.

    Args:
        config: the extractor's `config:` mapping from visualpath.yaml; raise ValueError for a bad one.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = "1.0.0"
    input_width: ClassVar[int | None] = None
    pixel_format: ClassVar[PictureFormat] = "bgr"
    depends: ClassVar[tuple[str, ...]] = ()
    backends: ClassVar[Mapping[str, Loader]] = {}
    backend_pictures: ClassVar[Mapping[str, tuple[int | None, PictureFormat]]] = {}
    backend_settings: ClassVar[Mapping[str, Collection[str]]] = {}

    models: Any = None

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        given = dict(config or {})
        hosts = HOSTS_KEYS if self.backends else ()
        self.backend_config: dict[str, Any] = {key: given.pop(key) for key in hosts if key in given}
        self.config: dict[str, Any] = given

    @classmethod
    def load_models(cls, config: Mapping[str, Any]) -> Any:
        """Load what is heavy and can be shared between streams; the result becomes `self.models`."""
        return None

    @abstractmethod
    def extract(self, frame: Frame) -> Extracted:
        """Look at one frame.

        Returns:
            One observation, several, or None when there was nothing to see. An exception costs the
            host a SKIP for this frame with the exception's text, never the daemon.
        """

    def reset(self) -> None:
        """Forget everything about the past: a new epoch has begun."""

    def close(self) -> None:
        """Give back what this object holds (the host closes shared models that have a `close`)."""


def check_depends(extractor: type[BaseExtractor], source: str, given: Collection[str]) -> None:
    """Whether `depends:` of visualpath.yaml gives an extractor what its class needs.

    Raises:
        PluginError: it does not, or the class takes no observations of others; the message says what to write.
    """
    if not set(extractor.depends) <= set(given):
        wanted = ", ".join(dict.fromkeys((*given, *extractor.depends)))
        raise PluginError(
            f"extractor {source!r} needs the observations of {', '.join(extractor.depends)}: "
            f"write `depends: [{wanted}]` into its section of visualpath.yaml"
        )
    if given and not extractor.depends:
        raise PluginError(
            f"extractor {source!r} takes no observations of others: take `depends` out of its section of "
            "visualpath.yaml, or name what it needs in the class attribute `depends`"
        )
