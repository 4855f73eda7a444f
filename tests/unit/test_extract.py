"""Clips out of files: which frames they hold, at which times, and what they say of themselves.

The files are numbered videos; the numbers are read back from the pixels of the clips.
"""

import errno
import itertools
import os
import random
from fractions import Fraction

import av
import numpy as np
import pytest

import visualbase.extract as extract_module
from visualbase import jpeg
from visualbase.clip import ClipTimeline, Gap
from visualbase.errors import MuxError, NoSpace, OtherSize, SourceError
from visualbase.extract import ClipExtractor
from visualbase.sources import open_source
from visualbase.sources.synthetic import draw, read_number
from visualpath_protocol.messages import FrameHeader

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


def write_numbered(path, ticks, options=CLOSED_GOP, *, codec="libx264", late=0, sound=None, rate=30, muxer=None):
    """A video whose n-th picture says n; `ticks` of 1/90000 s."""
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
            write_tone(container, voice, (ticks[-1] + TICKS // 10) / TICKS)
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


def meeting(found, start_ns, end_ns, last_ns):
    """The numbers of the frames whose interval meets the span: the rule itself."""
    intervals = zip(found, [*found[1:], last_ns], strict=True)
    return [n for n, (t_ns, until_ns) in enumerate(intervals) if until_ns > start_ns and t_ns <= end_ns]


def spans(found, seed, count):
    """Spans as they are asked for: anywhere, on a frame's very time, one ns beside it, longer than the file."""
    chance = random.Random(seed)
    for _ in range(count):
        anywhere = [chance.randrange(-S, found[-1] + S) for _ in range(2)]
        beside = [chance.choice(found) + chance.choice((-1, 0, 1)) for _ in range(2)]
        instants = [chance.choice(pair) for pair in zip(anywhere, beside, strict=True)]
        start_ns, end_ns = sorted(instants)
        if end_ns >= found[0] and start_ns <= found[-1]:
            yield start_ns, end_ns


def cut(path, start_ns, end_ns, mode, tmp_path):
    clip = ClipExtractor().extract(str(path), start_ns, end_ns, mode=mode)
    return clip, clip.save(tmp_path / "out.mp4")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """By rate: a numbered video with closed and one with open groups of pictures."""
    folder = tmp_path_factory.mktemp("numbered")
    return {
        (rate, kind): write_numbered(folder / f"{rate}-{kind}.mp4", ticks, options)
        for rate, ticks in RATES.items()
        for kind, options in (("closed", CLOSED_GOP), ("open", OPEN_GOP))
    }


@pytest.fixture(scope="module")
def video(videos):
    """3 s at 30 fps, a keyframe every 0.4 s."""
    return videos["30 fps", "closed"]


# Exactly ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["closed", "open"])
@pytest.mark.parametrize("rate", RATES)
def test_exact_holds_the_frames_whose_interval_meets_the_span_and_no_other(videos, rate, kind, tmp_path):
    found = times_ns(videos[rate, kind])
    for start_ns, end_ns in spans(found, rate, 12):
        clip, saved = cut(videos[rate, kind], start_ns, end_ns, "exact", tmp_path)
        expected = meeting(found, start_ns, end_ns, found[-1] + S)
        assert numbers(saved) == expected, (start_ns, end_ns)
        assert clip.frames == len(expected)


@pytest.mark.parametrize("rate", RATES)
def test_exact_keeps_the_distance_from_frame_to_frame(videos, rate, tmp_path):
    found = times_ns(videos[rate, "closed"])
    clip, saved = cut(videos[rate, "closed"], found[9] + 1, found[40], "exact", tmp_path)
    assert clip.delivered.from_ns == found[9]
    assert times_ns(saved) == pytest.approx([t_ns - found[9] for t_ns in found[9:41]], abs=1)


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_the_last_frame_lasts_until_its_successor_would_have_come(videos, mode, tmp_path):
    path = videos["VFR", "open"]
    found = times_ns(path)
    clip, saved = cut(path, found[13], found[30] + 1, mode, tmp_path)
    assert clip.delivered.to_ns in found
    assert end_of(saved) * S == pytest.approx(clip.delivered.to_ns - clip.delivered.from_ns, abs=MS)


def test_the_rule_is_that_of_live_clips(videos, tmp_path):
    found = times_ns(videos["VFR", "closed"])
    for start_ns, end_ns in spans(found, 3, 8):
        timeline, kept = ClipTimeline(start_ns, end_ns, 50 * MS), []
        for n, t_ns in enumerate(found):
            header = FrameHeader(
                stream="a", epoch=1, frame_id=n, t_ns=t_ns, wall_ns=0, mono_ns=0, width=1, height=1, payloads=[]
            )
            kept.append(timeline.feed(header))
            if timeline.closed:
                break
        kept.append(timeline.finish("after_end"))
        _, saved = cut(videos["VFR", "closed"], start_ns, end_ns, "exact", tmp_path)
        assert numbers(saved) == [shown.header.frame_id for shown in kept if shown is not None]


def test_a_span_of_no_length_is_the_frame_shown_then(video, tmp_path):
    _, saved = cut(video, 1_010 * MS, 1_010 * MS, "exact", tmp_path)
    assert numbers(saved) == [30]


def test_keyframes_of_the_source_are_not_forced_upon_the_clip(tmp_path):
    path = write_numbered(tmp_path / "a.avi", RATES["10 fps"], {}, codec="mjpeg", rate=10)
    _, saved = cut(path, S, 3 * S, "exact", tmp_path)
    with av.open(str(saved)) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) == 1


@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi", "h264"])
def test_exact_is_exact_in_other_containers_too(tmp_path, suffix):
    path = write_numbered(tmp_path / f"a.{suffix}", RATES["30 fps"], NO_B)
    found = times_ns(path)
    _, saved = cut(path, found[50] + 1, found[60], "exact", tmp_path)
    assert numbers(saved) == list(range(50, 61))


def test_a_late_start_is_kept(tmp_path):
    path = write_numbered(tmp_path / "a.ts", RATES["10 fps"], late=11 * TICKS)
    found = times_ns(path)
    _, saved = cut(path, found[20], found[25], "exact", tmp_path)
    assert numbers(saved) == list(range(20, 26))


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_a_start_below_zero_is_shifted_as_the_source_shifts_it(tmp_path, mode):
    ticks = [2**33 - TICKS + n * 9000 for n in range(30)]  # FFmpeg takes a clock that wraps for a start at -1 s
    path = write_numbered(
        tmp_path / "a.ts", ticks, {"tune": "zerolatency", "g": "5"},
        muxer={"mpegts_copyts": "1", "avoid_negative_ts": "disabled"},
    )  # fmt: skip
    clip, saved = cut(path, 500 * MS, 700 * MS, mode, tmp_path)
    assert (numbers(saved), clip.delivered.from_ns) == ([5, 6, 7], 500 * MS)


def test_a_key_mark_on_what_is_no_keyframe_costs_no_exactness(video, tmp_path, monkeypatch):
    """The first seek leads to pictures that cannot be decoded; reading from the beginning then finds them."""
    real = extract_module.find_entry

    def misled(path, origin_ns, t_ns):
        return real(path, origin_ns, t_ns + 600 * MS)

    monkeypatch.setattr(extract_module, "find_entry", misled)
    _, saved = cut(video, 1_010 * MS, 1_110 * MS, "exact", tmp_path)
    assert numbers(saved) == [30, 31, 32, 33]


# As stored --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["closed", "open"])
@pytest.mark.parametrize("rate", RATES)
def test_copy_never_starts_late_and_every_frame_it_promises_decodes(videos, rate, kind, tmp_path):
    found = times_ns(videos[rate, kind])
    for start_ns, end_ns in spans(found, rate, 12):
        clip, saved = cut(videos[rate, kind], start_ns, end_ns, "copy", tmp_path)
        asked, said = meeting(found, start_ns, end_ns, found[-1] + S), numbers(saved)
        first = found.index(clip.delivered.from_ns)
        assert said == list(range(first, first + clip.frames)), (start_ns, end_ns)
        assert set(asked) <= set(said)
        assert first % 12 == 0
        assert asked[0] - first < 12
        assert said[-1] - asked[-1] <= 4


def test_copy_takes_the_bytes_as_they_are(video, tmp_path):
    _, saved = cut(video, 1_000 * MS, 1_500 * MS, "copy", tmp_path)

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert set(packets(saved)) <= set(packets(video))


def test_motion_jpeg_is_copied_from_the_very_frame(tmp_path):
    path = write_numbered(tmp_path / "a.avi", RATES["10 fps"], {}, codec="mjpeg", rate=10)
    found = times_ns(path)
    clip, saved = cut(path, found[20] + 1, found[25], "copy", tmp_path)
    assert numbers(saved) == list(range(20, 26))
    assert clip.frames == 6


def test_a_codec_that_no_mp4_holds_is_refused_with_the_way_out(tmp_path):
    path = write_numbered(tmp_path / "a.avi", RATES["10 fps"], {}, codec="msmpeg4", rate=10)
    with pytest.raises(MuxError, match=r"a\.avi: msmpeg4 video does not go into an MP4 as it is: use mode=\"exact\""):
        ClipExtractor().extract(str(path), 0, S, mode="copy")


def test_a_file_without_times_is_refused_for_copy(tmp_path):
    path = write_numbered(tmp_path / "a.h264", RATES["10 fps"])
    with pytest.raises(SourceError, match="carries no times"):
        ClipExtractor().extract(str(path), 0, S, mode="copy")


# What a clip says of itself -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_a_span_beyond_both_ends_has_a_gap_at_each(video, mode, tmp_path):
    clip, saved = cut(video, -2 * S, 9 * S, mode, tmp_path)
    assert numbers(saved) == list(range(90))
    assert clip.gaps == (Gap(-2 * S, 0, "before_start"), Gap(3 * S, 9 * S, "after_end"))


def test_a_span_within_the_file_has_no_gap(video, tmp_path):
    clip, _ = cut(video, S, 2 * S, "exact", tmp_path)
    assert clip.gaps == ()


def test_asked_and_delivered_are_both_told(video, tmp_path):
    clip, _ = cut(video, 1_010 * MS, 1_990 * MS, "exact", tmp_path)
    assert (clip.asked.from_ns, clip.asked.to_ns) == (1_010 * MS, 1_990 * MS)
    assert (clip.delivered.from_ns, clip.delivered.to_ns) == (1_000 * MS, 2_000 * MS)


@pytest.mark.parametrize("mode", ["exact", "copy"])
@pytest.mark.parametrize(("span", "edge"), [((-2 * S, -S), "it begins at 0.000 s"), ((5 * S, 6 * S), "it")])
def test_a_span_wholly_outside_is_an_error_that_tells_where_the_file_lies(video, mode, span, edge):
    with pytest.raises(SourceError, match=f"nothing of .* is in it, {edge}") as caught:
        ClipExtractor().extract(str(video), *span, mode=mode)
    assert repr(str(video)) in str(caught.value)


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_a_file_of_one_frame_gives_it(tmp_path, mode):
    path = write_numbered(tmp_path / "a.mp4", [0])
    clip, saved = cut(path, 0, 0, mode, tmp_path)
    assert (numbers(saved), clip.frames) == ([0], 1)


def test_a_span_that_ends_before_it_starts_is_our_bug(video):
    with pytest.raises(ValueError, match="ends before it starts"):
        ClipExtractor().extract(str(video), 2, 1)


def test_an_unknown_mode_is_our_bug(video):
    with pytest.raises(ValueError, match="no mode 'fast'"):
        ClipExtractor().extract(str(video), 1, 2, mode="fast")


@pytest.mark.parametrize("source", ["absent.mp4", "rtsp://camera/1", "synthetic://?frames=10"])
def test_what_is_no_file_is_an_error(source):
    with pytest.raises(SourceError, match=r"no such file|this is no file"):
        ClipExtractor().extract(source, 0, 1)


def test_a_picture_that_changes_its_size_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_mux_stream("mjpeg", width=WIDTH, height=HEIGHT, time_base=Fraction(1, 1000))
        for n, (width, height) in enumerate([(WIDTH, HEIGHT)] * 3 + [(2 * WIDTH, HEIGHT)] * 3):
            packet = av.Packet(jpeg.encode(np.zeros((height, width, 3), np.uint8)))
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 1000), n * 100, n * 100
            packet.is_keyframe = True
            container.mux(packet)
    with pytest.raises(OtherSize, match="from 128x112 to 256x112: ask for a span on one side"):
        ClipExtractor().extract(str(path), 0, S)


# Pictures and sound -------------------------------------------------------------------------------


def sound_span(path):
    """First and last time of sound in seconds, None without sound."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        found = [float(packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.size]
    return found[0], found[-1]


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_sound_is_that_of_the_pictures(tmp_path, mode):
    path = write_numbered(tmp_path / "a.mp4", RATES["30 fps"], sound="aac")
    clip, saved = cut(path, 1_010 * MS, 1_990 * MS, mode, tmp_path)
    length = (clip.delivered.to_ns - clip.delivered.from_ns) / S
    assert clip.sound == "kept"
    assert sound_span(saved) == (pytest.approx(0.011, abs=0.011), pytest.approx(length - 0.011, abs=0.011))


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_sound_that_lies_behind_the_pictures_in_the_file_is_found(tmp_path, mode):
    path = write_numbered(tmp_path / "a.mkv", RATES["30 fps"], sound="aac", muxer={"max_interleave_delta": "1"})
    clip, saved = cut(path, 2_410 * MS, 2_800 * MS, mode, tmp_path)
    length = (clip.delivered.to_ns - clip.delivered.from_ns) / S
    assert sound_span(saved) == (pytest.approx(0.011, abs=0.012), pytest.approx(length - 0.011, abs=0.012))


def test_sound_that_no_mp4_holds_is_left_out_and_told(tmp_path):
    path = write_numbered(tmp_path / "a.avi", RATES["30 fps"], NO_B, sound="wmav2")
    clip, saved = cut(path, S, 2 * S, "exact", tmp_path)
    assert clip.sound == "left out: wmav2 does not go into an MP4"
    assert sound_span(saved) is None


def test_a_file_without_sound_is_told_so(video, tmp_path):
    clip, _ = cut(video, S, 2 * S, "exact", tmp_path)
    assert clip.sound == "none"


def write_picture(path, rgb, *, codec="libx264", pix_fmt="yuv420p", rotation=0, options=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options or {"crf": "1"})
        stream.height, stream.width = rgb.shape[:2]
        stream.pix_fmt = pix_fmt
        stream.set_display_rotation(rotation)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


def first_pixels(path):
    with open_source(str(path), jpeg_quality=100) as source:
        picture = next(source.pictures())
    return jpeg.decode(picture.jpeg, width_at_least=None, pixel_format="bgr")[:, :, ::-1].astype(int)


def corners(width, height):
    """A picture whose four quarters have four colours."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (200, 60, 30)
    rgb[: height // 2, width // 2 :] = (40, 180, 60)
    rgb[height // 2 :, : width // 2] = (50, 60, 190)
    rgb[height // 2 :, width // 2 :] = (180, 180, 180)
    return rgb


@pytest.mark.parametrize("mode", ["exact", "copy"])
@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_a_clip_stands_upright_as_the_file_does(tmp_path, rotation, mode):
    path = write_picture(tmp_path / "a.mp4", corners(160, 96), rotation=rotation)
    _, saved = cut(path, 0, S, mode, tmp_path)
    assert first_pixels(saved).shape == first_pixels(path).shape
    assert np.abs(first_pixels(saved) - first_pixels(path)).mean() < 3


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("libx264", "yuv420p", "mp4"),
        ("libx264", "yuvj420p", "mp4"),
        ("libx264", "yuv444p", "mp4"),
        ("libx264", "yuvj422p", "mp4"),
        ("libx265", "yuv420p10le", "mp4"),
        ("mjpeg", "yuvj420p", "avi"),
        ("ffv1", "bgr0", "mkv"),
        ("ffv1", "gray", "mkv"),
        ("png", "rgb24", "avi"),
    ],
)
def test_exact_keeps_the_colours(tmp_path, codec, pix_fmt, suffix):
    options = {"x265-params": "log-level=none:crf=4"} if codec == "libx265" else {}
    path = write_picture(tmp_path / f"a.{suffix}", corners(160, 96), codec=codec, pix_fmt=pix_fmt, options=options)
    _, saved = cut(path, 0, S, "exact", tmp_path)
    quarters = np.s_[24:72:47, 40:120:79]
    assert np.abs(first_pixels(saved)[quarters] - first_pixels(path)[quarters]).max() <= 6


def test_exact_keeps_an_odd_size(tmp_path):
    path = write_picture(tmp_path / "a.mp4", corners(161, 97), pix_fmt="yuv444p")
    _, saved = cut(path, 0, S, "exact", tmp_path)
    assert first_pixels(saved).shape == (97, 161, 3)


# Saving -----------------------------------------------------------------------------------------


def test_the_file_is_not_needed_any_more_when_the_clip_is_saved(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", RATES["10 fps"])
    clip = ClipExtractor().extract(str(path), S, 2 * S)
    path.unlink()
    assert numbers(clip.save(tmp_path / "out.mp4")) == list(range(10, 21))


def test_a_clip_may_be_saved_twice(video, tmp_path):
    clip = ClipExtractor().extract(str(video), S, 2 * S)
    assert clip.save(tmp_path / "a.mp4").read_bytes() == clip.save(tmp_path / "b.mp4").read_bytes()


def test_the_index_comes_first(video, tmp_path):
    _, saved = cut(video, S, 2 * S, "exact", tmp_path)
    data = saved.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_saving_leaves_nothing_but_the_clip(video, tmp_path):
    cut(video, S, 2 * S, "exact", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_failed_save_keeps_what_was_there_before(video, tmp_path, monkeypatch):
    clip = ClipExtractor().extract(str(video), S, 2 * S)
    (tmp_path / "out.mp4").write_bytes(b"before")

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match=r"out\.mp4: No space left on device"):
        clip.save(tmp_path / "out.mp4")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out.mp4", b"before")]


def test_a_missing_folder_is_an_error_that_names_the_path(video, tmp_path):
    clip = ClipExtractor().extract(str(video), S, 2 * S)
    with pytest.raises(MuxError, match=r"absent/out\.mp4: No such file"):
        clip.save(tmp_path / "absent" / "out.mp4")


def test_extracting_leaves_nothing_in_the_temporary_folder(video, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    clip = ClipExtractor().extract(str(video), S, 2 * S)
    assert clip.frames
    assert not list(tmp_path.iterdir())


def test_a_full_temporary_folder_is_an_error_that_says_so(video, monkeypatch):
    def full(self, packet):
        raise NoSpace("no room")

    monkeypatch.setattr("visualbase.cut.output.ClipFile.add_encoded", full)
    with pytest.raises(NoSpace, match="no room"):
        ClipExtractor().extract(str(video), S, 2 * S)
