"""v4l2:// against a stand-in for OpenCV; no test here has seen a real camera."""

import sys
import time
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from visualbase import jpeg
from visualbase.errors import SourceError, Stalled
from visualbase.sources import camera, open_source
from visualbase.sources.synthetic import Pattern, draw, read_number

GROUND = Pattern(width=128, height=112).ground()
MJPG = int.from_bytes(b"MJPG", "little")
YUYV = int.from_bytes(b"YUYV", "little")


class FakeCamera:
    """What cv2.VideoCapture gives: `frames`, then nothing."""

    def __init__(self, frames, *, mjpeg=True, opens=True):
        self.frames = list(frames)
        self.opens = opens
        self.released = False
        self.set_to = {}
        self._mjpeg = mjpeg

    def __call__(self, path, backend):
        self.path, self.backend = path, backend
        return self

    def isOpened(self):
        return self.opens

    def set(self, what, value):
        self.set_to[what] = value
        return True

    def get(self, what):
        if what == "fourcc":
            return float(MJPG if self._mjpeg else YUYV)
        return {"width": 128.0, "height": 112.0, "fps": 30.0}[what]

    def grab(self):
        return bool(self.frames)

    def retrieve(self):
        frame = self.frames.pop(0)
        return frame is not None, frame

    def release(self):
        self.released = True


@pytest.fixture
def plug_in(monkeypatch, tmp_path):
    """Put a camera into the machine; gives its address."""
    device = tmp_path / "video0"
    device.touch()

    def plug_in(fake, query=""):
        cv2 = SimpleNamespace(
            VideoCapture=fake, CAP_V4L2=200, CAP_PROP_FOURCC="fourcc", CAP_PROP_CONVERT_RGB="rgb",
            CAP_PROP_FRAME_WIDTH="width", CAP_PROP_FRAME_HEIGHT="height", CAP_PROP_FPS="fps",
            VideoWriter=SimpleNamespace(fourcc=lambda *code: int.from_bytes("".join(code).encode(), "little")),
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "cv2", cv2)
        monkeypatch.setenv(camera._TIMEOUT_VARIABLE, "5")
        return f"v4l2://{device}{query}"

    return plug_in


def as_bytes(number):
    """A JPEG as OpenCV gives it unconverted."""
    return np.frombuffer(jpeg.encode(draw(GROUND, number, 0)), np.uint8)[None, :]


def taken(source, count):
    return list(islice(source.pictures(), count))


def test_motion_jpeg_is_handed_on_byte_by_byte(plug_in):
    found = taken(open_source(plug_in(FakeCamera([as_bytes(1), as_bytes(2)]))), 2)
    assert [picture.jpeg for picture in found] == [as_bytes(1).tobytes(), as_bytes(2).tobytes()]


def test_motion_jpeg_is_asked_for_unconverted(plug_in):
    fake = FakeCamera([])
    open_source(plug_in(fake))
    assert (fake.set_to["fourcc"], fake.set_to["rgb"], fake.backend) == (MJPG, 0, 200)


def test_a_camera_without_motion_jpeg_is_encoded_from_bgr(plug_in):
    red = np.zeros((112, 128, 3), np.uint8)
    red[:, :, 2] = 255
    fake = FakeCamera([draw(GROUND, 7, 0)[:, :, ::-1], red], mjpeg=False)
    first, second = taken(open_source(plug_in(fake)), 2)
    assert read_number(jpeg.decode(first.jpeg, width_at_least=None, pixel_format="gray")) == 7
    blue, _, red_level = jpeg.decode(second.jpeg, width_at_least=None, pixel_format="bgr").mean(axis=(0, 1))
    assert (blue < 10, red_level > 245, "rgb" in fake.set_to) == (True, True, False)


def test_size_and_rate_of_the_address_are_asked_for(plug_in):
    fake = FakeCamera([])
    source = open_source(plug_in(fake, "?width=1280&height=720&fps=15"))
    assert (fake.set_to["width"], fake.set_to["height"], fake.set_to["fps"]) == (1280, 720, 15)
    assert (source.info.width, source.info.height, source.info.fps) == (128, 112, 30.0)  # what the camera says


def test_times_are_those_of_the_monotonic_clock(plug_in):
    before = time.monotonic_ns()
    source = open_source(plug_in(FakeCamera([as_bytes(n) for n in range(3)])))
    times = [picture.t_ns for picture in taken(source, 3)]
    assert source.live
    assert before < times[0] < times[1] < times[2] < time.monotonic_ns()


@pytest.mark.parametrize("damaged", [as_bytes(1)[:, :-300], np.zeros((1, 10), np.uint8), None])
def test_a_damaged_picture_is_counted_and_left_out(plug_in, damaged):
    source = open_source(plug_in(FakeCamera([damaged, as_bytes(2)])))
    assert ([p.jpeg for p in taken(source, 1)], source.dropped) == ([as_bytes(2).tobytes()], {"damaged": 1})


def test_a_camera_that_gives_nothing_more_is_stalled(plug_in):
    with pytest.raises(Stalled, match="still plugged in"):
        taken(open_source(plug_in(FakeCamera([as_bytes(1)]))), 2)


def test_the_device_is_let_go(plug_in):
    fake = FakeCamera([])
    with open_source(plug_in(fake)):
        pass
    assert fake.released


def test_what_is_no_camera_is_refused(plug_in):
    fake = FakeCamera([], opens=False)
    with pytest.raises(SourceError, match="cannot be opened as a camera"):
        open_source(plug_in(fake))


def test_without_opencv_it_says_what_to_install(plug_in, monkeypatch):
    uri = plug_in(FakeCamera([]))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SourceError, match='install "opencv-python-headless<5" into the venv core'):
        open_source(uri)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("v4l2:///dev/video99", "no such device"),
        ("v4l2://video0", "no device in it"),
        ("v4l2:///dev/null?width=many", "Expected `int`"),
    ],
)
def test_a_wrong_address_is_refused_with_the_reason(uri, said):
    with pytest.raises(SourceError, match=said):
        open_source(uri)
