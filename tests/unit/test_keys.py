"""Folders of CURVE keys: what is made, what is let in, what is refused and never told."""

import stat

import pytest
import zmq

from visualpath_protocol.endpoints import Endpoints
from visualpath_protocol.errors import KeyFileError
from visualpath_protocol.keys import KeyFolder, Keyring, Known


@pytest.fixture
def folder(tmp_path):
    return KeyFolder(tmp_path / "keys")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# Making -----------------------------------------------------------------------------------------


def test_a_secret_is_for_its_owner_alone(folder):
    folder.new("hub")
    assert (mode(folder.path / "hub.key"), mode(folder.path / "hub.pub")) == (0o600, 0o644)


def test_a_made_pair_is_the_one_that_is_read(folder):
    assert folder.new("hub") == folder.pair("hub")
    assert folder.pair("hub").public == folder.public("hub")


def test_a_secret_is_in_no_text_of_its_pair(folder):
    pair = folder.new("hub")
    assert pair.secret.decode() not in repr(pair) + str(pair)


def test_a_key_that_is_there_is_not_replaced(folder):
    pair = folder.new("hub")
    with pytest.raises(KeyFileError, match=r"is there already: `vpctl keys revoke hub` ends it"):
        folder.new("hub")
    assert folder.pair("hub") == pair


@pytest.mark.parametrize("name", ["", "../hub", "a/b", ".hub", "Hub", "hub\n", "a" * 49])
def test_what_is_no_name_makes_no_file(folder, name):
    with pytest.raises(KeyFileError, match="is no valid name of a key"):
        folder.new(name)
    assert not folder.path.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="no key can be made"):
        KeyFolder(tmp_path / "file" / "keys").new("hub")


# Knowing ----------------------------------------------------------------------------------------


def test_a_made_key_is_known_for_all_links(folder):
    pair = folder.new("hub")
    assert folder.known() == ({pair.public: Known("hub")}, [])
    assert Known("hub").may_use("obs")


def test_a_key_may_be_for_some_links_alone(folder):
    public = folder.new("guest", ["frames", "tap"]).public
    known = folder.known()[0][public]
    assert (known.may_use("frames"), known.may_use("tap"), known.may_use("obs")) == (True, True, False)


def test_a_revoked_key_is_known_as_revoked_and_its_secret_is_gone(folder):
    pair = folder.new("guest")
    folder.revoke("guest")
    assert folder.known() == ({pair.public: Known("guest", revoked=True)}, [])
    assert not (folder.path / "guest.key").exists()


def test_a_name_may_have_a_key_again_and_its_old_ones_stay_revoked(folder):
    old = []
    for _ in range(2):
        old.append(folder.new("guest").public)
        folder.revoke("guest")
    latest = folder.new("guest").public
    known, _ = folder.known()
    assert [known[key].revoked for key in (*old, latest)] == [True, True, False]


def test_a_revoked_key_stays_so_under_another_name(folder):
    public = folder.new("guest").public
    folder.revoke("guest")
    (folder.path / "zoe.pub").write_bytes(public)
    (folder.path / "abe.pub").write_bytes(public)
    assert folder.known()[0][public].revoked


def test_an_unknown_name_cannot_be_revoked(folder):
    with pytest.raises(KeyFileError, match=r"guest\.pub is missing"):
        folder.revoke("guest")


@pytest.mark.parametrize("text", [b"", b"\n", b"x", b"x" * 41, b'"' * 40, b"#" * 40, b"\xff" * 40, b"x" * 100_000])
def test_a_file_that_holds_no_key_is_told_and_the_others_count(folder, text):
    public = folder.new("hub").public
    (folder.path / "guest.pub").write_bytes(text)
    known, wrong = folder.known()
    assert list(known) == [public]
    assert [each.endswith("guest.pub holds no key: it must be 40 characters of Z85") for each in wrong] == [True]


def test_a_public_key_under_no_valid_name_is_told(folder):
    public = folder.new("hub").public
    (folder.path / "My Laptop.pub").write_bytes(public)
    known, wrong = folder.known()
    assert [each.name for each in known.values()] == ["hub"]
    assert len(wrong) == 1


# Secrets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [0o640, 0o604, 0o620])
def test_a_secret_that_others_may_touch_is_refused(folder, others):
    folder.new("hub")
    (folder.path / "hub.key").chmod(others)
    with pytest.raises(KeyFileError, match=r"may be read by others .*: chmod 600 "):
        folder.pair("hub")


def test_a_missing_secret_says_how_to_make_it(folder):
    with pytest.raises(KeyFileError, match="`vpctl keys new hub` makes it"):
        folder.pair("hub")


def test_a_damaged_secret_is_refused_without_telling_it(folder):
    folder.new("hub")
    (folder.path / "hub.key").write_text("abcdefghijkl")
    with pytest.raises(KeyFileError) as caught:
        folder.pair("hub")
    assert "abcdef" not in str(caught.value)


def test_a_secret_may_come_from_systemd(folder, tmp_path, monkeypatch):
    public, secret = zmq.curve_keypair()
    (tmp_path / "hub.key").write_bytes(secret)
    (tmp_path / "hub.key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert (folder.pair("hub").public, folder.pair("hub").secret) == (public, secret)


# Who uses which ---------------------------------------------------------------------------------


def test_a_daemon_with_a_pair_of_its_own_asks_by_that(folder):
    hub, own = folder.new("hub"), folder.new("extractor-face")
    keyring = Keyring(folder, "hub", {})
    assert keyring.asking("extractor-face", "fusion").own == own
    assert keyring.asking("extractor-pose", "fusion").own == hub


def test_a_daemon_elsewhere_is_reached_by_the_key_of_its_machine(folder):
    annex, hub = folder.new("annex"), folder.new("hub")
    keyring = Keyring(folder, "annex", {"fusion": "hub"})
    assert keyring.asking("extractor-face", "fusion").server == hub.public
    assert keyring.asking("extractor-face", "frame-cam1").server == annex.public


def test_no_secret_is_needed_where_nothing_is_tcp(folder, tmp_path):
    endpoints = Endpoints(tmp_path, {"fusion/obs": "tcp://10.0.0.5:7001"}, Keyring(folder, "hub", {}))
    assert endpoints.client_keys("fusion", "control", "vpctl") is None
    with pytest.raises(KeyFileError):
        endpoints.client_keys("fusion", "obs", "vpctl")
