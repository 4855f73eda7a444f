"""A real extractor daemon whose models fail: what it says, where it steps to, and how it comes back.

The models are files that the tests write, remove and break; what must be shown of the ladder is shown here.
"""

import json
import re

import pytest

from visualpath.runtime.summary import summary
from visualpath_protocol.codec import Codec
from visualpath_protocol.messages import Event, Obs, Ping, Skip
from visualpath_protocol.sockets import TAP

PLUGIN = """
    import json
    import time
    from functools import partial
    from pathlib import Path

    from visualpath.core.errors import DeviceUnavailable, ModelMissingError
    from visualpath.core.extractor import BaseExtractor
    from visualpath.core.observation import Observation


    class Model:
        def __init__(self, name, config):
            self.name, self.looks, self.path = name, 0, Path(config["models"]) / f"{name}.json"
            if not self.path.exists():
                raise ModelMissingError(f"model {name!r} is not in models: run `vpctl models pull {name}`")
            self.script = json.loads(self.path.read_text())
            while self.path.with_suffix(".held").exists():
                time.sleep(0.005)
            if self.script.get("gpu"):
                raise DeviceUnavailable("asked for the GPU, but onnxruntime has CPUExecutionProvider only")

        def look(self):
            while self.path.with_suffix(".stuck").exists():
                time.sleep(0.005)
            self.looks += 1
            if self.looks > self.script.get("good_for", 1_000_000):
                raise RuntimeError("CUDA error 700")


    class Rungs(BaseExtractor):
        name = "rungs"
        backends = {name: partial(Model, name) for name in ("heavy", "middle", "light")}

        def __init__(self, config=None):
            super().__init__(config)
            self.seen = 0

        def extract(self, frame):
            self.models.look()
            self.seen += 1
            return Observation(signals={"seen": float(self.seen)})
"""
WAITED_NS = 700_000_000
"""Longer than `hang_timeout` below."""
SINCE = r", since \d{4}-\d\d-\d\dT\d\d:\d\dZ"


@pytest.fixture
def models(short_dir):
    """A folder with two good models."""
    folder = short_dir / "models"
    folder.mkdir()
    for name in ("heavy", "light"):
        write(folder, name)
    return folder


def write(folder, name, **script):
    """A model as a whole file, as a download puts it in place."""
    partial = folder / f"{name}.part"
    partial.write_text(json.dumps(script))
    partial.rename(folder / f"{name}.json")


@pytest.fixture
def config(write_config, models):
    return write_config(f"""
        state_dir: state
        ring: {{dir: ring, length: 30s}}
        trace: {{level: normal}}
        streams:
          cam1: {{source: none.mp4}}
        extractors:
          face:
            plugin: rungs
            hang_timeout: 500ms
            config:
              backends: [heavy, light]
              ladder: {{errors: 3, retry: 200ms, retry_max: 400ms, probation: 3}}
              models: "{models}"
    """)


@pytest.fixture
def start(start_daemon, config, install_plugins):
    def start():
        folder = install_plugins("[visualpath.extractors]\nrungs = rungs_plugin:Rungs\n", rungs_plugin=PLUGIN)
        return start_daemon("extractor", config, "face", PYTHONPATH=folder)

    return start


@pytest.fixture
def camera(fake_stream):
    return fake_stream("cam1")


class Running:
    """The daemon at work, frame by frame."""

    def __init__(self, daemon, fusion, camera, ask, vpctl):
        self.daemon, self._fusion, self._camera, self._ask, self._vpctl = daemon, fusion, camera, ask, vpctl
        self._next = 0

    def show(self):
        """Show it the next frame; its number."""
        self._camera.frames(self._next, self._next)
        self._next += 1
        return self._next - 1

    def frame(self):
        """Show it the next frame; its OBS or SKIP."""
        return self._fusion.about(self.show())

    def frames(self, count):
        return [self.frame() for _ in range(count)]

    def until(self, condition, wait_for):
        """Show it frames until the condition holds for the answer to one."""
        return wait_for(lambda: next((said for said in [self.frame()] if condition(said)), None), timeout_s=30)

    def status(self):
        return self._ask("extractor-face", "status")

    def line(self):
        """What `vpctl status` prints of it, though it may take several lines of the table."""
        table = self._vpctl("status").stdout
        return " ".join(table[table.index("extractor-face") : table.index("frame-cam1")].split())

    def counters(self):
        found = self.status()["counters"]
        return {name.removeprefix("backend."): n for name, n in found.items() if name.startswith("backend.")}

    def log_lines(self):
        return [line.partition("WARNING ")[2] for line in self.daemon.log().splitlines() if "WARNING" in line]


@pytest.fixture
def running(start, fake_fusion, camera, ask, vpctl):
    def running():
        daemon = start()
        fake_fusion.accept()
        camera.await_subscribers()
        return Running(daemon, fake_fusion, camera, ask, vpctl)

    return running


def backend(said):
    """Which backend an OBS is of; None: it is a SKIP."""
    return said.observations[0].metadata["backend"] if isinstance(said, Obs) else None


# At the start -----------------------------------------------------------------------------------


def test_with_all_models_the_best_is_in_use(running):
    face = running()
    assert backend(face.frame()) == "heavy"
    assert re.search(r" (ready|busy) on heavy, 1 observed", face.line())


def test_with_a_model_removed_it_starts_on_the_next_and_says_why(running, models):
    (models / "heavy.json").unlink()
    face = running()
    assert re.search(
        r" ready on light \(heavy: model 'heavy' is not in models: run `vpctl models pull heavy`\)" + SINCE, face.line()
    )


def test_with_a_broken_model_it_starts_on_the_next_and_says_why(running, models):
    (models / "heavy.json").write_text("{ torn")
    assert re.search(
        r" ready on light \(heavy: JSONDecodeError: Expecting property name .*\)" + SINCE, running().line()
    )


def test_without_a_gpu_it_starts_on_the_next_and_says_why(running, models):
    write(models, "heavy", gpu=True)
    why = r"heavy: DeviceUnavailable: asked for the GPU, but onnxruntime has CPUExecutionProvider only"
    assert re.search(rf" ready on light \({why}\)" + SINCE, running().line())


def test_observations_say_of_which_backend_they_are_and_why(running, models):
    (models / "heavy.json").unlink()
    assert running().frame().observations[0].metadata == {
        "backend": "light",
        "degraded": "heavy: model 'heavy' is not in models: run `vpctl models pull heavy`",
    }


def test_with_no_model_at_all_it_ends_with_78_and_every_reason_in_one_line(start, models):
    (models / "heavy.json").unlink()
    (models / "light.json").write_text("torn")
    daemon = start()
    assert daemon.wait() == 78
    [line] = [line for line in daemon.log().splitlines() if "ERROR" in line]
    assert "extractor 'face' cannot start: no backend can be loaded: heavy: model 'heavy' is not in models" in line
    assert "; light: JSONDecodeError: " in line


# While it runs ----------------------------------------------------------------------------------


def test_exceptions_after_some_frames_step_down_within_the_frame_that_is_one_too_many(running, models):
    write(models, "heavy", good_for=4)
    face = running()
    assert [backend(said) for said in face.frames(9)] == ["heavy"] * 4 + [None] * 2 + ["light"] * 3


def test_the_trackers_state_survives_the_step(running, models):
    write(models, "heavy", good_for=4)
    face = running()
    seen = [said.observations[0].signals["seen"] for said in face.frames(8) if isinstance(said, Obs)]
    assert seen == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_step_down_while_it_runs_is_in_status_counters_and_one_log_line(running, models):
    write(models, "heavy", good_for=1)
    write(models, "light")
    face = running()
    face.frames(3)
    (models / "heavy.json").unlink()
    face.frames(3)
    why = "heavy: 3 frames in a row failed, the last by RuntimeError: CUDA error 700"
    [step] = [line for line in face.log_lines() if "runs on light" in line]
    assert step.endswith(f"extractor 'face' runs on light: {why}")
    assert face.counters()["down.errors"] == 1
    assert face.status()["extractor"]["backend"]["rung"] == 1


def test_a_step_is_a_record_of_the_trace(running, models, short_dir, wait_for):
    (models / "heavy.json").unlink()
    running()
    path = short_dir / "state" / "trace" / "extractor-face.jsonl"
    lines = wait_for(lambda: path.exists() and path.read_text().splitlines())
    record = json.loads(lines[0])
    assert (record["record_type"], record["component"], record["state"]) == ("state_change", "face", "on light")
    assert record["reason"].startswith("heavy: model 'heavy' is not in models")


def test_a_step_is_an_event_on_the_tap(running, models, links, wait_for):
    write(models, "heavy", good_for=0)
    face = running()
    tap = links.connect(TAP, "extractor-face")
    tap.subscribe("state")
    face.until(lambda said: tap.poll(0), wait_for)
    body = Codec(Event, max_bytes=TAP.max_bytes).decode(tap.recv_multipart()[-1]).body
    assert (body["source"], body["state"]) in {("face", "on light"), ("face", "on heavy")}


def test_a_step_is_a_metric(running, models, vpctl):
    (models / "heavy.json").unlink()
    running()
    metrics = vpctl("metrics").stdout.splitlines()
    assert 'visualpath_extractor_backend_rung{daemon="extractor-face"} 1.0' in metrics
    counted = 'visualpath_backend_changes_total{change="down",daemon="extractor-face",reason="missing"} 1.0'
    assert counted in metrics


@pytest.fixture
def loading(running, models, wait_for):
    """A frame waits, for longer than an inference may take, until the next backend is loaded."""
    write(models, "heavy", good_for=0)
    (models / "light.held").touch()
    face = running()
    face.frames(2)
    face.show()
    wait_for(lambda: face.status()["extractor"]["backend"]["loading"] == "light")
    began = face.status()["uptime_ns"]
    wait_for(lambda: face.status()["uptime_ns"] - began > WAITED_NS)
    return face


def test_a_load_that_a_frame_waits_for_is_no_hang(loading, fake_fusion):
    assert loading.status()["extractor"]["state"] == "starting"
    known = len(fake_fusion.of(Ping))
    ping = fake_fusion.until(lambda f: f.of(Ping)[known:])[0]
    assert (ping.state, ping.busy_ns) == ("starting", 0)


def test_the_load_is_no_part_of_the_inference_after_it(loading, models, wait_for):
    (models / "light.stuck").touch()
    (models / "light.held").unlink()
    busy_ns = wait_for(lambda: loading.status()["extractor"]["busy_ns"])
    assert busy_ns < WAITED_NS


def test_a_frame_that_waited_for_a_load_is_observed(loading, fake_fusion, models):
    (models / "light.held").unlink()
    assert backend(fake_fusion.about(2)) == "light"


# All fail ---------------------------------------------------------------------------------------


@pytest.fixture
def lost(running, models):
    """Both models have failed, and are gone from the disk."""
    for name in ("heavy", "light"):
        write(models, name, good_for=1)
    face = running()
    face.frame()
    for name in ("heavy", "light"):
        (models / f"{name}.json").unlink()
    return face


def test_when_all_fail_frames_are_skipped_with_the_reason_and_the_daemon_lives(running, models):
    write(models, "heavy", good_for=0)
    write(models, "light", good_for=0)
    face = running()
    said = face.frames(12)
    assert {(type(each), each.detail) for each in said} == {(Skip, "RuntimeError: CUDA error 700")}


def test_when_the_only_backend_that_is_there_fails_the_state_is_failed_with_every_reason(lost):
    lost.frames(4)
    assert lost.status()["extractor"]["state"] == "failed"
    why = (
        r"heavy: 3 frames in a row failed, the last by RuntimeError: CUDA error 700; "
        r"light: model 'light' is not in models: run `vpctl models pull light`"
    )
    assert re.search(rf" failed on heavy \({why}(; loading \w+)?\)" + SINCE, lost.line())


def test_when_all_fail_pings_say_degraded(lost, fake_fusion):
    lost.frames(4)
    fake_fusion.until(lambda f: f.of(Ping) and f.of(Ping)[-1].state == "degraded")


def test_when_all_have_failed_a_model_that_is_put_back_brings_it_back(lost, models, wait_for):
    lost.frames(4)
    write(models, "light")
    said = lost.until(lambda said: isinstance(said, Obs), wait_for)
    assert backend(said) == "light"
    assert lost.status()["extractor"]["state"] in ("ready", "busy")


# The way back -----------------------------------------------------------------------------------


def test_when_the_model_is_back_it_steps_up(running, models, wait_for):
    (models / "heavy.json").unlink()
    face = running()
    assert backend(face.frame()) == "light"
    write(models, "heavy")
    face.until(lambda said: backend(said) == "heavy", wait_for)
    face.frames(3)
    assert re.search(r" (ready|busy) on heavy, \d+ observed", face.line())
    assert "extractor 'face' runs on heavy again, 3 frames on probation" in face.daemon.log()


def test_no_frame_is_lost_while_it_steps_up(running, models, wait_for):
    (models / "heavy.json").unlink()
    face = running()
    write(models, "heavy")
    said = []
    face.until(lambda each: said.append(each) or backend(each) == "heavy", wait_for)
    assert {type(each) for each in said} == {Obs}


def test_a_model_that_fails_on_probation_costs_no_frame(running, models, wait_for):
    (models / "heavy.json").unlink()
    face = running()
    write(models, "heavy", good_for=1)
    said = []
    face.until(lambda each: said.append(each) or backend(each) == "heavy", wait_for)
    said += face.frames(3)
    assert {type(each) for each in said} == {Obs}
    assert face.counters()["down.probation"] == 1


def test_a_model_that_stays_missing_is_tried_again_and_again_while_the_other_works(running, models, wait_for):
    (models / "heavy.json").unlink()
    face = running()
    face.until(lambda said: face.counters().get("refused.missing", 0) >= 3, wait_for)
    assert backend(face.frame()) == "light"


def test_a_stop_while_a_better_model_loads_without_end_is_an_orderly_one(running, models, wait_for):
    (models / "heavy.json").unlink()
    face = running()
    (models / "heavy.held").touch()
    write(models, "heavy")
    face.until(lambda _: face.status()["extractor"]["backend"]["loading"] == "heavy", wait_for)
    assert face.daemon.stop() == 0


def test_what_systemctl_shows_is_the_line_of_vpctl(running, models):
    (models / "heavy.json").unlink()
    face = running()
    assert summary(face.status()).startswith("ready on light (heavy: model 'heavy' is not in models")
