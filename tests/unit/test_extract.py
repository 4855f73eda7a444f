"""Clips out of files: which frames they hold, at which times, and what they say of themselves.

The files are numbered videos; the numbers are read back from the pixels of the clips.
"""

import random
from fractions import Fraction

import av
import numpy as np
import pytest
from numbered_videos import (
    CLOSED_GOP,
    HEIGHT,
    MS,
    NO_B,
    OPEN_GOP,
    RATES,
    TICKS,
    WIDTH,
    S,
    cut,
    end_of,
    numbers,
    times_ns,
    write_numbered,
)

import visualbase.extract as extract_module
from visualbase import jpeg
from visualbase.clip import ClipTimeline, Gap
from visualbase.errors import MuxError, OtherSize, SourceError
from visualbase.extract import ClipExtractor
from visualpath_protocol.messages import FrameHeader


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


def excess_s(path, mode, tmp_path):
    """By how much clips that end at all kinds of frames last longer than they say."""
    found = times_ns(path)
    for end_ns in found[20:40]:
        clip, saved = cut(path, found[13], end_ns, mode, tmp_path)
        yield end_of(saved) - (clip.delivered.to_ns - clip.delivered.from_ns) / S


@pytest.mark.parametrize("mode", ["exact", "copy"])
@pytest.mark.parametrize("rate", ["30 fps", "VFR"])
def test_a_clip_lasts_as_long_as_it_says_wherever_it_ends(rate, mode, tmp_path):
    """Matroska tells no decoding times for the pictures that a reading begins with."""
    path = write_numbered(tmp_path / "a.mkv", RATES[rate])
    assert list(excess_s(path, mode, tmp_path)) == pytest.approx([0] * 20, abs=0.001)


def test_a_copy_of_frames_at_uneven_times_ends_no_sooner_than_it_says(videos, tmp_path):
    assert min(excess_s(videos["VFR", "closed"], "copy", tmp_path)) > -0.001


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


def test_a_source_may_be_a_path(video):
    assert ClipExtractor().extract(video, S, 2 * S).source == str(video)


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_a_file_of_one_frame_gives_it(tmp_path, mode):
    path = write_numbered(tmp_path / "a.mp4", [0])
    clip, saved = cut(path, 0, 0, mode, tmp_path)
    assert (numbers(saved), clip.frames) == ([0], 1)


def test_a_span_that_ends_before_it_starts_is_our_bug(video):
    with pytest.raises(ValueError, match="ends before it starts"):
        ClipExtractor().extract(str(video), 2, 1)


def test_seconds_are_no_times(video):
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        ClipExtractor().extract(str(video), 1.0, 2.5)


@pytest.mark.parametrize("mode", ["exact", "copy"])
@pytest.mark.parametrize("start_ns", [-(10**30), 10**30])
def test_a_start_farther_than_a_file_can_be_is_outside_of_it(video, start_ns, mode):
    with pytest.raises(SourceError, match="is in it, it"):
        ClipExtractor().extract(str(video), start_ns, start_ns + S, mode=mode)


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
