"""The units of systemd/: systemd finds nothing to say, what a daemon may do is little, and the paths agree."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from visualpath.core.errors import ConfigError
from visualpath.ctl.systemd import MAX_EXTRACTOR_NAME, daemon_of, unit_of
from visualpath.extractor.daemon import STOP_PATIENCE_NS
from visualpath.frame.capture import STOP_PATIENCE_S
from visualpath.runtime.config import load_config
from visualpath.runtime.main import EXIT_CONFIG
from visualpath.runtime.roles import ROLES, Role
from visualpath_protocol.endpoints import Endpoints
from visualpath_protocol.security import FolderClaim

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "systemd"
EXAMPLE = ROOT / "deploy" / "visualpath.example.yaml"
UNITS = sorted(path.name for path in SYSTEMD.iterdir() if path.is_file())
SERVICES = [name for name in UNITS if name.endswith(".service")]

MAX_EXPOSURE = 1.5
MAX_USER_NAME = 31
"""utmp has no room for more; systemd refuses it for a dynamic user."""
LONGEST_INSTANCE = "a" * MAX_EXTRACTOR_NAME
BYTES = {"M": 1 << 20, "G": 1 << 30}


def needs(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed: no systemd here")


def run(*command, **environ):
    """Exit status and everything it said."""
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env={**os.environ, **environ}
    )
    return result.returncode, result.stdout


def directives(name):
    """The values of each key of a unit, in order."""
    found = {}
    for line in (SYSTEMD / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def words(name, key):
    """All values of a key, split at blanks."""
    return [word for value in directives(name).get(key, []) for word in value.split()]


@pytest.fixture
def stage(tmp_path):
    """The units as they would be installed: templates with an instance, commands that exist on this machine."""
    for name in UNITS:
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/usr/bin/true", (SYSTEMD / name).read_text(), flags=re.MULTILINE)
        (tmp_path / name.replace("@.", f"@{LONGEST_INSTANCE}.")).write_text(text)
    return tmp_path


def verify(folder):
    units = [f"./{path.name}" for path in sorted(folder.iterdir())]
    return run("env", "-C", str(folder), "systemd-analyze", "verify", *units, SYSTEMD_UNIT_PATH=f"{folder}:")


def exposure(path):
    """0 (may do nothing) to 10 (may do everything)."""
    status, text = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(path))
    found = re.search(r"exposure level for \S+: ([\d.]+)", text)
    assert found, f"exit status {status}: {text}"
    return float(found[1])


@needs("systemd-analyze")
def test_systemd_has_nothing_to_say_about_the_units(stage):
    assert verify(stage) == (0, "")


@needs("systemd-analyze")
def test_a_mistyped_key_is_seen(stage):
    with (stage / "visualpath-clip.service").open("a") as unit:
        unit.write("[Service]\nWatchdogSecs=30s\n")
    assert "WatchdogSecs" in verify(stage)[1]


@needs("systemd-analyze")
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little(name):
    assert exposure(SYSTEMD / name) <= MAX_EXPOSURE


@needs("systemd-analyze")
def test_a_service_without_protection_would_be_seen(tmp_path):
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/usr/bin/true\n")
    assert exposure(bare) > MAX_EXPOSURE


def test_each_role_has_a_unit_that_starts_it():
    commands = [words(name, "ExecStart") for name in SERVICES]
    assert sorted(command[1] for command in commands) == sorted(ROLES)


@pytest.mark.parametrize("name", SERVICES)
def test_templates_and_only_they_name_an_instance(name):
    command = words(name, "ExecStart")
    assert Path(command[0]).name == "visualpath-exec"
    assert name == f"visualpath-{command[1]}{'@' if '%i' in command else ''}.service"


@pytest.mark.parametrize("name", SERVICES)
def test_only_a_bad_configuration_ends_a_daemon_for_good(name):
    unit = directives(name)
    assert (unit["Restart"], unit["RestartPreventExitStatus"]) == (["always"], [str(EXIT_CONFIG)])


@pytest.mark.parametrize("name", SERVICES)
def test_a_crash_loop_comes_to_an_end(name):
    assert words(name, "StartLimitBurst") not in ([], ["0"])
    assert words(name, "StartLimitIntervalSec") not in ([], ["0"])


def limit(name, key):
    """Bytes."""
    [value] = words(name, key)
    return int(value[:-1]) * BYTES[value[-1]]


@pytest.mark.parametrize("name", SERVICES)
def test_a_daemon_that_leaks_is_slowed_down_before_it_is_killed(name):
    assert 100 << 20 < limit(name, "MemoryHigh") < limit(name, "MemoryMax")


def test_the_frame_daemon_may_fill_a_ring_as_large_as_the_mount():
    [size] = re.findall(r"size=(\w+)", directives(r"run-visualpath\x2dring.mount")["Options"][0])
    assert limit("visualpath-frame@.service", "MemoryHigh") > int(size[:-1]) * BYTES[size[-1]]


@pytest.mark.parametrize("patience_s", [STOP_PATIENCE_S, STOP_PATIENCE_NS / 1e9])
@pytest.mark.parametrize("name", ["visualpath-frame@.service", "visualpath-extractor@.service"])
def test_what_hangs_is_given_up_by_its_daemon_before_systemd_gives_up_the_daemon_after_5_s(name, patience_s):
    assert words(name, "TimeoutStopSec") == ["5s"]
    assert patience_s < 4


@pytest.mark.parametrize("name", SERVICES)
def test_a_daemon_is_ready_when_it_says_so_and_watched_from_then_on(name):
    assert (words(name, "Type"), words(name, "WatchdogSec")) == (["notify"], ["30s"])


@pytest.mark.parametrize("name", SERVICES)
def test_log_lines_carry_the_name_of_the_unit(name):
    assert words(name, "SyslogIdentifier") == [name.removesuffix(".service").replace("@", "-%i")]


@pytest.mark.parametrize("name", SERVICES)
def test_vpctl_knows_the_unit_of_each_daemon_and_the_daemon_of_each_unit(name):
    _, role, *rest = words(name, "ExecStart")
    instance = "a-b" if "%i" in rest else ""
    unit = unit_of(Role(role, instance, "", ""))
    assert unit == name.replace("@", f"@{instance}")
    assert daemon_of(unit) == f"{role}-{instance}".rstrip("-")


def test_the_watch_daemon_comes_with_the_target_only_where_it_is_enabled():
    assert "visualpath-watch.service" not in words("visualpath.target", "Wants")
    assert directives("visualpath-watch.service")["WantedBy"] == ["visualpath.target"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_daemon_is_of_the_group_that_may_connect(name):
    assert directives(name)["Group"] == ["visualpath"]


def test_each_extractor_has_a_user_of_its_own():
    unit = directives("visualpath-extractor@.service")
    assert (unit["DynamicUser"], unit["User"]) == (["yes"], ["vp-%i"])
    assert len(unit["User"][0].replace("%i", LONGEST_INSTANCE)) == MAX_USER_NAME


@needs("systemd-sysusers")
def test_sysusers_makes_the_user_and_the_group(tmp_path):
    (tmp_path / "etc").mkdir()
    config = str(SYSTEMD / "sysusers.d" / "visualpath.conf")
    status, text = run("systemd-sysusers", "--dry-run", f"--root={tmp_path}", config)
    assert status == 0, text
    assert "Creating group 'visualpath'" in text
    assert "Creating user 'visualpath'" in text


def tmpfiles():
    """path: (mode, user, group) of each directory of tmpfiles.d."""
    lines = (SYSTEMD / "tmpfiles.d" / "visualpath.conf").read_text().splitlines()
    rows = [line.split() for line in lines if line.startswith("d ")]
    return {path: (mode, user, group) for _, path, mode, user, group, *_ in rows}


@pytest.fixture
def installed(tmp_path):
    """A root in which systemd-tmpfiles has made the directories, for this user in place of root and visualpath."""
    text = (SYSTEMD / "tmpfiles.d" / "visualpath.conf").read_text()
    config = tmp_path / "visualpath.conf"
    config.write_text(re.sub(r" root( +)visualpath", rf" {os.getuid()}\g<1>{os.getgid()}", text))
    status, said = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(config))
    assert (status, said) == (0, "")
    return tmp_path


def test_only_systemd_makes_folders_in_the_run_dir():
    assert tmpfiles()["/run/visualpath"] == ("0750", "root", "visualpath")


@needs("systemd-tmpfiles")
def test_tmpfiles_makes_each_directory_with_its_mode(installed):
    made = {path: f"{stat.S_IMODE((installed / path[1:]).stat().st_mode):04o}" for path in tmpfiles()}
    assert made == {path: mode for path, (mode, *_) in tmpfiles().items()}


@needs("systemd-tmpfiles")
def test_a_daemon_can_claim_the_folder_that_systemd_makes_in_it(installed):
    folder = Endpoints(installed / "run" / "visualpath").folder("clip")
    folder.mkdir(mode=int(directives("visualpath-clip.service")["RuntimeDirectoryMode"][0], 8))
    FolderClaim(folder).release()


@pytest.fixture
def system_wide(tmp_path):
    """The example configuration with its block for systemd taken in."""
    block = re.search(r"^# Under systemd.*\n((?:#   .*\n)+)", EXAMPLE.read_text(), re.MULTILINE)
    assert block, f"{EXAMPLE} has no block for systemd"
    changed = yaml.safe_load(block[1].replace("#   ", ""))
    values = yaml.safe_load(EXAMPLE.read_text())
    for key, value in changed.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    path = tmp_path / "visualpath.yaml"
    path.write_text(yaml.safe_dump(values))
    try:
        return load_config(path)
    except ConfigError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_makes_the_folder_of_its_sockets_in_the_system_wide_run_dir(name, system_wide):
    _, role, *instance = words(name, "ExecStart")
    daemon = f"{role}-%i" if "%i" in instance else role
    made = [f"/run/{folder}" for folder in words(name, "RuntimeDirectory")]
    assert made == [str(system_wide.endpoints().folder(daemon))]
    assert str(system_wide.run_dir) in tmpfiles()


@pytest.mark.parametrize("name", SERVICES)
def test_the_daemons_may_write_where_the_system_wide_traces_are(name, system_wide):
    assert f"-{system_wide.trace_dir}" in words(name, "ReadWritePaths")
    assert str(system_wide.trace_dir) in tmpfiles()


def test_the_mount_is_where_the_system_wide_ring_is(system_wide):
    assert directives(r"run-visualpath\x2dring.mount")["Where"] == [str(system_wide.ring_dir)]
    assert str(system_wide.ring_dir) in words("visualpath-frame@.service", "ReadWritePaths")


@pytest.mark.parametrize("role", ["frame", "extractor", "clip"])
def test_who_reads_the_ring_waits_for_its_mount(role, system_wide):
    name = next(name for name in SERVICES if words(name, "ExecStart")[1] == role)
    assert words(name, "RequiresMountsFor") == [str(system_wide.ring_dir)]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("visualpath-frame@.service", "state_dir/frame-%i"),
        ("visualpath-fusion.service", "state_dir/fusion"),
        ("visualpath-clip.service", "state_dir/clip"),
        ("visualpath-clip.service", "clips_dir"),
        ("visualpath-watch.service", "state_dir/watch"),
    ],
)
def test_each_daemon_has_the_state_that_it_writes(name, folder, system_wide):
    attribute, _, rest = folder.partition("/")
    assert str(getattr(system_wide, attribute) / rest) in [f"/var/lib/{d}" for d in words(name, "StateDirectory")]


@pytest.mark.parametrize("name", SERVICES)
def test_the_command_lies_in_the_system_wide_venvs(name, system_wide):
    assert words(name, "ExecStart")[0] == str(system_wide.venvs_dir / "core" / "bin" / "visualpath-exec")
