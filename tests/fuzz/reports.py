"""What came of fuzzing one target."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path


@dataclass
class Report:
    """What came of a target.

    Attributes:
        grown_bytes: resident memory, after a warm-up.
        defects: by where it happened, the input's file and the traceback.
    """

    name: str
    executions: int = 0
    seconds: float = 0.0
    grown_bytes: int = 0
    defects: dict[str, str] = field(default_factory=dict)

    def add(self, error: Exception, data: bytes, found_dir: Path) -> None:
        """Keep an input that did harm; one for each place."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {last.filename}:{last.lineno}"
        if place in self.defects:
            return
        path = found_dir / self.name / sha256(data).hexdigest()[:12]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.defects[place] = f"{path}\n{''.join(traceback.format_exception(error))}"
