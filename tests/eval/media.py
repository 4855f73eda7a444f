"""The files of ../shared/media, what is known to be in them, and their frames, sampled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scoring import Truth

from visualbase.sources import open_source
from visualpath.process.view import JpegFrame

KINDS = ("faces", "hands", "persons")
MOST_FPS = 10.0
MOST_S = 60.0
"""Of each file from its first picture on: the one file that is longer is black all through."""

GESTURES = {
    "call": "call",
    "four": "four",
    "rock": "rock",
    "thumb up": "thumbs_up",
    "thumb up (Thumb_Up)": "thumbs_up",
    "fist": "fist",
    "closed fist moving up (leaves the top edge partly 1.8-2.1)": "fist",
    "index finger up": "pointing",
    "little finger up, others folded": "none",
}
"""The truth's labels that are gestures of ours, or plainly none; others, signs of a sign language, are not judged."""

HANDS_IN_SIGHT = {
    "asl_again.mkv", "asl_bird.mkv", "asl_book.mkv", "asl_eat.mkv", "asl_hungry.mkv", "asl_no.mkv", "asl_thanks.mkv",
    "asl_walk.mkv", "asl_want.mkv", "asl_yes.mkv", "odd_641x479_asl_book.mp4", "short_hamilton_clip.mp4",
    "tfjs_pose_squats.mp4",
}  # fmt: skip
"""Here the truth tells of raised or open hands only, and others are in sight: outside its intervals nothing is judged.
It counts one where both are raised."""

SEEN_BY_EYE = {
    "img_mpgest_none_1.jpg": "thumbs_down",
    "img_mpgest_none_2.jpg": "pointing",
    "img_mpgest_none_3.jpg": "thumbs_down",
}
"""Its source's class "none" means: not call, four or rock. This is what a person sees there."""


@dataclass(frozen=True)
class Media:
    """One file.

    Attributes:
        is_image: a picture, else a video.
        truths: by kind, of those that are known.
        gestures: start and end in seconds, and what is shown; None: nothing is known.
    """

    path: Path
    is_image: bool
    truths: Mapping[str, Truth]
    gestures: tuple[tuple[float, float, str], ...]
    tolerance_s: float

    def gesture_at(self, t_s: float) -> str | None:
        """What is shown; None: not known, or not sure."""
        for start, end, gesture in self.gestures:
            if start + self.tolerance_s < t_s < end - self.tolerance_s:
                return gesture
        return None

    def frames(self, epoch: int, stream: str) -> Iterator[JpegFrame]:
        """Its pictures, at most `MOST_FPS` a second, for `MOST_S`; `t_ns` is the file's own time.

        Raises:
            SourceError: it cannot be read.
        """
        interval_ns = 1e9 / MOST_FPS
        with open_source(str(self.path)) as source:
            for number, picture in enumerate(source.pictures()):
                if number == 0:
                    due_ns, end_ns = float(picture.t_ns), picture.t_ns + MOST_S * 1e9
                if picture.t_ns >= end_ns:
                    return
                if picture.t_ns >= due_ns:
                    due_ns = max(due_ns + interval_ns, picture.t_ns + interval_ns / 2)
                    yield JpegFrame(
                        jpeg=picture.jpeg, frame_id=number, t_ns=picture.t_ns, stream=stream, epoch=epoch,
                        width=picture.width, height=picture.height,
                    )  # fmt: skip


def load(folder: Path) -> list[Media]:
    """All files whose truth is known."""
    known = json.loads((folder / "ground_truth.json").read_text())
    media = []
    for group in ("videos", "images", "crafted"):
        for name, entry in known[group].items():
            if entry["truth"]:
                path = folder / "crafted" / name if group == "crafted" else folder / name
                media.append(_image(path, entry) if group == "images" else _video(path, entry))
    return media


def _video(path: Path, entry: Mapping[str, Any]) -> Media:
    truth = entry["truth"]
    truths = {kind: Truth.of_video(truth, kind) for kind in KINDS}
    if (hands := truths["hands"]) and path.name in HANDS_IN_SIGHT:
        truths["hands"] = replace(hands, is_whole=False)
    spans = [(each["start"], each["end"], GESTURES.get(each["label"])) for each in truth.get("gestures", ())]
    return Media(
        path=path,
        is_image=False,
        truths={kind: each for kind, each in truths.items() if each is not None},
        gestures=tuple((start, end, gesture) for start, end, gesture in spans if gesture is not None),
        tolerance_s=truth["tolerance_s"],
    )


def _image(path: Path, entry: Mapping[str, Any]) -> Media:
    truth = entry["truth"]
    truths = {kind: Truth.of_image(truth, kind) for kind in KINDS}
    label = SEEN_BY_EYE.get(path.name) or GESTURES.get(truth.get("gesture") or truth.get("gesture_label_in_source"))
    return Media(
        path=path,
        is_image=True,
        truths={kind: each for kind, each in truths.items() if each is not None},
        gestures=((-1.0, float("inf"), label),) if label else (),
        tolerance_s=0.0,
    )
