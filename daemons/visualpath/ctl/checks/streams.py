"""Whether the configuration makes sense as a whole, and its sources can be opened."""

from __future__ import annotations

from visualbase.address import shown
from visualbase.errors import MediaError
from visualbase.sources import open_source
from visualpath.core.errors import ConfigError, PluginError
from visualpath.ctl.checks.finding import Examined, Findings, ok, problem, warning
from visualpath.process.decision import check_fusion


def check_configuration(examined: Examined) -> Findings:
    """What is allowed in visualpath.yaml, yet can hardly be meant."""
    config = examined.config
    yield ok(f"{config.path}: valid, {len(config.streams)} streams, {len(config.extractors)} extractors")
    for name in config.streams:
        if not config.extractors_of(name):
            yield warning(f"no extractor looks at stream {name!r}", f"add one in {config.path}: extractors")
    try:
        check_fusion(config)
    except (ConfigError, PluginError) as error:
        yield problem(f"fusion cannot start: {error}", f"mend fusion in {config.path}")


def check_sources(examined: Examined) -> Findings:
    """Each source can be opened and has a picture format."""
    for name, stream in examined.config.streams.items():
        try:
            with open_source(stream.source, timeout_ns=stream.timeout_ns) as source:
                info = source.info
        except MediaError as error:
            yield problem(f"stream {name!r}: {error}", f"mend streams.{name}.source in {examined.config.path}")
        except ImportError as error:
            yield warning(f"stream {name!r}: not tried ({error})", "run vpctl of the venv core")
        else:
            yield ok(f"stream {name!r}: {shown(stream.source)}, {info.width}x{info.height} at {info.fps:.3g} fps")
