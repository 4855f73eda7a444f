"""A camera for the soak: Motion JPEG over HTTP, without end, that can be held up and can hang up."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import simplejpeg

PICTURE_S = 1 / 30
SHADES = 16


class Camera:
    """Serves moving pictures of 320x240, 30 a second, to whoever asks."""

    def __init__(self) -> None:
        self._flowing = threading.Event()
        self._flowing.set()
        self._calls = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                camera.serve(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def serve(self, client: BaseHTTPRequestHandler) -> None:
        """Send pictures until the client is gone, or is hung up on."""
        call, number, due_s = self._calls, 0, time.monotonic()
        while self._flowing.wait() and call == self._calls:
            try:
                client.wfile.write(PARTS[number % SHADES])
            except OSError:
                return
            number += 1
            due_s = max(due_s + PICTURE_S, time.monotonic() - PICTURE_S)
            time.sleep(max(0.0, due_s - time.monotonic()))  # the pace of a camera

    def hold(self) -> None:
        """Connections stay, and nothing comes."""
        self._flowing.clear()

    def go_on(self) -> None:
        """Pictures come again."""
        self._flowing.set()

    def hang_up(self) -> None:
        """End every connection; it can be called again at once."""
        self._calls += 1

    def close(self) -> None:
        """It is gone."""
        self.hang_up()
        self.go_on()
        self._server.shutdown()
        self._server.server_close()


def _part(shade: int) -> bytes:
    picture = np.tile(np.arange(320, dtype=np.uint8)[None, :, None], (240, 1, 3)) // 2 + 8 * shade
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(picture.astype(np.uint8)), quality=80, colorspace="BGR")
    return b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n"


PARTS = [_part(shade) for shade in range(SHADES)]
