"""Which plug-ins the venvs of this machine hold: from their files, or from their own Pythons."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from visualpath.plugin.discovery import EXTRACTORS, FUSIONS, OLD_NAMES
from visualpath.runtime.config import Config
from visualpath.runtime.roles import roles

VENVS = Path(sys.prefix).parent
"""Where they are if no visualpath.yaml says it: beside the one that vpctl runs in."""
IMPORT_S = 30.0
KINDS = {EXTRACTORS: "extractor", FUSIONS: "fusion"} | {
    OLD_NAMES[EXTRACTORS]: "extractor",
    OLD_NAMES[FUSIONS]: "fusion",
}


@dataclass(frozen=True)
class Registered:
    """A plug-in as a venv's files name it.

    Attributes:
        kind: extractor or fusion.
        name: its entry point.
        folder: of its source, if it was installed from one.
    """

    kind: str
    name: str
    folder: Path | None


def venvs(config: Config | None) -> dict[str, Path]:
    """Each venv by the name that visualpath.yaml has for it: all in `venvs_dir`, and those that it names elsewhere."""
    place = config.venvs_dir if config is not None else VENVS
    named = {folder.name: folder for folder in sorted(place.glob("*")) if os.path.lexists(folder / "bin" / "python")}
    wanted = {role.venv: place / role.venv for role in roles(config)} if config is not None else {}
    return wanted | named


def registered(venv: Path) -> Iterator[Registered]:
    """What is installed in a venv, without asking its Python."""
    packages = [str(folder) for folder in venv.glob("lib/python3*/site-packages")]
    for distribution in distributions(path=packages):
        for point in distribution.entry_points:
            if point.group in KINDS:
                yield Registered(KINDS[point.group], point.name, _source(distribution))


def _source(distribution: Distribution) -> Path | None:
    """The folder that pip installed a distribution from: PEP 610."""
    try:
        url = urlsplit(json.loads(distribution.read_text("direct_url.json") or "{}").get("url", ""))
    except ValueError:
        return None
    return Path(unquote(url.path)) if url.scheme == "file" else None


def listed(venv: Path, patience_s: float = IMPORT_S) -> list[dict[str, Any]]:
    """What a venv's own Python says of each plug-in; `error` has the reason if one cannot be imported.

    An import that hangs or crashes costs that plug-in: the probe begins anew behind it.
    """
    found: list[dict[str, Any]] = []
    while True:
        lines, why = _probe(venv, len(found), patience_s)
        names = [line for line in lines if "kind" in line]
        facts = [line for line in lines if "kind" not in line]
        found += [name | fact for name, fact in zip(names, facts, strict=False)]
        if not why:
            return found
        if len(facts) == len(names):
            return [*found, {"kind": "", "name": "", "error": why}]
        found.append(names[len(facts)] | {"error": why})


def _probe(venv: Path, past: int, patience_s: float) -> tuple[list[dict[str, Any]], str]:
    """The probe's lines, and why there are no more: "" if it came to its end."""
    command = [str(venv / "bin" / "python"), "-m", "visualpath.plugin.probe", "--list", "--past", str(past)]
    with tempfile.TemporaryFile() as words:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words, start_new_session=True
            )
        except OSError as error:
            return [], f"{command[0]}: {error.strerror}"
        assert process.stdout is not None, "a pipe was asked for"
        with process.stdout as pipe:
            text, hangs = _read(pipe.fileno(), patience_s)
            if hangs:
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        last_word = _last_line(words)
    lines = [json.loads(line) for line in text.splitlines()]
    if hangs:
        return lines, f"its import did not end within {patience_s:g} s"
    if code:
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return lines, f"its import ended the process: {how}" if lines else f"{command[0]} ended: {how}{last_word}"
    return lines, ""


def _last_line(file: IO[bytes]) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
    lines = file.read().decode(errors="replace").strip().splitlines()
    return f"; it said last: {lines[-1][:200]}" if lines else ""


def _read(fd: int, patience_s: float) -> tuple[str, bool]:
    """All that comes, and whether nothing came for too long before the end."""
    text = b""
    heard = time.monotonic()
    while time.monotonic() - heard < patience_s:
        if select.select([fd], [], [], patience_s)[0]:
            block = os.read(fd, 65536)
            if not block:
                return text.decode(), False
            text += block
            heard = time.monotonic()
    return text.decode(), True
