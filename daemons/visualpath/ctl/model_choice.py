"""Which models `vpctl models` is about: the store of the configuration, and the manifests of all venvs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions, entry_points
from pathlib import Path
from typing import Any

from visualpath.core.errors import ModelError
from visualpath.ctl.checks.venvs import AT_ONCE, VenvBroken, ask_venv
from visualpath.ctl.console import Vpctl
from visualpath.models.manifest import GROUP, Catalogue, Model, installed_manifests, read_catalogue
from visualpath.models.store import ModelStore, sha256_of
from visualpath.plugin.models import models_dir
from visualpath.runtime.config import Config


def configured(vpctl: Vpctl) -> Config | None:
    """The configuration, if it is there: weights may be brought to a machine before it has one."""
    return vpctl.config if vpctl.config_path.exists() else None


def store_of(vpctl: Vpctl) -> ModelStore:
    """The store that daemons of this configuration look into."""
    config = configured(vpctl)
    return ModelStore(config.models_dir if config is not None else models_dir().absolute())


def catalogue_of(vpctl: Vpctl) -> Catalogue:
    """The models of the plug-ins in vpctl's own venv, and of those in the other venvs of the configuration."""
    manifests, problems = installed_manifests()
    config = configured(vpctl)
    venvs = _with_manifests(config) if config is not None else []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for answer in pool.map(lambda venv: _ask(config, venv), venvs):
            manifests += map(Path, answer["manifests"])
            problems += answer["problems"]
    return read_catalogue(manifests, list(dict.fromkeys(problems)))


def _with_manifests(config: Config) -> list[str]:
    """The venvs with a manifest that vpctl's own lacks, as their files say: to ask a Python takes a moment."""
    own = entry_points(group=GROUP).names
    found = []
    elsewhere = {config.venvs_dir / extractor.venv for extractor in config.extractors.values()}
    for venv in sorted({*config.venvs_dir.glob("*/"), *elsewhere}):
        places: list[Any] = [str(folder) for folder in venv.glob("lib/python3*/site-packages")]
        points = (point for each in distributions(path=places) for point in each.entry_points)
        if any(point.group == GROUP and point.name not in own for point in points):
            found.append(str(venv))
    return found


def _ask(config: Config | None, venv: str) -> dict[str, list[str]]:
    assert config is not None
    try:
        answer: dict[str, list[str]] = ask_venv(config, venv, "--manifests")
    except VenvBroken as error:
        return {"manifests": [], "problems": [f"venv {venv!r} is broken: {error}"]}
    return answer


def recognised(catalogue: Catalogue, file: Path, name: str | None) -> Model:
    """The model that a file is: by the name given, else by the file's name, else by its checksum.

    Raises:
        ModelError: none is.
    """
    if name is not None:
        return catalogue.find(name)
    for model in catalogue.models.values():
        if file.name == (model.name if file.is_dir() else model.file):
            return model
    if file.is_file():
        sha256 = sha256_of(file)
        for model in catalogue.models.values():
            if model.sha256 == sha256:
                return model
    raise ModelError(
        f"{file} is no file that a manifest names; give NAME, one of {', '.join(catalogue.models) or 'none'}"
    )
