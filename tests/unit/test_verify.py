"""A clip that is not what its sidecar says is told from one that is."""

import json

import numpy as np
import pytest

from visualbase import jpeg
from visualbase.mux import MjpegMp4Writer
from visualbase.verify import sha256_of, verify_clip

FRAME_NS = 40_000_000


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = MjpegMp4Writer(path, width=64, height=48)
    for n in range(5):
        writer.add(jpeg.encode(np.full((48, 64, 3), 50 * n, np.uint8)), n * FRAME_NS)
    writer.finish(5 * FRAME_NS)
    path.with_suffix(".jpg").write_bytes(jpeg.encode(np.zeros((48, 64, 3), np.uint8)))
    sidecar = {
        "sha256": sha256_of(path), "size_bytes": path.stat().st_size, "frames": 5, "poster": "clip.jpg",
        "asked": [-FRAME_NS, 5 * FRAME_NS - 1], "delivered": [0, 5 * FRAME_NS],
        "gaps": [{"from": -FRAME_NS, "to": 0, "reason": "before_start"}],
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


def change(clip, **fields):
    sidecar = json.loads(clip.with_suffix(".json").read_text())
    clip.with_suffix(".json").write_text(json.dumps({**sidecar, **fields}))


def test_a_clip_as_it_was_saved_has_nothing_wrong(clip):
    assert verify_clip(clip, json.loads(clip.with_suffix(".json").read_text())) == []


def test_one_other_byte_is_found(clip):
    content = bytearray(clip.read_bytes())
    content[1000] ^= 1
    clip.write_bytes(content)
    assert any("not the one that was saved" in line for line in verify_clip(clip))


def test_a_clip_that_is_cut_short_is_found(clip):
    clip.write_bytes(clip.read_bytes()[:-200])
    assert verify_clip(clip)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"frames": 6}, "5 pictures decode, the sidecar says 6"),
        ({"delivered": [0, 6 * FRAME_NS]}, "it lasts 0.200000 s"),
        ({"gaps": []}, "says nothing of"),
        ({"asked": [-FRAME_NS, 7 * FRAME_NS]}, "says nothing of"),
        ({"poster": "other.jpg"}, "other.jpg is absent"),
        ({"size_bytes": 1}, "the sidecar says 1"),
        ({"delivered": None}, "cannot be understood"),
        ({"sha256": "0", "replaces": None}, "cannot be understood"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_found(clip, fields, said):
    change(clip, **fields)
    assert any(said in line for line in verify_clip(clip))


def test_an_absent_clip_is_named(clip):
    clip.unlink()
    assert verify_clip(clip) == [f"it cannot be read: No such file or directory: {clip}"]


def test_a_poster_that_is_damaged_is_found(clip):
    poster = clip.with_suffix(".jpg")
    poster.write_bytes(poster.read_bytes()[:-20])
    assert "the poster clip.jpg is damaged" in verify_clip(clip)[0]


def test_any_change_of_the_sidecar_is_found_by_who_knows_it(clip):
    known = json.loads(clip.with_suffix(".json").read_text())
    change(clip, label="another")
    assert verify_clip(clip, known) == ["its sidecar is not the one that was saved"]


@pytest.mark.parametrize("text", ["[]", "[" * 100_000, "7"])
def test_a_sidecar_that_is_none_is_told(clip, text):
    clip.with_suffix(".json").write_text(text)
    assert "cannot be understood" in verify_clip(clip)[0]


def test_the_jpegs_are_right_while_their_h264_is_announced(clip):
    before = {"sha256": sha256_of(clip), "size_bytes": clip.stat().st_size}
    change(clip, sha256="of the H.264", size_bytes=1, replaces=before)
    assert verify_clip(clip) == []
