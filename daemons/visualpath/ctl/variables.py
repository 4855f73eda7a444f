"""What `${NAME}` of visualpath.yaml stands for: the environment, and secrets.env beside that file."""

from __future__ import annotations

import os
import re
from pathlib import Path

FILE = "secrets.env"
_ASSIGNMENT = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*?)\s*$", re.MULTILINE)


class Variables(dict[str, str]):
    """Values by name.

    systemd reads secrets.env for the daemons, as root. For whom may not read it, the names in it stand for
    themselves: everything else that vpctl does with the configuration needs none of them.

    Attributes:
        withheld: the file, if there is one that may not be read.
    """

    def __init__(self, config_path: Path) -> None:
        self.withheld: Path | None = None
        path = config_path.parent / FILE
        try:
            super().__init__({name: _unquoted(value) for name, value in _ASSIGNMENT.findall(path.read_text())})
        except PermissionError:
            self.withheld = path
        except OSError:  # there is none
            pass
        self.update(os.environ)

    def __missing__(self, name: str) -> str:
        if self.withheld is None:
            raise KeyError(name)
        return f"${{{name}}}"


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
