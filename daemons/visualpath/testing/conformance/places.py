"""Which line of a plug-in something is about."""

from __future__ import annotations

import re
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from visualpath.core.errors import ExtractionError

OURS = Path(__file__).parents[2]
FAULT_LINE = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)


def root_of(plugin: type) -> str:
    """The folder of the plug-in's top package, or the file of its module."""
    top = sys.modules[plugin.__module__.partition(".")[0]]
    if top.__file__ is not None:
        path = Path(top.__file__)
        return str(path.parent if path.name == "__init__.py" else path)
    return str(Path(next(iter(top.__path__))))  # a namespace package


def line_of_error(error: BaseException, root: str) -> str:
    """The innermost line of the plug-in in the traceback of an error, or of its cause."""
    found = ""
    seen: BaseException | None = error
    while seen is not None:
        trace = seen.__traceback__
        while trace is not None:
            if _within(trace.tb_frame.f_code.co_filename, root):
                found = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            trace = trace.tb_next
        seen = seen.__cause__
    return found


def line_of_return(again: Callable[[], object], root: str) -> str:
    """The line of the plug-in that returns last while `again` runs: that of what it gives, if this is at fault."""
    found = ""

    def hear(frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal found
        if event == "return" and _within(frame.f_code.co_filename, root):
            found = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    sys.setprofile(hear)
    try:
        again()
    except ExtractionError:  # as before
        return found
    finally:
        sys.setprofile(None)
    return found


def line_of_import(error: BaseException) -> str:
    """The line of the plug-in that could not be imported: the outermost that is neither Python's import nor ours."""
    trace = error.__cause__.__traceback__ if error.__cause__ is not None else None
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<frozen") and "importlib" not in file and not file.startswith(str(OURS)):
            return f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return ""


def line_of_stack(frame: FrameType | None, root: str) -> str:
    """The innermost line of the plug-in on a stack."""
    while frame is not None:
        if _within(frame.f_code.co_filename, root):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def line_of_fault(dump: str, root: str) -> str:
    """The innermost line of the plug-in in what faulthandler wrote of the thread that runs the checks."""
    threads = [part for part in dump.split("\n\n") if "conformance" in part] or [dump]
    return next((f"{file}:{n}" for file, n in FAULT_LINE.findall(threads[-1]) if _within(file, root)), "")


def line_of_growth(growth: Iterable[tracemalloc.StatisticDiff], root: str) -> str:
    """The line of the plug-in by which most memory was taken that is still held."""
    for grown in sorted(growth, key=lambda each: -each.size_diff):
        for frame in reversed(list(grown.traceback)):  # the innermost is the last
            if _within(frame.filename, root):
                return f"{frame.filename}:{frame.lineno}"
    return ""


def _within(file: str, root: str) -> bool:
    return file == root or file.startswith(f"{root}/")
