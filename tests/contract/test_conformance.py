"""The conformance kit refuses what breaks the contract of plug-ins, each for its own reason, and nothing else."""

import inspect
import os
import re
import sys
from pathlib import Path

import bad_plugins
import pytest

from visualpath.core import BaseExtractor, BaseFusion
from visualpath.runtime.extractors import ExtractorSection
from visualpath.testing.conformance.checks import EXTRACTOR, FUSION
from visualpath.testing.conformance.runner import assert_conforms, try_plugin
from visualpath.testing.conformance.verdict import Limits

FILE = Path(bad_plugins.__file__)


def entry_points():
    """Each class of the file by its name; Misnamed under the name it should have."""
    lines = {BaseExtractor: ["[visualpath.extractors]"], BaseFusion: ["[visualpath.fusions]"]}
    for name, kind in inspect.getmembers(bad_plugins, inspect.isclass):
        base = next((base for base in lines if issubclass(kind, base) and kind is not base), None)
        if base is not None:
            own = "misnamed" if name == "Misnamed" else kind.name
            lines[base].append(f"{own} = bad_plugins:{name}")
    lines[BaseExtractor] += [
        "not-there = bad_plugins:NotThere",
        "broken = broken_import:Broken",
        "dark = my_module:DarkExtractor",
    ]
    lines[BaseExtractor].append("endless = endless_import:Endless")
    return "\n".join(line for group in lines.values() for line in group)


@pytest.fixture
def kit(install_plugins, monkeypatch):
    """Try a plug-in as the kit does, in a real process; returns its verdicts by check."""
    folder = install_plugins(
        entry_points(),
        bad_plugins=FILE.read_text(),
        broken_import="import os\nimport no_such_library\n",
        endless_import="while True:\n    pass\n",
    )
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)

    def run(name, kind="extractor", tape="", config=None, **limits):
        limits = Limits(**{"frames": 200, **limits})
        return {v.check: v for v in try_plugin(sys.executable, name, kind, config, tape, limits)}

    return run


def failed(verdicts):
    return {check: verdict for check, verdict in verdicts.items() if verdict.level == "failed"}


def line(text):
    """file:line of the first line of the bad plug-ins with this text."""
    number = next(n for n, each in enumerate(FILE.read_text().splitlines(), 1) if text in each)
    return f"bad_plugins.py:{number}"


def test_a_good_extractor_passes_every_check(kit):
    assert [(v.check, v.level) for v in kit("good").values()] == [(check, "ok") for check in EXTRACTOR]


def test_a_good_fusion_passes_every_check(kit):
    assert [(v.check, v.level) for v in kit("good-fusion", "fusion").values()] == [(check, "ok") for check in FUSION]


@pytest.mark.parametrize(
    ("name", "check", "reason", "where"),
    [
        ("not-there", "class", "has no attribute 'NotThere'", ""),
        ("broken", "class", "ModuleNotFoundError: No module named 'no_such_library'", "broken_import.py:2"),
        ("misnamed", "class", "the class says name = 'another', its entry point 'misnamed'", ""),
        ("wants-width", "class", "`input_width` is '640'", ""),
        ("wants-odd-pictures", "class", "`pixel_format` is 'rgb'", ""),
        ("raises-key-error", "config", "must be refused with a ValueError, not KeyError", line('{"limit": 1}[key]')),
        ("says-nan", "start", "signal 'light' is nan; signals must be finite", ""),
        ("says-number", "start", "extract() returned float, not Observation", ""),
        ("says-object", "start", "objects of type object do not go over the wire", ""),
        ("says-too-much", "start", "fusion takes 1048576 in all", ""),
        ("unreadable-signal", "observations", "no rule can read the signal 'how light'", ""),
        ("writes", "frame", "it writes into frame.data", line("# writes")),
        ("hoards", "frame", "it still holds 16 of 24 frames", ""),
        ("remembers", "reset", "frame 0: first count=1, then count=25", line("# forgets nothing")),
        ("shares", "streams", "objects of two streams share state", ""),
        ("tiny", "odd frames", "an odd frame (1 x 1): IndexError", line("has no such pixel")),
        ("portrait", "odd frames", "an odd frame (portrait, 90 x 160): RuntimeError", line("portrait is not for me")),
        ("locks", "errors", "frame 2 of the tape: RuntimeError: I am busy for ever", line("I am busy for ever")),
        ("leaks", "memory", "memory grows by 10", line("# leaks")),
        ("prints", "output", "bytes in 200 frames (allowed: 100 a frame)", line("# prints")),
        ("leaves-threads", "close", "6 threads more after 3 times", line("threading.Event().wait()")),
        ("leaves-files", "close", "3 open files more after 3 times", ""),
        ("takes-signals", "process", "it changes what belongs to the whole process: the handler of SIGTERM", ""),
    ],
)
def test_it_is_refused_for_its_own_reason_alone(kit, name, check, reason, where):
    refused = failed(kit(name))
    assert set(refused) == {check}
    assert reason in refused[check].text
    assert refused[check].where.endswith(where)
    assert bool(refused[check].where) == bool(where)


@pytest.mark.parametrize(
    ("name", "check", "reason"),
    [
        ("remembers-fusion", "reset", "reset() does not forget the past"),
        ("bad-label-fusion", "update", "cannot travel with set 99 of the tape"),
        ("value-error-fusion", "config", "must be refused with PluginConfigError"),
        ("trusting-fusion", "odd sets", "update() failed with nobody at all: KeyError"),
    ],
)
def test_a_fusion_is_refused_for_its_own_reason(kit, name, check, reason):
    refused = failed(kit(name, "fusion"))
    assert set(refused) == {check}
    assert reason in refused[check].text


def test_one_that_hangs_is_refused_with_the_line_it_hangs_at(kit):
    [refused] = failed(kit("hangs", frame_s=1)).values()
    assert "extract() of frame 0 of the tape did not end within 1 s" in refused.text
    assert int(refused.where.rpartition(":")[2]) in range(
        *[int(line("# hangs").rpartition(":")[2]) + n for n in (0, 2)]
    )


def test_one_whose_import_never_ends_is_refused(kit):
    [refused] = failed(kit("endless", start_s=3)).values()
    assert "the import did not end within 3 s" in refused.text


def test_a_crash_is_refused_with_the_signal_the_frame_and_the_line(kit):
    [refused] = failed(kit("segfaults")).values()
    assert refused.check == "odd frames"
    assert "an odd frame (white) ended the process: SIGSEGV" in refused.text
    assert refused.where.endswith(line("# segfaults on white"))


def test_after_a_crash_the_other_checks_are_tried_all_the_same(kit):
    assert list(kit("segfaults")) == list(EXTRACTOR)


def test_one_that_ends_the_process_is_refused_with_its_exit_status(kit):
    assert "(black) ended the process with exit status 7" in kit("exits")["odd frames"].text


def test_after_something_vital_nothing_else_is_tried(kit):
    assert list(kit("says-nan")) == ["class", "config", "start"]


def test_one_with_several_backends_passes_every_check(kit):
    assert [(v.check, v.level) for v in kit("two-ways").values()] == [(check, "ok") for check in EXTRACTOR]


@pytest.mark.parametrize(
    ("config", "begin"),
    [
        ({}, "backend heavy, pictures: bgr, at least 320 wide, ready"),
        ({"backend": "light"}, "backend light, pictures: gray, at least 64 wide, ready"),
    ],
)
def test_which_backend_is_tried_is_told(kit, config, begin):
    assert kit("two-ways", config=config)["start"].text.startswith(begin)


def test_a_backend_that_the_host_would_leave_for_the_next_at_the_start_is_refused(kit):
    [refused] = failed(kit("heavy-is-missing", config={"backends": ["heavy", "light"]})).values()
    assert refused.check == "start"
    assert "backend heavy: FileNotFoundError" in refused.text
    assert '--plugin-config \'{"backend": "light"}\'' in refused.text


def test_a_backend_that_the_host_would_leave_for_the_next_on_a_frame_is_refused(kit):
    refused = failed(kit("heavy-fails", config={"backends": ["heavy", "light"], "ladder": {"errors": 1}}))
    assert "one column is too few for me" in refused["odd frames"].text


def test_a_backend_that_there_is_not_is_a_wrong_configuration(kit):
    assert "backends: there is no 'huge'" in failed(kit("two-ways", config={"backends": ["huge"]}))["config"].text


def test_a_median_above_a_second_is_refused(kit):
    assert "(median; allowed: 1000)" in kit("slow", frames=11)["time"].text


def test_one_that_takes_any_key_is_warned_not_refused(kit):
    verdicts = kit("careless")
    assert (verdicts["config"].level, failed(verdicts)) == ("warning", {})


def test_what_never_says_the_same_twice_is_warned_not_refused(kit):
    verdicts = kit("dices")
    assert failed(verdicts) == {}
    assert (verdicts["reset"].level, verdicts["streams"].level) == ("warning", "warning")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="an earlier Python looks into the working folder first")
def test_what_lies_in_the_working_folder_is_not_taken_for_what_is_installed(kit, tmp_path, monkeypatch):
    (tmp_path / "bad_plugins.py").write_text("raise RuntimeError('not installed')\n")
    monkeypatch.chdir(tmp_path)
    assert failed(kit("good")) == {}


def test_a_tape_of_the_authors_takes_the_place_of_the_kits_pictures(kit, tmp_path):
    tape = tmp_path / "tape.py"
    tape.write_text("import numpy as np\ndef tape():\n    return [np.zeros((20, 30, 3), np.uint8)] * 5\n")
    assert kit("good", tape=tape)["observations"].text.startswith("5 of 5 frames")


def test_a_tape_of_no_pictures_is_refused(kit, tmp_path):
    tape = tmp_path / "tape.py"
    tape.write_text("def tape():\n    return [1]\n")
    assert "tape() gives what is no uint8 array" in failed(kit("good", tape=tape))["start"].text


def test_too_much_memory_ends_the_trial(kit):
    [refused] = failed(kit("eats", memory_bytes=300 << 20)).values()
    assert refused.text == "it took more than 300 MiB of memory, in extract() of frame 0 of the tape"


def test_megabytes_of_output_end_the_trial(kit):
    [refused] = failed(kit("floods", output_bytes=1 << 20)).values()
    assert refused.text == "it printed more than 1024 KiB, in extract() of frame 0 of the tape"


def test_assert_conforms_passes_a_good_one(kit):
    assert {verdict.level for verdict in assert_conforms("good", limits=Limits(frames=200))} == {"ok"}


def test_assert_conforms_tells_the_reasons_and_the_lines(kit):
    with pytest.raises(
        AssertionError, match=r"(?s)'tiny' does not conform:\n  odd frames: .*IndexError.*\n    at .*:\d+"
    ):
        assert_conforms("tiny", limits=Limits(frames=200))


def test_the_extractor_of_the_page_for_authors_passes_but_for_the_keys_it_takes(kit, short_dir):
    page = (FILE.parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    (short_dir / "plugins" / "my_module.py").write_text(code)
    verdicts = kit("dark")
    assert [check for check, verdict in verdicts.items() if verdict.level != "ok"] == ["config"]
    assert failed(verdicts) == {}


def test_the_page_for_authors_tells_every_check():
    page = (FILE.parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| ([a-z ,;]+) \|", page.partition("## Whether it keeps")[2], re.MULTILINE)
    assert set(re.split("[,;] ", ", ".join(told))) - {"check"} == {*EXTRACTOR, *FUSION}


def test_the_kit_waits_for_a_frame_as_long_as_the_daemon_does():
    assert Limits().frame_s * 1e9 == ExtractorSection().hang_timeout_ns
