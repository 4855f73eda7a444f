"""The real frame daemon on a small video; the test plays its subscribers."""

import time
from fractions import Fraction

import av
import msgspec
import numpy as np
import pytest
import zmq

from visualbase import jpeg
from visualbase.ring import RingReader
from visualpath_protocol.codec import Codec
from visualpath_protocol.messages import FrameHeader, StreamState
from visualpath_protocol.sockets import FRAMES, HEADERS, topic

FPS, FRAMES_IN_FILE, WIDTH, HEIGHT = 25, 20, 96, 64
CODEC = Codec(FrameHeader, StreamState, max_bytes=HEADERS.max_bytes)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """20 frames at 25 fps, each brighter than the one before."""
    path = tmp_path_factory.mktemp("video") / "rising.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES_IN_FILE):
            pixels = np.full((HEIGHT, WIDTH, 3), 10 + number * 10, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def configure(write_config, video):
    def configure(source=video, pace="fast", loop="false", ready_timeout="30s"):
        return write_config(f"""
            state_dir: state
            ring: {{dir: ring, length: 30s}}
            streams:
              cam1: {{source: "{source}", pace: {pace}, loop: {loop}, ready_timeout: {ready_timeout}}}
        """)

    return configure


@pytest.fixture
def start(start_daemon, configure):
    def start(**options):
        return start_daemon("frame", configure(**options), "cam1")

    return start


# Headers ----------------------------------------------------------------------------------------


def test_every_frame_of_the_file_is_announced_once_in_order(start, watch):
    start()
    watch.both()
    assert watch.ended().ids() == list(range(FRAMES_IN_FILE))


def test_times_are_those_of_the_file(start, watch):
    start()
    watch.both()
    assert [header.t_ns for header in watch.ended().headers] == [n * 1_000_000_000 // FPS for n in range(20)]


def test_each_picture_can_be_read_from_the_ring_and_is_the_one_of_the_file(start, watch, short_dir):
    start()
    watch.both()
    brightness = []
    with RingReader(short_dir / "ring", "cam1") as reader:
        for header in watch.ended().headers:
            data = reader.read(header.payloads[0])
            brightness.append(float(jpeg.decode(data, width_at_least=None, pixel_format="gray").mean()))
    np.testing.assert_allclose(brightness, [10 + n * 10 for n in range(FRAMES_IN_FILE)], atol=4)


def test_a_header_says_how_large_the_picture_is(start, watch):
    start()
    watch.both()
    header = watch.ended().headers[0]
    [payload] = header.payloads
    assert (header.width, header.height, payload.width, payload.height) == (WIDTH, HEIGHT, WIDTH, HEIGHT)


def test_headers_carry_the_time_of_capture_in_both_clocks(start, watch):
    before = time.monotonic_ns(), time.time_ns()
    start()
    watch.both()
    header = watch.ended().headers[0]
    assert before[0] < header.mono_ns < time.monotonic_ns()
    assert before[1] < header.wall_ns < time.time_ns()


# States -----------------------------------------------------------------------------------------


def test_the_stream_is_starting_then_live_then_ended(start, watch):
    start()
    watch.until(lambda w: w.states)
    watch.both()
    assert watch.ended().state_names() == ["starting", "live", "ended"]


def test_the_last_state_says_what_came_of_the_stream(start, watch):
    start()
    watch.both()
    watch.ended()
    state = msgspec.structs.replace(watch.states[-1], origin_ns=0)
    assert state == StreamState(
        stream="cam1", epoch=1, state="ended", fps=25.0, width=WIDTH, height=HEIGHT,
        first_t_ns=0, last_frame_id=19, last_t_ns=760_000_000,
    )  # fmt: skip


def test_ended_comes_after_the_last_header(start, watch):
    start()
    watch.both()
    ended = watch.ended().states[-1]
    assert watch.headers[-1].frame_id == ended.last_frame_id


def test_who_subscribes_late_is_told_the_state_without_waiting_for_the_next_repetition(start, watch, links):
    start()
    watch.both()
    watch.ended()
    started = time.monotonic()
    for _ in range(5):
        late = links.connect(HEADERS, "frame-cam1")
        late.subscribe(topic("cam1", "s"))
        assert late.poll(10_000)
        assert CODEC.decode(late.recv_multipart()[-1]).state == "ended"
    assert time.monotonic() - started < 4 * 0.5


def test_the_state_is_repeated_twice_a_second(start, watch):
    start()
    watch.both()
    watch.ended()
    started = time.monotonic()
    count = len(watch.states)
    watch.until(lambda w: len(w.states) >= count + 2)
    assert 0.4 < time.monotonic() - started < 5


def test_a_missing_file_is_a_stalled_stream_with_the_reason(start, watch, short_dir):
    start(source=short_dir / "gone.mp4")
    watch.until(lambda w: w.states and w.states[-1].state == "stalled")
    assert "no such file" in watch.states[-1].reason


def test_a_missing_file_does_not_end_the_daemon(start, watch, short_dir, ask):
    daemon = start(source=short_dir / "gone.mp4")
    watch.until(lambda w: w.states and w.states[-1].state == "stalled")
    assert ask("frame-cam1", "status")["stream"]["state"] == "stalled"
    assert daemon.alive()


def test_a_file_that_comes_later_is_taken(start, watch, short_dir, video):
    start(source=short_dir / "late.mp4")
    watch.both()
    watch.until(lambda w: w.states and w.states[-1].state == "stalled")
    (short_dir / "late.mp4").symlink_to(video)
    assert len(watch.ended().headers) == FRAMES_IN_FILE


# Epochs -----------------------------------------------------------------------------------------


def test_the_epoch_rises_with_each_start(start, watch):
    for epoch in (1, 2, 3):
        daemon = start()
        if epoch == 1:
            watch.both()
        watch.until(lambda w, n=epoch: len(w.ids(n)) == FRAMES_IN_FILE)
        daemon.stop()
    assert sorted({header.epoch for header in watch.headers}) == [1, 2, 3]


def test_the_epoch_rises_after_a_kill(start, watch):
    daemon = start()
    watch.both()
    watch.ended()
    daemon.kill()
    start()
    watch.until(lambda w: len(w.ids(2)) == FRAMES_IN_FILE)
    assert watch.ids(2)[0] == 0


def test_the_epoch_rises_though_the_state_directory_was_lost(start, watch, short_dir):
    daemon = start()
    watch.both()
    watch.ended()
    daemon.stop()
    (short_dir / "state" / "frame-cam1" / "epoch").unlink()
    start()
    watch.until(lambda w: w.ids(2))


def test_a_damaged_epoch_file_is_a_configuration_error_in_one_line(start, short_dir):
    (short_dir / "state" / "frame-cam1").mkdir(parents=True)
    (short_dir / "state" / "frame-cam1" / "epoch").write_text("many")
    daemon = start()
    assert daemon.wait() == 78
    assert "epoch holds no number" in daemon.log()
    assert "Traceback" not in daemon.log()


def test_another_picture_size_begins_a_new_epoch_and_time_goes_on(start, watch, short_dir):
    pictures = short_dir / "pictures"
    pictures.mkdir()
    for number, size in enumerate([(48, 64), (48, 64), (32, 48), (48, 64)]):
        (pictures / f"{number}.jpg").write_bytes(jpeg.encode(np.zeros((*size, 3), np.uint8)))
    start(source=pictures)
    watch.both()
    found = [(h.epoch, h.frame_id, h.t_ns // 1_000_000, h.width, h.height) for h in watch.ended().headers]
    assert found == [(1, 0, 0, 64, 48), (1, 1, 100, 64, 48), (2, 0, 200, 48, 32), (3, 0, 300, 64, 48)]


def write_jpegs(path, times_ms):
    picture = jpeg.encode(np.zeros((48, 64, 3), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_mux_stream("mjpeg", width=64, height=48, time_base=Fraction(1, 1000))
        for number, t_ms in enumerate(times_ms):
            packet = av.Packet(picture)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 1000), t_ms, number
            container.mux(packet)
    return path


def test_a_file_whose_clock_is_set_back_goes_on_in_a_new_epoch(start, watch, short_dir):
    start(source=write_jpegs(short_dir / "joined.mkv", [5000, 5040, 20, 60, 100]))
    watch.both()
    found = [(h.epoch, h.frame_id, h.t_ns // 1_000_000) for h in watch.ended().headers]
    assert found == [(1, 0, 5000), (1, 1, 5040), (2, 0, 60), (2, 1, 100)]


def test_a_gap_of_an_hour_in_a_file_is_not_waited_for(start, watch, short_dir):
    start(source=write_jpegs(short_dir / "gap.mkv", [0, 40, 3_600_000, 3_600_040]), pace="realtime")
    watch.both()
    assert [h.t_ns // 1_000_000 for h in watch.ended().headers] == [0, 40, 3_600_000, 3_600_040]


# Live sources -----------------------------------------------------------------------------------


def live(frames, fps=50):
    return f"synthetic://?width=128&height=112&fps={fps}&frames={frames}&live=1"


def test_a_live_source_that_ends_is_opened_again_in_a_new_epoch(start, watch):
    start(source=live(5))
    watch.until(lambda w: len(w.ids(3)) == 5)  # the first epoch may be over before the test has subscribed
    assert (watch.ids(2), watch.ids(3)) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])


def test_between_the_two_the_stream_is_stalled_with_the_reason(start, watch):
    start(source=live(5))
    watch.until(lambda w: len(w.ids(3)) == 5 and w.states[-1].state == "stalled")
    assert watch.state_names()[-4:] == ["stalled", "starting", "live", "stalled"]
    assert {state.reason for state in watch.states if state.state == "stalled"} == {
        f"source {live(5)!r}: the stream has ended; look after whoever sends it"
    }


def test_how_often_it_came_and_went_is_counted(start, watch, ask):
    start(source=live(5))
    watch.until(lambda w: w.ids(3))
    counters = ask("frame-cam1", "status")["counters"]
    assert counters["source.connects"] == counters["source.disconnects.ended"] + 1 >= 3


def test_a_loss_is_logged_with_how_long_it_had_lasted(start, watch):
    daemon = start(source=live(5))
    watch.until(lambda w: w.ids(2))
    assert "lost after 0.1 s: source 'synthetic://" in daemon.log()


def test_a_live_source_waits_for_no_subscriber_and_no_pace(start, watch):
    daemon = start(source=live(5), pace="realtime", ready_timeout="60s")
    watch.until(lambda w: w.ids(2))
    assert "subscribers are missing" not in daemon.log()


def test_a_live_frame_is_captured_at_its_event_time(start, watch):
    start(source=live(0))
    headers = watch.until(lambda w: len(w.headers) > 5).headers
    assert [header.mono_ns for header in headers] == [header.t_ns for header in headers]
    drift = [header.wall_ns - header.mono_ns - (time.time_ns() - time.monotonic_ns()) for header in headers]
    assert max(map(abs, drift)) < 5_000_000


def test_the_daemon_ends_in_order_while_it_waits_to_try_again(start, watch):
    daemon = start(source="rtsp://127.0.0.1:9/1")
    watch.until(lambda w: w.states and w.states[-1].state == "stalled")
    assert daemon.stop(timeout_s=3) == 0


# Waiting for everybody --------------------------------------------------------------------------


def test_the_first_frame_waits_for_the_configured_subscribers(start, watch, ask):
    start(ready_timeout="60s")
    watch.until(lambda w: len(w.states) >= 3)  # more than a second with one subscriber lacking
    assert ask("frame-cam1", "status")["counters"].get("frames", 0) == 0
    watch.both()
    assert watch.ended().ids()[0] == 0


def test_ready_timeout_ends_the_wait(start, watch):
    daemon = start(ready_timeout="300ms")
    watch.ended()
    assert "starting although subscribers are missing: 1 on" in daemon.log()


def test_without_ready_timeout_nobody_is_waited_for(start, watch):
    daemon = start(ready_timeout="0s")
    watch.ended()
    assert "subscribers are missing" not in daemon.log()


# JPEGs ------------------------------------------------------------------------------------------


def test_no_picture_goes_out_while_nobody_has_asked_for_one(start, watch, ask):
    start()
    watch.both()
    watch.ended()
    assert ask("frame-cam1", "status")["counters"]["jpeg_bytes_sent"] == 0


def test_who_subscribes_to_pictures_gets_header_and_jpeg(start, watch, links, short_dir, ask, wait_for):
    start()
    remote = links.connect(FRAMES, "frame-cam1")
    remote.subscribe(topic("cam1", "j"))
    watch.until(lambda w: w.states)
    wait_for(lambda: ask("frame-cam1", "status")["subscribers"]["frames"])
    watch.both()
    assert remote.poll(10_000)
    name, header, picture = remote.recv_multipart()
    with RingReader(short_dir / "ring", "cam1") as reader:
        assert (name, picture) == (topic("cam1", "j"), reader.read(CODEC.decode(header).payloads[0]))


def test_a_subscription_to_a_longer_name_is_none_to_this_stream(start, watch, links, ask):
    start()
    links.connect(FRAMES, "frame-cam1").subscribe(topic("cam10", "j"))
    watch.until(lambda w: w.states)
    watch.both()
    watch.ended()
    status = ask("frame-cam1", "status")
    assert (status["subscribers"]["frames"], status["counters"]["jpeg_bytes_sent"]) == (0, 0)


# Their bugs -------------------------------------------------------------------------------------


def test_a_subscription_that_is_no_text_does_not_end_the_daemon(start, watch, links, ask, wait_for):
    start()
    watch.until(lambda w: w.states)
    stranger = links.connect(HEADERS, "frame-cam1")
    for name in (b"\xff\xfe", topic("cam1", "s")):
        stranger.subscribe(name)
    wait_for(lambda: ask("frame-cam1", "status")["subscribers"]["states"] == 2)


@pytest.mark.parametrize("message", [b"", b"\x07garbage"], ids=["empty", "garbage"])
def test_a_message_from_a_subscriber_does_not_end_the_daemon(start, watch, short_dir, ask, message):
    daemon = start()
    watch.until(lambda w: w.states)
    with zmq.Context() as context, context.socket(zmq.XSUB) as upstream:
        upstream.linger = 0
        upstream.connect(f"ipc://{short_dir}/run/frame-cam1/headers")
        upstream.send(b"\x01" + topic("cam1", "s"))
        assert upstream.poll(10_000)
        upstream.send(message)
        upstream.send(b"\x01" + b"after")
        watch.both()
        watch.ended()
    assert daemon.alive()


# Loop and pace ----------------------------------------------------------------------------------


def test_a_loop_goes_on_with_frame_id_and_time(start, watch):
    start(loop="true")
    watch.both()
    watch.until(lambda w: len(w.headers) > 2 * FRAMES_IN_FILE)
    found = [(header.epoch, header.frame_id, header.t_ns) for header in watch.headers]
    assert found == [(1, n, n * 1_000_000_000 // FPS) for n in range(len(found))]


def test_realtime_takes_as_long_as_the_video_and_fast_does_not(start, watch, wait_for):
    took = {}
    for epoch, pace in ((1, "fast"), (2, "realtime")):
        daemon = start(pace=pace)
        if epoch == 1:
            watch.both()
        watch.until(lambda w, n=epoch: len(w.ids(n)) == FRAMES_IN_FILE)
        headers = [header for header in watch.headers if header.epoch == epoch]
        took[pace] = headers[-1].mono_ns - headers[0].mono_ns
        daemon.stop()
    assert took["realtime"] > 2 * took["fast"]


def test_realtime_never_runs_ahead_of_the_time_stamps(start, watch):
    start(pace="realtime")
    watch.both()
    first, *rest = watch.ended().headers
    assert all(h.mono_ns - first.mono_ns >= h.t_ns - first.t_ns - 1_000_000 for h in rest)


# The end ----------------------------------------------------------------------------------------


def test_an_orderly_stop_ends_with_0(start, watch):
    daemon = start(loop="true")
    watch.both()
    watch.until(lambda w: w.headers)
    assert daemon.stop() == 0


def test_a_stop_while_it_waits_for_subscribers_ends_with_0(start, watch):
    daemon = start(ready_timeout="60s")
    watch.until(lambda w: w.states)
    assert daemon.stop() == 0


def test_an_unknown_stream_is_a_configuration_error(start_daemon, configure):
    daemon = start_daemon("frame", configure(), "attic")
    assert daemon.wait() == 78
    assert "no 'attic' here; there are cam1" in daemon.log()
