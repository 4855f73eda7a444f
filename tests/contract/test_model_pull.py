"""Pulling models from a real HTTP server: what is asked for, what is kept, and that only the right file is placed."""

import hashlib
import json
import random
import socket
import ssl
import zipfile
from io import BytesIO

import pytest
from model_server import Cut, Elsewhere, ModelServer, Status
from urllib3 import HTTPResponse
from urllib3.exceptions import SSLError
from urllib3.util import Retry

from visualpath.core.errors import ModelError
from visualpath.models.answer import Broken, Refused, meaning
from visualpath.models.fetch import Fetch, Patience, Watch
from visualpath.models.manifest import Expected, Member, Model
from visualpath.models.pull import pull
from visualpath.models.store import ModelStore

CONTENT = random.Random(1).randbytes(3 << 20)
OTHER = random.Random(2).randbytes(3 << 20)
HASTY = Patience(connect_s=2.0, silence_s=0.3, first_wait_s=0.0, longest_wait_s=0.0, attempts=3)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


def made(*urls, content=CONTENT, **changes):
    """A model of one file, as a manifest would have it."""
    fields = {
        "name": "net", "needed_by": ["face: some"], "licence": "MIT", "licence_url": "-", "origin": "-",
        "file": "net.onnx", "size": len(content), "sha256": sha256(content), "urls": list(urls),
    }  # fmt: skip
    return Model(**{**fields, **changes})


class Told:
    """What a pull says on its way."""

    def __init__(self):
        self.notes, self.progress = [], []
        self.watch = Watch(lambda there, whole: self.progress.append((there, whole)), self.notes.append)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def get(store, told):
    def get(model, **how):
        return pull(store, model, told.watch, patience=HASTY, **how)

    return get


def begin(store, content, url=""):
    """As if a pull had been interrupted."""
    part = store.state_file(made(), "part")
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    store.state_file(made(), "from").write_text(json.dumps({"url": url, "mark": '"one"'}))


# What comes, is checked and gets its place ---------------------------------------------------------


def test_a_file_that_is_right_gets_its_place(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT))
    assert get(model).fetched
    assert store.require(model).read_bytes() == CONTENT


def test_nothing_is_left_of_the_download(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT))
    get(model)
    assert {path.suffix for path in store.state_file(model, "part").parent.iterdir()} == {".json", ".lock"}


def test_a_model_that_is_there_is_not_asked_for(server, get):
    model = made(server.serve("/net.onnx", CONTENT))
    get(model)
    assert not get(model).fetched
    assert len(server.asked) == 1


def test_a_damaged_model_is_fetched_again(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT))
    get(model)
    store.path(model).write_bytes(OTHER)
    assert get(model).fetched
    assert store.require(model).read_bytes() == CONTENT


def test_the_record_says_where_it_came_from(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT))
    get(model)
    assert store.record(model).origin == model.urls[0]


def test_progress_ends_at_the_whole(server, told, get):
    get(made(server.serve("/net.onnx", CONTENT)))
    assert told.progress[-1] == (len(CONTENT), len(CONTENT))


def test_a_pack_is_unpacked_and_its_members_are_checked(server, store, get):
    model = pack(server, {"pack/a.onnx": CONTENT, "pack/notes.txt": b"left out"}, {"a.onnx": CONTENT})
    get(model)
    assert [(path.name, path.read_bytes()) for path in store.require(model).iterdir()] == [("a.onnx", CONTENT)]


def test_a_pack_whose_member_is_wrong_gets_no_place(server, store, get):
    model = pack(server, {"a.onnx": OTHER}, {"a.onnx": CONTENT})
    with pytest.raises(ModelError, match=r"a\.onnx has the sha256 .* not what the manifest means"):
        get(model)
    assert store.check(model).state == "missing"


def pack(server, archived, wanted):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in archived.items():
            archive.writestr(name, content)
    members = {name: Member(size=len(content), sha256=sha256(content)) for name, content in wanted.items()}
    url = server.serve("/net.zip", buffer.getvalue())
    return made(url, content=buffer.getvalue(), file="net.zip", members=members)


# Wrong content ---------------------------------------------------------------------------------------


def test_wrong_content_is_deleted_and_refused(server, store, get):
    model = made(server.serve("/net.onnx", OTHER))
    with pytest.raises(ModelError, match=r"what came has the sha256 .*: deleted"):
        get(model)
    assert not store.state_file(model, "part").exists()
    assert store.check(model).state == "missing"


def test_a_mirror_is_asked_when_the_first_gives_something_else(server, store, get):
    model = made(server.serve("/bad", OTHER), server.serve("/good", CONTENT))
    get(model)
    assert store.record(model).origin.endswith("/good")


def test_a_mirror_is_asked_when_the_first_has_no_such_file(server, store, get):
    model = made(server.address + "/gone", server.serve("/good", CONTENT))
    get(model)
    assert store.record(model).origin.endswith("/good")


def test_another_length_is_refused_before_anything_is_taken(server, told, get):
    with pytest.raises(ModelError, match=f"has 5 bytes, the manifest says {len(CONTENT)}"):
        get(made(server.serve("/net.onnx", b"short")))
    assert told.progress == []


def test_more_than_the_whole_is_refused(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT + b"more", length=False))
    with pytest.raises(ModelError, match=f"gives more than the {len(CONTENT)} bytes"):
        get(model)
    assert not store.state_file(model, "part").exists()


def test_a_web_page_is_no_model(server, get):
    url = server.serve("/net.onnx", b"<html>sign in", kind="text/html; charset=utf-8")
    with pytest.raises(ModelError, match="gave a web page, not the file"):
        get(made(url, size=None, sha256=None), trust=True)


def test_no_such_file_is_not_asked_for_twice(server, get):
    with pytest.raises(ModelError, match="HTTP 404 Not Found"):
        get(made(server.address + "/gone"))
    assert len(server.asked) == 1


# Interrupted and gone on with ------------------------------------------------------------------------


def test_a_cut_connection_is_gone_on_with(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT, faults=[Cut(2_000_000)]))
    get(model)
    assert server.ranges() == [None, "bytes=2000000-"]
    assert store.require(model).read_bytes() == CONTENT


def test_what_came_before_an_interruption_is_not_asked_for_again(server, store, get):
    url = server.serve("/net.onnx", CONTENT)
    begin(store, CONTENT[:1_000_000], url)
    get(made(url))
    assert server.ranges() == ["bytes=1000000-"]


def test_a_part_is_gone_on_with_only_if_the_file_is_the_same(server, store, get):
    url = server.serve("/net.onnx", CONTENT)
    begin(store, CONTENT[:1_000_000], url)
    get(made(url))
    assert server.asked[0][1]["If-Range"] == '"one"'


def test_a_file_that_has_changed_is_fetched_from_its_beginning(server, store, told, get):
    url = server.serve("/net.onnx", CONTENT, tag='"two"')
    begin(store, OTHER[:1_000_000], url)
    get(made(url))
    assert "begun anew" in told.notes[0]
    assert store.require(made(url)).read_bytes() == CONTENT


def test_a_server_without_ranges_gives_the_whole_again(server, store, get):
    url = server.serve("/net.onnx", CONTENT, ranges=False)
    begin(store, CONTENT[:1_000_000], url)
    get(made(url))
    assert store.require(made(url)).read_bytes() == CONTENT


def test_a_part_of_another_mirror_is_gone_on_with(server, store, get):
    begin(store, CONTENT[:1_000_000], "http://elsewhere.test/net.onnx")
    model = made(server.serve("/net.onnx", CONTENT))
    get(model)
    assert server.ranges() == ["bytes=1000000-"]


def test_without_a_checksum_a_part_of_another_mirror_is_not_used(server, store, get):
    begin(store, OTHER[:1_000_000], "http://elsewhere.test/net.onnx")
    model = made(server.serve("/net.onnx", CONTENT), sha256=None)
    get(model, trust=True)
    assert server.ranges() == [None]
    assert store.require(model).read_bytes() == CONTENT


def test_a_spoilt_part_is_deleted_and_the_whole_fetched(server, store, told, get):
    url = server.serve("/net.onnx", CONTENT)
    begin(store, OTHER[:1_000_000], url)
    get(made(url))
    assert server.ranges() == ["bytes=1000000-", None]
    assert any("deleted" in note for note in told.notes)


def test_a_part_longer_than_the_file_is_fetched_anew(server, store, get):
    url = server.serve("/net.onnx", CONTENT)
    begin(store, CONTENT + b"more", url)
    get(made(url))
    assert server.ranges() == [None]


def test_a_part_that_is_whole_needs_no_server(server, store, get):
    begin(store, CONTENT, server.address + "/gone")
    get(made(server.address + "/gone"))
    assert server.asked == []


def test_a_server_that_has_less_than_came_is_asked_for_the_whole(server, store, get):
    url = server.serve("/net.onnx", CONTENT[:500_000])
    begin(store, CONTENT[:1_000_000], url)
    model = made(url, content=CONTENT[:500_000], size=None)
    get(model)
    assert server.ranges() == ["bytes=1000000-", None]


def test_another_part_than_was_asked_for_is_not_taken(server, store, get):
    url = server.serve("/net.onnx", CONTENT, faults=[Elsewhere()])
    begin(store, CONTENT[:1_000_000], url)
    get(made(url))
    assert server.ranges() == ["bytes=1000000-", None]


# Tried again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(server, store, get, code):
    model = made(server.serve("/net.onnx", CONTENT, faults=[Status(code), Status(code)]))
    get(model)
    assert store.require(model).read_bytes() == CONTENT


def test_it_is_given_up_at_last(server, get):
    url = server.serve("/net.onnx", CONTENT, faults=[Status(503)] * 5)
    with pytest.raises(ModelError, match="HTTP 503 Service Unavailable; given up after 3 attempts in a row"):
        get(made(url))
    assert len(server.asked) == 3


def test_a_server_that_says_when_is_waited_for(server, store, told):
    model = made(server.serve("/net.onnx", CONTENT, faults=[Status(503, {"Retry-After": "1"})]))
    pull(store, model, told.watch, patience=Patience(first_wait_s=0.0, longest_wait_s=0.2))
    assert "tried again in 0.2 s" in told.notes[0]


def test_a_wait_that_nobody_can_read_is_none(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT, faults=[Status(503, {"Retry-After": "soon"})]))
    assert get(model).fetched


def test_the_same_bytes_again_and_again_bring_nothing(server, get):
    faults = [Cut(2_500_000), Cut(100_000)] * 3
    url = server.serve("/net.onnx", CONTENT, ranges=False, faults=faults)
    with pytest.raises(ModelError, match="given up after 3 attempts in a row"):
        get(made(url))


def test_attempts_that_bring_something_are_not_counted(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT * 3, faults=[Cut(1_500_000)] * 5), content=CONTENT * 3)
    get(model)
    assert len(server.asked) == 6


def test_what_came_is_kept_when_it_is_given_up(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT, faults=[Cut(10)] * 3))
    with pytest.raises(ModelError, match="given up"):
        get(model)
    assert store.state_file(model, "part").read_bytes() == CONTENT[:30]


def test_silence_ends_an_attempt(server, get):
    model = made(server.serve("/net.onnx", CONTENT, hold_at=1_000_000))
    with pytest.raises(ModelError, match=r"nothing came in time.*given up"):
        get(model)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [(ssl.SSLCertVerificationError("self-signed"), Refused), (ssl.SSLEOFError("unexpected eof"), Broken)],
)
def test_of_the_errors_of_tls_only_a_certificate_is_final(cause, kind):
    assert type(meaning(SSLError(cause))) is kind


def test_nobody_there_is_said_so(store, get):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ModelError, match=r"^[^ ]*: Failed to establish .*; given up after 3 attempts"):
            get(made(f"http://127.0.0.1:{port}/net.onnx"))


@pytest.mark.parametrize(
    ("failures", "asked_s", "wait_s"),
    [(1, 0.0, 0.5), (2, 0.0, 1.0), (3, 0.0, 2.0), (1, 7.0, 7.0), (20, 0.0, 30.0), (1, 900.0, 30.0)],
)
def test_the_wait_doubles_obeys_the_server_and_has_an_end(failures, asked_s, wait_s):
    assert Patience().wait_s(failures, asked_s) == wait_s


# Redirects and proxies -------------------------------------------------------------------------------


def test_a_redirect_is_followed(server, store, get):
    target = server.serve("/store/net.onnx", CONTENT)
    model = made(server.serve("/net.onnx", b"", location=target))
    get(model)
    assert store.require(model).read_bytes() == CONTENT


def test_a_redirect_to_a_file_of_this_machine_is_refused(server, get):
    with pytest.raises(ModelError, match="leads to what is no http"):
        get(made(server.serve("/net.onnx", b"", location="file:///etc/passwd")))


@pytest.mark.parametrize("location", ["http://net.test/x", "HTTP://net.test/x"])
def test_a_redirect_from_https_to_http_is_refused(store, location):
    way = Retry(redirect=5)
    for url, to in (("https://a.test/x", "/y"), ("https://a.test/y", location), (location, "https://b.test/x")):
        way = way.increment("GET", url, HTTPResponse(status=302, headers={"Location": to}))
    fetch = Fetch(store.folder / "part", store.folder / "from", Expected(None, None))
    with pytest.raises(ModelError, match="leads from https to http"):
        fetch._judge(HTTPResponse(status=200, retries=way), 0)


def test_a_token_in_an_address_is_neither_said_nor_kept(server, store, told, get):
    model = made(
        server.serve("/net.onnx", CONTENT, faults=[Status(503)]) + "?token=hush", server.address + "/gone?t=hush"
    )
    get(model)
    assert "hush" not in "".join(told.notes)
    assert "hush" not in store.record(model).origin
    assert server.asked[0][0] == "/net.onnx?token=hush"


def test_redirects_have_an_end(server, get):
    with pytest.raises(ModelError, match="too many redirects"):
        get(made(server.serve("/net.onnx", b"", location="/net.onnx")))


def test_the_proxy_of_the_environment_is_used(server, store, get, monkeypatch):
    server.serve("/net.onnx", CONTENT)
    monkeypatch.setenv("http_proxy", server.address.replace("//", "//me:pass%40word@"))
    model = made("http://models.test/net.onnx")
    get(model)
    [(asked, headers)] = server.asked
    assert asked == "http://models.test/net.onnx"
    assert headers["Proxy-Authorization"] == "Basic bWU6cGFzc0B3b3Jk"


def test_a_proxy_without_a_scheme_is_one_of_http(server, get, monkeypatch):
    server.serve("/net.onnx", CONTENT)
    monkeypatch.setenv("http_proxy", server.address.removeprefix("http://"))
    assert get(made("http://models.test/net.onnx")).fetched


def test_no_proxy_is_obeyed(server, get, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    get(made(server.serve("/net.onnx", CONTENT)))
    assert server.asked[0][0] == "/net.onnx"


def test_a_proxy_of_an_unknown_kind_is_refused(server, get, monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"socks5://127\.0\.0\.1:9 is of no kind that is spoken here"):
        get(made("http://models.test/net.onnx"))


# Without a checksum ----------------------------------------------------------------------------------


def test_without_a_checksum_nothing_is_taken_untold(server, get):
    with pytest.raises(ModelError, match="no checksum of it is known; `vpctl models pull net --trust`"):
        get(made(server.serve("/net.onnx", CONTENT), sha256=None, size=None))
    assert server.asked == []


def test_what_is_trusted_is_pinned(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT), sha256=None, size=None)
    assert get(model, trust=True).pins == {"net.onnx": sha256(CONTENT)}
    assert store.check(model).state == "pinned"


def test_what_was_pinned_comes_again_only_as_it_was(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT), sha256=None, size=None)
    get(model, trust=True)
    store.path(model).unlink()
    server.serve("/net.onnx", OTHER)
    with pytest.raises(ModelError, match="what came has the sha256"):
        get(model, trust=True)


# Room and order --------------------------------------------------------------------------------------


def test_too_little_room_is_said_before_anything_comes(server, get, monkeypatch):
    monkeypatch.setattr("visualpath.models.pull.shutil.disk_usage", lambda _: type("Usage", (), {"free": 4 << 20}))
    with pytest.raises(ModelError, match=r"net needs 6 MiB in .*, and 4 MiB are free: make room"):
        get(made(server.serve("/net.onnx", CONTENT)))
    assert server.asked == []


def test_a_file_larger_than_what_is_free_is_not_begun(server, told, get, monkeypatch):
    monkeypatch.setattr("visualpath.models.fetch.shutil.disk_usage", lambda _: type("Usage", (), {"free": 2 << 20}))
    with pytest.raises(ModelError, match="has 3 MiB to give, and 2 MiB are free"):
        get(made(server.serve("/net.onnx", CONTENT), size=None))
    assert told.progress == []


@pytest.fixture
def on_full_disk(server, store):
    model = made(server.serve("/net.onnx", CONTENT))
    part = store.state_file(model, "part")
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    return model


def test_a_disk_that_fills_up_is_an_error_of_the_disk(on_full_disk, get):
    with pytest.raises(OSError, match=r"No space left on device: .*/net\.part"):
        get(on_full_disk)


def test_a_full_disk_is_given_back_what_was_taken(on_full_disk, store, get):
    with pytest.raises(OSError, match="No space left"):
        get(on_full_disk)
    assert not store.state_file(on_full_disk, "part").is_symlink()


def test_a_model_that_somebody_else_changes_is_left_alone(server, store, get):
    model = made(server.serve("/net.onnx", CONTENT))
    with store.lock(model), pytest.raises(ModelError, match=r"another vpctl is at work on it \(pid \d+\)"):
        get(model)


def test_a_model_that_must_be_made_says_how(get):
    with pytest.raises(ModelError, match="is not to be had ready-made: `make net`, then `vpctl models add FILE net`"):
        get(made(how="make net"))
