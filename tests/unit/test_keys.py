"""Folders of CURVE keys: what is made, what is let in, what is refused and never told."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from visualpath_protocol import keys
from visualpath_protocol.endpoints import Endpoints
from visualpath_protocol.errors import KeyFileError
from visualpath_protocol.key_file import write_file
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


def test_a_folder_that_is_made_is_open_to_the_daemons_whatever_the_umask(folder):
    umask = os.umask(0o077)
    try:
        folder.new("hub")
    finally:
        os.umask(umask)
    assert mode(folder.path) == 0o755


def test_of_two_who_make_a_key_at_once_one_succeeds(folder, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda _path: False)  # neither sees the other's files
    pair = folder.new("hub")
    with pytest.raises(KeyFileError, match="is there already"):
        folder.new("hub")
    assert (folder.pair("hub"), folder.public("hub")) == (pair, pair.public)


def test_no_secret_stays_where_its_public_key_could_not_be_written(folder, monkeypatch):
    def full(path, *args):
        if path.suffix == ".pub":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_file(path, *args)

    monkeypatch.setattr(keys, "write_file", full)
    with pytest.raises(KeyFileError, match="No space left"):
        folder.new("hub")
    assert list(folder.path.iterdir()) == []


def test_what_is_made_or_revoked_is_on_disk_with_its_folder(folder, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    folder.new("guest")
    folder.revoke("guest")
    assert [each == str(folder.path) for each in synced] == [False, True] * 3


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


def test_a_name_that_is_revoked_already_is_left_so(folder):
    folder.new("guest")
    assert [folder.revoke("guest"), folder.revoke("guest")] == [True, False]
    assert [each.revoked for each in folder.known()[0].values()] == [True]


def test_a_file_of_the_revoked_without_a_key_makes_no_name_known(folder):
    folder.new("hub")
    (folder.path / "guest.revoked").write_text("\n")
    with pytest.raises(KeyFileError, match=r"guest\.pub is missing"):
        folder.revoke("guest")


def test_a_thousand_keys_of_one_name_stay_revoked(folder):
    latest = folder.new("guest").public
    old = [zmq.curve_keypair()[0] for _ in range(1000)]
    (folder.path / "guest.revoked").write_bytes(b"\n".join(old))
    folder.revoke("guest")
    known, wrong = folder.known()
    assert (known.keys(), {each.revoked for each in known.values()}, wrong) == ({*old, latest}, {True}, [])


@pytest.mark.parametrize("name", ["guest.revoked", "guest of anna.revoked"])
@pytest.mark.parametrize("more", [b"", b"# by anna\n", b"\xff"])
def test_a_key_stays_revoked_whatever_else_its_file_holds_and_is_called(folder, name, more):
    public = folder.new("guest").public
    folder.revoke("guest")
    (folder.path / "guest.revoked").unlink()
    (folder.path / name).write_bytes(more + b"\n" + public + b"\n" + more)
    (folder.path / "zoe.pub").write_bytes(public)
    assert folder.known()[0][public].revoked


def test_what_is_no_key_among_the_revoked_is_told(folder):
    folder.new("guest")
    folder.revoke("guest")
    with (folder.path / "guest.revoked").open("ab") as file:
        file.write(b"# by anna\n")
    [told] = folder.known()[1]
    assert told.endswith("guest.revoked: 1 of 2 lines hold no key")


def test_a_secret_without_its_public_key_can_be_revoked(folder):
    public = folder.new("hub").public
    (folder.path / "hub.pub").unlink()
    folder.revoke("hub")
    assert folder.known()[0][public].revoked
    assert folder.new("hub").public != public


@pytest.fixture
def unreadable(folder):
    """What was known of a folder, two of whose files cannot be read any more."""
    folder.new("guest")
    folder.new("zoe")
    folder.revoke("zoe")
    known, _ = folder.known()
    for name in ("guest.pub", "zoe.revoked"):
        (folder.path / name).unlink()
        (folder.path / name).mkdir()
    return known


def test_a_file_that_cannot_be_read_stands_as_it_was_read_last(folder, unreadable):
    known, wrong = folder.known(unreadable)
    assert (known, len(wrong)) == (unreadable, 2)


def test_a_file_that_never_could_be_read_lets_nobody_in(folder, unreadable):
    assert folder.known()[0] == {}


def test_a_folder_that_everybody_may_write_is_not_believed(folder):
    folder.new("hub")
    folder.path.chmod(0o777)
    with pytest.raises(KeyFileError, match=r"may be written by others \(mode 0777\): chmod o-w "):
        folder.known()


def test_a_public_key_that_everybody_may_write_is_told_and_lets_nobody_in(folder):
    folder.new("guest")
    (folder.path / "guest.pub").chmod(0o646)
    known, [told] = folder.known()
    assert (known, "chmod o-w" in told) == ({}, True)


def test_a_second_key_in_a_file_is_told(folder):
    folder.new("guest")
    with (folder.path / "guest.pub").open("ab") as file:
        file.write(zmq.curve_keypair()[0])
    [told] = folder.known()[1]
    assert "it must be one line" in told


def test_a_pipe_is_not_waited_for(folder):
    public = folder.new("hub").public
    os.mkfifo(folder.path / "guest.pub", 0o644)
    assert list(folder.known()[0]) == [public]


def test_an_unknown_name_cannot_be_revoked(folder):
    with pytest.raises(KeyFileError, match=r"guest\.pub is missing"):
        folder.revoke("guest")


@pytest.mark.parametrize("text", [b"", b"\n", b"x", b"x" * 41, b'"' * 40, b"#" * 40, b"\xff" * 40, b"x" * 100_000])
def test_a_file_that_holds_no_key_is_told_and_the_others_count(folder, text):
    public = folder.new("hub").public
    (folder.path / "guest.pub").write_bytes(text)
    known, wrong = folder.known()
    assert list(known) == [public]
    assert [
        each.endswith("guest.pub holds no key: it must be one line, with 40 characters of Z85") for each in wrong
    ] == [True]


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_its_user_cannot_enter_is_told(short_dir):
    folder = KeyFolder(short_dir / "keys")
    folder.new("hub")
    folder.path.chmod(0o700)
    short_dir.chmod(0o755)
    program = (
        "import os, pathlib, sys; from visualpath_protocol.keys import KeyFolder, Keyring; os.setuid(65534);"
        "Keyring(KeyFolder(pathlib.Path(sys.argv[1])), 'hub', {}).asking('vpctl', 'fusion')"
    )
    result = subprocess.run([sys.executable, "-c", program, folder.path], capture_output=True, text=True, check=False)
    assert "KeyFileError: " in result.stderr.splitlines()[-1]
    assert "hub.key cannot be read: Permission denied: it must belong to the user" in result.stderr.splitlines()[-1]


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


@pytest.mark.parametrize("spoil", [lambda path: path.chmod(0o666), Path.unlink, lambda path: path.write_text("x")])
def test_a_machine_reaches_itself_whatever_becomes_of_its_public_file(folder, spoil):
    hub = folder.new("hub")
    spoil(folder.path / "hub.pub")
    assert Keyring(folder, "hub", {}).asking("extractor-face", "fusion").server == hub.public


def test_a_daemon_that_cannot_read_the_machines_secret_takes_its_public_file(folder):
    hub, own = folder.new("hub"), folder.new("extractor-face")
    (folder.path / "hub.key").unlink()
    keys = Keyring(folder, "hub", {}).asking("extractor-face", "fusion")
    assert (keys.own, keys.server) == (own, hub.public)


def test_no_secret_is_needed_where_nothing_is_tcp(folder, tmp_path):
    endpoints = Endpoints(tmp_path, {"fusion/obs": "tcp://10.0.0.5:7001"}, Keyring(folder, "hub", {}))
    assert endpoints.client_keys("fusion", "control", "vpctl") is None
    with pytest.raises(KeyFileError):
        endpoints.client_keys("fusion", "obs", "vpctl")
