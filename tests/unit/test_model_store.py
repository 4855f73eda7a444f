"""The store of models: what it says of what lies there, what it lets in, and that it need not hash twice."""

import hashlib
import logging
import os
import zipfile
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from visualpath.core.errors import ModelError, ModelMissingError
from visualpath.models import store as store_module
from visualpath.models.install import install
from visualpath.models.manifest import Member, Model
from visualpath.models.store import ModelStore


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def made(**changes):
    fields = {
        "name": "net", "needed_by": ["face: some"], "licence": "MIT", "licence_url": "-", "origin": "-",
        "file": "net.onnx", "size": 5, "sha256": sha256(b"right"), "urls": ["https://example.test/net.onnx"],
    }  # fmt: skip
    return Model(**{**fields, **changes})


SINGLE = made()
UNSUMMED = made(size=None, sha256=None)
HOME_MADE = made(size=None, sha256=None, urls=[], how="make net")
PACK = made(
    file="net.zip",
    size=None,
    sha256=None,
    members={"a.onnx": Member(size=3, sha256=sha256(b"aaa")), "b.onnx": Member(size=3, sha256=sha256(b"bbb"))},
)


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


@pytest.fixture
def file(tmp_path):
    """A file of a test's own."""

    def write(content, name="net.onnx"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def archive(tmp_path):
    def write(entries):
        with zipfile.ZipFile(tmp_path / "net.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in entries:
                file.writestr(name, content)
        return tmp_path / "net.zip"

    return write


def lay(store, model, content):
    """As if somebody had copied the file there by hand."""
    path = store.home(model) / model.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed."""
    paths = []
    real = store_module.sha256_of
    monkeypatch.setattr(store_module, "sha256_of", lambda path: paths.append(path.name) or real(path))
    return paths


# What lies there -------------------------------------------------------------------------------------


def test_nothing_there_is_missing(store):
    assert store.check(SINGLE).state == "missing"


def test_the_right_file_is_there(store):
    lay(store, SINGLE, b"right")
    assert store.check(SINGLE).state == "there"


def test_another_size_is_damage(store):
    path = lay(store, SINGLE, b"short!")
    assert store.check(SINGLE).why == f"{path} has 6 bytes, not 5"


def test_other_content_of_the_same_size_is_damage(store):
    path = lay(store, SINGLE, b"wrong")
    checked = store.check(SINGLE)
    assert checked.state == "damaged"
    assert checked.why.startswith(f"{path} has the sha256 {sha256(b'wrong')[:12]}..., not")


def test_a_pack_that_lacks_a_member_is_damaged(store, archive):
    install(store, PACK, archive([("a.onnx", b"aaa"), ("b.onnx", b"bbb")]), "")
    (store.path(PACK) / "b.onnx").unlink()
    assert store.check(PACK).why == f"{store.path(PACK)}/b.onnx: No such file or directory"


def test_a_model_beside_a_packs_members_is_damage(store, archive):
    install(store, PACK, archive([("a.onnx", b"aaa"), ("b.onnx", b"bbb")]), "")
    (store.path(PACK) / "c.onnx").write_bytes(b"ccc")
    assert store.check(PACK).why == f"{store.path(PACK)}/c.onnx does not belong there"


def test_other_files_beside_a_packs_members_do_no_harm(store, archive):
    install(store, PACK, archive([("a.onnx", b"aaa"), ("b.onnx", b"bbb")]), "")
    (store.path(PACK) / "README").write_bytes(b"by me")
    assert store.check(PACK).state == "there"


def test_a_file_without_checksum_or_pin_is_unknown(store):
    lay(store, UNSUMMED, b"any")
    assert store.check(UNSUMMED).state == "unknown"


def test_a_file_that_cannot_be_read_is_damage(store):
    (store.home(SINGLE) / SINGLE.file).mkdir(parents=True)
    assert store.check(made(size=None)).state == "damaged"


# Hashed once -----------------------------------------------------------------------------------------


def test_a_file_is_hashed_once(store, hashed):
    lay(store, SINGLE, b"right")
    store.check(SINGLE)
    store.check(SINGLE)
    assert hashed == ["net.onnx"]


def test_a_thorough_check_hashes_again(store, hashed):
    lay(store, SINGLE, b"right")
    store.check(SINGLE)
    store.check(SINGLE, thorough=True)
    assert hashed == ["net.onnx"] * 2


def test_what_was_installed_need_not_be_hashed(store, file, hashed):
    install(store, SINGLE, file(b"right"), "")
    store.check(SINGLE)
    assert hashed == []


def test_a_file_that_was_written_is_hashed_again(store):
    path = lay(store, SINGLE, b"right")
    store.check(SINGLE)
    path.write_bytes(b"wrong")
    os.utime(path, ns=(1, 1))
    assert store.check(SINGLE).state == "damaged"


def test_a_file_that_was_replaced_within_the_same_instant_is_hashed_again(store):
    path = lay(store, SINGLE, b"right")
    store.check(SINGLE)
    was = path.stat()
    path.rename(path.with_name("old"))
    path.write_bytes(b"wrong")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert store.check(SINGLE).state == "damaged"


def test_what_rotted_on_the_disk_is_not_used_again_once_it_was_found(store):
    path = lay(store, SINGLE, b"right")
    store.check(SINGLE)
    was = path.stat()
    path.write_bytes(b"wrong")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert store.check(SINGLE, thorough=True).state == "damaged"
    assert store.check(SINGLE).state == "damaged"


def test_what_is_pinned_while_a_file_is_hashed_stays_pinned(store, file, monkeypatch):
    real = store_module.sha256_of

    def sha256_while_another_pins(path):
        found = real(path)
        install(store, UNSUMMED, file(b"any"), "")
        return found

    lay(store, SINGLE, b"right")
    monkeypatch.setattr(store_module, "sha256_of", sha256_while_another_pins)
    store.check(SINGLE)
    assert store.record(UNSUMMED).pins == {"net.onnx": sha256(b"any")}


def test_another_checksum_in_the_manifest_is_not_what_was_seen(store):
    lay(store, SINGLE, b"right")
    store.check(SINGLE)
    assert store.check(made(sha256=sha256(b"wrong"))).state == "damaged"


def test_where_nothing_can_be_remembered_the_file_is_still_checked(store, monkeypatch, caplog):
    lay(store, SINGLE, b"right")
    store.state_file(SINGLE, "json").parent.write_text("in the way")
    with caplog.at_level(logging.INFO):
        assert store.check(SINGLE).state == "there"
    assert "is hashed at each start" in caplog.text


def test_a_record_that_cannot_be_read_is_told_and_hashed_again(store, hashed, caplog):
    lay(store, SINGLE, b"right")
    store.check(SINGLE)
    store.state_file(SINGLE, "json").write_text("{")
    assert store.check(SINGLE).state == "there"
    assert hashed == ["net.onnx"] * 2
    assert "cannot be read" in caplog.text


# What an extractor is told ---------------------------------------------------------------------------


def test_the_path_of_a_single_model_is_its_file(store, file):
    install(store, SINGLE, file(b"right"), "")
    assert store.require(SINGLE).read_bytes() == b"right"


def test_the_path_of_a_pack_is_its_folder(store, archive):
    install(store, PACK, archive([("a.onnx", b"aaa"), ("b.onnx", b"bbb")]), "")
    assert sorted(path.name for path in store.require(PACK).iterdir()) == ["a.onnx", "b.onnx"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SINGLE, "model 'net' is not in {folder}: run `vpctl models pull net`"),
        (UNSUMMED, "model 'net' is not in {folder}: run `vpctl models pull net --trust`"),
        (HOME_MADE, "model 'net' is not in {folder}: run `vpctl models add FILE net`, after `make net`"),
    ],
)
def test_a_missing_model_is_told_with_the_command(store, model, message):
    with pytest.raises(ModelMissingError) as error:
        store.require(model)
    assert str(error.value) == message.format(folder=store.folder)


def test_a_damaged_model_is_refused_with_the_command(store):
    path = lay(store, SINGLE, b"short!")
    with pytest.raises(ModelMissingError) as error:
        store.require(SINGLE)
    assert str(error.value) == (f"model 'net' cannot be used: {path} has 6 bytes, not 5: run `vpctl models pull net`")


def test_an_unknown_file_is_refused_with_the_command_that_pins_it(store):
    path = lay(store, UNSUMMED, b"any")
    with pytest.raises(ModelMissingError, match=f"if it is yours, run `vpctl models add {path} net`"):
        store.require(UNSUMMED)


# What is let in --------------------------------------------------------------------------------------


def test_a_file_of_another_size_is_not_let_in(store, file):
    with pytest.raises(ModelError, match=r"net\.onnx is not of 5 bytes"):
        install(store, SINGLE, file(b"short!"), "")


def test_a_file_of_other_content_is_not_let_in(store, file):
    with pytest.raises(ModelError, match=f"net.onnx has the sha256 {sha256(b'wrong')}"):
        install(store, SINGLE, file(b"wrong"), "")


def test_what_is_not_let_in_leaves_what_was_there(store, file):
    install(store, SINGLE, file(b"right"), "")
    with pytest.raises(ModelError):
        install(store, SINGLE, file(b"wrong"), "")
    assert store.require(SINGLE).read_bytes() == b"right"


def test_nothing_is_left_of_what_is_not_let_in(store, file):
    with pytest.raises(ModelError):
        install(store, SINGLE, file(b"wrong"), "")
    assert not store.state_file(SINGLE, "new").exists()


def test_a_file_without_a_checksum_is_pinned(store, file):
    assert install(store, UNSUMMED, file(b"any"), "") == {"net.onnx": sha256(b"any")}
    assert store.check(UNSUMMED).state == "pinned"


def test_a_pinned_file_may_not_change(store, file):
    install(store, UNSUMMED, file(b"any"), "")
    lay(store, UNSUMMED, b"other")
    assert store.check(UNSUMMED).state == "damaged"


def test_the_file_in_the_store_can_be_pinned_itself(store):
    path = lay(store, UNSUMMED, b"any")
    install(store, UNSUMMED, path, "")
    assert store.require(UNSUMMED).read_bytes() == b"any"


def test_members_may_lie_in_a_folder_of_the_archive(store, archive):
    install(store, PACK, archive([("net/", b""), ("net/a.onnx", b"aaa"), ("net/b.onnx", b"bbb")]), "")
    assert store.check(PACK).state == "there"


def test_a_folder_may_stand_for_an_archive(store, tmp_path):
    (tmp_path / "net").mkdir()
    for name in "ab":
        (tmp_path / "net" / f"{name}.onnx").write_bytes(name.encode() * 3)
    install(store, PACK, tmp_path / "net", "")
    assert store.check(PACK).state == "there"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("a.onnx", b"aaa")], "has no b.onnx"),
        ([("a.onnx", b"aaa"), ("x/b.onnx", b"bbb"), ("y/b.onnx", b"bbb")], "has b.onnx 2 times"),
        ([("a.onnx", b"aaa"), ("b.onnx", b"b" * (8 << 20))], "b.onnx is not of 3 bytes"),
        ([("a.onnx", b"aaa"), ("../../b.onnx", b"xxx")], "b.onnx has the sha256"),
    ],
)
def test_an_archive_that_is_not_the_pack_is_not_let_in(store, archive, entries, message):
    with pytest.raises(ModelError, match=message):
        install(store, PACK, archive(entries), "")
    assert store.check(PACK).state == "missing"


def test_no_more_is_unpacked_than_a_member_may_have(store, archive, monkeypatch):
    blocks = iter([b"a" * 100, b"a" * 100])  # a third would be a StopIteration
    endless = SimpleNamespace(read=lambda _: next(blocks))
    monkeypatch.setattr("visualpath.models.install._open_member", lambda *_: nullcontext(endless))
    with pytest.raises(ModelError, match=r"a\.onnx is not of 3 bytes"):
        install(store, PACK, archive([]), "")


def test_a_damaged_archive_is_not_let_in(store, archive):
    path = archive([("a.onnx", b"aaa"), ("b.onnx", b"bbb")])
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ModelError, match=r"net\.zip cannot be unpacked: File is not a zip file"):
        install(store, PACK, path, "")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_with_damaged_content_is_not_let_in(store, tmp_path, method):
    path = tmp_path / "net.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.onnx", bytes(range(200)))
    path.write_bytes(path.read_bytes()[:46] + b"\xff" * 50 + path.read_bytes()[96:])
    with pytest.raises(ModelError, match=r"net\.zip cannot be unpacked"):
        install(store, PACK, path, "")


@pytest.mark.parametrize(
    ("place", "byte"),
    [(b"PK\x01\x02", 46), (b"PK\x05\x06", 19)],
    ids=["a name that is no text", "an offset below 0"],
)
def test_an_archive_with_a_damaged_list_is_not_let_in(store, tmp_path, place, byte):
    path = tmp_path / "net.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("é.onnx", "a.onnx", "b.onnx"):
            archive.writestr(name, b"aaa")
    spoilt = bytearray(path.read_bytes())
    spoilt[spoilt.index(place) + byte] = 0xFF
    path.write_bytes(spoilt)
    with pytest.raises(ModelError, match=r"net\.zip cannot be unpacked"):
        install(store, PACK, path, "")


def test_only_one_may_change_a_model_at_a_time(store):
    with (
        store.lock(SINGLE),
        pytest.raises(ModelError, match=f"at work on it \\(pid {os.getpid()}\\)"),
        store.lock(SINGLE),
    ):
        pass


def test_different_models_may_be_changed_at_a_time(store):
    with store.lock(SINGLE), store.lock(made(name="other")):
        assert store.state_file(SINGLE, "lock").exists()
