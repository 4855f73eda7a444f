"""Which backends of an extractor visualpath.yaml asks for: `backend`, `backends` and `ladder` in its `config:`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from visualpath.core.errors import PluginConfigError, PluginError, told
from visualpath.core.extractor import HOSTS_KEYS, BaseExtractor, PictureFormat
from visualpath.core.ladder import Patience
from visualpath.core.strict import UNKNOWN_KEY, misfit
from visualpath.core.units import Duration, decode_quantity

Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class LadderSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The mapping `ladder`; see `Patience`."""

    errors: Count = Patience().errors
    retry_ns: Duration = field(default=Duration(Patience().retry_ns), name="retry")
    retry_max_ns: Duration = field(default=Duration(Patience().retry_max_ns), name="retry_max")
    probation: Count = Patience().probation


@dataclass(frozen=True)
class Choice:
    """What the host is to load, and what the plug-in is to be made with.

    Attributes:
        loaders: by name, the best first; of a class without backends: its `load_models`, by no name.
        patience: when one is given up and tried again.
        config: the plug-in's own part of its configuration.
        input_width, pixel_format: of the pictures; what is enough for each that may be loaded.
    """

    loaders: Mapping[str, Callable[[], Any]]
    patience: Patience
    config: Mapping[str, Any]
    input_width: int | None = None
    pixel_format: PictureFormat = "bgr"


def choose(extractor: type[BaseExtractor], config: Mapping[str, Any]) -> Choice:
    """Take apart what belongs to the host and what to the plug-in.

    Raises:
        PluginConfigError: a key of the host's has a value that is not allowed, or one is for backends not chosen.
    """
    if not extractor.backends:
        loaders = {"": partial(extractor.load_models, config)}
        return Choice(loaders, Patience(), config, extractor.input_width, extractor.pixel_format)
    rest = {key: value for key, value in config.items() if key not in HOSTS_KEYS}
    names = _names(extractor, config)
    _refuse_unread(extractor, names, rest)
    loaders = {name: partial(extractor.backends[name], rest) for name in names}
    return Choice(loaders, _patience(config.get("ladder", {})), rest, *_pictures(extractor, names))


def _names(extractor: type[BaseExtractor], config: Mapping[str, Any]) -> list[str]:
    if "backend" in config and "backends" in config:
        raise PluginConfigError(("backends",), "write backend or backends, not both")
    key = "backend" if "backend" in config else "backends"
    chosen = config.get(key, [next(iter(extractor.backends))])
    names = [chosen] if key == "backend" else chosen
    known = ", ".join(extractor.backends)
    if not isinstance(names, list) or not names:
        raise PluginConfigError((key,), f"must be a list of some of {known}, the best first")
    for i, name in enumerate(names):
        if not isinstance(name, str) or name not in extractor.backends:
            raise PluginConfigError((key,), f"there is no {name!r}; there are {known}")
        if name in names[:i]:
            raise PluginConfigError((key,), f"{name!r} stands here twice: take one out")
    return names


def _refuse_unread(extractor: type[BaseExtractor], names: Sequence[str], config: Mapping[str, Any]) -> None:
    for key in config:
        readers = [name for name, keys in extractor.backend_settings.items() if key in keys]
        if readers and not set(readers) & set(names):
            raise PluginConfigError(
                (key,),
                f"no backend that is chosen reads it, only {' and '.join(readers)}: "
                f"write `backend: {readers[0]}`, or take it out",
            )


def _pictures(extractor: type[BaseExtractor], names: Sequence[str]) -> tuple[int | None, PictureFormat]:
    usual = extractor.input_width, extractor.pixel_format
    widths, formats = zip(*(extractor.backend_pictures.get(name, usual) for name in names), strict=True)
    return None if None in widths else max(widths), "bgr" if "bgr" in formats else "gray"


def _patience(written: object) -> Patience:
    try:
        settings = msgspec.convert(written, LadderSettings, dec_hook=decode_quantity)
    except msgspec.ValidationError as error:
        where, message = misfit(error)
        if message == UNKNOWN_KEY:
            message += "; there are errors, retry, retry_max and probation"
        raise PluginConfigError(("ladder", *where), message) from None
    if settings.retry_max_ns < settings.retry_ns:
        raise PluginConfigError(("ladder", "retry_max"), "must be at least as long as retry")
    return Patience(settings.errors, settings.retry_ns, settings.retry_max_ns, settings.probation)


def load_each(choice: Choice) -> dict[str, str]:
    """Try every backend by itself; returns why some cannot be used, by name.

    Raises:
        PluginError: none can be.
        Exception: that of `load_models`, where there are no backends.
    """
    if "" in choice.loaders:
        choice.loaders[""]()
        return {}
    unusable: dict[str, str] = {}
    for name, load in choice.loaders.items():
        try:
            models = load()
            if callable(close := getattr(models, "close", None)):
                close()
        except Exception as error:
            unusable[name] = told(error)
    if len(unusable) == len(choice.loaders):
        raise PluginError("; ".join(f"{name}: {why}" for name, why in unusable.items()))
    return unusable
