"""`python -m visualpath.plugin.probe`: what a venv is and whether a plug-in of it can be used; JSON on stdout.

vpctl runs it in the venv that is asked about: only there a plug-in's import can succeed or fail as it will later.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from visualpath.core.errors import PluginConfigError, PluginError, told
from visualpath.core.extractor import BaseExtractor, check_depends
from visualpath.core.fusion import BaseFusion
from visualpath.models.manifest import installed_manifests
from visualpath.plugin.backends import choose, load_each
from visualpath.plugin.discovery import EXTRACTORS, FUSIONS, load, load_extractor, load_fusion, registered


def main(argv: list[str] | None = None) -> int:
    """Entry point; exit status 0 also if the answer is that a plug-in cannot be used."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--extractor", help="import this extractor and try its configuration")
    parser.add_argument("--models", action="store_true", help="also load its models, which takes time and memory")
    parser.add_argument("--depends", nargs="*", default=[], help="whose observations it is given")
    parser.add_argument("--fusion", help="try to import this fusion")
    parser.add_argument("--manifests", action="store_true", help="where the manifests of models lie in this venv")
    parser.add_argument(
        "--list", action="store_true", help="a line for each plug-in: what is registered, then imported"
    )
    parser.add_argument("--past", type=int, default=0, help="with --list: leave out so many")
    parser.add_argument("--config", default="{}", help="the extractor's configuration, as JSON")
    args = parser.parse_args(argv)
    answer_fd = os.dup(1)
    os.dup2(2, 1)  # whatever a plug-in prints, the answer is all that stands on stdout
    if args.list:
        for line in _list(args.past):
            os.write(answer_fd, json.dumps(line).encode() + b"\n")
        return 0
    if args.extractor is not None:
        answer: dict[str, Any] = _try_extractor(
            args.extractor, json.loads(args.config), args.depends, models=args.models
        )
    elif args.fusion is not None:
        answer = _try_fusion(args.fusion)
    elif args.manifests:
        manifests, problems = installed_manifests()
        answer = {"manifests": [str(path) for path in manifests], "problems": problems}
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


def _list(past: int) -> Iterator[dict[str, Any]]:
    """First of every plug-in how it is registered, then of each what its class says; an import may never end."""
    bases: dict[str, type[Any]] = {EXTRACTORS: BaseExtractor, FUSIONS: BaseFusion}
    points = [(base, point) for group, base in bases.items() for point in registered(group)][past:]
    for base, point in points:
        yield _registration(point, "extractor" if base is BaseExtractor else "fusion")
    for base, point in points:
        try:
            yield _class_facts(load(point, base))
        except PluginError as error:
            yield {"error": str(error)}


def _registration(point: EntryPoint, kind: str) -> dict[str, str]:
    dist = point.dist
    named = {"distribution": dist.name, "distribution_version": dist.version} if dist is not None else {}
    return {"kind": kind, "name": point.name, "value": point.value, "group": point.group, **named}


def _class_facts(kind: type[Any]) -> dict[str, Any]:
    """A class may say anything; it goes into JSON as text where it is none."""
    facts = {key: getattr(kind, key, None) for key in ("version", "depends", "input_width", "pixel_format")}
    plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return plain


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
        choice = choose(kind, config)
        unusable = load_each(choice) if models else {}
        kind(choice.config)
    except Exception as error:  # a plug-in may raise anything
        why = str(error) if isinstance(error, (PluginError, PluginConfigError)) else told(error)
        return {"error": f"cannot start: {why}", "version": kind.version}
    told_of = "; ".join(f"{each}: {why}" for each, why in unusable.items())
    return {"version": kind.version, **({"unusable": told_of} if told_of else {})}


def _try_fusion(name: str) -> dict[str, str]:
    try:
        load_fusion(name)
    except PluginError as error:
        return {"error": str(error)}
    return {}


if __name__ == "__main__":
    sys.exit(main())
