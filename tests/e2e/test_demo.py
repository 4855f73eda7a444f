"""The whole chain on real video: `make demo`'s own script, real daemons in their own venvs."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PYTHON = CHECKOUT / ".venvs/core/bin/python"
SAMPLE = CHECKOUT / "var/sample/faces.mp4"
MEDIA = CHECKOUT.parent / "shared/media"
TOLERANCE_NS = 500_000_000
NS = 1_000_000_000

Report = dict[str, Any]
Run = Callable[[Path], Report]


def require(path: Path, how: str) -> Path:
    if not path.exists():
        pytest.skip(f"{path.name} is absent: {how}")
    return path


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs the demo on a video, once per video and module; returns its report."""
    for venv in ("core", "face", "light"):
        require(CHECKOUT / f".venvs/{venv}/bin/python", "`make venvs` builds it")
    reports: dict[Path, Report] = {}
    with tempfile.TemporaryDirectory(prefix="vp-demo-") as folder:

        def run_once(video: Path) -> Report:
            if video not in reports:
                target = Path(folder) / str(len(reports))
                command = [str(PYTHON), str(CHECKOUT / "deploy/sample/demo.py"), str(video), str(target)]
                result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
                assert result.returncode == 0, result.stdout + result.stderr
                reports[video] = json.loads((target / "report.json").read_text())
            return reports[video]

        yield run_once


@pytest.fixture
def sample() -> Path:
    return require(SAMPLE, "`make demo` makes it")


@pytest.fixture
def composed() -> Path:
    return require(MEDIA / "crafted/composed_scenes_A.mp4", "it lies in ../shared/media")


def face_spans(video: Path) -> list[tuple[int, int]]:
    """Ground truth: when a face is there, in ns."""
    if video == SAMPLE:
        truth = json.loads(SAMPLE.with_suffix(".json").read_text())
        return [(face["start_ns"], face["end_ns"]) for face in truth["faces"]]
    truth = json.loads((MEDIA / "ground_truth.json").read_text())
    entry = truth["crafted"].get(video.name) or truth["videos"][video.name]
    return [(round(face["start"] * NS), round(face["end"] * NS)) for face in entry["truth"]["faces"]]


def source_pictures(video: Path, from_ns: int, to_ns: int) -> dict[int, np.ndarray]:
    """The source's own pictures with event time in [from_ns, to_ns), small and grey, by time in µs."""
    pictures = {}
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            t_ns = int(Fraction(frame.pts) * frame.time_base * NS)
            if from_ns <= t_ns < to_ns:
                pictures[t_ns // 1000] = frame.reformat(160, 90, "gray").to_ndarray().astype(int)
    return pictures


@pytest.mark.parametrize("which", ["sample", "composed"])
def test_every_face_interval_has_a_trigger_that_starts_in_it(
    which: str, run: Run, request: pytest.FixtureRequest
) -> None:
    video = request.getfixturevalue(which)
    starts = [trigger["t_start_ns"] for trigger in run(video)["triggers"]]
    for first, last in face_spans(video):
        assert any(first - TOLERANCE_NS <= start <= last + TOLERANCE_NS for start in starts), (first, last, starts)


@pytest.mark.parametrize("which", ["sample", "composed"])
def test_no_trigger_starts_where_no_face_is(which: str, run: Run, request: pytest.FixtureRequest) -> None:
    video = request.getfixturevalue(which)
    spans = face_spans(video)
    for trigger in run(video)["triggers"]:
        start = trigger["t_start_ns"]
        assert any(first - TOLERANCE_NS <= start <= last + TOLERANCE_NS for first, last in spans), trigger
        assert trigger["t_end_ns"] - start <= 3 * NS


@pytest.mark.parametrize("which", ["sample", "composed"])
def test_each_trigger_has_one_clip_that_contains_it(which: str, run: Run, request: pytest.FixtureRequest) -> None:
    report = run(request.getfixturevalue(which))
    clip_of = {trigger_id: clip for clip in report["clips"] for trigger_id in clip["trigger_ids"]}
    assert len(clip_of) == len(report["clips"]) == len(report["triggers"]) > 0
    for trigger in report["triggers"]:
        clip = clip_of[trigger["id"]]
        assert clip["delivered"][0] <= trigger["t_start_ns"] <= trigger["t_end_ns"] < clip["delivered"][1]
        assert clip["asked"] == [trigger["t_start_ns"] - 2 * NS, trigger["t_end_ns"] + 2 * NS]


def test_a_clip_holds_the_source_s_own_pictures_at_their_times(run: Run, composed: Path) -> None:
    clip = run(composed)["clips"][0]
    expected = source_pictures(composed, *clip["delivered"])
    with av.open(str(CHECKOUT / clip["path"])) as container:
        shown = {
            clip["delivered"][0] // 1000 + round(frame.pts * frame.time_base * 1_000_000): frame
            for frame in container.decode(video=0)
        }
    assert len(shown) == clip["frames"] == len(expected)
    for (t_us, frame), (want_us, picture) in zip(sorted(shown.items()), sorted(expected.items()), strict=True):
        assert abs(t_us - want_us) <= 1
        got = frame.reformat(160, 90, "gray").to_ndarray().astype(int)
        assert np.abs(got - picture).mean() < 6, f"another picture at {t_us} µs"


def test_every_frame_is_observed_or_skipped_by_each_extractor(run: Run, sample: Path) -> None:
    report = run(sample)
    frames = report["streams"]["demo"]["frames"]
    assert frames == 480
    for source, observed in report["observations"].items():
        assert observed + report["skips"][source] == frames


def test_a_video_without_faces_gives_no_trigger(run: Run) -> None:
    report = run(require(MEDIA / "wpt_counting.mp4", "it lies in ../shared/media"))
    assert report["streams"]["demo"]["frames"] == 295
    assert report["triggers"] == report["clips"] == []


def test_a_file_that_is_no_video_is_refused_with_its_name_and_the_reason(tmp_path: Path) -> None:
    require(PYTHON, "`make venvs` builds it")
    text = tmp_path / "notes.mp4"
    text.write_text("this is no video\n" * 100)
    command = [str(PYTHON), str(CHECKOUT / "deploy/sample/demo.py"), str(text), str(tmp_path / "demo")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert result.returncode == 1
    assert "notes.mp4" in result.stderr
    assert "Traceback" not in result.stderr
