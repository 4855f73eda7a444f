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
from visualpath.testing.conformance import runner
from visualpath.testing.conformance.checks import EXTRACTOR, FUSION
from visualpath.testing.conformance.runner import assert_conforms, try_plugin
from visualpath.testing.conformance.verdict import Busy, Limits

FILE = Path(bad_plugins.__file__)
WITHOUT_FACES = ', {"face": [Observation(data=[box])]}', ""


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
        "near = my_module:NearExtractor",
    ]
    lines[BaseExtractor].append("endless = endless_import:Endless")
    return "\n".join(line for group in lines.values() for line in group)


TAPE = """
import numpy as np
from visualpath.core import Observation


def tape():
    for number in range(10):
        box = {"x": 0.1, "y": 0.1, "w": 0.25, "h": 0.5}
        yield np.full((90, 160, 3), number, np.uint8), {"face": [Observation(data=[box])]}
"""


@pytest.fixture
def tape(tmp_path):
    """A tape with a face on each frame; a function writes it, changed."""

    def write(*change):
        path = tmp_path / "tape.py"
        path.write_text(TAPE.replace(*change) if change else TAPE)
        return path

    return write


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
        ("says-nan", "start", "signal 'light' is nan; signals must be finite", line('float("nan")')),
        ("says-number", "start", "extract() returned float, not Observation", line("return 0.5")),
        ("says-object", "start", "objects of type object do not go over the wire", line("data=object()")),
        ("says-too-much", "start", "fusion takes 1048576 in all", line("2_000_000")),
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
    assert re.match(r"p50 1\.\d s, over 11 frames .* allowed is 1 s", kit("slow", frames=11)["time"].text)


def test_one_that_is_slow_from_the_first_frame_is_not_shown_more_than_the_tape(kit, tape):
    *before, last = kit("slow-from-the-first", tape=tape(*WITHOUT_FACES)).values()
    assert [verdict.check for verdict in before] == ["class", "config", "start", "observations"]
    assert (last.check, last.level) == ("time", "failed")
    assert last.text.startswith("p50 1.0 s, over 10 frames")


def test_a_check_that_takes_long_says_what_it_is_at(kit, monkeypatch):
    monkeypatch.setattr(runner, "BUSY_EVERY_S", 0.5)
    told = []
    runner.try_plugin(sys.executable, "hangs", limits=Limits(frame_s=3), tell=told.append)
    busy = [each for each in told if isinstance(each, Busy)]
    assert {(each.check, each.doing) for each in busy} >= {("start", "extract() of frame 0 of the tape")}


def test_a_fault_that_several_checks_come_upon_is_told_once(kit):
    verdicts = kit("fails-in-reset")
    assert set(failed(verdicts)) == {"reset"}
    assert verdicts["streams"].text == "not tried: the fault that reset has found is in the way"


# what others saw --------------------------------------------------------------------------------------


def test_what_others_saw_comes_from_the_tape(kit, tape):
    verdicts = kit("looks-at-boxes", tape=tape())
    assert [(v.check, v.level) for v in verdicts.values()] == [(check, "ok") for check in EXTRACTOR]
    assert verdicts["observations"].text.startswith("10 of 10 frames, signals width")


def test_where_nobody_saw_anything_it_is_told_what_was_not_tried(kit):
    verdict = kit("looks-at-boxes")["observations"]
    assert verdict.level == "warning"
    assert verdict.text.startswith("not tried is what it does where face saw something")
    assert '--tape FILE.py, whose tape() gives pairs (picture, {"face": [Observation(data=...)]})' in verdict.text


def test_what_others_saw_is_plain_data_as_over_the_wire(kit, tape):
    [refused] = failed(kit("takes-structs", tape=tape())).values()
    assert "AttributeError: 'dict' object has no attribute 'w'" in refused.text


def test_what_an_extractor_does_to_what_others_saw_does_not_spoil_the_tape(kit, tape):
    assert failed(kit("spoils", tape=tape())) == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('{"face": [', '{"fase": ['), "frame 0 of tape() has what 'fase' saw, but `depends` is ('face',)"),
        (("[Observation(data=[box])]", "[box]"), "what 'face' saw must be a list of Observation"),
        (("data=[box]", "data=tape"), "what 'face' saw cannot travel: TypeError"),
        (('{"face": [Observation(data=[box])]}', "box['x']"), "must be lists of Observation by name, not float"),
    ],
)
def test_a_tape_with_what_nobody_can_have_seen_is_refused(kit, tape, change, reason):
    assert reason in failed(kit("looks-at-boxes", tape=tape(*change)))["start"].text


def test_a_tape_that_wants_what_the_venv_has_not_says_what_to_install(kit, tape):
    [refused] = failed(kit("good", tape=tape("import numpy", "import no_such_reader\nimport numpy"))).values()
    assert f"it runs in the plug-in's venv: {sys.executable} -m pip install no_such_reader" in refused.text


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


def test_a_tape_of_the_authors_takes_the_place_of_the_kits_pictures(kit, tape):
    assert kit("good", tape=tape(*WITHOUT_FACES))["observations"].text.startswith("10 of 10 frames")


def test_a_tape_of_no_pictures_is_refused(kit, tape):
    refused = failed(kit("good", tape=tape("np.full((90, 160, 3), number, np.uint8)", "number")))
    assert "frame 0 of tape() is no uint8 array" in refused["start"].text


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


IMPORTS = "import numpy as np\nfrom visualpath.core import BaseExtractor, Observation\n\n"


def code_of_the_page(heading):
    page = (FILE.parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    return IMPORTS + page.partition(heading)[2].partition("```python\n")[2].partition("```")[0]


def test_the_extractor_of_the_page_that_depends_on_another_passes_with_the_tape_of_the_page(kit, short_dir, tmp_path):
    (short_dir / "plugins" / "my_module.py").write_text(code_of_the_page("### What others saw"))
    (tmp_path / "tape.py").write_text(code_of_the_page("that this was not tried"))
    verdicts = kit("near", tape=tmp_path / "tape.py")
    assert [check for check, verdict in verdicts.items() if verdict.level != "ok"] == ["config"]
    assert failed(verdicts) == {}


def test_the_test_on_the_page_of_the_extractor_that_depends_on_another_passes():
    names = {}
    exec(code_of_the_page("### What others saw"), names)
    names["test_the_height_of_the_largest_face_counts"]()


def test_the_page_for_authors_tells_every_check():
    page = (FILE.parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| ([a-z ,;]+) \|", page.partition("## Whether it keeps")[2], re.MULTILINE)
    assert set(re.split("[,;] ", ", ".join(told))) - {"check"} == {*EXTRACTOR, *FUSION}


def test_the_kit_waits_for_a_frame_as_long_as_the_daemon_does():
    assert Limits().frame_s * 1e9 == ExtractorSection().hang_timeout_ns
