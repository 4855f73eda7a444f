"""What `${NAME}` of visualpath.yaml stands for: secrets.env beside that file, and the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path

FILE = "secrets.env"
_ASSIGNMENT = re.compile(
    r"""^[^\S\n]* (?:
        [#;] (?: \\. | [^\\\n] )*                                            # a comment
        | ([A-Za-z_][A-Za-z0-9_]*) [^\S\n]* =
          ( (?: [^\S\n] | '[^']*' | "(?: \\. | [^"\\] )*" )* )               # what is quoted, then what is not
          ( (?: \\. | [^\\\n] )* )
    )""",
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_QUOTED = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)\"""", re.DOTALL)


class Variables(dict[str, str]):
    """Values by name; the file counts before the environment, as for what systemd starts.

    systemd reads secrets.env for the daemons, as root. For whom may not read it, the names in it stand for
    themselves: everything else that vpctl does with the configuration needs none of them.

    Args:
        config_path: visualpath.yaml.
        needed: whether a name that nobody knows is an error; else it stands for itself, too.

    Attributes:
        withheld: the file, if there is one that may not be read.
    """

    def __init__(self, config_path: Path, needed: bool = True) -> None:
        super().__init__(os.environ)
        self._needed = needed
        self.withheld: Path | None = None
        path = config_path.parent / FILE
        try:
            text = path.read_text(errors="replace")
        except PermissionError:
            self.withheld = path
        except (FileNotFoundError, NotADirectoryError):
            pass
        else:
            self.update({name: _value(*parts) for name, *parts in _ASSIGNMENT.findall(text) if name})

    def __missing__(self, name: str) -> str:
        if self._needed and self.withheld is None:
            raise KeyError(name)
        return f"${{{name}}}"


def _value(quoted: str, plain: str) -> str:
    """As systemd 252 reads it (systemd.exec(5), EnvironmentFile=): a backslash goes where it has done its work."""
    words = [single or re.sub(r'\\(["\\`$])|\\\n', r"\1", double) for single, double in _QUOTED.findall(quoted)]
    return "".join(words) + re.sub(r"\\\n|\\(.)", r"\1", plain.rstrip(), flags=re.DOTALL)
