"""`make install` as root on somebody's machine: what is not ours, what is half done."""

import errno
import json
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from installer import CONFIG, PREFIX, VPCTL, Machine, load_scripts

RECORD = "opt/visualpath/share/installed.json"
UNIT = "usr/lib/systemd/system/visualpath-clip.service"


@pytest.fixture
def scripts(monkeypatch):
    return load_scripts(monkeypatch)


@pytest.fixture
def machine(tmp_path, scripts, monkeypatch):
    (tmp_path / "root").mkdir()
    return Machine(tmp_path / "root", scripts, monkeypatch)


@pytest.fixture
def installed(machine):
    machine.install()
    return machine


def test_uninstall_takes_all_away_that_install_put_there(installed):
    installed.uninstall()
    assert list(installed.root.iterdir()) == []


@pytest.mark.parametrize("name", [VPCTL, UNIT, "opt/visualpath/doc/README.md", "opt/visualpath/venvs/core/x"])
def test_what_somebody_else_put_there_is_refused(name, machine):
    machine.write(name)
    assert f"/{name}".removesuffix("/x") in machine.refusal()


@pytest.mark.parametrize("name", [VPCTL, UNIT, "opt/visualpath/doc/README.md", "opt/visualpath/venvs/core/x"])
def test_a_refusal_changes_nothing(name, machine):
    path = machine.write(name)
    machine.refusal()
    assert (machine.names(), path.read_text()) == ([name], "mine\n")


@pytest.mark.parametrize("name", [VPCTL, UNIT])
def test_what_was_edited_is_not_overwritten(name, installed):
    path = installed.write(name)
    installed.refusal()
    assert path.read_text() == "mine\n"


@pytest.mark.parametrize("name", [VPCTL, UNIT, CONFIG])
def test_what_was_edited_is_not_removed(name, installed):
    installed.write(name)
    installed.uninstall()
    assert installed.names() == [name]


def test_uninstall_says_what_it_keeps(installed, capsys):
    installed.write(CONFIG)
    installed.uninstall()
    assert f"/{CONFIG}: kept, it was edited" in capsys.readouterr().out


def test_uninstall_keeps_what_others_put_there(installed):
    kept = ["opt/visualpath/models/x.onnx", "opt/visualpath/venvs/mine/x", "usr/bin/other"]
    for name in kept:
        installed.write(name)
    installed.uninstall()
    assert installed.names() == kept


def test_another_prefix_does_not_take_over_the_units(installed):
    assert f"/{UNIT}" in installed.refusal(Path("/srv/vp"))


def test_another_prefix_is_put_in_everywhere(scripts):
    found = scripts.files.all_files(Path("/srv/vp"))
    assert [str(file.path) for file in found if b"/opt/visualpath" in file.data] == []


@pytest.fixture
def linked(machine):
    """A machine whose configuration is a link to where its operator keeps it."""
    kept = machine.write("srv/mine.yaml")
    (machine.root / CONFIG).parent.mkdir(parents=True)
    (machine.root / CONFIG).symlink_to(kept)
    machine.install()
    return machine


def test_a_configuration_that_is_a_link_is_kept(linked):
    assert (linked.root / CONFIG).is_symlink()


def test_uninstall_keeps_a_configuration_that_is_a_link(linked):
    linked.uninstall()
    assert linked.names() == [CONFIG, "srv/mine.yaml"]


def test_a_configuration_that_follows_the_defaults_keeps_its_mode(installed):
    (installed.root / CONFIG).chmod(0o600)
    installed.next_version()
    installed.install()
    mode = stat.S_IMODE((installed.root / CONFIG).stat().st_mode)
    assert (mode, (installed.root / CONFIG).read_text()[-4:]) == (0o600, "# 2\n")


def test_a_link_that_leads_out_of_the_stage_is_refused(machine, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (machine.root / "opt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(machine.scripts.install.InstallError, match="leads out of"):
        machine.layout()


def test_a_venv_that_became_a_link_is_refused(installed, tmp_path):
    venv = installed.root / "opt/visualpath/venvs/core"
    venv.symlink_to(venv.rename(tmp_path / "core"))
    assert "/opt/visualpath/venvs/core" in installed.refusal()


@pytest.mark.parametrize(
    "change",
    [
        {"trees": ["/"]},
        {"trees": ["/etc/visualpath"]},
        {"trees": ["/opt/visualpath/models"]},
        {"trees": ["/opt/visualpath/venvs/.."]},
        {"trees": "/"},
        {"files": {"/etc/passwd": ["0"]}},
        {"files": {"/opt/visualpath/../../etc/passwd": ["0"]}},
        {"files": {"visualpath": ["0"]}},
        {"files": ["/usr/bin/vpctl"]},
        {"files": {"/usr/bin/vpctl": None}},
        {"folders": None},
        {"folders": ["../visualpath"]},
    ],
)
def test_a_record_that_names_what_was_never_installed_is_refused(change, installed):
    record = json.loads((installed.root / RECORD).read_text())
    installed.write(RECORD, json.dumps(record | change))
    with pytest.raises(installed.scripts.install.InstallError, match="is damaged"):
        installed.uninstall()


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "3"])
def test_a_record_that_is_none_is_refused(text, installed):
    installed.write(RECORD, text)
    with pytest.raises(installed.scripts.install.InstallError, match="is damaged"):
        installed.uninstall()


def test_the_same_version_once_more_mends_a_lost_record(installed):
    before = json.loads((installed.root / RECORD).read_text())["files"]
    (installed.root / RECORD).unlink()
    installed.install()
    assert json.loads((installed.root / RECORD).read_text())["files"] == before


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_first_install_that_was_cut_off_can_be_taken_back(after, machine):
    machine.cut_off(after)
    machine.uninstall()
    assert list(machine.root.iterdir()) == []


@pytest.mark.parametrize("again", [False, True])
def test_an_upgrade_that_was_cut_off_is_finished_by_the_next(again, installed):
    installed.next_version()
    installed.cut_off(2)
    if again:
        installed.next_version()
    installed.install()
    installed.uninstall()
    assert list(installed.root.iterdir()) == []


def test_a_run_knows_that_the_last_one_was_cut_off(installed):
    installed.next_version()
    installed.cut_off(2)
    assert installed.layout().interrupted


def test_a_run_knows_that_the_last_one_was_finished(installed):
    assert not installed.layout().interrupted


@pytest.fixture
def full(installed):
    """An upgrade ended by a full disk; the names of the files before it."""
    before = installed.names()
    installed.next_version()

    def fail(descriptor, mode):
        raise OSError(errno.ENOSPC, "No space left on device")

    with installed.monkeypatch.context() as patch:
        patch.setattr(installed.scripts.layout.os, "fchmod", fail)
        with pytest.raises(OSError, match="No space left"):
            installed.install()
    return before


def test_a_full_disk_leaves_no_half_written_file(full, installed):
    assert installed.names() == full


def test_a_full_disk_leaves_the_record_whole(full, installed):
    installed.uninstall()
    assert list(installed.root.iterdir()) == []


@pytest.fixture
def failed(scripts, tmp_path):
    """A folder of venvs after an upgrade of one for which pip finds nothing."""
    python = scripts.build.Interpreter(os.path.realpath(sys.executable), sys.version_info[:3])
    venv = scripts.staged_venv.StagedVenv("core", PREFIX / "venvs/core", tmp_path, python)
    venv.folder.mkdir(parents=True)
    (venv.folder / "old").touch()

    def install_lock(made, lock):
        raise scripts.build.BuildError("no such package")

    with pytest.raises(scripts.build.BuildError, match="no such package"):
        venv.make(SimpleNamespace(install_lock=install_lock), {"lock": "another"})
    return venv.folder.parent


def test_a_venv_that_cannot_be_made_leaves_the_old_one_and_nothing_half_made(failed):
    assert [path.relative_to(failed) for path in failed.rglob("*")] == [Path("core"), Path("core/old")]


def test_a_pip_that_finds_nothing_says_how_to_bring_packages(scripts):
    with pytest.raises(scripts.build.BuildError, match=r"(?s)exit status 1 of sh .*ERROR: no such.*make wheelhouse"):
        scripts.staged_venv.run("sh", "-c", "echo ERROR: no such package; exit 1")


@pytest.fixture
def venvs(tmp_path):
    (tmp_path / ".core.old").mkdir()
    (tmp_path / ".core.new").mkdir()
    (tmp_path / ".mine.old").mkdir()
    return tmp_path


def test_a_venv_that_was_moved_aside_goes_back_after_a_power_cut(venvs, scripts):
    scripts.staged_venv.recover(venvs)
    assert sorted(path.name for path in venvs.iterdir()) == [".mine.old", "core"]


def test_of_two_venvs_the_one_in_its_place_stays(venvs, scripts):
    (venvs / "core" / "new").mkdir(parents=True)
    scripts.staged_venv.recover(venvs)
    assert [path.name for path in (venvs / "core").iterdir()] == ["new"]
