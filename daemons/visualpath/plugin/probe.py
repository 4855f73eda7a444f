"""`python -m visualpath.plugin.probe`: what a venv is and whether a plug-in of it can be used; JSON on stdout.

vpctl runs it in the venv that is asked about: only there a plug-in's import can succeed or fail as it will later.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from visualpath.core.errors import PluginError
from visualpath.core.extractor import check_depends
from visualpath.plugin.discovery import load_extractor, load_fusion


def main(argv: list[str] | None = None) -> int:
    """Entry point; exit status 0 also if the answer is that a plug-in cannot be used."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--extractor", help="import this extractor and try its configuration")
    parser.add_argument("--models", action="store_true", help="also load its models, which takes time and memory")
    parser.add_argument("--depends", nargs="*", default=[], help="whose observations it is given")
    parser.add_argument("--fusion", help="try to import this fusion")
    parser.add_argument("--config", default="{}", help="the extractor's configuration, as JSON")
    args = parser.parse_args(argv)
    answer_fd = os.dup(1)
    os.dup2(2, 1)  # whatever a plug-in prints, the answer is all that stands on stdout
    if args.extractor is not None:
        answer = _try_extractor(args.extractor, json.loads(args.config), args.depends, models=args.models)
    elif args.fusion is not None:
        answer = _try_fusion(args.fusion)
    else:
        answer = _venv()
    os.write(answer_fd, json.dumps(answer).encode())
    return 0


def _venv() -> dict[str, Any]:
    try:
        installed = version("visualpath")
    except PackageNotFoundError:
        installed = ""
    return {"python": platform.python_version(), "visualpath": installed, "onnx": _onnx_providers()}


def _onnx_providers() -> list[str] | None:
    if find_spec("onnxruntime") is None:
        return None
    providers: list[str] = import_module("onnxruntime").get_available_providers()
    return providers


def _try_extractor(name: str, config: dict[str, Any], depends: list[str], *, models: bool) -> dict[str, str]:
    try:
        kind = load_extractor(name)
    except PluginError as error:
        return {"error": str(error)}
    try:
        check_depends(kind, name, depends)
        if models:
            kind.load_models(config)
        kind(config)
    except Exception as error:  # a plug-in may raise anything
        return {"error": f"cannot start: {type(error).__name__}: {error}", "version": kind.version}
    return {"version": kind.version}


def _try_fusion(name: str) -> dict[str, str]:
    try:
        load_fusion(name)
    except PluginError as error:
        return {"error": str(error)}
    return {}


if __name__ == "__main__":
    sys.exit(main())
