"""Where an extractor finds its weights: `model_path("buffalo_l")`."""

from __future__ import annotations

import os
from pathlib import Path

from visualpath.core.errors import ModelError, ModelMissingError
from visualpath.models.manifest import installed_manifests, read_catalogue
from visualpath.models.store import ModelStore

VARIABLE = "VISUALPATH_MODELS_DIR"
DEFAULT = Path("models")


def models_dir() -> Path:
    """The folder of models: that of visualpath.yaml in a daemon, else $VISUALPATH_MODELS_DIR, else ./models."""
    return Path(os.environ.get(VARIABLE) or DEFAULT)


def use_models_dir(folder: Path) -> None:
    """Have this process, and those that it starts, look there."""
    os.environ[VARIABLE] = str(folder)


def model_path(name: str) -> Path:
    """The weights that a manifest knows by this name, checked: the file, or the folder of a pack.

    Call it in `load_models`. Nothing is downloaded. A file is hashed when it is first seen, and again when it was
    written since.

    Raises:
        ModelMissingError: the message says, in one line, which model, where it was looked for and what to run.
    """
    try:
        model = read_catalogue(*installed_manifests()).find(name)
    except ModelError as error:
        raise ModelMissingError(str(error)) from error
    return ModelStore(models_dir().absolute()).require(model)
