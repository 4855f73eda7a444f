"""Videos whose pictures say their number, cuts of them, and what a cut shows."""

import itertools
import random
from fractions import Fraction

import av
import numpy as np

from visualbase.extract import ClipExtractor
from visualbase.sources import open_source
from visualbase.sources.synthetic import draw, read_number

MS = 1_000_000
S = 1000 * MS
WIDTH, HEIGHT = 128, 112
TICKS = 90_000
OPEN_GOP = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=3:b-pyramid=normal:b-adapt=0:open-gop=1"}
CLOSED_GOP = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=2"}
NO_B = {"x264-params": "keyint=12:bframes=0"}


def vfr_ticks(frames, seed=7):
    chance = random.Random(seed)
    return list(itertools.accumulate([0, *(chance.randrange(900, 9000) for _ in range(frames - 1))]))


RATES = {
    "10 fps": [n * TICKS // 10 for n in range(50)],
    "15 fps": [n * TICKS // 15 for n in range(60)],
    "30 fps": [n * TICKS // 30 for n in range(90)],
    "VFR": vfr_ticks(70),
}


def write_numbered(
    path, ticks, options=CLOSED_GOP, *, codec="libx264", late=0, sound=None, sound_s=None, rate=30, muxer=None
):
    """A video whose n-th picture says n; `ticks` of 1/90000 s. Its sound lasts as long, if nothing else is said."""
    ground = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options))
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        voice = container.add_stream(sound, rate=48_000, bit_rate=128_000) if sound else None
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(draw(ground, number, 0), format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = tick + late, Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            write_tone(container, voice, sound_s or (ticks[-1] + TICKS // 10) / TICKS)
    return path


def write_tone(container, stream, seconds):
    for begin in range(0, int(seconds * 48_000), 1024):
        wave = np.sin((np.arange(begin, begin + 1024)) / 20).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, begin, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def numbers(path):
    """What the pictures of a clip say."""
    with av.open(str(path)) as container:
        return [read_number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def times_ns(path):
    with open_source(str(path)) as source:
        return [picture.t_ns for picture in source.pictures()]


def end_of(path):
    """Where the clip's last picture ends, in seconds from the first."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return float(stream.duration * stream.time_base)


def cut(path, start_ns, end_ns, mode, tmp_path):
    clip = ClipExtractor().extract(str(path), start_ns, end_ns, mode=mode)
    return clip, clip.save(tmp_path / "out.mp4")
