"""A daemon's trace: its hub, its file, and the command that switches it."""

from __future__ import annotations

from typing import Any

from visualpath.core.errors import CommandError
from visualpath.observability import FileSink, ObservabilityHub, TraceLevel
from visualpath.observability.troubles import Troubles
from visualpath.runtime.config import Config

LEVELS = {level.name.lower(): level for level in TraceLevel}


class Tracing:
    """The hub of one daemon, which writes `<trace.dir>/<daemon>.jsonl`."""

    def __init__(self, daemon: str, config: Config, refusals: Troubles) -> None:
        path = config.trace_dir / f"{daemon}.jsonl"
        self._file = FileSink(path, config.trace.max_bytes, config.trace.keep, refusals=refusals)
        self.hub = ObservabilityHub(LEVELS[config.trace.level], [self._file], daemon=daemon, refusals=refusals)

    def command(self, args: dict[str, Any]) -> dict[str, Any]:
        """Answer `trace`; args: `level`, if it is to change. The YAML's level holds again after a restart."""
        if "level" in args:
            level = LEVELS.get(str(args["level"]))
            if level is None:
                raise CommandError(
                    "malformed", f"{args['level']!r} is no trace level", f"there are {', '.join(LEVELS)}"
                )
            self.hub.configure(level=level)
        return self.status()

    def status(self) -> dict[str, Any]:
        """The level, the file, and how many lines this process has written to it."""
        return {"level": self.hub.level.name.lower(), "file": str(self._file.path), "written": self._file.written}
