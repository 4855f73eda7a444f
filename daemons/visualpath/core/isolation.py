"""How far an extractor in the library is kept apart from the program that uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class IsolationLevel(Enum):
    """Where an extractor runs.

    INLINE: in the caller's thread. THREAD: in a thread of its own. PROCESS: in a process of its own, by the same
    Python. VENV: in a process of its own, by the Python of another venv.
    """

    INLINE = "inline"
    THREAD = "thread"
    PROCESS = "process"
    VENV = "venv"


@dataclass(frozen=True, slots=True)
class IsolationConfig:
    """Which extractor runs where.

    Attributes:
        default_level: of extractors that are not in `overrides`.
        overrides: level by extractor.
        venv_paths: folder of the venv by extractor, for those of level VENV.
    """

    default_level: IsolationLevel = IsolationLevel.PROCESS
    overrides: Mapping[str, IsolationLevel] = field(default_factory=dict)
    venv_paths: Mapping[str, str] = field(default_factory=dict)

    def level_of(self, extractor: str) -> IsolationLevel:
        """Where an extractor runs."""
        return self.overrides.get(extractor, self.default_level)

    def venv_of(self, extractor: str) -> str | None:
        """The folder of its venv; None if none is given."""
        return self.venv_paths.get(extractor)
