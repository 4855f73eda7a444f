"""A small plug-in project that works, to begin with: what `vpctl plugins new` writes."""

from __future__ import annotations

import keyword
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import visualpath
from visualpath.core.errors import VisualpathError
from visualpath.ctl.fusion_templates import FUSION
from visualpath.ctl.plugin_templates import DEPENDENT, EXTRACTOR
from visualpath.plugin.discovery import EXTRACTORS, FUSIONS, registered
from visualpath_protocol.errors import InvalidName
from visualpath_protocol.messages import check_name


class BadProject(VisualpathError):
    """A project cannot be written; the message says why."""


def create(name: str, folder: Path, *, fusion: bool = False, depends: str | None = None) -> list[str]:
    """Write the project of a plug-in.

    Args:
        name: of the plug-in, its entry point and its module (there with _ in place of -).
        folder: which must not be there yet.
        fusion: what decides, in place of what looks.
        depends: the extractor that one looks at the findings of.

    Returns:
        The files, relative to the folder.

    Raises:
        BadProject: the name cannot be one, or the folder is there, or cannot be written.
    """
    module = _module(name)
    if depends is not None:
        _check_depends(name, depends)
    if folder.exists():
        raise BadProject(f"{folder} is there already: give another folder")
    words = {
        "NAME": name,
        "DEPENDS": depends or "",
        "MODULE": module,
        "CLASS": "".join(part.capitalize() for part in module.split("_")) + ("Fusion" if fusion else "Extractor"),
        "FOLDER": str(folder),
        "VENV": str(folder / ".venv"),
        "INSTALL": "\n    ".join(install_steps(folder, fusion=fusion)),
    }
    templates = FUSION if fusion else DEPENDENT if depends else EXTRACTOR
    files = {_filled(path, words): _filled(text, words) for path, text in templates.items()}
    try:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadProject(f"{error.filename or folder}: {error.strerror}") from error
    return list(files)


def install_steps(folder: Path, *, fusion: bool) -> list[str]:
    """The commands that put a project where it can run: an extractor into a venv of its own, a fusion into core."""
    project, platform = shlex.quote(str(folder)), _quoted_checkout()
    if fusion:  # what is in core must not change what core's lock has installed
        return [f"{platform}/.venvs/core/bin/pip install --no-deps --no-build-isolation -e {project}"]
    venv = shlex.quote(str(folder / ".venv"))
    return [
        f"/usr/bin/python3 -m venv {venv}",
        f"{venv}/bin/pip install -e {platform}/protocol -e {platform}/daemons -e {project} pytest",
    ]


def _quoted_checkout() -> str:
    """The checkout of visualpath that this is part of, for a shell; where there is none, a word for it."""
    root = Path(visualpath.__file__).parents[2]
    is_one = (root / "protocol" / "pyproject.toml").is_file() and (root / "daemons" / "pyproject.toml").is_file()
    return shlex.quote(str(root)) if is_one else "CHECKOUT-OF-VISUALPATH"


def _module(name: str) -> str:
    """The module of a plug-in; BadProject if no plug-in can be called so."""
    try:
        check_name("plug-in", name)
    except InvalidName as error:
        raise BadProject(str(error)) from error
    module = name.replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise BadProject(f"{name!r}: no Python module can be called {module!r}: begin with a letter")
    if any(point.name == name for group in (EXTRACTORS, FUSIONS) for point in registered(group)):
        raise BadProject(f"there is a plug-in {name!r} already: choose another name")
    if module in sys.stdlib_module_names or find_spec(module) is not None:
        raise BadProject(f"there is a Python module {module!r} already, which it would hide: choose another name")
    return module


def _check_depends(name: str, depends: str) -> None:
    try:
        check_name("extractor", depends)
    except InvalidName as error:
        raise BadProject(str(error)) from error
    if depends == name:
        raise BadProject(f"{name} cannot depend on itself")


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"<{word}>", value)
    return text
