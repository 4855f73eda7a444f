"""Where a backend's weights lie."""

from __future__ import annotations

from pathlib import Path

from visualpath.core.errors import ModelMissingError
from visualpath.plugin.models import model_path


def weights(model: str) -> Path:
    """The file or folder that `model:` of a configuration means: a path if a slash is in it, else a model's name.

    Raises:
        ModelMissingError: it is not there, or is not what it must be.
    """
    if "/" not in model:
        return model_path(model)
    path = Path(model).expanduser().absolute()
    if not path.exists():
        raise ModelMissingError(f"model: there is no {path}")
    return path
