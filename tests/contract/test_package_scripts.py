"""What dpkg runs before and after: what of a machine's files it takes away, and that it never gets stuck."""

import re
import shutil
import stat
import subprocess

import pytest
from installer import CONFIG, ROOT, SECRETS, VPCTL


class Package:
    """The package's scripts, each with its paths below a folder, and a systemctl that fails."""

    def __init__(self, root):
        self.root = root
        (root / "bin").mkdir()
        for name, code in (("systemctl", 1), ("systemd-sysusers", 0), ("systemd-tmpfiles", 0)):
            (root / "bin" / name).write_text(f"#!/bin/sh\nexit {code}\n")
            (root / "bin" / name).chmod(0o755)
        (root / "run/systemd/system").mkdir(parents=True)

    def run(self, name, *args):
        """Run one: its exit code."""
        text = (ROOT / "deploy/install" / name).read_text()
        text = re.sub(r"(?<![\w.])/(?=(?:etc|run|usr|var)/)", f"{self.root}/", text)
        environ = {"PATH": f"{self.root}/bin:/usr/bin:/bin"}
        return subprocess.run(["/bin/sh", "-c", text, name, *args], env=environ, check=False).returncode

    def write(self, *names):
        for name in names:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).touch()

    def left(self):
        return {path for path in ("etc", "var") for path in (self.root / path).rglob("*") if path.is_file()}


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path)


STATE = ("var/lib/visualpath/fusion/outbox.db", "var/lib/visualpath/frame-cam1/epoch", CONFIG, SECRETS)
KEPT = ("var/lib/visualpath/clips/cam1/a.mp4", "var/lib/visualpath/archive/b.mp4")


def test_purge_deletes_configuration_and_state_but_neither_clips_nor_what_others_put_there(package):
    package.write(*STATE, *KEPT)
    assert (package.run("postrm", "purge"), package.left()) == (0, {package.root / name for name in KEPT})


def test_purge_leaves_nothing_where_there_were_no_clips(package):
    package.write(*STATE)
    (package.root / "var/lib/visualpath/clips").mkdir()
    package.run("postrm", "purge")
    assert not (package.root / "var/lib/visualpath").exists()


def test_removal_deletes_nothing(package):
    package.write(*STATE, *KEPT)
    package.run("postrm", "remove")
    assert package.left() == {package.root / name for name in (*STATE, *KEPT)}


def test_a_purge_of_the_package_leaves_alone_what_make_install_put_in_its_place(package):
    package.write(*STATE, VPCTL)
    package.run("postrm", "purge")
    assert package.left() == {package.root / name for name in STATE}


@pytest.mark.parametrize("script", ["prerm", "postrm"])
def test_a_systemctl_that_fails_does_not_hinder_a_removal(script, package):
    assert package.run(script, "remove") == 0


def test_a_machine_without_systemctl_does_not_hinder_a_removal(package):
    (package.root / "bin/systemctl").write_text("#!/bin/sh\nexit 127\n")
    shutil.rmtree(package.root / "run")
    assert package.run("prerm", "remove") == 0


def test_secrets_are_closed_to_others(package):
    package.write(SECRETS)
    (package.root / SECRETS).chmod(0o644)
    shutil.rmtree(package.root / "run")
    package.run("postinst", "configure")
    assert stat.S_IMODE((package.root / SECRETS).stat().st_mode) == 0o640


@pytest.mark.parametrize(("command", "code"), [("install", 1), ("upgrade", 0)])
def test_the_package_does_not_take_over_a_vpctl_that_is_of_no_package(command, code, package):
    package.write(VPCTL)
    assert package.run("preinst", command) == code
