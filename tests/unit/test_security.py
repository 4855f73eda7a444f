"""Who may bind where."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from visualpath_protocol.errors import AddressInUse, EndpointError
from visualpath_protocol.security import FolderClaim, check_address


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run" / "clip"


@pytest.fixture
def claim(folder):
    claim = FolderClaim(folder)
    yield claim
    claim.release()


def leave_socket(path):
    """What a daemon leaves that was killed: a socket that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_claimed_folder_is_for_us_and_our_group(claim, folder):
    assert mode_of(folder) == 0o2750


def test_a_folder_that_strangers_may_enter_is_closed_to_them(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o2777)
    FolderClaim(folder).release()
    assert mode_of(folder) == 0o2750


def test_a_folder_that_systemd_made_stays_as_it_is(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o750)
    FolderClaim(folder).release()
    assert mode_of(folder) == 0o750


def test_a_link_in_the_place_of_the_folder_is_refused(folder, tmp_path):
    folder.parent.mkdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(EndpointError, match="is no folder"):
        FolderClaim(folder)


def test_the_run_dir_is_made_closed_to_strangers(claim, folder):
    assert mode_of(folder.parent) & 0o007 == 0


def test_a_second_claim_is_refused_with_the_pid_of_the_first(claim, folder):
    with pytest.raises(AddressInUse, match=rf"clip is running already \(pid {os.getpid()} holds"):
        FolderClaim(folder)


def test_a_refused_claim_leaves_the_holders_lock_file_alone(claim, folder):
    with pytest.raises(AddressInUse):
        FolderClaim(folder)
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"


def test_a_released_folder_can_be_claimed_again(folder):
    FolderClaim(folder).release()
    FolderClaim(folder).release()


def test_the_death_of_the_holder_frees_its_folder(folder):
    program = (
        "import os, sys, pathlib; from visualpath_protocol.security import FolderClaim;"
        "claim = FolderClaim(pathlib.Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    holder = subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
    assert holder.returncode == -9
    assert int((folder / "lock").read_text()) != os.getpid()
    FolderClaim(folder).release()


def test_a_shorter_pid_leaves_no_digits_of_a_longer_one(folder):
    folder.mkdir(parents=True)
    (folder / "lock").write_text("4194304999\n")
    FolderClaim(folder).release()
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"


def test_a_stale_socket_is_removed(claim, folder):
    leave_socket(folder / "trig")
    claim.clear_stale(folder / "trig")
    assert not (folder / "trig").exists()


def test_no_socket_at_all_is_fine(claim, folder):
    claim.clear_stale(folder / "trig")


def test_a_regular_file_is_refused_and_kept(claim, folder):
    (folder / "trig").write_text("precious")
    with pytest.raises(EndpointError, match="exists and is no socket"):
        claim.clear_stale(folder / "trig")
    assert (folder / "trig").read_text() == "precious"


def test_a_link_to_a_socket_is_refused(claim, folder, tmp_path):
    leave_socket(tmp_path / "elsewhere")
    (folder / "trig").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EndpointError, match="exists and is no socket"):
        claim.clear_stale(folder / "trig")


@pytest.mark.parametrize("place", ["../fusion/obs", "../trig", "deeper/trig"])
def test_a_path_outside_the_claimed_folder_is_refused(claim, folder, place):
    with pytest.raises(EndpointError, match="outside this daemon's own folder"):
        claim.clear_stale(folder / place)


def test_release_removes_our_sockets_and_nothing_else(folder):
    claim = FolderClaim(folder)
    leave_socket(folder / "trig")
    (folder / "notes").write_text("")
    claim.release()
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "notes"]


def test_a_folder_of_another_user_is_refused(folder, monkeypatch):
    folder.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(os, "getgroups", lambda: [folder.parent.stat().st_gid])
    with pytest.raises(EndpointError, match="belongs to another user"):
        FolderClaim(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_run_dir_of_a_stranger_is_refused(folder):
    folder.parent.mkdir()
    os.chown(folder.parent, 54321, 54321)
    with pytest.raises(EndpointError, match="belongs to a stranger"):
        FolderClaim(folder)


def test_a_run_dir_that_is_a_file_is_refused(folder):
    folder.parent.write_text("")
    with pytest.raises(EndpointError, match="cannot use"):
        FolderClaim(folder)


@pytest.mark.parametrize("address", ["ipc:///run/vp/clip/trig", "inproc://stop"])
def test_local_addresses_may_be_bound(address):
    check_address(address)


@pytest.mark.parametrize("address", ["tcp://*:7001", "tcp://0.0.0.0:7001", "tcp://10.0.0.5:7001", "tcp://[::]:7001"])
@pytest.mark.parametrize("allowed", [False, True])
def test_tcp_beyond_loopback_is_refused_even_where_loopback_is_allowed(address, allowed):
    with pytest.raises(EndpointError, match="needs CURVE keys"):
        check_address(address, allow_plain_loopback=allowed)


LOOPBACK = ["tcp://127.0.0.1:7001", "tcp://localhost:7001", "tcp://[::1]:7001"]


@pytest.mark.parametrize("address", LOOPBACK)
def test_tcp_on_loopback_must_be_asked_for(address):
    with pytest.raises(EndpointError, match="allow_plain_loopback"):
        check_address(address)
    check_address(address, allow_plain_loopback=True)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/run/trig",
        "ipc://trig",
        "ipc://@abstract",
        "udp://127.0.0.1:1",
        "tcp://",
        "tcp://127.0.0.1.evil.example:1",
        "tcp://localhost.evil.example:1",
    ],
)
def test_other_addresses_are_refused(address):
    with pytest.raises(EndpointError):
        check_address(address, allow_plain_loopback=True)


def test_a_folder_is_claimed_where_setting_the_setgid_bit_is_refused(tmp_path, monkeypatch):
    """As under systemd's RestrictSUIDSGID: there the bit can only be inherited."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    run_dir.chmod(0o2750)
    chmod = Path.chmod

    def refuse_setgid(path, mode, **options):
        if mode & 0o6000:
            raise PermissionError(1, "Operation not permitted")
        chmod(path, mode, **options)

    monkeypatch.setattr(Path, "chmod", refuse_setgid)
    claim = FolderClaim(run_dir / "fusion")
    assert stat.S_IMODE((run_dir / "fusion").stat().st_mode) == 0o2750
    claim.release()
