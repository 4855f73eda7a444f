"""An HTTP server that gives a model's file as real ones do: with ranges or without, cut off, changed, slow, wrong."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Served:
    """What one path gives.

    Attributes:
        tag: its ETag; "": none is sent.
        ranges: whether a Range is obeyed.
        length: whether its length is said.
        faults: of the first requests, in order: a status to answer with, or after how many bytes the line is cut.
        hold_at: the sender waits there until `go` is set.
    """

    content: bytes
    tag: str = '"one"'
    ranges: bool = True
    length: bool = True
    kind: str = "application/octet-stream"
    location: str = ""
    faults: list = field(default_factory=list)
    hold_at: int | None = None
    go: threading.Event = field(default_factory=threading.Event)


@dataclass
class Status:
    """A fault: an answer that has no file."""

    code: int
    headers: dict = field(default_factory=dict)


@dataclass
class Cut:
    """A fault: so many bytes of the answer, then the line is dead."""

    after: int


class Elsewhere:
    """A fault: the part that is given is not the one that was asked for."""


class ModelServer:
    """Serves on a port of its own until `close`; `asked` has each request's path and headers. Also an HTTP proxy."""

    def __init__(self):
        self.files = {}
        self.asked = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def serve(self, path, content, **how):
        """Give `content` at a path; returns the URL."""
        self.files[path] = Served(content, **how)
        return self.address + path

    def ranges(self):
        """Of each request in turn: its Range, or None."""
        return [headers.get("Range") for _, headers in self.asked]

    def close(self):
        for served in self.files.values():
            served.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        self.server.owner.asked.append((self.path, self.headers))
        served = self.server.owner.files.get(urlsplit(self.path).path)
        if served is None:
            self.plain(Status(404))
            return
        fault = served.faults.pop(0) if served.faults else None
        if isinstance(fault, Status):
            self.plain(fault)
        elif served.location:
            self.plain(Status(302, {"Location": served.location}))
        else:
            self.give(served, fault)

    def plain(self, status):
        self.send_response(status.code)
        for name, value in {"Content-Length": "0", "Connection": "close", **status.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def give(self, served, fault):
        first = self.first_byte(served)
        if first >= len(served.content):
            self.plain(Status(416))
            return
        self.send_response(206 if first else 200)
        if first:
            whole = len(served.content)
            said = 0 if isinstance(fault, Elsewhere) else first
            self.send_header("Content-Range", f"bytes {said}-{whole - 1}/{whole}")
        if served.tag:
            self.send_header("ETag", served.tag)
        if served.length:
            self.send_header("Content-Length", str(len(served.content) - first))
        self.send_header("Content-Type", served.kind)
        self.send_header("Connection", "close")
        self.end_headers()
        self.write(served, served.content[first:], fault)

    def first_byte(self, served):
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range", served.tag)
        return int(asked.removeprefix("bytes=")[:-1]) if asked and served.ranges and condition == served.tag else 0

    def write(self, served, body, fault):
        if isinstance(fault, Cut):
            self.wfile.write(body[: fault.after])
        elif served.hold_at is not None:
            self.wfile.write(body[: served.hold_at])
            self.wfile.flush()
            served.go.wait()
            self.wfile.write(body[served.hold_at :])
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass
