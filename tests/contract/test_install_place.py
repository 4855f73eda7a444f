"""`make install`: where it refuses to install, and with what."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from installer import PREFIX, ROOT, load_scripts


@pytest.fixture
def scripts(monkeypatch):
    return load_scripts(monkeypatch)


@pytest.mark.parametrize(
    "prefix",
    [
        "/",
        "/opt",
        "opt/visualpath",
        "/opt/../etc",
        "//opt/visualpath",
        "/opt/a b",
        "/opt/50%",
        "/opt/a\nb",
        "/home/me/vp",
    ],
)
def test_a_prefix_that_is_no_folder_of_its_own_for_all_to_see_is_refused(prefix, tmp_path, scripts):
    with pytest.raises(scripts.install.InstallError, match="PREFIX="):
        scripts.install.check_place(tmp_path, Path(prefix))


@pytest.fixture
def this_machine(scripts, monkeypatch, tmp_path):
    """What `check_place` sees of the machine: root, systemd, a list of the package's files."""
    monkeypatch.setattr(scripts.install.os, "geteuid", lambda: 0)
    monkeypatch.setattr(scripts.install.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(scripts.install, "PACKAGE_LIST", tmp_path / "visualpath.list")
    return scripts.install


def test_an_installed_package_is_not_installed_over(this_machine):
    this_machine.PACKAGE_LIST.write_text("/.\n/usr/bin/vpctl\n/etc/visualpath/secrets.env\n")
    with pytest.raises(this_machine.InstallError, match="the package visualpath is installed"):
        this_machine.check_place(Path("/"), PREFIX)


def test_a_package_that_was_removed_hinders_nothing(this_machine):
    this_machine.PACKAGE_LIST.write_text("/etc/visualpath/secrets.env\n")
    this_machine.check_place(Path("/"), PREFIX)


def test_a_machine_without_systemd_is_refused(this_machine, monkeypatch):
    monkeypatch.setattr(this_machine.shutil, "which", lambda name: None)
    with pytest.raises(this_machine.InstallError, match="no systemd"):
        this_machine.check_place(Path("/"), PREFIX)


def test_a_python_that_other_users_cannot_reach_is_refused(scripts, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with pytest.raises(scripts.install.InstallError, match="closed to them"):
        scripts.install.check_python(scripts.build.Interpreter(str(home / "python3"), (3, 11, 2)))


@pytest.fixture
def place(scripts, monkeypatch, tmp_path):
    """Where a DESTDIR would be installed to; nothing is, whatever `main` becomes: this machine is no stage."""

    def of(destdir):
        found = []
        monkeypatch.setattr(scripts.install, "Layout", lambda stage, prefix: found.append(stage))
        for each in ("check_place", "lock", "check_python", "wanted_venvs", "install", "uninstall"):
            monkeypatch.setattr(scripts.install, each, lambda *_args: None)
        monkeypatch.setattr(sys, "argv", ["install.py", "--destdir", str(destdir)])
        assert scripts.install.main() == 0
        return found[0]

    return of


@pytest.mark.parametrize("destdir", ["", "/", "//", "/tmp/.."])
def test_every_way_to_write_the_root_is_this_machine(destdir, place):
    assert str(place(destdir)) == "/"


def test_a_link_to_the_root_is_this_machine(place, tmp_path):
    (tmp_path / "link").symlink_to("/")
    assert str(place(tmp_path / "link")) == "/"


def run(*args):
    command = [sys.executable, "-B", ROOT / "deploy/install/install.py", *args]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def test_a_relative_destdir_is_refused():
    code, said = run("--uninstall", "--destdir", "stage")
    assert (code, "give an absolute path" in said) == (1, True)


def test_two_installs_at_once_are_refused(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        code, said = run("--destdir", tmp_path)
    finally:
        os.close(folder)
    assert (code, "another install is at work" in said) == (1, True)


def test_uninstall_where_nothing_is_installed_is_refused(tmp_path):
    code, said = run("--uninstall", "--destdir", tmp_path)
    assert (code, "nothing is installed" in said) == (1, True)


def test_a_wheelhouse_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("WHEELHOUSE", str(tmp_path / "none"))
    code, said = run("--destdir", tmp_path / "stage")
    assert (code, "no wheelhouse" in said) == (1, True)
