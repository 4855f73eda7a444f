"""Log lines on stderr, for the supervisor or journald to keep.

Text: `2026-01-31T12:00:00.250Z INFO fusion: message`. JSON: one object a line with the same parts. Each line that
goes to the journal begins with its priority, `<6>`, which journald takes off: sd-daemon(3).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import IO

from visualpath_protocol.clock import rfc3339

PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Of syslog, by the level of logging."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What ends a line, or is a command to the terminal that shows it."""

Redact = Callable[[str], str]


class _TextFormatter(logging.Formatter):
    def __init__(self, daemon: str, redact: Redact) -> None:
        super().__init__()
        self._daemon = daemon
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        text = self.plain(record.getMessage())
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self.line(rfc3339(int(record.created * 1e9)), record.levelname, self._redact(text))

    def plain(self, text: str) -> str:
        return plain(text)

    def line(self, when: str, level: str, text: str) -> str:
        return f"{when} {level} {self._daemon}: {text}"


class _JsonFormatter(_TextFormatter):
    def plain(self, text: str) -> str:
        return text

    def line(self, when: str, level: str, text: str) -> str:
        return json.dumps({"time": when, "level": level, "daemon": self._daemon, "message": text}, ensure_ascii=False)


class _JournalFormatter(logging.Formatter):
    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return with_priority(self._inner.format(record), record.levelno)


def plain(text: str) -> str:
    """One message, one line, whatever a peer wrote."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _as_it_is(text: str) -> str:
    return text


def setup_logs(daemon: str, level: str, style: str, redact: Redact = _as_it_is) -> None:
    """Send all log records of this process to stderr.

    A broken stderr (its reader has died) must not stop a daemon: logging swallows it.

    Args:
        redact: takes secrets out of a line.
    """
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    formatter = (_JsonFormatter if style == "json" else _TextFormatter)(daemon, redact)
    handler.setFormatter(_JournalFormatter(formatter) if is_journal(sys.stderr) else formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def tell_refusal(message: str) -> None:
    """Say on stderr why a daemon does not even start."""
    line = with_priority(message, logging.ERROR) if is_journal(sys.stderr) else message
    sys.stderr.write(line + "\n")


def with_priority(text: str, level: int) -> str:
    """Every line of it, as journald wants it."""
    return "\n".join(f"<{PRIORITIES.get(level, 6)}>{line}" for line in text.split("\n"))


def is_journal(stream: IO[str], environ: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written to a stream goes to the journal: systemd.exec(5), JOURNAL_STREAM."""
    try:
        file = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file at all
        return False
    return environ.get("JOURNAL_STREAM") == f"{file.st_dev}:{file.st_ino}"
