"""What importing a package costs, seen from a fresh process."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("zmq", "av", "cv2", "simplejpeg")
MEDIA_AND_WEB = ("av", "cv2", "fastapi", "pydantic", "click", "rich", "mediapipe", "urllib3")


def loaded_after(statement: str, modules: tuple[str, ...]) -> list[str]:
    """Those of `modules` that a fresh interpreter has loaded after `statement`."""
    code = f"import sys\n{statement}\nprint(*[m for m in {modules!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import visualpath.core.align",
        "import visualpath.core.rules",
        "from visualpath.core import BaseExtractor, BaseFusion, FusionResult, Observation, Trigger",
        "import visualpath",
        "import visualbase",
    ],
)
def test_the_core_loads_no_socket_and_no_media_library(statement: str) -> None:
    assert loaded_after(statement, HEAVY) == []


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded_after("import zmq, simplejpeg", HEAVY) == ["zmq", "simplejpeg"]


@pytest.mark.parametrize(
    "module",
    [
        "visualpath.extractor.daemon",
        "visualpath.fusion.daemon",
        "visualpath.runtime.service",
        "visualpath.process.host",
        "visualpath.plugin.models",
    ],
)
def test_the_light_install_loads_no_media_or_web_library(module: str) -> None:
    assert loaded_after(f"import {module}", MEDIA_AND_WEB) == []
