"""Make the demo's video: a portrait comes and goes over a moving background, at times we know.

    make_sample.py --portrait astronaut.png --out demo.mp4

writes demo.mp4 (H.264, 640x360, 30 fps, 16 s) and demo.json, the truth about it. The same portrait and
the same libraries give the same bytes. Needs PyAV and numpy: run it in the core venv.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]  # shape (height, width, 3), R, G, B, 0 ... 255

WIDTH, HEIGHT, FPS, SECONDS, GOP = 640, 360, 30, 16, 60
SEED = 20  # of the background
CROP = slice(0, 330), slice(65, 385)  # head and shoulders in the 512x512 portrait
BORDER = 8  # pixels of white around the crop, as around a printed photograph


@dataclass(frozen=True)
class Pose:
    """Where the portrait is: its centre in pixels of the video, and its magnification."""

    x: float
    y: float
    scale: float

    def towards(self, other: Pose, part: float) -> Pose:
        """Return the pose on the way to another; part 0: this one, 1: the other."""
        here, there = np.array([self.x, self.y, self.scale]), np.array([other.x, other.y, other.scale])
        return Pose(*(here + (there - here) * part))


@dataclass(frozen=True)
class Appearance:
    """The portrait is in the picture in [start_s, end_s) and moves evenly between two poses.

    `darkest` is the gain in the middle of it, reached and left evenly; 1: no dimming.
    """

    what: str
    start_s: float
    end_s: float
    first: Pose
    last: Pose
    darkest: float = 1.0

    def part(self, t_s: float) -> float:
        """Return how much of it is over, from 0; below 0 or from 1 on: it is not in the picture."""
        return (t_s - self.start_s) / (self.end_s - self.start_s)

    def gain(self, t_s: float) -> float:
        """Return what the picture is multiplied with."""
        return 1 - (1 - self.darkest) * (1 - abs(2 * self.part(t_s) - 1))


SCRIPT = (
    Appearance("moves across", 2.0, 5.0, Pose(150, 185, 0.75), Pose(490, 185, 0.75)),
    Appearance("grows", 7.0, 10.0, Pose(260, 180, 0.5), Pose(340, 195, 1.05)),
    Appearance("is dimmed", 12.0, 14.5, Pose(390, 185, 0.9), Pose(360, 185, 0.9), darkest=0.25),
)


def appearance_at(t_s: float) -> Appearance | None:
    """Return who is in the picture at a time in seconds."""
    return next((a for a in SCRIPT if 0 <= a.part(t_s) < 1), None)


def truth() -> dict[str, Any]:
    """Return what is to be seen and when; ends are exclusive."""
    return {
        "schema": 1,
        "width": WIDTH,
        "height": HEIGHT,
        "fps": FPS,
        "frames": SECONDS * FPS,
        "duration_ns": SECONDS * 10**9,
        "faces": [{"start_ns": round(a.start_s * 1e9), "end_ns": round(a.end_s * 1e9), "what": a.what} for a in SCRIPT],
    }


def enlarged(grid: Picture, height: int, width: int) -> Picture:
    """Stretch a small picture over a large one, linear between its values."""
    y, x = np.mgrid[0 : grid.shape[0] - 1 : height * 1j, 0 : grid.shape[1] - 1 : width * 1j]
    return sampled(grid, y, x)


def sampled(source: Picture, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> Picture:
    """Return the source's colours at fractional places inside it, linear between pixels."""
    top = np.clip(y.astype(np.intp), 0, source.shape[0] - 2)
    left = np.clip(x.astype(np.intp), 0, source.shape[1] - 2)
    down, right = (y - top)[..., None], (x - left)[..., None]
    upper = source[top, left] * (1 - right) + source[top, left + 1] * right
    lower = source[top + 1, left] * (1 - right) + source[top + 1, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def background() -> Picture:
    """Return clouds of teal, half as large again as the video, so that a window can wander over them."""
    height, width = HEIGHT * 3 // 2, WIDTH * 3 // 2
    random = np.random.default_rng(SEED)
    clouds = np.zeros((height, width, 1), np.float32)
    for cells, weight in ((6, 0.5), (18, 0.3), (54, 0.2)):
        grid = random.random((cells * 9 // 16 + 2, cells + 1, 1), np.float32)
        clouds += weight * enlarged(grid, height, width)
    return np.array([40, 90, 110], np.float32) + np.array([40, 110, 90], np.float32) * clouds


def photograph(portrait: Picture) -> Picture:
    """Cut head and shoulders out of the portrait and put a white border around."""
    edges = ((BORDER, BORDER), (BORDER, BORDER), (0, 0))
    return np.pad(portrait[CROP], edges, constant_values=245)


def paste(picture: Picture, photo: Picture, pose: Pose) -> None:
    """Draw the photograph onto the picture, in place; what is outside is cut off."""
    height, width = photo.shape[0] * pose.scale, photo.shape[1] * pose.scale
    top, left = pose.y - height / 2, pose.x - width / 2
    rows = np.arange(max(0, round(top)), min(picture.shape[0], round(top + height)))
    columns = np.arange(max(0, round(left)), min(picture.shape[1], round(left + width)))
    y, x = np.meshgrid((rows - top) / pose.scale, (columns - left) / pose.scale, indexing="ij")
    y, x = y.clip(0, photo.shape[0] - 1), x.clip(0, photo.shape[1] - 1)
    picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = sampled(photo, y, x)


def pictures(portrait: Picture) -> Iterator[npt.NDArray[np.uint8]]:
    """Draw the video, frame by frame: uint8, shape (HEIGHT, WIDTH, 3), R, G, B."""
    clouds, photo = background(), photograph(portrait)
    for number in range(SECONDS * FPS):
        t_s = number / FPS
        turn = 2 * np.pi * t_s / SECONDS
        down, right = round(HEIGHT / 4 * (1 + np.sin(2 * turn))), round(WIDTH / 4 * (1 + np.sin(turn)))
        picture = clouds[down : down + HEIGHT, right : right + WIDTH].copy()
        if seen := appearance_at(t_s):
            paste(picture, photo, seen.first.towards(seen.last, seen.part(t_s)))
            picture *= seen.gain(t_s)
        yield picture.round().astype(np.uint8)


def read_portrait(path: Path) -> Picture:
    """Read a picture file."""
    with av.open(str(path)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="rgb24")
    return np.asarray(pixels, np.float32)


def write_video(path: Path, portrait: Picture) -> None:
    """Draw and encode; one thread, since x264's output depends on their number."""
    fixed_gop = {"g": str(GOP), "keyint_min": str(GOP), "sc_threshold": "0"}
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=FPS, options={"crf": "23", "preset": "medium", "threads": "1", **fixed_gop}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in pictures(portrait):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def main() -> int:
    """Write the truth, then the video, which appears whole or not at all."""
    parser = argparse.ArgumentParser(description="Make the demo's video and its ground truth.")
    parser.add_argument("--portrait", type=Path, required=True, help="scikit-image's astronaut.png")
    parser.add_argument("--out", type=Path, required=True, help="the .mp4 to write; a .json beside it")
    args = parser.parse_args()
    if not args.portrait.is_file():
        print(f"make_sample.py: no portrait at {args.portrait}; venvs/build.py sample brings it", file=sys.stderr)
        return 1
    args.out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = args.out.with_suffix(".part")
    write_video(unfinished, read_portrait(args.portrait))
    args.out.with_suffix(".json").write_text(json.dumps(truth(), indent=2) + "\n")
    os.replace(unfinished, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
