"""Where a plug-in fails is told with file and line, and its traceback once."""

from types import ModuleType

import numpy as np
import pytest

from visualbase.frame import Frame
from visualpath.core.errors import ExtractionError
from visualpath.core.extractor import BaseExtractor
from visualpath.extractor import failures
from visualpath.extractor.failures import Failures
from visualpath.process.host import ExtractorHost

PLUGIN = """
import json

def extract(self, frame):
    if frame.frame_id == 0:
        return {}["fifty"]
    if frame.frame_id == 1:
        return json.loads("{")
    if frame.frame_id == 2:
        return "no observation"
    return {"line": frame.frame_id}[0]
"""


@pytest.fixture
def plugin():
    """A plug-in in a file of its own."""
    module = ModuleType("sick_plugin")
    exec(compile(PLUGIN, "/plug-ins/sick_plugin.py", "exec"), module.__dict__)
    return type("Sick", (BaseExtractor,), {"extract": module.extract, "__module__": "sick_plugin"})


@pytest.fixture
def fail(plugin):
    """Have it look at the frame of this number; returns the host's error."""
    host = ExtractorHost(plugin, "sick", {})
    host.open()

    def fail(number):
        with pytest.raises(ExtractionError) as caught:
            host.handle(Frame(np.zeros((2, 2, 3), np.uint8), number, number * 40, "cam1"))
        return caught.value

    return fail


def test_an_exception_is_told_with_the_plug_ins_file_and_line(plugin, fail):
    assert Failures(plugin).place(fail(0)) == "/plug-ins/sick_plugin.py:6"


def test_an_exception_in_a_library_is_told_with_the_line_of_the_plug_in_that_called_it(plugin, fail):
    assert Failures(plugin).place(fail(1)) == "/plug-ins/sick_plugin.py:8"


def test_what_the_platform_itself_refuses_has_no_line_of_the_plug_in(plugin, fail):
    assert Failures(plugin).place(fail(2)) == ""


def test_the_traceback_of_an_exception_is_logged(plugin, fail, caplog):
    Failures(plugin).place(fail(1))
    assert "JSONDecodeError" in caplog.text
    assert 'File "/plug-ins/sick_plugin.py", line 8, in extract' in caplog.text


def test_the_traceback_of_one_exception_at_one_line_is_logged_once(plugin, fail, caplog):
    told = Failures(plugin)
    for number in (0, 3, 0, 4, 3):
        told.place(fail(number))
    assert [record.args[0].rpartition(":")[2] for record in caplog.records] == ["6", "11"]


def test_the_tracebacks_of_different_exceptions_are_bounded(plugin, fail, caplog, monkeypatch):
    monkeypatch.setattr(failures, "MAX_TRACEBACKS", 1)
    told = Failures(plugin)
    assert [told.place(fail(number)) for number in (0, 1)] == [f"/plug-ins/sick_plugin.py:{n}" for n in (6, 8)]
    assert len(caplog.records) == 1
