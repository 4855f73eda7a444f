"""The checks of vpctl doctor: each finds what is wrong, says what mends it, and is content where nothing is."""

import json
import os
import resource
import sys
from datetime import datetime

import pytest

from visualpath.ctl.checks import CHECKS, daemons, extractors, folders, keys, machine, memory, streams, venvs
from visualpath.ctl.checks.finding import Examined
from visualpath.ctl.supervision import Process
from visualpath.ctl.supervisor import LocalSupervisor
from visualpath.runtime.config import load_config
from visualpath.runtime.roles import roles
from visualpath_protocol.keys import KeyFolder
from visualpath_protocol.security import FolderClaim

PLUGIN = """
    from visualpath.core.extractor import BaseExtractor


    class Good(BaseExtractor):
        version = "4.5.6"

        def __init__(self, config=None):
            super().__init__(config)
            print("a plug-in may print")
            if "colour" in self.config:
                raise ValueError("colour is no key of mine")

        @classmethod
        def load_models(cls, config):
            if config.get("model"):
                raise FileNotFoundError(config["model"])

        def extract(self, frame):
            return None


    def gone(config):
        raise FileNotFoundError("heavy.onnx")


    class Choosy(Good):
        backends = {"heavy": gone, "light": lambda config: None}


    class Needy(Good):
        depends = ("good",)
"""
ENTRY_POINTS = """
    [visualpath.extractors]
    good = doctor_plugin:Good
    needy = doctor_plugin:Needy
    choosy = doctor_plugin:Choosy
    broken = doctor_broken:Broken
    [visualpath.fusions]
    rules = visualpath.core.rules:RulesFusion
"""


@pytest.fixture
def plugins(install_plugins, monkeypatch):
    """Plug-ins that the Pythons started by this test find."""
    folder = install_plugins(ENTRY_POINTS, doctor_plugin=PLUGIN, doctor_broken="import no_such_library\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture
def make_venv(short_dir):
    """A folder that looks like a venv and runs this Python, or the given shell script."""

    def make(name, script=f'exec {sys.executable} "$@"'):
        python = short_dir / ".venvs" / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        return python

    return make


@pytest.fixture
def examine(short_dir, write_config):
    """An installation from sections of visualpath.yaml; where none are given, a plain one."""

    def make(text="", statuses=None, extractors="face: {}", rules="[]", ring="{dir: ring}"):
        sections = f"""
            streams: {{cam1: {{source: cam1.mp4}}}}
            extractors: {{{extractors}}}
            clip: {{dir: clips}}
            ring: {ring}
            fusion: {{rules: {rules}}}
        """
        config = load_config(write_config(text or sections))
        found = {role.daemon: None for role in roles(config)}
        return Examined(config, found | (statuses or {}))

    return make


def bad(findings, level="problem"):
    """What was found of one level, with what mends it, in one text."""
    return "\n".join(f"{f.what} -> {f.mend}" for f in findings if f.level == level)


def test_every_check_has_a_name_and_a_docstring():
    assert all(check.__doc__ for check in CHECKS.values())


# Venvs ------------------------------------------------------------------------------------------------


def test_whole_venvs_are_found_well(examine, make_venv):
    make_venv("core"), make_venv("light")
    findings = list(venvs.check_venvs(examine()))
    assert not bad(findings)
    assert "venv 'light': Python 3." in bad(findings, "ok")


def test_a_venv_that_is_not_built_is_a_problem_that_names_who_needs_it(examine, make_venv):
    make_venv("core")
    found = bad(venvs.check_venvs(examine()))
    assert "venv 'light' is not built (extractor-face) -> venvs/build.py light" in found


def test_a_venv_of_the_operators_own_is_not_for_the_build_script(examine, make_venv, short_dir):
    make_venv("core")
    (short_dir / "venvs").mkdir()
    (short_dir / "venvs" / "build.py").touch()
    assert "venv 'light' is not built (extractor-face) -> make " in bad(venvs.check_venvs(examine()))


def test_a_venv_whose_python_is_gone_is_a_problem_that_says_where_it_was(examine, make_venv, short_dir):
    make_venv("core")
    python = make_venv("light")
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert "is a link to /nowhere/python3, which is gone -> rm -r " in bad(venvs.check_venvs(examine()))


def test_a_venv_whose_python_fails_is_a_problem_with_its_last_line(examine, make_venv):
    make_venv("core")
    make_venv("light", "echo first >&2; echo libpython.so is missing >&2; exit 127")
    assert "venv 'light' is broken (extractor-face): libpython.so is missing" in bad(venvs.check_venvs(examine()))


def test_a_venv_whose_python_hangs_is_a_problem(examine, make_venv, monkeypatch):
    monkeypatch.setattr(venvs, "PROBE_TIMEOUT_S", 0.3)
    make_venv("light", "exec sleep 20")
    with pytest.raises(venvs.VenvBroken, match="did not answer"):
        venvs.ask_venv(examine().config, "light")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "print('light: stale: venvs/light.lock changed'); raise SystemExit(1)",
            "venv 'light' is stale: venvs/light.lock changed (extractor-face) -> ",
        ),
        ("print('light: an unfinished build'); raise SystemExit(1)", "venv 'light' is an unfinished build (extractor-"),
        ("raise SystemExit(2)", ""),
        ("print('light: up to date')", ""),
    ],
    ids=["stale", "unfinished", "not-ours", "current"],
)
def test_what_the_checkouts_build_script_says_of_a_venv_is_told(examine, make_venv, short_dir, script, said):
    make_venv("core", "exit 1"), make_venv("light")
    (short_dir / "venvs").mkdir()
    (short_dir / "venvs" / "build.py").write_text(script)
    (short_dir / "venvs" / "light.lock").touch()
    found = [f for f in venvs.check_venvs(examine()) if "'light'" in f.what]
    assert bad(found).startswith(said)
    assert bool(bad(found)) == bool(said)


# Plug-ins ---------------------------------------------------------------------------------------------


def test_a_plug_in_that_works_is_found_with_its_version(examine, make_venv, plugins):
    make_venv("core"), make_venv("light")
    findings = list(venvs.check_plugins(examine(extractors="good: {}")))
    assert not bad(findings)
    assert "plug-in 'good' 4.5.6 works in the venv 'light'" in bad(findings, "ok")


@pytest.mark.parametrize(
    ("extractor", "said"),
    [
        ("nosuch: {}", "no plug-in 'nosuch' in the group visualpath.extractors of this venv"),
        ("broken: {}", "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        ("good: {config: {colour: red}}", "cannot start: ValueError: colour is no key of mine"),
        ("good: {config: {model: gone.onnx}}", "cannot start: FileNotFoundError: gone.onnx"),
        ("good: {}, needy: {}", "needy' needs the observations of good: write `depends: [good]`"),
        ("other: {plugin: good}, good: {depends: [other]}", "good' takes no observations of others"),
    ],
    ids=["missing", "import", "config", "model", "lacks what it depends on", "depends in vain"],
)
def test_a_plug_in_that_cannot_be_used_is_a_problem_with_the_cause_from_its_venv(
    examine, make_venv, plugins, extractor, said
):
    make_venv("core"), make_venv("light")
    assert said in bad(venvs.check_plugins(examine(extractors=extractor)))


def test_the_models_of_an_extractor_that_serves_are_not_loaded_once_more(examine, make_venv, plugins):
    make_venv("core"), make_venv("light")
    serving = {"extractor-good": {"extractor": {"state": "ready"}}}
    examined = examine(extractors="good: {config: {model: gone.onnx}}", statuses=serving)
    assert not bad(venvs.check_plugins(examined))


def test_a_backend_that_cannot_be_used_beside_one_that_can_is_a_warning(examine, make_venv, plugins):
    make_venv("core"), make_venv("light")
    examined = examine(extractors="good: {plugin: choosy, config: {backends: [heavy, light]}}")
    said = "but not all its backends: heavy: FileNotFoundError: heavy.onnx"
    assert said in bad(venvs.check_plugins(examined), "warning")


def test_a_backend_that_cannot_be_used_alone_is_a_problem(examine, make_venv, plugins):
    make_venv("core"), make_venv("light")
    examined = examine(extractors="good: {plugin: choosy, config: {backend: heavy}}")
    assert "cannot start: heavy: FileNotFoundError: heavy.onnx" in bad(venvs.check_plugins(examined))


def test_a_fusion_that_is_not_installed_is_a_problem(examine, make_venv, plugins):
    make_venv("core")
    examined = examine("streams: {cam1: {source: a.mp4}}\nfusion: {plugin: mine}\n")
    assert "no plug-in 'mine' in the group visualpath.fusions" in bad(venvs.check_plugins(examined))


# Folders ----------------------------------------------------------------------------------------------


def test_folders_that_do_not_exist_yet_are_no_problem(examine):
    assert not bad(folders.check_folders(examine()))


def test_a_file_in_the_place_of_a_folder_is_a_problem(examine, short_dir):
    (short_dir / "clips").write_text("")
    assert f"clip.dir {short_dir}/clips: {short_dir}/clips is no folder" in bad(folders.check_folders(examine()))


def test_a_folder_for_everybody_is_a_warning(examine, short_dir):
    (short_dir / "state").mkdir()
    (short_dir / "state").chmod(0o777)
    found = bad(folders.check_folders(examine()), "warning")
    assert f"any user may write there (mode 0777) -> chmod o-w {short_dir}/state" in found


def test_a_folder_that_may_not_be_written_is_a_problem(examine, short_dir, monkeypatch):
    (short_dir / "state").mkdir(mode=0o555)
    monkeypatch.setattr(os, "access", lambda path, _mode: path != short_dir / "state")  # root may write anywhere
    found = bad(folders.check_folders(examine()))
    assert f"may not write {short_dir}/state (owner " in found
    assert f"mode 0555) -> chmod u+rwX {short_dir}/state" in found


def test_a_state_file_that_may_not_be_written_is_a_problem(examine, short_dir, monkeypatch):
    database = short_dir / "state" / "fusion" / "outbox.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda path, _mode: path != database)
    assert str(database) in bad(folders.check_folders(examine()))


# Memory and disk --------------------------------------------------------------------------------------


def test_a_ring_larger_than_its_file_system_is_a_problem(examine):
    assert "old frames go too early -> lower ring.size" in bad(
        memory.check_ring(examine(ring="{dir: ring, size: 900000GiB}"))
    )


def test_a_ring_on_a_disk_is_a_warning(examine, monkeypatch):
    monkeypatch.setattr(memory, "file_system", lambda _path: ("ext4", "/"))
    assert "lies on ext4: every frame goes to that disk" in bad(memory.check_ring(examine()), "warning")


def test_a_ring_beyond_the_machines_memory_is_a_problem(examine, monkeypatch):
    monkeypatch.setattr(memory, "file_system", lambda _path: ("tmpfs", "/x"))
    monkeypatch.setattr(memory, "memory_available", lambda: 10 << 20)
    assert "the machine has 10 MiB of memory left" in bad(memory.check_ring(examine()))


def test_the_file_system_of_shared_memory_is_a_tmpfs():
    assert memory.file_system(memory.existing(memory.Path("/dev/shm/nothing/here"))) == ("tmpfs", "/dev/shm")


@pytest.mark.parametrize(("free_mib", "level"), [(10, "problem"), (1000, "warning"), (100_000, "ok")])
def test_room_for_clips_is_judged_by_how_many_go_in(examine, monkeypatch, free_mib, level):
    usage = memory.shutil.disk_usage("/")._replace(free=free_mib << 20)
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda _path: usage)
    assert "clips of at most 85 MiB" in bad(memory.check_disk(examine()), level)


# Configuration and sources ----------------------------------------------------------------------------


def test_a_stream_that_nobody_looks_at_is_a_warning(examine):
    found = bad(streams.check_configuration(examine(extractors="")), "warning")
    assert "no extractor looks at stream 'cam1'" in found


def test_no_rules_are_a_problem(examine):
    assert "fusion.rules is empty" in bad(streams.check_configuration(examine()))


def test_a_fusion_that_could_not_start_is_a_problem(examine):
    text = "streams: {cam1: {source: a.mp4}}\nfusion: {plugin: highlight}\n"
    assert "'highlight' needs the extractor 'face'" in bad(streams.check_configuration(examine(text)))


@pytest.mark.parametrize(("content", "said"), [(None, "no such file"), ("", "empty"), ("hello", "no video")])
def test_a_source_that_cannot_be_opened_is_a_problem_with_the_cause(examine, short_dir, content, said):
    if content is not None:
        (short_dir / "cam1.mp4").write_text(content)
    found = bad(streams.check_sources(examine()))
    assert said in found
    assert "-> mend streams.cam1.source in " in found


# Sockets and daemons ----------------------------------------------------------------------------------


def test_a_file_where_a_socket_goes_is_a_problem(examine, short_dir):
    path = short_dir / "run" / "fusion" / "obs"
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert f"{path} is no socket, and fusion binds there -> mv {path}" in bad(daemons.check_sockets(examine()))


def test_a_lock_is_known_to_be_held_without_trying_it(short_dir):
    lock = short_dir / "run" / "fusion" / "lock"
    assert daemons.lock_holder(lock) is None
    claim = FolderClaim(lock.parent)
    assert daemons.lock_holder(lock) == os.getpid()
    claim.release()
    assert daemons.lock_holder(lock) is None


def test_a_daemon_that_is_there_and_does_not_answer_is_a_problem(examine, short_dir):
    claim = FolderClaim(short_dir / "run" / "clip")
    found = bad(daemons.check_daemons(examine()))
    claim.release()
    assert f"clip (process {os.getpid()}) is there, but does not answer -> kill -9 {os.getpid()}" in found


def test_nothing_running_is_no_problem(examine):
    findings = list(daemons.check_daemons(examine()))
    assert not bad(findings)
    assert "no daemon runs" in bad(findings, "ok")


def test_some_daemons_down_is_a_problem_that_names_them(examine):
    found = bad(daemons.check_daemons(examine(statuses={"clip": {"pid": 1}})))
    assert "3 of 4 daemons are down: fusion, extractor-face, frame-cam1 -> vpctl up" in found


@pytest.mark.parametrize(
    ("daemon", "status", "said"),
    [
        ("extractor-face", {"extractor": {"state": "hung", "busy_ns": 12_000_000_000}}, "has run for 12 s"),
        ("extractor-face", {"extractor": {"state": "ready", "registered": False}}, "is not accepted by fusion"),
        ("extractor-face", {"extractor": {"state": "degraded", "registered": True}}, "has failed on its last frames"),
        (
            "extractor-face",
            {"extractor": {"state": "failed", "backend": {"state": "failed", "reason": "a: gone"}}},
            "has no backend that works: a: gone",
        ),
        ("frame-cam1", {"stream": {"state": "stalled", "reason": "no such file"}}, "has no frames: no such file"),
    ],
    ids=["hung", "refused", "degraded", "failed", "stalled"],
)
def test_a_daemon_that_answers_without_working_is_a_problem(examine, daemon, status, said):
    assert said in bad(daemons.check_daemons(examine(statuses={daemon: {"pid": 7, **status}})))


@pytest.fixture
def crashed(short_dir):
    """Have supervisord's log say that extractor-face ended so many times just now."""

    def write(times):
        log = short_dir / "state" / "supervisor" / "supervisord.log"
        log.parent.mkdir(parents=True)
        end = "exited: extractor-face (terminated by SIGSEGV; not expected)"
        log.write_text(f"{datetime.now():%Y-%m-%d %H:%M:%S},000 WARN {end}\n" * times)

    return write


AT_WORK = {"pid": 7, "extractor": {"state": "ready", "registered": True}}


def test_a_daemon_that_ends_again_and_again_is_a_problem_although_it_answers(examine, crashed):
    crashed(3)
    found = bad(daemons.check_daemons(examine(statuses={"extractor-face": AT_WORK})))
    assert "extractor-face ended by itself 3 times in 10 min, last at " in found
    assert ": terminated by SIGSEGV -> vpctl logs extractor-face" in found


def test_a_daemon_that_ended_once_is_a_warning(examine, crashed):
    crashed(1)
    findings = list(daemons.check_daemons(examine(statuses={"extractor-face": AT_WORK})))
    assert "extractor-face ended by itself once in 10 min" in bad(findings, "warning")
    assert "ended by itself" not in bad(findings)


def test_a_daemon_that_supervisord_starts_right_now_needs_no_vpctl_up(examine, monkeypatch):
    running = dict.fromkeys(("fusion", "clip", "extractor-face", "frame-cam1"), Process("up", 7))
    monkeypatch.setattr(LocalSupervisor, "processes", lambda _: running)
    statuses = {"fusion": {"pid": 7}, "clip": {"pid": 7}, "frame-cam1": {"pid": 7}}
    findings = list(daemons.check_daemons(examine(statuses=statuses)))
    assert not bad(findings)
    assert "supervisord is starting extractor-face" in bad(findings, "warning")


def test_an_extractor_on_a_lesser_backend_is_a_warning_with_the_reason(examine):
    backend = {"state": "fallback", "name": "light", "reason": "heavy: gone"}
    status = {"pid": 7, "extractor": {"state": "ready", "registered": True, "backend": backend}}
    found = bad(daemons.check_daemons(examine(statuses={"extractor-face": status})), "warning")
    assert "extractor-face runs on light: heavy: gone" in found


# Extractors -------------------------------------------------------------------------------------------


def looked(observed, passed_over=0, p50=None, signals=("count",)):
    """The status of an extractor."""
    counters = {"sent.obs": observed, "skipped.backpressure": passed_over}
    told = {"state": "busy", "latency_ms": {"p50": p50, "p95": p50}, "signals": signals and list(signals)}
    return {"pid": 7, "counters": counters, "extractor": told}


def of_extractors(examine, **statuses):
    """What is found wrong with the extractors, of which these answer so; there is a rule on face.smile."""
    options = {"extractors": "face: {instances: 2}", "rules": "[{label: x, when: face.smile >= 0.5, score: face.conf}]"}
    named = {f"extractor-{name.replace('_', '-')}": status for name, status in statuses.items()}
    return bad(extractors.check_extractors(examine(statuses=named, **options)), "warning")


SEEN = ("smile", "conf")


def test_an_extractor_that_looks_at_less_than_a_fifth_of_its_frames_is_a_warning(examine):
    found = of_extractors(examine, face_1=looked(59, 241, p50=2011.0, signals=SEEN))
    assert "extractor-face-1 is too slow: it has looked at 59 of 300 frames (19.7 %)" in found
    assert "p50 2011 ms -> a faster model" in found


@pytest.mark.parametrize(("observed", "passed_over"), [(60, 240), (58, 241), (0, 0)], ids=["fifth", "few", "none"])
def test_one_that_looks_at_a_fifth_or_cannot_be_judged_yet_is_none(examine, observed, passed_over):
    assert of_extractors(examine, face_1=looked(observed, passed_over, signals=SEEN)) == ""


def test_a_signal_of_a_rule_that_nothing_gave_is_a_warning_with_those_that_came(examine):
    found = of_extractors(examine, face_1=looked(300, signals=("smyle", "conf")))
    assert "rule 'x' reads face.smile, which face never gave; it gave conf, smyle -> mend the name in " in found


def test_the_signal_of_a_score_is_one_of_the_rule(examine):
    found = of_extractors(examine, face_1=looked(300, signals=("smile",)))
    assert "rule 'x' reads face.conf, which face never gave; it gave smile" in found


def test_a_signal_that_another_instance_gave_is_given(examine):
    statuses = {"face_0": looked(300, signals=("conf",)), "face_1": looked(300, signals=SEEN)}
    assert of_extractors(examine, **statuses) == ""


@pytest.mark.parametrize("status", [looked(299, signals=()), looked(300, signals=None)], ids=["too few", "too many"])
def test_signals_are_not_missed_before_enough_frames_nor_where_there_are_too_many_to_know(examine, status):
    assert of_extractors(examine, face_1=status) == ""


def test_extractors_that_keep_up_and_give_what_is_read_are_found_well(examine):
    found = extractors.check_extractors(examine(statuses={"extractor-face": looked(300, 300)}))
    assert "keep up" in bad(found, "ok")


# Machine ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "level", "said"),
    [
        ("fpu sse4_2 avx avx2", "ok", "with avx2"),
        ("fpu sse4_2 avx", "warning", "without avx2"),
    ],
)
def test_processor_features_are_told(flags, level, said):
    assert said in bad(machine.check_cpu(f"processor: 0\nflags\t\t: {flags}\n"), level)


def test_a_processor_without_such_flags_is_fine():
    assert not bad(machine.check_cpu("processor: 0\nFeatures: fp asimd\n"), "warning")


@pytest.mark.parametrize(("limit", "level"), [(64, "problem"), (512, "warning"), (4096, "ok")])
def test_the_limit_of_open_files_is_judged(monkeypatch, limit, level):
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit, 4096))
    assert f"open files: at most {limit}" in bad(machine.check_machine(), level)


def test_the_probe_says_nothing_but_json_on_stdout(examine, make_venv, plugins):
    make_venv("light")
    answer = venvs.ask_venv(examine().config, "light", "--extractor", "good", "--config", json.dumps({}))
    assert answer == {"version": "4.5.6"}


# Keys -------------------------------------------------------------------------------------------

TCP = "streams: {cam1: {source: a.mp4}}\nendpoints: {fusion/obs: 'tcp://127.0.0.1:7001'}\n"


def key_findings(write_config, text):
    """What the check of keys finds, as (level, words)."""
    return [(each.level, each.what) for each in keys.check_keys(Examined(load_config(write_config(text))))]


def test_keys_are_nothing_to_look_at_where_nothing_is_tcp(write_config):
    assert key_findings(write_config, "streams: {cam1: {source: a.mp4}}\nsecurity: {key: hub}\n") == []


def test_tcp_without_keys_is_a_warning(write_config):
    [(level, words)] = key_findings(write_config, TCP + "allow_plain_loopback: true\n")
    assert (level, words.startswith("tcp without keys: fusion/obs")) == ("warning", True)


def test_a_missing_folder_of_keys_is_a_problem(write_config):
    [(level, words)] = key_findings(write_config, TCP + "security: {key: hub}\n")
    assert (level, "keys is missing: `vpctl keys new NAME` makes it" in words) == ("problem", True)


@pytest.mark.parametrize("missing", ["hub.key", "hub.pub", "annex.pub"])
def test_a_missing_key_is_a_problem(write_config, short_dir, missing):
    folder = KeyFolder(short_dir / "keys")
    for name in ("hub", "annex"):
        folder.new(name)
    (folder.path / missing).unlink()
    [(level, words)] = key_findings(write_config, TCP + "security: {key: hub, servers: {frame-cam1: annex}}\n")
    assert (level, f"{missing} is missing" in words) == ("problem", True)


def test_a_public_key_that_is_not_that_of_the_secret_is_a_problem(write_config, short_dir):
    folder = KeyFolder(short_dir / "keys")
    folder.new("hub")
    (folder.path / "hub.pub").write_bytes(folder.new("other").public)
    [(level, words)] = key_findings(write_config, TCP + "security: {key: hub}\n")
    assert (level, words.endswith("hub.pub and hub.key are no pair")) == ("problem", True)


def test_a_file_that_is_no_key_is_a_warning_beside_those_that_are(write_config, short_dir):
    folder = KeyFolder(short_dir / "keys")
    folder.new("hub")
    (folder.path / "x.pub").write_text("x")
    [(warned, _), (level, words)] = key_findings(write_config, TCP + "security: {key: hub}\n")
    assert (warned, level, words) == ("warning", "ok", "keys of hub for fusion/obs")
