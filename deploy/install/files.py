"""What is installed beside the venvs: each file by its final path, made from the checkout."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from build import ROOT

PREFIX = "/opt/visualpath"
"""As the units, the documents and the example have it."""
ALWAYS = "core"
"""The venv that has vpctl."""
CONFIG = Path("/etc/visualpath/visualpath.yaml")
UNITS = Path("/usr/lib/systemd/system")
UNIT_KINDS = ("service", "target", "slice", "mount", "path", "timer")
SETTINGS = ("sysusers.d/visualpath.conf", "tmpfiles.d/visualpath.conf")
DOCUMENTS = ("docs/*.md", "protocol/PROTOCOL.md", "README.md", "CHANGELOG.md", "LICENSE", "deploy/*.example.yaml")
SECRETS = """\
# Variables for ${NAME} in visualpath.yaml, one to a line: CAM1_PASSWORD=... Only root may read them; systemd hands them
# to the daemons.
"""


@dataclass(frozen=True)
class File:
    """One file to install; of the configuration, if an edit of it is to be kept; or a link to what `data` names."""

    path: Path
    data: bytes
    mode: int = 0o644
    configuration: bool = False
    link: bool = False

    @property
    def content(self) -> tuple[bool, bytes]:
        """Whether it is a link, and what it holds."""
        return self.link, self.data

    @property
    def hash(self) -> str:
        """The hash of its content."""
        return hash_of(self.content)


def hash_of(content: tuple[bool, bytes]) -> str:
    """Return a hash of what a file or a link (if so) holds."""
    link, data = content
    return hashlib.sha256(b"-> " * link + data).hexdigest()


def system_wide(example: str) -> str:
    """Return the example configuration with its block "Under systemd" taken in, each value at its key."""
    block = re.search(r"^# Under systemd.*\n((?:#   .*\n)+)", example, re.MULTILINE)
    assert block, "the example has no block for systemd"
    text = example.replace(block[0], "# This one is for systemd: the places are those that the units allow.\n")
    for line in block[1].splitlines():
        key, value = re.fullmatch(r"#   (\w+): (.*?)(?: +#.*)?", line).groups()
        pairs = re.findall(r"(\w+): ([^,}]+)", value) if value.startswith("{") else []
        for inner, wanted in pairs:
            text = _set(text, rf"^{key}:.*\n(?:  .*\n)*?  ", inner, wanted)
        if not pairs:
            text = _set(text, "^", key, value)
    return text


def _set(text: str, before: str, key: str, value: str) -> str:
    """Set the first key that stands after what a pattern finds, also where it is commented out; its comment stays."""
    found = re.search(rf"({before})(?:# )?{key}:[^#\n]*(# .*)?$", text, re.MULTILINE)
    assert found, f"the example has no place for {key}"
    start = text.rfind("\n", 0, found.end(1)) + 1
    line = f"{text[start : found.end(1)]}{key}: {value}"
    if found[2]:
        line = f"{line.ljust(found.start(2) - start - 1)} {found[2]}"
    return text[:start] + line + text[found.end() :]


def moved(text: str, prefix: Path) -> bytes:
    """Return a text with the prefix put in where it has the usual one."""
    return text.replace(PREFIX, str(prefix)).encode()


def all_files(prefix: Path) -> list[File]:
    """Return everything but the venvs and what only vpctl can say of itself."""
    config = moved(system_wide((ROOT / "deploy" / "visualpath.example.yaml").read_text()), prefix)
    units = [path for kind in UNIT_KINDS for path in sorted((ROOT / "systemd").glob(f"*.{kind}"))]
    documents = [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]
    systemd = [(UNITS / unit.name, unit) for unit in units]
    systemd += [(Path("/usr/lib") / kind, ROOT / "systemd" / kind) for kind in SETTINGS]
    return [
        File(CONFIG, config, 0o640, configuration=True),
        File(CONFIG.with_name("secrets.env"), SECRETS.encode(), 0o600, configuration=True),
        File(prefix / "share" / CONFIG.name, config),
        File(Path("/usr/bin/vpctl"), os.fsencode(prefix / "venvs" / ALWAYS / "bin" / "vpctl"), link=True),
        *(File(path, moved(source.read_text(), prefix)) for path, source in systemd),
        *(File(prefix / "doc" / path.name, moved(path.read_text(), prefix)) for path in documents),
    ]
