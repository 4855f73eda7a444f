"""Everything a user can get wrong, each as the real command and what it must say.

`show_bad_input.py` prints them, `tests/contract/test_bad_input.py` asserts them. A case prepares a folder, runs one
command in it, and knows the exit code and the words that must come. No case may print a traceback.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chain import EXEC, SAMPLE, VENVS, VPCTL

LEAST = """\
run_dir: run
state_dir: state
venvs_dir: {venvs}
ring: {{dir: ring}}
streams:
  cam1: {{source: {sample}, loop: true}}
extractors:
  quality: {{}}
fusion:
  rules:
    - {{label: dark, when: quality.brightness < 0}}
"""
TIMEOUT_S = 30.0
TRACEBACK = "Traceback (most recent call last)"

Prepare = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """One thing to get wrong.

    Attributes:
        title: what is wrong.
        command: `vpctl ...` or `visualpath-exec ...`, run with `--config` and in the folder.
        says: words that must be in the output, in this order.
        code: exit code; None for a daemon that goes on, to be stopped once it has said its words.
        changes: texts of the least configuration and what takes their place.
        config: the whole configuration, in place of the least.
        prepare: makes what else must be there.
        beside: a daemon that runs already.
        env: added to the environment.
    """

    title: str
    command: str
    says: tuple[str, ...]
    code: int | None
    changes: tuple[tuple[str, str], ...] = ()
    config: str | None = None
    prepare: Prepare = lambda folder: None
    beside: str = ""
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What the user sees."""

    code: int | None
    output: str

    def wrong(self, case: Case) -> list[str]:
        """What is not as it must be."""
        found = []
        if self.code != case.code:
            found.append(f"exit code {self.code}, not {case.code}")
        place = 0
        for words in case.says:
            place = self.output.find(words, place)
            if place < 0:
                found.append(f"does not say {words!r}")
                place = 0
        if TRACEBACK in self.output:
            found.append("shows a traceback")
        return found


def run(case: Case) -> Outcome:
    """Run one case in a folder of its own. `$HERE` in the output stands for that folder."""
    folder = Path(tempfile.mkdtemp(prefix="vp-bad-"))
    try:
        text = case.config if case.config is not None else LEAST.format(venvs=VENVS, sample=SAMPLE)
        for old, new in case.changes:
            assert text.count(old) == 1, f"{case.title}: {old!r}"
            text = text.replace(old, new)
        (folder / "visualpath.yaml").write_text(text.replace("$HERE", str(folder)))
        case.prepare(folder)
        with _beside(case, folder):
            code, output = _run(case, folder)
        return Outcome(code, output.replace(str(folder), "$HERE").replace(str(VENVS), "$VENVS").strip())
    finally:
        _down(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _command(words: str, folder: Path) -> list[str]:
    program, *args = words.split()
    config = ["--config", str(folder / "visualpath.yaml")]
    return [str(VPCTL), *config, *args] if program == "vpctl" else [str(EXEC), *args, *config]


def _environment(case: Case, folder: Path) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "SUPERVISOR_ENABLED")}
    return {**env, **{key: value.replace("$HERE", str(folder)) for key, value in case.env.items()}}


def _run(case: Case, folder: Path) -> tuple[int | None, str]:
    log_path = folder / "output"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            _command(case.command, folder), cwd=folder, stdout=log, stderr=log, env=_environment(case, folder)
        )
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if case.code is None and all(words in log_path.read_text() for words in case.says):
            break
        time.sleep(0.02)
    code = process.poll()
    if code is None:
        process.terminate()
        stopped = process.wait(15)
        if case.code is not None:
            return None, log_path.read_text() + f"\n(did not end within {TIMEOUT_S:g} s)"
        return (None if stopped == 0 else stopped), log_path.read_text()
    return code, log_path.read_text()


@contextmanager
def _beside(case: Case, folder: Path) -> Iterator[None]:
    """Another daemon, up before the command."""
    if not case.beside:
        yield
        return
    log_path = folder / "beside"
    with log_path.open("wb") as log:
        process = subprocess.Popen(_command(case.beside, folder), cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while "ready" not in log_path.read_text():
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline, log_path.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(15)


def _down(folder: Path) -> None:
    if (folder / "run" / "supervisor.sock").is_socket():
        subprocess.run(_command("vpctl down", folder), capture_output=True, check=False, timeout=60)


# What is prepared -----------------------------------------------------------------------------------


def text_file(name: str, text: str = "this is no video\n" * 100) -> Prepare:
    def prepare(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return prepare


def broken_plug_in(module: str) -> Prepare:
    """A folder `plugins` for PYTHONPATH in which the extractor `broken` is installed, with its module's text."""

    def prepare(folder: Path) -> None:
        info = folder / "plugins" / "broken-0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0\n")
        (info / "entry_points.txt").write_text("[visualpath.extractors]\nbroken = broken_plugin:Broken\n")
        (folder / "plugins/broken_plugin.py").write_text(module)

    return prepare


def directory_as_configuration(folder: Path) -> None:
    (folder / "visualpath.yaml").unlink()
    (folder / "visualpath.yaml").mkdir()


def binary_file(name: str, data: bytes) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return prepare


def empty_venv(folder: Path) -> None:
    """A venv folder whose Python is gone, as after an upgrade of the system's."""
    (folder / "venvs/core/bin").mkdir(parents=True)
    (folder / "venvs/core/bin/python").symlink_to("/nowhere/python3")


def foreign_venv(folder: Path) -> None:
    """A venv in which none of our distributions is installed."""
    (folder / "venvs").mkdir()
    (folder / "venvs/core").symlink_to(VENVS / "core")
    (folder / "venvs/bare").symlink_to(VENVS / "sample")


BAD_MODULE = "import a_library_that_is_not_here\n"
RAISING_MODULE = """
from visualpath.core import BaseExtractor
class Broken(BaseExtractor):
    name = "broken"
    def __init__(self, config):
        raise ValueError("min_size must be a number")
    def extract(self, frame):
        return None
"""
VALIDATE = "vpctl validate"
FRAME, QUALITY, FUSION, CLIP = (
    f"visualpath-exec {role}" for role in ("frame cam1", "extractor quality", "fusion", "clip")
)
SOURCE = f"source: {SAMPLE}"
EXTRACTOR = "  quality: {}\n"
BROKEN_DAEMON = "visualpath-exec extractor broken"
BROKEN = ((EXTRACTOR, EXTRACTOR + "  broken: {}\n"),)
PLUGINS = {"PYTHONPATH": "$HERE/plugins"}

CASES = (
    # the file
    Case("no configuration", VALIDATE, ("$HERE/visualpath.yaml: no such file: name one",), 78,
         prepare=lambda folder: (folder / "visualpath.yaml").unlink()),
    Case("a directory as configuration", "vpctl status", ("$HERE/visualpath.yaml: Is a directory",), 78,
         prepare=directory_as_configuration),
    Case("an empty file", VALIDATE, ("visualpath.yaml:1: must be a mapping of sections",), 78, config=""),
    Case("YAML that is no mapping", VALIDATE, ("visualpath.yaml:1: must be a mapping of sections",), 78,
         config="- cam1\n- cam2\n"),
    Case("no YAML", VALIDATE, ("visualpath.yaml:2: ",), 78, config="streams: {cam1: [\n}"),
    Case("not UTF-8", VALIDATE, ("is no UTF-8 text",), 78,
         prepare=binary_file("visualpath.yaml", b"streams: \xff")),
    # keys and values
    Case("a mistyped section", VALIDATE, ("yaml:9: fuson: unknown key; did you mean 'fusion'?",), 78,
         changes=(("fusion:\n", "fuson:\n"),)),
    Case("a mistyped key", VALIDATE, ("yaml:6: streams.cam1.sourc: unknown key; did you mean 'source'?",), 78,
         changes=((SOURCE, "sourc: a.mp4"),)),
    Case("a mistyped key of a rule", VALIDATE, ("yaml:11: fusion.rules.0.cool_down", "did you mean 'cooldown'?"), 78,
         changes=(("label: dark,", "label: dark, cool_down: 2s,"),)),
    Case("a mistyped word", VALIDATE, ("yaml:6: streams.cam1.pace: Invalid enum value 'realtme'",), 78,
         changes=(("loop: true", "pace: realtme"),)),
    Case("a duration without unit", VALIDATE, ("yaml:10: fusion.window: 5 is no duration",), 78,
         changes=(("fusion:\n", "fusion:\n  window: 5\n"),)),
    Case("a number as text", VALIDATE, ("yaml:6: streams.cam1.jpeg_quality: Expected `int`, got `str`",), 78,
         changes=(("loop: true", "jpeg_quality: high"),)),
    Case("a rule on an extractor that is not there", VALIDATE,
         ("yaml:11: fusion.rules.0.when: no extractor is called 'qualty'; did you mean 'quality'?",), 78,
         changes=(("quality.brightness", "qualty.brightness"),)),
    Case("a rule that cannot be read", VALIDATE, ("yaml:11: fusion.rules.0.when: ",), 78,
         changes=(("quality.brightness < 0", "brightness"),)),
    Case("no rules", FUSION, ("fusion.rules is empty",), 78,
         changes=(("  rules:\n    - {label: dark, when: quality.brightness < 0}\n", "  rules: []\n"),)),
    Case("a variable that is not set", VALIDATE, ("the environment variable VP_NO_SUCH is not set",), 78,
         changes=((SOURCE, "source: '${VP_NO_SUCH}'"),)),
    # names
    Case("a stream name that breaks the rule", VALIDATE, ("yaml:6: ", "'Cam 1' is no valid name: use 1 to 32 of"), 78,
         changes=(("cam1:", '"Cam 1":'),)),
    Case("two streams of one name", VALIDATE, ("yaml:7: streams.cam1: stands here twice",), 78,
         changes=(("extractors:\n", "  cam1: {source: b.mp4}\nextractors:\n"),)),
    Case("two extractors of one name", VALIDATE, ("yaml:9: extractors.quality: stands here twice",), 78,
         changes=((EXTRACTOR, EXTRACTOR + EXTRACTOR),)),
    Case("a stream that is not there", VALIDATE, ("no stream is called 'cam2'; did you mean 'cam1'?",), 78,
         changes=((EXTRACTOR, "  quality: {streams: [cam2]}\n"),)),
    Case("a daemon that is not there", "visualpath-exec frame attic",
         ("has no frame 'attic'; it has: clip, fusion, extractor quality, frame cam1",), 78),
    Case("a role that is none", "visualpath-exec camera cam1", ("invalid choice: 'camera'",), 2),
    Case("a stream to trigger that is not there", "vpctl trigger attic", ("fusion does not answer",), 4),
    # sizes
    Case("a ring too short for pre + post", VALIDATE,
         ("yaml:4: ring.length: 8 s must exceed a clip's pre + post, 10 s: make it longer",), 78,
         changes=(("ring: {dir: ring}", "ring: {dir: ring, length: 8s}"),)),
    Case("a ring too small for one frame", FRAME, ("dropped.ring_full x ", "cam1"), None,
         changes=(("ring: {dir: ring}", "ring: {dir: ring, size: 1KiB}"),)),
    Case("an ipc path over 107 bytes", VALIDATE,
         ("yaml:1: run_dir: socket path ", " bytes, the kernel allows 107: choose a shorter run_dir"), 78,
         changes=(("run_dir: run", f"run_dir: {'r' * 100}"),)),
    # the source
    Case("a video that is not there", FRAME, ("failed.source x 1", "gone.mp4': no such file; check the path"), None,
         changes=((SOURCE, "source: gone.mp4"),)),
    Case("a file that is no video", FRAME, ("failed.source x 1", "notes.mp4': no video file that FFmpeg can read"),
         None, changes=((SOURCE, "source: notes.mp4"),), prepare=text_file("notes.mp4")),
    Case("a file of noise", FRAME, ("failed.source x 1", "noise.mp4': no video file that FFmpeg can read"), None,
         changes=((SOURCE, "source: noise.mp4"),),
         prepare=binary_file("noise.mp4", bytes(range(256)) * 64)),
    Case("an empty video", FRAME, ("failed.source x 1", "empty.mp4': the file is empty"), None,
         changes=((SOURCE, "source: empty.mp4"),), prepare=text_file("empty.mp4", "")),
    Case("a folder without pictures", FRAME, ("failed.source x 1", "no pictures there"), None,
         changes=((SOURCE, "source: ."),)),
    Case("an address nothing reads", FRAME, ("streams.cam1.source", "nothing reads gopher://..."), 78,
         changes=((SOURCE, "source: 'gopher://me:secret@cam/1'"),)),
    Case("a camera that is off", FRAME, ("failed.source x 1", "rtsp://127.0.0.1:9/...': connection refused"), None,
         changes=((SOURCE, "source: 'rtsp://me:secret@127.0.0.1:9/1'"),)),
    # directories that cannot be written
    *(
        Case(f"{role.split()[1]}: a state directory that cannot be written", role, ("/file/state", "Not a directory"),
             74, changes=(("state_dir: state", "state_dir: file/state"),), prepare=text_file("file"))
        for role in (FRAME, FUSION, CLIP)
    ),
    Case("up: a state directory that cannot be written", "vpctl up", ("vpctl: ", "/file/state", "Not a directory"), 1,
         changes=(("state_dir: state", "state_dir: file/state"),), prepare=text_file("file")),
    Case("a clips directory that cannot be written", CLIP, ("file/clips", "Not a directory"), 74,
         changes=(("fusion:\n", "clip: {dir: file/clips}\nfusion:\n"),), prepare=text_file("file")),
    Case("a ring directory that cannot be written", FRAME, ("file/ring", "Not a directory"), 74,
         changes=(("ring: {dir: ring}", "ring: {dir: file/ring}"),), prepare=text_file("file")),
    Case("a run directory that cannot be written", FUSION, ("cannot use ", "file/run/fusion for sockets"), 78,
         changes=(("run_dir: run", "run_dir: file/run"),), prepare=text_file("file")),
    Case("up: a run directory that cannot be written", "vpctl up", ("vpctl: ", "file/run", "Not a directory"), 1,
         changes=(("run_dir: run", "run_dir: file/run"),), prepare=text_file("file")),
    Case("a state directory in /proc", FUSION, ("/proc/state",), 74,
         changes=(("state_dir: state", "state_dir: /proc/state"),)),
    # sockets
    Case("a socket path that is a regular file", FUSION, ("run/fusion/obs exists and is no socket: move it away",), 78,
         prepare=text_file("run/fusion/obs", "precious")),
    Case("up: supervisord's socket path is a regular file", "vpctl up", ("supervisor.sock",), 1,
         prepare=text_file("run/supervisor.sock", "precious")),
    Case("a live daemon's socket as one's own", CLIP, ("run/fusion/obs is outside this daemon's own folder",), 78,
         changes=(("fusion:\n", "endpoints: {clip/trig: 'ipc://$HERE/run/fusion/obs'}\nfusion:\n"),), beside=FUSION),
    Case("an endpoint of no daemon", VALIDATE,
         ("endpoints.clip/trigg: there is no such <daemon>/<link>; did you mean 'clip/trig'?",), 78,
         changes=(("fusion:\n", "endpoints: {clip/trigg: 'tcp://127.0.0.1:5'}\nfusion:\n"),)),
    Case("tcp beyond loopback", FUSION, ("tcp://10.0.0.1:5 is refused: tcp beyond loopback needs CURVE keys",), 78,
         changes=(("fusion:\n", "endpoints: {fusion/obs: 'tcp://10.0.0.1:5'}\nfusion:\n"),)),
    Case("an address that is none", FUSION, ("'fusion-obs' is no address: use ipc:///path or tcp://host:port",), 78,
         changes=(("fusion:\n", "endpoints: {fusion/obs: 'fusion-obs'}\nfusion:\n"),)),
    Case("a second daemon of one name", FUSION, ("fusion is running already (pid ", " holds $HERE/run/fusion/lock)"),
         75, beside=FUSION),
    Case("a second extractor of one name", QUALITY, ("extractor-quality is running already (pid ",), 75,
         beside=QUALITY),
    # plug-ins and venvs
    Case("a plug-in that is not installed", "visualpath-exec extractor smell",
         ("no plug-in 'smell' in the group visualpath.extractors of this venv; installed here: ", "face"), 78,
         changes=((EXTRACTOR, EXTRACTOR + "  smell: {}\n"),)),
    Case("up: a plug-in that is not installed", "vpctl up",
         ("vpctl: extractor-smell does not stay up; its last lines:", "no plug-in 'smell'"), 1,
         changes=((EXTRACTOR, EXTRACTOR + "  smell: {}\n"),)),
    Case("a plug-in in a venv without its libraries", "visualpath-exec extractor face",
         ("extractor 'face' cannot start: no backend can be loaded: mediapipe: ", "No module named 'mediapipe'"), 78,
         changes=((EXTRACTOR, EXTRACTOR + "  face: {venv: light}\n"),)),
    Case("a plug-in that fails to import", BROKEN_DAEMON,
         ("plug-in 'broken' (broken_plugin:Broken) cannot be imported: ModuleNotFoundError: No module named 'a_",),
         78, changes=BROKEN, prepare=broken_plug_in(BAD_MODULE), env=PLUGINS),
    Case("a plug-in with a syntax error", BROKEN_DAEMON, ("cannot be imported: SyntaxError: ",), 78,
         changes=BROKEN, prepare=broken_plug_in("class ("), env=PLUGINS),
    Case("a plug-in that is no extractor", BROKEN_DAEMON,
         ("plug-in 'broken' (broken_plugin:Broken) is no BaseExtractor",), 78,
         changes=BROKEN, prepare=broken_plug_in("Broken = 1\n"), env=PLUGINS),
    Case("a plug-in that refuses its configuration", BROKEN_DAEMON,
         ("extractor 'broken' cannot start: ValueError: min_size must be a number",), 78,
         changes=BROKEN, prepare=broken_plug_in(RAISING_MODULE), env=PLUGINS),
    Case("a fusion plug-in that is not installed", FUSION,
         ("visualpath.yaml:10: fusion.plugin: no plug-in 'magic' in the group visualpath.fusions of this venv; ",
          "installed here: ", "rules"), 78,
         changes=(("  rules:\n    - {label: dark, when: quality.brightness < 0}\n", "  plugin: magic\n"),)),
    Case("rules for a fusion plug-in that has none", FUSION,
         ("visualpath.yaml:11: fusion.rules: is for the plug-in rules, not for 'magic'",), 78,
         changes=(("fusion:\n", "fusion:\n  plugin: magic\n"),)),
    Case("a venv that is missing", QUALITY,
         ("extractor-quality needs the venv 'heavy', which is not built: run `make venvs`",), 78,
         changes=((EXTRACTOR, "  quality: {venv: heavy}\n"),)),
    Case("up: a venv that is missing", "vpctl up",
         ("vpctl: extractor-quality needs the venv 'heavy', which is not built: run `make venvs`",), 1,
         changes=((EXTRACTOR, "  quality: {venv: heavy}\n"),)),
    Case("a venv whose Python is gone", FUSION, ("fusion needs the venv 'core', which is not built",), 78,
         changes=((f"venvs_dir: {VENVS}", "venvs_dir: venvs"),), prepare=empty_venv),
    Case("up: a venv without visualpath", "vpctl up",
         ("extractor-quality does not stay up", "No module named 'visualpath'"), 1,
         changes=((f"venvs_dir: {VENVS}", "venvs_dir: venvs"), (EXTRACTOR, "  quality: {venv: bare}\n")),
         prepare=foreign_venv),
)  # fmt: skip
"""In the order of the issue's list; its bad messages are in `garbage.py`."""
