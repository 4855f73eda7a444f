"""Files as sources: which pictures come, in which order, at which times, and what is said of files that hold none."""

import itertools
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from visualbase import jpeg
from visualbase.errors import SourceError
from visualbase.sources import open_source
from visualbase.sources.file import TimeLine

MS = 1_000_000
WIDTH, HEIGHT = 64, 48
RED = (200, 60, 30)
JPEG = jpeg.encode(np.full((HEIGHT, WIDTH, 3), RED, np.uint8))
MEDIA = Path(__file__).parents[2].parent / "shared" / "media"


def write_jpegs(path, pts_ms, dts_ms=None):
    """A Motion JPEG file whose pictures have just these times."""
    with av.open(str(path), "w") as container:
        stream = container.add_mux_stream("mjpeg", width=WIDTH, height=HEIGHT, time_base=Fraction(1, 1000))
        for pts, dts in zip(pts_ms, dts_ms or pts_ms, strict=True):
            packet = av.Packet(JPEG)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 1000), pts, dts
            packet.is_keyframe = True
            container.mux(packet)
    return path


def write_h264(path, pts, time_base, options=None, codec_options=None, matrix=None, size=(WIDTH, HEIGHT)):
    """An H.264 file of one colour; `pts` in units of `time_base`."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=25, options=codec_options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = time_base
        if matrix is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix.value, 1
        for each in pts:
            rgb = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), RED, np.uint8), format="rgb24")
            frame = rgb.reformat(format="yuv420p", dst_colorspace=matrix)
            frame.pts, frame.time_base = each, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def times_ns(path, count=None, **options):
    with open_source(str(path), **options) as source:
        return [picture.t_ns for picture in itertools.islice(source.pictures(), count)]


def times_ms(path, count=None, **options):
    return [t_ns / MS for t_ns in times_ns(path, count, **options)]


# Times ------------------------------------------------------------------------------------------


def test_times_are_those_of_the_pictures(tmp_path):
    assert times_ms(write_jpegs(tmp_path / "a.mkv", [0, 40, 80, 120])) == [0, 40, 80, 120]


def test_a_variable_frame_rate_is_kept(tmp_path):
    assert times_ms(write_jpegs(tmp_path / "a.mkv", [0, 40, 55, 500, 1700])) == [0, 40, 55, 500, 1700]


def test_a_late_start_is_kept(tmp_path):
    path = write_jpegs(tmp_path / "a.mkv", [11_400, 11_440])
    with open_source(str(path)) as source:
        assert source.info.origin_ns == 0
        assert [picture.t_ns for picture in source.pictures()] == [11_400 * MS, 11_440 * MS]


@pytest.fixture
def wrapping_ts(tmp_path):
    """A transport stream whose 33-bit clock wraps after 1 s, which FFmpeg reads as a start at -1 s."""
    pts = [2**33 - 90_000 + n * 9000 for n in range(20)]
    options = {"mpegts_copyts": "1", "avoid_negative_ts": "disabled"}
    return write_h264(tmp_path / "a.ts", pts, Fraction(1, 90_000), options, {"tune": "zerolatency"})


def test_a_negative_start_is_shifted_to_zero(wrapping_ts):
    assert times_ms(wrapping_ts) == [n * 100 for n in range(20)]


def test_the_origin_says_by_how_much_a_start_was_shifted(wrapping_ts):
    with open_source(str(wrapping_ts)) as source:
        assert source.info.origin_ns == -1000 * MS


def test_times_are_the_nearest_ns_without_drift(tmp_path):
    path = write_h264(tmp_path / "a.mp4", range(100), Fraction(1001, 30_000), {"video_track_timescale": "30000"})
    assert times_ns(path) == [round(Fraction(n * 1001 * 10**9, 30_000)) for n in range(100)]


def test_pictures_that_were_reordered_for_coding_come_in_the_order_of_showing(tmp_path):
    path = write_h264(tmp_path / "a.mp4", range(30), Fraction(1, 25), codec_options={"bf": "3"})
    assert times_ms(path) == [n * 40 for n in range(30)]


def test_pictures_whose_time_does_not_rise_are_dropped_and_counted(tmp_path):
    path = write_jpegs(tmp_path / "a.mkv", [0, 80, 40, 120, 120, 160], dts_ms=[0, 1, 2, 3, 4, 5])
    with open_source(str(path)) as source:
        assert [picture.t_ns // MS for picture in source.pictures()] == [0, 80, 120, 160]
        assert source.dropped["not_rising"] == 2


def test_pictures_without_a_time_follow_at_the_nominal_rate(tmp_path):
    path = write_h264(tmp_path / "a.h264", range(10), Fraction(1, 25))
    assert times_ms(path) == [n * 40 for n in range(10)]


def test_a_missing_time_is_the_one_before_and_the_nominal_interval():
    line = TimeLine(Fraction(1, 25))
    assert [line.place(t) for t in (Fraction(1), None, None, Fraction(2))] == [
        1000 * MS,
        1040 * MS,
        1080 * MS,
        2000 * MS,
    ]


def test_a_picture_overtaken_by_made_up_times_is_dropped():
    line = TimeLine(Fraction(1, 25))
    assert [line.place(t) for t in (Fraction(1), None, Fraction(101, 100), Fraction(2))] == [
        1000 * MS,
        1040 * MS,
        None,
        2000 * MS,
    ]


def joined(tmp_path, first_ms, second_ms):
    """A file whose clock is set back in the middle, as it stands in a Matroska file: decoding times go on."""
    pts_ms = [*first_ms, *second_ms]
    return write_jpegs(tmp_path / "joined.mkv", pts_ms, dts_ms=range(len(pts_ms)))


def test_where_the_clock_is_set_back_time_falls_and_all_but_one_picture_come(tmp_path):
    with open_source(str(joined(tmp_path, [5000, 5040, 5080], [20, 60, 100, 140]))) as source:
        assert [picture.t_ns // MS for picture in source.pictures()] == [5000, 5040, 5080, 60, 100, 140]
        assert source.dropped["not_rising"] == 1


def test_one_time_far_ahead_does_not_cost_what_follows(tmp_path):
    assert times_ms(joined(tmp_path, [0, 40, 3_600_000], [80, 120, 160])) == [0, 40, 3_600_000, 120, 160]


def test_one_time_far_behind_costs_that_picture_alone(tmp_path):
    assert times_ms(joined(tmp_path, [5000, 5040], [20, 5080, 5120])) == [5000, 5040, 5080, 5120]


def test_times_out_of_order_by_less_than_a_second_are_not_set_back(tmp_path):
    assert times_ms(joined(tmp_path, [0, 990], [40, 80, 120, 1000])) == [0, 990, 1000]


def test_a_clock_set_back_below_zero_gives_no_negative_time():
    line = TimeLine(Fraction(1, 25))
    times = [Fraction(10), Fraction(-2), Fraction(-1), Fraction(0)]
    assert [line.place_or_anew(t) for t in times] == [10_000 * MS, None, 0, 1000 * MS]


def test_a_loop_of_a_file_whose_clock_is_set_back_goes_on_after_its_end(tmp_path):
    path = joined(tmp_path, [5000, 5040], [20, 60, 100])
    assert times_ms(path, 6, loop=True) == [5000, 5040, 60, 100, 140, 180]


# Looping ----------------------------------------------------------------------------------------


def test_a_loop_goes_on_after_the_last_interval(tmp_path):
    path = write_jpegs(tmp_path / "a.mkv", [0, 40, 100])
    assert times_ms(path, 9, loop=True) == [0, 40, 100, 160, 200, 260, 320, 360, 420]


def test_a_loop_of_a_file_that_starts_late_has_no_gap(tmp_path):
    path = write_jpegs(tmp_path / "a.mkv", [5000, 5040])
    assert times_ms(path, 6, loop=True) == [5000, 5040, 5080, 5120, 5160, 5200]


def test_a_loop_of_a_file_that_starts_below_zero_has_no_gap(wrapping_ts):
    assert times_ms(wrapping_ts, 50, loop=True) == [n * 100 for n in range(50)]


def test_a_loop_of_one_picture_steps_by_the_nominal_interval(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG)
    assert times_ms(path, 4, loop=True) == [0, 40, 80, 120]


def test_a_loop_whose_file_has_gone_is_an_error(tmp_path):
    path = write_jpegs(tmp_path / "a.mkv", [0, 40])
    with open_source(str(path), loop=True) as source:
        pictures = source.pictures()
        next(pictures)
        path.unlink()
        next(pictures)
        with pytest.raises(SourceError, match="no such file"):
            next(pictures)


# Pictures ---------------------------------------------------------------------------------------


def test_each_picture_is_a_jpeg_of_the_size_it_says(tmp_path):
    with open_source(str(write_jpegs(tmp_path / "a.mkv", [0, 40]))) as source:
        for picture in source.pictures():
            assert jpeg.size(picture.jpeg) == (picture.width, picture.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("matrix", ["ITU709", "ITU601"])
def test_colours_are_those_that_went_in(tmp_path, matrix):
    chosen = {"ITU709": av.video.reformatter.Colorspace.ITU709, "ITU601": av.video.reformatter.Colorspace.ITU601}
    path = write_h264(tmp_path / "a.mp4", [0], Fraction(1, 25), codec_options={"crf": "1"}, matrix=chosen[matrix])
    with open_source(str(path), jpeg_quality=100) as source:
        [picture] = source.pictures()
    pixels = jpeg.decode(picture.jpeg, width_at_least=None, pixel_format="bgr")
    assert np.abs(pixels[:, :, ::-1].astype(int) - RED).max() <= 4


def test_full_range_colours_are_those_that_went_in(tmp_path):
    with open_source(str(write_jpegs(tmp_path / "a.mkv", [0])), jpeg_quality=100) as source:
        [picture] = source.pictures()
    pixels = jpeg.decode(picture.jpeg, width_at_least=None, pixel_format="bgr")
    assert np.abs(pixels[:, :, ::-1].astype(int) - RED).max() <= 4


def test_a_lower_quality_takes_fewer_bytes(tmp_path):
    path = write_h264(tmp_path / "a.mp4", [0], Fraction(1, 25))
    sizes = []
    for quality in (30, 95):
        with open_source(str(path), jpeg_quality=quality) as source:
            sizes += [len(picture.jpeg) for picture in source.pictures()]
    assert sizes[0] < sizes[1]


def test_the_first_of_several_video_streams_is_taken(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        sizes = [(WIDTH, HEIGHT), (4 * WIDTH, 4 * HEIGHT)]
        streams = [container.add_mux_stream("mjpeg", width=w, height=h, time_base=Fraction(1, 1000)) for w, h in sizes]
        for stream, (w, h) in zip(streams, sizes, strict=True):
            packet = av.Packet(jpeg.encode(np.zeros((h, w, 3), np.uint8)))
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 1000), 0, 0
            container.mux(packet)
    with open_source(str(path)) as source:
        assert (source.info.width, source.info.height) == (WIDTH, HEIGHT)


def write_turned(path, degrees, codec="libx264"):
    """One picture, its upper left quarter red, the rest grey, that is to be turned counterclockwise for showing."""
    rgb = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    rgb[: HEIGHT // 2, : WIDTH // 2] = RED
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.set_display_rotation(degrees)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
@pytest.mark.parametrize(
    ("degrees", "size", "red_at"),
    [
        (0, (WIDTH, HEIGHT), ("top", "left")),
        (90, (HEIGHT, WIDTH), ("bottom", "left")),
        (180, (WIDTH, HEIGHT), ("bottom", "right")),
        (-90, (HEIGHT, WIDTH), ("top", "right")),
    ],
)
def test_pictures_are_turned_as_the_file_says(tmp_path, degrees, size, red_at, codec):
    with open_source(str(write_turned(tmp_path / "a.mp4", degrees, codec))) as source:
        [picture] = source.pictures()
        assert (source.info.width, source.info.height) == (picture.width, picture.height) == size
    pixels = jpeg.decode(picture.jpeg, width_at_least=None, pixel_format="bgr")[:, :, ::-1].astype(int)
    reds = {
        (side, edge)
        for side, y in (("top", 8), ("bottom", -8))
        for edge, x in (("left", 8), ("right", -8))
        if np.abs(pixels[y, x] - RED).max() < 20
    }
    assert reds == {red_at}


def test_motion_jpeg_is_handed_on_to_the_byte(tmp_path):
    with open_source(str(write_jpegs(tmp_path / "a.mkv", [0, 40, 80]))) as source:
        assert [picture.jpeg for picture in source.pictures()] == [JPEG] * 3


def test_a_jpeg_cut_short_within_motion_jpeg_is_damage(tmp_path):
    path = write_jpegs(tmp_path / "a.mkv", [0, 40, 80])
    data = path.read_bytes()
    second = [n for n in range(len(data)) if data.startswith(JPEG[:20], n)][1]
    half = second + len(JPEG) // 2
    path.write_bytes(data[:half] + bytes(second + len(JPEG) - half) + data[second + len(JPEG) :])
    with open_source(str(path)) as source:
        assert [picture.t_ns // MS for picture in source.pictures()] == [0, 80]
        assert source.dropped["damaged"] == 1


@pytest.mark.parametrize("after", [b"\r\n", b"\0\0\0\x18ftypmp42" + bytes(range(256))], ids=["line end", "film"])
def test_motion_jpeg_with_bytes_after_each_picture_is_read(tmp_path, after, monkeypatch):
    monkeypatch.setitem(globals(), "JPEG", JPEG + after)
    with open_source(str(write_jpegs(tmp_path / "a.mkv", [0, 40]))) as source:
        assert [jpeg.whole_size(picture.jpeg) for picture in source.pictures()] == [(WIDTH, HEIGHT)] * 2


def test_a_picture_too_large_for_a_jpeg_is_an_error_with_its_size(tmp_path):
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 65_504, 4, "gray"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((4, 65_504), np.uint8), format="gray")))
        container.mux(stream.encode())
    with open_source(str(path)) as source, pytest.raises(SourceError, match="65504x4 pixels"):
        list(source.pictures())


# Opening and closing ----------------------------------------------------------------------------


def test_the_info_tells_size_and_nominal_rate(tmp_path):
    path = write_h264(tmp_path / "a.mp4", range(10), Fraction(1, 25))
    with open_source(str(path)) as source:
        assert (source.info.width, source.info.height, source.info.fps) == (WIDTH, HEIGHT, 25.0)


def test_a_file_is_not_live(tmp_path):
    with open_source(str(write_jpegs(tmp_path / "a.mkv", [0]))) as source:
        assert not source.live


def test_a_file_address_is_decoded(tmp_path):
    path = write_jpegs(tmp_path / "with space é.mkv", [0, 40])
    assert times_ms(path.as_uri()) == [0, 40]


def test_a_name_with_a_colon_is_no_network_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jpegs(tmp_path / "a.mkv", [0, 40]).rename("http:a.mkv")
    assert times_ms("http:a.mkv") == [0, 40]


def test_stopping_half_way_closes_the_file(tmp_path):
    path = write_h264(tmp_path / "a.mp4", range(50), Fraction(1, 25))
    with open_source(str(path)) as source:
        pictures = source.pictures()
        next(pictures)
        assert is_open(path)
    assert not is_open(path)
    source.close()


def is_open(path):
    return str(path) in [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]


def test_a_file_that_cannot_be_used_is_not_left_open(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("words\n" * 100)
    with pytest.raises(SourceError):
        open_source(str(path))
    assert not is_open(path)


def test_a_title_in_another_encoding_is_no_obstacle(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "TITLE"
        stream = container.add_mux_stream("mjpeg", width=WIDTH, height=HEIGHT, time_base=Fraction(1, 1000))
        packet = av.Packet(JPEG)
        packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 1000), 0, 0
        container.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"TITLE", "\u00c5\u00c4\u00d6\u00d6\u00d6".encode("latin-1")))
    assert times_ms(path) == [0]


def test_a_codec_that_ffmpeg_does_not_know_is_an_error(tmp_path):
    path = write_jpegs(tmp_path / "a.mkv", [0])
    path.write_bytes(path.read_bytes().replace(b"V_MJPEG", b"V_MAGIC"))
    with pytest.raises(SourceError, match="does not know its video codec"):
        open_source(str(path))


def unusable(tmp_path, name, content=None):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.mp4", None, "no such file"),
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"words\n" * 100, "no video file that FFmpeg can read"),
        ("text.txt", b"words\n" * 100, "only text"),
        ("half.jpg", JPEG[:300], "not one picture"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n", "no video file that FFmpeg can read"),
    ],
)
def test_a_file_without_pictures_is_an_error_that_says_why(tmp_path, name, content, reason):
    path = unusable(tmp_path, name, content)
    with pytest.raises(SourceError, match=reason) as caught:
        open_source(path)
    assert repr(path) in str(caught.value)


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no pictures there"):
        open_source(str(tmp_path))


def test_a_scheme_that_nothing_reads_is_an_error_without_the_password():
    with pytest.raises(SourceError, match="nothing here reads this scheme") as caught:
        open_source("gopher://user:secret@camera/stream")
    assert "secret" not in str(caught.value)


def test_a_file_on_another_host_is_an_error():
    with pytest.raises(SourceError, match="another host"):
        open_source("file://server/a.mp4")


def test_the_parts_that_readers_of_the_ring_need_work_without_av():
    code = "import sys; sys.modules['av'] = None; import visualbase.ring, visualbase.jpeg, visualbase.sources"
    subprocess.run([sys.executable, "-c", code], check=True)


# Damage -----------------------------------------------------------------------------------------


def test_a_damaged_picture_in_the_middle_is_counted_and_the_rest_is_read(tmp_path):
    path = write_jpegs(tmp_path / "a.mkv", [0, 40, 80, 120])
    data = path.read_bytes()
    third = [n for n in range(len(data)) if data.startswith(JPEG[:20], n)][2]
    path.write_bytes(data[:third] + bytes(len(JPEG)) + data[third + len(JPEG) :])
    with open_source(str(path)) as source:
        assert [picture.t_ns // MS for picture in source.pictures()] == [0, 40, 120]
        assert source.dropped["damaged"] == 1


def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path):
    path = write_jpegs(tmp_path / "a.mkv", range(0, 4000, 40))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = times_ms(path)
    assert found == [n * 40 for n in range(len(found))]
    assert 40 <= len(found) <= 51


# Real files -------------------------------------------------------------------------------------


def media(name):
    if not (MEDIA / name).exists():
        pytest.skip(f"no real test media: {MEDIA} is absent")
    return MEDIA / name


def real_files():
    """Every video that is known, with ffprobe's facts; six minutes of black are for `make media-table`."""
    if not MEDIA.is_dir():
        return [pytest.param("", {}, marks=pytest.mark.skip(reason=f"no real test media: {MEDIA} is absent"))]
    known = json.loads((MEDIA / "ground_truth.json").read_text())
    paths = {name: entry["facts"] for name, entry in known["videos"].items() if "adx_long" not in name}
    paths |= {f"crafted/{name}": entry["facts"] for name, entry in known["crafted"].items()}
    return [pytest.param(path, facts, id=path) for path, facts in paths.items() if "decoded" in facts]


@pytest.mark.parametrize(("path", "facts"), real_files())
def test_a_real_file_gives_every_picture_from_first_to_last(path, facts):
    found = times_ns(MEDIA / path)
    assert len(found) == facts["decoded"]
    if "first_pts" in facts:  # ffprobe tells none for a single picture
        assert found[0] == pytest.approx(facts["first_pts"] * 1e9, abs=1000)
        assert found[-1] == pytest.approx(facts["last_pts"] * 1e9, abs=1000)


@pytest.mark.parametrize(("path", "facts"), real_files())
def test_a_real_file_has_the_size_it_has_upright(path, facts):
    width, height = facts["w"], facts["h"]
    with open_source(str(MEDIA / path)) as source:
        sides = (source.info.width, source.info.height)
    assert sides == ((height, width) if abs(facts.get("rotation", 0)) == 90 else (width, height))


def test_damage_in_a_real_file_is_counted():
    with open_source(str(media("crafted/truncated_faststart_gesture.mp4"))) as source:
        assert sum(1 for _ in source.pictures()) == 92
        assert source.dropped["damaged"] == 1


@pytest.mark.parametrize(("name", "reason"), [("audio_only_aac.mp4", "only audio"), ("zero_byte.mp4", "empty")])
def test_a_real_file_without_video_is_an_error(name, reason):
    with pytest.raises(SourceError, match=reason):
        open_source(str(media(f"crafted/{name}")))
