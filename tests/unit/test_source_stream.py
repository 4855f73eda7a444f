"""http:// sources against a small web server; rtsp:// is tested against a real one in tests/contract/test_rtsp.py."""

import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import av
import pytest

from visualbase import jpeg
from visualbase.errors import NoAnswer, SourceError, Stalled
from visualbase.sources import open_source, stream
from visualbase.sources.synthetic import Pattern, draw, read_number

GROUND = Pattern(width=128, height=112).ground()
TIMEOUT_NS = 2_000_000_000


def numbered(number):
    return jpeg.encode(draw(GROUND, number, 0))


def taken(source):
    """The pictures up to the end, which for FFmpeg is an error where the server just hangs up."""
    with suppress(SourceError):
        yield from source.pictures()


def number_of(picture):
    return read_number(jpeg.decode(picture.jpeg, width_at_least=None, pixel_format="gray"))


class Web:
    """A web server whose answer is `answer(handler)`; what it blocks on is let go at the end."""

    def __init__(self):
        self.answer = None
        self.over = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                web.asked = dict(self.headers)
                with suppress(OSError):  # the other side has hung up
                    web.answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path="", login=""):
        return f"http://{login}127.0.0.1:{self.port}/{path}"

    def mjpeg(self, pictures, pause_s=0.03, then_silent=False):
        def answer(handler):
            handler.send_response(200)
            handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
            handler.end_headers()
            for picture in pictures:
                head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                handler.wfile.write(head.encode() + picture + b"\r\n")
                self.over.wait(pause_s)
            if then_silent:
                self.over.wait(30)

        self.answer = answer

    def file(self, data, kind="video/mp4"):
        def answer(handler):
            handler.send_response(200)
            handler.send_header("Content-Type", kind)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)

        self.answer = answer

    def close(self):
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web():
    web = Web()
    yield web
    web.close()


@pytest.fixture
def read():
    opened = []

    def read(url, **options):
        opened.append(open_source(url, **{"timeout_ns": TIMEOUT_NS, **options}))
        return opened[-1]

    yield read
    for source in opened:
        source.close()


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """10 frames at 10 fps, the index first."""
    path = tmp_path_factory.mktemp("video") / "ten.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        out = container.add_stream("mpeg4", rate=10)
        out.width, out.height, out.pix_fmt = 128, 112, "yuv420p"
        for number in range(10):
            container.mux(out.encode(av.VideoFrame.from_ndarray(draw(GROUND, number, 0), format="rgb24")))
        container.mux(out.encode())
    return path.read_bytes()


# Motion JPEG ------------------------------------------------------------------------------------


def test_motion_jpeg_comes_out_byte_by_byte_as_it_went_in(web, read):
    sent = [numbered(n) for n in range(30)]
    web.mjpeg(sent)
    found = [picture.jpeg for picture in taken(read(web.url()))]
    assert len(found) > 15
    assert found == sent[30 - len(found) :]


@pytest.mark.parametrize("chroma", ["422", "444"])
def test_motion_jpeg_of_another_chroma_does_too(web, read, chroma):
    import simplejpeg

    sent = simplejpeg.encode_jpeg(GROUND, 85, "rgb", chroma)
    web.mjpeg([sent] * 20)
    assert {picture.jpeg for picture in taken(read(web.url()))} == {sent}


def test_a_picture_that_is_cut_short_is_counted_and_left_out(web, read):
    sent = [numbered(n) for n in range(30)]
    sent[20] = sent[20][:-200]
    web.mjpeg(sent)
    source = read(web.url())
    numbers = [number_of(picture) for picture in taken(source)]
    assert (20 in numbers, 21 in numbers, source.dropped["damaged"]) == (False, True, 1)


def test_a_live_stream_carries_the_monotonic_clock_strictly_rising(web, read):
    web.mjpeg([numbered(n) for n in range(20)])
    before = time.monotonic_ns()
    source = read(web.url())
    times = [picture.t_ns for picture in taken(source)]
    assert source.live
    assert before < times[0]
    assert times[-1] < time.monotonic_ns()
    assert all(one < other for one, other in pairwise(times))


def test_all_that_came_before_the_server_hung_up_is_taken(web, read):
    web.mjpeg([numbered(n) for n in range(20)])
    assert number_of(list(taken(read(web.url())))[-1]) == 19


def test_silence_for_the_timeout_is_a_stall(web, read):
    web.mjpeg([numbered(n) for n in range(20)], then_silent=True)
    source = read(web.url(), timeout_ns=300_000_000)
    with pytest.raises(Stalled, match=r"nothing has come for 0\.3 s"):
        list(source.pictures())


def test_packets_without_a_picture_are_a_stall_too(web, read):
    web.mjpeg([numbered(n) for n in range(20)] + [numbered(0)[:-100]] * 100)
    source = read(web.url(), timeout_ns=500_000_000)
    with pytest.raises(Stalled, match=r"no picture in \d+ packets for 0\.5 s"):
        list(source.pictures())


def test_when_pictures_are_taken_slowly_the_newest_wins_and_the_others_are_counted(web, read):
    web.mjpeg([numbered(n) for n in range(60)], pause_s=0.02)
    source = read(web.url())
    numbers = []
    for picture in taken(source):
        numbers.append(number_of(picture))
        time.sleep(0.1)  # whoever takes them needs five times as long as they take to come
        assert time.monotonic_ns() - picture.t_ns < 1_000_000_000
    assert source.dropped["behind"] > 20
    assert numbers[-1] == 59


def test_a_slow_taker_is_no_stall(web, read):
    web.mjpeg([numbered(n) for n in range(60)])
    pictures = read(web.url(), timeout_ns=300_000_000).pictures()
    next(pictures)
    time.sleep(0.5)
    assert next(pictures)


# Files ------------------------------------------------------------------------------------------


def test_a_file_on_a_web_server_has_an_end_and_its_own_times(web, read, video):
    web.file(video)
    source = read(web.url("ten.mp4"))
    found = list(source.pictures())
    assert not source.live
    assert [(number_of(p), p.t_ns) for p in found] == [(n, n * 100_000_000) for n in range(10)]


def test_a_playlist_may_not_reach_for_local_files(web, read, tmp_path, video):
    (tmp_path / "secret.mp4").write_bytes(video)
    web.file(f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n".encode(), "audio/mpegurl")
    with pytest.raises(SourceError):
        list(read(web.url("list.m3u8")).pictures())


# Errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said"), [(401, "401 Unauthorized.*percent-encoded"), (404, "404 Not Found.*check the path"), (503, "5XX")]
)
def test_an_answer_that_is_an_error_is_told(web, code, said):
    web.answer = lambda handler: handler.send_error(code)
    with pytest.raises(SourceError, match=said) as caught:
        open_source(web.url(login="me:secret@"))
    assert not isinstance(caught.value, NoAnswer)


def test_an_error_tells_no_user_and_no_password(web):
    web.answer = lambda handler: handler.send_error(401)
    with pytest.raises(SourceError) as caught:
        open_source(web.url(login="me:se%40cret@", path="?token=abc"))
    assert str(caught.value).startswith(f"source 'http://127.0.0.1:{web.port}/...': ")
    assert caught.value.__cause__ is None


def test_user_and_password_reach_the_server(web, read):
    def refuse(handler):
        web.mjpeg([numbered(n) for n in range(10)])  # the next answer
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", 'Basic realm="cam"')
        handler.end_headers()

    web.answer = refuse
    next(read(web.url(login="me:se%40cret@")).pictures())
    assert web.asked["Authorization"] == "Basic bWU6c2VAY3JldA=="  # me:se@cret


def test_motion_jpeg_of_a_file_that_says_it_lies_on_its_side_is_turned_upright(web, read, tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w", options={"movflags": "faststart"}) as container:
        out = container.add_stream("mjpeg", rate=25)
        out.width, out.height, out.pix_fmt = 128, 112, "yuvj420p"
        out.set_display_rotation(90)
        for number in range(3):
            container.mux(out.encode(av.VideoFrame.from_ndarray(draw(GROUND, number, 0), format="rgb24")))
        container.mux(out.encode())
    web.file((tmp_path / "a.mp4").read_bytes())
    assert {(picture.width, picture.height) for picture in read(web.url()).pictures()} == {(112, 128)}


def test_a_text_is_no_video_stream(web):
    web.file(b"hello" * 1000, "text/plain")
    with pytest.raises(SourceError, match=r"is that a video stream|no video in it"):
        open_source(web.url())


def test_sound_alone_is_refused(web, tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        out = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.sample_rate = 8000
        container.mux(out.encode(frame))
    web.file((tmp_path / "a.wav").read_bytes(), "audio/wav")
    with pytest.raises(SourceError, match="no video in it, only audio"):
        open_source(web.url())


def test_a_refused_connection_is_no_answer():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NoAnswer, match="connection refused"):
            open_source(f"rtsp://127.0.0.1:{unused.getsockname()[1]}/1")


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_says_nothing_is_no_answer_after_the_timeout(scheme):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        started = time.monotonic()
        with pytest.raises(NoAnswer, match=r"no answer for 0\.3 s"):
            open_source(f"{scheme}://127.0.0.1:{mute.getsockname()[1]}/1", timeout_ns=300_000_000)
    assert 0.25 < time.monotonic() - started < 2


def test_an_unknown_host_is_told():
    with pytest.raises(SourceError, match="check the host's name"):
        open_source("rtsp://no-such-host.invalid/1")


def test_closing_twice_is_allowed(web):
    web.mjpeg([numbered(n) for n in range(10)])
    source = stream.StreamSource(web.url(), timeout_ns=TIMEOUT_NS)
    next(source.pictures())
    source.close()
    source.close()
