"""`vpctl process` and `process_video`: every frame is looked at, and the same video gives the same files."""

from __future__ import annotations

import errno
import json
import sys
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import visualpath as vp
from visualbase import jpeg
from visualbase.errors import SourceError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.fusion import BaseFusion, FusionResult, GateChange, RuleState
from visualpath.core.observation import Observation
from visualpath.core.rules import RulesFusion
from visualpath.core.stream_types import Noted
from visualpath.core.trigger import Trigger
from visualpath.ctl.commands.process import _notes
from visualpath.ctl.main import main
from visualpath.ctl.offline_output import OfflineOutput
from visualpath.ctl.overlay import Overlay, colours_of
from visualpath.process.offline import Looked
from visualpath.process.view import JpegFrame
from visualpath.process.worker import WorkerResult, found
from visualpath.video import Step, VideoResult

VENVS = Path(sys.prefix).parent
FPS = 30
DARK_BRIGHT_DARK = (30, 36, 39)
"""Frames."""
FRAMES = sum(DARK_BRIGHT_DARK)
BRIGHT_NS = 1_000_000_000
FRAME_NS = 33_333_333

CONFIG = """
venvs_dir: {venvs}
streams:
  cam1: {{source: unused.mp4}}
extractors:
  quality: {{venv: dev}}
fusion:
  rules:
    - label: bright
      when: quality.brightness >= 0.5
      for: 500ms
      cooldown: 300ms
      score: quality.brightness
clip: {{pre: 200ms, post: 400ms}}
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Dark, bright, dark: the mean luma tells them apart whatever encodes it."""
    path = tmp_path_factory.mktemp("video") / "a name with spaces é.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for luma, count in zip((40, 220, 40), DARK_BRIGHT_DARK, strict=True):
            for _ in range(count):
                picture = np.full((120, 160, 3), luma, np.uint8)
                picture[::8] //= 2
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "visualpath.yaml"
    path.write_text(CONFIG.format(venvs=VENVS))
    return path


@pytest.fixture
def process(config, video):
    """Run `vpctl process` on the video."""

    def run(*args, source=video, path=config):
        return CliRunner().invoke(main, ["--config", str(path), "process", str(source), *map(str, args)])

    return run


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]


def test_every_frame_has_an_observation_of_every_extractor(process, tmp_path):
    result = process("-e", "quality", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    observations = lines(tmp_path / "out" / "obs.jsonl")
    assert [each["frame_id"] for each in observations] == list(range(FRAMES))
    assert set(observations[0]) == {"source", "stream", "frame_id", "t_ns", "signals", "data"}
    bright = [each["t_ns"] for each in observations if each["signals"]["brightness"] >= 0.5]
    assert (bright[0], len(bright)) == (BRIGHT_NS, DARK_BRIGHT_DARK[1])


def test_the_triggers_are_those_of_the_rules(process, tmp_path):
    process("-e", "quality", "-o", tmp_path / "out")
    (trigger,) = lines(tmp_path / "out" / "triggers.jsonl")
    assert (trigger["label"], trigger["t_start_ns"]) == ("bright", BRIGHT_NS)
    assert trigger["t_end_ns"] - BRIGHT_NS == pytest.approx(500_000_000, abs=1000)


def test_a_clip_holds_the_frames_of_its_span(process, tmp_path):
    process("-e", "quality", "-o", tmp_path / "out")
    (clip,) = (tmp_path / "out" / "clips").glob("*.mp4")
    facts = json.loads(clip.with_suffix(".json").read_text())
    start, end = facts["asked_ns"]
    assert (start, facts["gaps"]) == (BRIGHT_NS - 200_000_000, [])
    wanted = [n for n in range(FRAMES) if n * FRAME_NS <= end and (n + 1) * FRAME_NS > start]
    shown = pictures(clip)
    assert len(shown) == facts["frames"] == len(wanted)
    assert [luma > 128 for luma in shown] == [30 <= n < 66 for n in wanted]


def test_a_second_run_gives_the_same_bytes(process, tmp_path):
    for name in ("first", "second"):
        assert process("-e", "quality", "-o", tmp_path / name).exit_code == 0
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.json*"))
    assert [path.name for path in files] == ["00001.000-bright.json", "obs.jsonl", "triggers.jsonl"]
    for path in files:
        assert (tmp_path / "first" / path).read_bytes() == (tmp_path / "second" / path).read_bytes()


def test_the_overlay_shows_every_frame_and_marks_what_fired(process, tmp_path):
    process("-e", "quality", "-o", tmp_path / "out", "--overlay")
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as container:
        corners = [frame.to_ndarray(format="rgb24")[-2, 80].astype(int) for frame in container.decode(video=0)]
    assert len(corners) == FRAMES
    fired = [n for n, (red, green, blue) in enumerate(corners) if red > green + 60 and red > blue + 30]
    assert fired[0] == 45


def test_json_tells_programs_the_same(config, video, tmp_path):
    args = ["--config", str(config), "--json", "process", str(video), "-e", "quality", "-o", str(tmp_path / "out")]
    facts = json.loads(CliRunner().invoke(main, args).stdout)
    assert (facts["frames"], facts["triggers"], len(facts["clips"]), facts["failed"]) == (FRAMES, 1, 1, {})


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["-e", "telepathy"], "no extractor 'telepathy' in any venv"),
        (["-e", "quality", "--fusion", "telepathy"], "no plug-in 'telepathy' in the group visualpath.fusions"),
        (["-e", "quality", "--fusion", "highlight"], "fusion 'highlight' needs face"),
    ],
)
def test_what_is_not_there_is_refused(process, tmp_path, args, complaint):
    result = process(*args, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert complaint in result.output


def test_an_extractor_with_a_slip_in_its_name_is_refused_with_the_one_that_was_meant(process, tmp_path):
    output = process("-e", "qualty", "-o", tmp_path / "out").output
    assert "did you mean quality?" in output
    assert "a venv in another place must be named in visualpath.yaml, as extractors.qualty.venv" in output


def test_who_names_no_extractor_is_told_to(process, tmp_path):
    result = process("-e", ",", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "name an extractor" in result.output


def test_pictures_have_triggers_and_no_clips(process, tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        Image.new("RGB", (64, 48), "white").save(tmp_path / "pictures" / f"{number:02}.png")
    result = process("-e", "quality", "-o", tmp_path / "out", source=tmp_path / "pictures")
    assert result.exit_code == 0, result.output
    assert "no clips: they can be cut only out of a video file" in result.output
    assert lines(tmp_path / "out" / "triggers.jsonl")


def test_a_full_disk_is_told_and_leaves_no_file_that_looks_whole(process, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(OfflineOutput, "add", full)
    result = process("-e", "quality", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".part"}


def test_a_folder_that_is_not_empty_is_left_alone(process, tmp_path):
    result = process("-e", "quality", "-o", tmp_path)
    assert result.exit_code == 1
    assert "is not empty" in result.output


def test_a_video_that_is_none_is_refused_with_its_name(process, tmp_path):
    (tmp_path / "letter.mp4").write_bytes(b"Dear Sir")
    result = process("-e", "quality", "-o", tmp_path / "out", source=tmp_path / "letter.mp4")
    assert result.exit_code == 1
    assert "letter.mp4" in result.output
    assert not (tmp_path / "out").exists()


def test_a_configuration_that_is_named_must_be_there(process, tmp_path):
    result = process("-e", "quality", "-o", tmp_path / "out", path=tmp_path / "none.yaml")
    assert result.exit_code == 78
    assert "none.yaml" in result.output


def test_without_a_configuration_nothing_is_decided(video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".venvs").symlink_to(Path(sys.prefix).parent)
    args = ["process", str(video), "-e", "quality", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, args, env={"VISUALPATH_CONFIG": None})
    assert result.exit_code == 0, result.output
    assert len(lines(tmp_path / "out" / "obs.jsonl")) == FRAMES
    assert lines(tmp_path / "out" / "triggers.jsonl") == []


def step(*observations, error=None, size=(64, 48)):
    width, height = size
    frame = JpegFrame(jpeg.encode(np.zeros((height, width, 3), np.uint8)), 0, 0, "video", width=width, height=height)
    result = WorkerResult(error=error) if error else found(list(observations), 0.0)
    return Step(Looked(frame, {"odd": result}), [])


def test_why_an_extractor_failed_first_is_known():
    result = VideoResult()
    for error in ("torn", "burnt"):
        result.add(step(error=error))
    assert (result.errors, result.first_errors) == ({"odd": 2}, {"odd": "#0: torn"})


def test_the_observations_of_a_long_video_are_not_kept():
    result = VideoResult()
    result.add(step(Observation()))
    assert result.observations == []


@pytest.mark.parametrize(
    "data",
    [
        {"x": 0.5, "y": 0.5, "w": -0.2, "h": -0.1},
        {"x": float("nan"), "y": 0.5, "w": 0.2, "h": 0.1},
        {"x": 1e30, "y": 0.5, "w": 0.2, "h": 0.1},
        {"landmarks": np.array([[np.nan, 0.5], [np.inf, 0.5], [1e30, 0.5], [0.5, 0.5]])},
    ],
)
def test_what_cannot_be_drawn_stops_no_overlay(tmp_path, data):
    output = OfflineOutput(tmp_path, overlay=True)
    output.add(step(Observation(data=data)), [])
    output.finish()
    assert len(pictures(tmp_path / "overlay.mp4")) == 1


def test_an_extractor_has_its_colour_wherever_it_stands():
    assert colours_of(["pose", "expression", "face"]) == colours_of(["face", "expression", "pose"])


def test_extractors_have_colours_of_their_own_while_there_are_enough():
    names = ["face", "expression", "pose", "gesture", "quality", "face_classifier"]
    assert len(set(colours_of(names).values())) == len(names)


def test_more_extractors_than_colours_have_one_each():
    names = [f"e{number}" for number in range(20)]
    assert set(colours_of(names)) == set(names)


class Waits:
    """A decision whose moments wait for these."""

    def __init__(self, *waits_for):
        self._states = [
            RuleState(
                label=f"m{n}",
                condition="",
                holds=False,
                readings=(),
                hold_from_ns=None,
                for_ns=0,
                cooldown_until_ns=0,
                waits_for=what,
            )
            for n, what in enumerate(waits_for)
        ]

    def explain(self):
        return self._states


@pytest.mark.parametrize(
    ("waits", "told"),
    [
        (["the gate", "the gate"], ["every moment waits for the gate"]),
        (["the gate", "the gate", ""], ["moments m0, m1 wait for the gate"]),
        (["the gate", "light"], ["moment m0 waits for the gate", "moment m1 waits for light"]),
        (["", ""], []),
    ],
)
def test_the_overlay_says_which_moments_wait(waits, told):
    assert _notes(Waits(*waits))[len(waits) :] == told


def test_the_overlay_says_how_the_gate_stands(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(Overlay, "add", lambda _self, _looked, _triggers, notes: shown.append(notes))
    output = OfflineOutput(tmp_path, overlay=True)
    first, opening, later = step(), step(), step()
    opening.outcomes.append(Noted(0, 21, 700_000_000, GateChange(True, "all well for 0.7 s")))
    for each in (first, opening, later):
        output.add(each, ["smile: no"])
    output.close()
    is_open = "gate open since 0.700 s"
    assert shown == [["smile: no"], [is_open, "smile: no"], [is_open, "smile: no"]]


@pytest.mark.parametrize(("size", "shown"), [((176, 144), (704, 576)), ((641, 479), (640, 478)), ((2, 2), (640, 640))])
def test_a_small_picture_is_shown_larger_so_that_it_is_not_hidden(tmp_path, size, shown):
    output = OfflineOutput(tmp_path, overlay=True)
    output.add(step(size=size), [])
    output.finish()
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == shown


def test_arrays_are_written_in_digits_that_tell_them_apart(tmp_path):
    output = OfflineOutput(tmp_path, overlay=False)
    output.add(step(Observation(data=[np.float32([[0.1, 0.2]]), np.array(0.3, np.float32), np.int64([4])])), [])
    output.finish()
    assert lines(tmp_path / "obs.jsonl")[0]["data"] == [[[0.1, 0.2]], 0.3, [4]]


def test_two_runs_cannot_write_into_one_folder(tmp_path):
    with closing(OfflineOutput(tmp_path, overlay=False)), pytest.raises(FileExistsError):
        OfflineOutput(tmp_path, overlay=False)


class Luma(BaseExtractor):
    name = "luma"

    def extract(self, frame):
        if frame.frame_id == 3:
            raise RuntimeError("blinked")
        return Observation(signals={"mean": frame.data.mean()})


class FirstBright(BaseFusion):
    def __init__(self):
        self.fired = False

    def update(self, frame):
        seen = frame.observations.get("luma")
        if self.fired or not seen or seen[0].signals["mean"] < 128:
            return FusionResult()
        self.fired = True
        return FusionResult((Trigger("bright", frame.t_ns, frame.t_ns, frame.frame_id),))


def test_process_video_looks_at_every_frame_and_tells_each_trigger(video):
    told = []
    result = vp.process_video(str(video), modules=[Luma], fusion=FirstBright(), on_trigger=told.append)
    assert result.frames == FRAMES
    assert [each.frame_id for each in result.observations] == [n for n in range(FRAMES) if n != 3]
    assert [each.frame_id for each in result.triggers] == [30]
    assert told == result.triggers
    assert result.errors["luma"] == 1


def test_process_video_counts_what_it_cannot_read(video, tmp_path):
    torn = tmp_path / "torn.mp4"
    data = bytearray(video.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    torn.write_bytes(data)
    result = vp.process_video(str(torn), modules=[Luma])
    assert 0 < result.frames < FRAMES
    assert result.dropped["damaged"] > 0


def test_process_video_tells_what_the_decision_doubts(video):
    rule = {"label": "bright", "when": "luma.mean >= 100", "for": "500ms", "max_gap": "20ms"}
    result = vp.process_video(str(video), modules=[Luma], fusion=RulesFusion([rule]))
    (doubt,) = result.doubts
    assert "max_gap" in doubt


def test_process_video_refuses_a_clock_that_is_set_back(video, tmp_path):
    once, twice = tmp_path / "once.ts", tmp_path / "twice.ts"
    with av.open(str(video)) as whole, av.open(str(once), "w") as copy:
        stream = copy.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    twice.write_bytes(once.read_bytes() * 2)
    with pytest.raises(SourceError, match="its clock is set back"):
        vp.process_video(str(twice), modules=[Luma])


def test_process_video_refuses_a_backend_that_is_not_there(video):
    with pytest.raises(ValueError, match="no backend 'pathway'"):
        vp.process_video(str(video), modules=[Luma], backend="pathway")


def test_process_video_refuses_what_never_ends():
    with pytest.raises(SourceError, match="it never ends"):
        vp.process_video("synthetic://?live=1", modules=[Luma])


def test_extractors_may_be_named_by_several_options(process, tmp_path):
    result = process("-e", "quality", "-e", "smell", "-o", tmp_path / "out")
    assert (result.exit_code, "no extractor 'smell'" in result.output) == (1, True)


RULES = """
venvs_dir: {venvs}
streams: {{cam1: {{source: unused.mp4}}}}
extractors: {{quality: {{venv: dev}}, scripted: {{venv: dev}}}}
fusion:
  rules:
    - {{label: two, when: {{any: [quality.brightnes >= 0.5, scripted.n >= 1]}}}}
"""


def test_why_a_rule_could_never_fire_is_told(video, tmp_path):
    yaml = tmp_path / "visualpath.yaml"
    yaml.write_text(RULES.format(venvs=VENVS))
    args = ["--config", str(yaml), "--json", "process", str(video), "-e", "quality", "-o", str(tmp_path / "out")]
    assert json.loads(CliRunner().invoke(main, args).stdout)["doubts"] == [
        "rule 'two' reads quality.brightnes, which quality never gave; it gave blur, brightness, contrast",
        "rule 'two' reads scripted.n: give scripted too, by -e",
    ]


def test_that_nothing_decides_is_told(video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".venvs").symlink_to(VENVS)
    result = CliRunner().invoke(main, ["process", str(video), "-e", "quality", "-o", "out"])
    assert "nothing decides: there is no visualpath.yaml here, and no --fusion" in result.output
