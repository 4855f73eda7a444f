"""Log lines on stderr, for the supervisor or journald to keep.

Text: `2026-01-31T12:00:00.250Z INFO fusion: message`. JSON: one object a line with the same parts.
"""

from __future__ import annotations

import json
import logging
import sys

from visualpath_protocol.clock import rfc3339


class _TextFormatter(logging.Formatter):
    newline = "\\n"  # one message, one line, whatever a peer wrote

    def __init__(self, daemon: str) -> None:
        super().__init__()
        self._daemon = daemon

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage().replace("\n", self.newline)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self.line(rfc3339(int(record.created * 1e9)), record.levelname, text)

    def line(self, when: str, level: str, text: str) -> str:
        return f"{when} {level} {self._daemon}: {text}"


class _JsonFormatter(_TextFormatter):
    newline = "\n"

    def line(self, when: str, level: str, text: str) -> str:
        return json.dumps({"time": when, "level": level, "daemon": self._daemon, "message": text}, ensure_ascii=False)


def setup_logs(daemon: str, level: str, style: str) -> None:
    """Send all log records of this process to stderr.

    A broken stderr (its reader has died) must not stop a daemon: logging swallows it.
    """
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(daemon) if style == "json" else _TextFormatter(daemon))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
