"""`make install` and `make deb`: a stage that will run elsewhere, upgraded, removed, packed (real pip, real dpkg)."""

import compileall
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from visualpath.ctl.main import main as vpctl
from visualpath.runtime.config import load_config

ROOT = Path(__file__).parents[2]
SOURCES = ("protocol", "daemons", "venvs", "deploy", "systemd", "docs")
DOCUMENTS = ("README.md", "CHANGELOG.md", "LICENSE")
PREFIX = "opt/visualpath"
SITE = next((ROOT / ".venvs" / "core" / "lib").glob("python3.*"), Path("python3")).name + "/site-packages"
CONFIG = "etc/visualpath/visualpath.yaml"
HEAVY = ("av.libs", "numpy.libs", "pillow.libs")
"""To compress these tells nothing of a package."""
SYSTEM_WIDE = {
    "run_dir": "/run/visualpath",
    "state_dir": "/var/lib/visualpath",
    "ring_dir": "/run/visualpath-ring",
    "clips_dir": "/var/lib/visualpath/clips",
    "venvs_dir": "/opt/visualpath/venvs",
    "models_dir": "/opt/visualpath/models",
}

pytestmark = [
    pytest.mark.timeout(600),  # pip, on a machine that does other things
    pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no Python of the system's to install for"),
]


def needs(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def run(tree, stage, *args):
    """Install from a checkout into a stage, as one whose files are his own: exit code, and everything it said."""
    done = subprocess.run(
        [sys.executable, tree / "deploy" / "install" / "install.py", "--destdir", stage, *args],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        umask=0o077,
    )  # fmt: skip
    return SimpleNamespace(code=done.returncode, said=done.stdout)


def copy_stage(stage, folder):
    """The stage once more, to change; what is in venvs by hard links."""
    shutil.copytree(stage, folder, symlinks=True, copy_function=os.link)
    shutil.rmtree(folder / "etc")
    shutil.copytree(stage / "etc", folder / "etc")
    return folder


def files(folder):
    """Everything below a folder but folders, by the path from there."""
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The sources as they are when the tests begin."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    for name in DOCUMENTS:
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def stage(checkout, tmp_path_factory):
    """What `make install DESTDIR=... VENVS=core` lays out; not to be changed."""
    folder = tmp_path_factory.mktemp("staged") / "stage"
    done = run(checkout, folder, "core")
    assert done.code == 0, done.said
    return folder


@pytest.fixture
def own_stage(stage, tmp_path):
    return copy_stage(stage, tmp_path / "stage")


@pytest.mark.parametrize(("attribute", "place"), SYSTEM_WIDE.items())
def test_the_installed_configuration_is_that_of_the_units(attribute, place, stage):
    assert str(getattr(load_config(stage / CONFIG), attribute)) == place


def test_no_file_of_a_stage_contains_its_path(stage):
    found = [name for name, path in files(stage).items() if not path.is_symlink() and bytes(stage) in path.read_bytes()]
    assert found == []


def test_no_link_of_a_stage_leads_into_it(stage):
    targets = [os.readlink(path) for path in files(stage).values() if path.is_symlink()]
    assert [target for target in targets if str(stage) in target] == []


def test_the_link_in_usr_bin_leads_to_vpctl(stage):
    target = os.readlink(stage / "usr" / "bin" / "vpctl")
    assert os.access(stage / target.lstrip("/"), os.X_OK)


def test_our_own_code_is_really_installed(stage):
    found = subprocess.run(
        [stage / PREFIX / "venvs/core/bin/python", "-B", "-c", "import visualpath.ctl.main as m; print(m.__file__)"],
        capture_output=True, text=True, check=True, cwd="/", env={},
    )  # fmt: skip
    assert Path(found.stdout.strip()).is_relative_to(stage)


def test_scripts_name_the_python_of_the_final_place(stage):
    first = (stage / PREFIX / "venvs/core/bin/visualpath-exec").read_text().splitlines()[0]
    assert first == f"#!/{PREFIX}/venvs/core/bin/python"


def test_everything_is_compiled(stage):
    """A daemon's user may not write there."""
    library = stage / PREFIX / "venvs/core/lib"
    before = {path: path.stat().st_mtime_ns for path in library.rglob("*.pyc")}
    assert compileall.compile_dir(library / SITE / "visualpath", quiet=1)
    assert {path: path.stat().st_mtime_ns for path in library.rglob("*.pyc")} == before


def test_no_pip_is_shipped(stage):
    assert not list((stage / PREFIX / "venvs/core" / "lib" / SITE).glob("pip*"))


def test_every_file_is_readable_for_all_but_the_configuration(stage):
    modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in files(stage).items() if not path.is_symlink()}
    closed = {name: mode for name, mode in modes.items() if not mode & 0o004}
    assert closed == {CONFIG: 0o640, "etc/visualpath/secrets.env": 0o600}


def test_every_folder_is_open_to_all(stage):
    folders = [path for path in stage.rglob("*") if path.is_dir() and not path.is_symlink()]
    assert [path for path in folders if stat.S_IMODE(path.stat().st_mode) != 0o755] == []


def test_every_unit_is_installed(stage):
    units = {path.name for path in (ROOT / "systemd").iterdir() if path.is_file()}
    assert {path.name for path in (stage / "usr/lib/systemd/system").iterdir()} == units


def test_the_man_page_has_every_command(stage):
    page = (stage / "usr/share/man/man1/vpctl.1").read_text()
    assert set(re.findall(r"^\.SS vpctl ([a-z]+)", page, re.MULTILINE)) == set(vpctl.commands)


@needs("groff")
def test_groff_has_nothing_to_say_about_the_man_page(stage):
    page = stage / "usr/share/man/man1/vpctl.1"
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", page], capture_output=True, check=True)
    assert done.stderr == b""


def test_bash_takes_the_completion(stage):
    script = stage / "usr/share/bash-completion/completions/vpctl"
    done = subprocess.run(["bash", "-c", f". {script}; complete -p vpctl"], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(" vpctl")


def inodes(folder):
    return {name: path.lstat().st_ino for name, path in files(folder).items() if path.name != "installed.json"}


def test_a_second_install_changes_nothing(checkout, own_stage):
    before = inodes(own_stage)
    done = run(checkout, own_stage, "core")
    assert (done.said, inodes(own_stage)) == ("nothing changed\n", before)


@pytest.fixture(scope="module")
def upgraded(checkout, stage, tmp_path_factory):
    """A stage whose configuration was edited, after an upgrade to another version of our own code and documents."""
    folder = tmp_path_factory.mktemp("upgraded")
    tree, upgraded = shutil.copytree(checkout, folder / "checkout"), copy_stage(stage, folder / "stage")
    with (upgraded / CONFIG).open("a") as config:
        config.write("# edited\n")
    with (tree / "daemons/visualbase/ring.py").open("a") as module:
        module.write("# another version\n")
    (tree / "docs/clips.md").unlink()
    done = run(tree, upgraded)
    assert done.code == 0, done.said
    return upgraded


def test_an_upgrade_keeps_an_edited_configuration(upgraded):
    assert (upgraded / CONFIG).read_text().endswith("# edited\n")


def test_an_upgrade_leaves_the_defaults_beside_it(upgraded, stage):
    assert (upgraded / PREFIX / "share/visualpath.yaml").read_bytes() == (stage / CONFIG).read_bytes()


def test_an_upgrade_replaces_our_own_code(upgraded):
    module = upgraded / PREFIX / "venvs/core/lib" / SITE / "visualbase/ring.py"
    assert module.read_text().endswith("# another version\n")


def test_an_upgrade_does_not_write_into_the_files_that_daemons_run_from(stage, upgraded):
    module = stage / PREFIX / "venvs/core/lib" / SITE / "visualbase/ring.py"
    assert not module.read_text().endswith("# another version\n")


def test_an_upgrade_leaves_what_did_not_change(upgraded, stage):
    module = f"{PREFIX}/venvs/core/lib/{SITE}/zmq/__init__.py"
    assert (upgraded / module).stat().st_ino == (stage / module).stat().st_ino


def test_an_upgrade_removes_what_is_part_of_it_no_more(upgraded):
    assert not (upgraded / PREFIX / "doc/clips.md").exists()


def test_after_an_upgrade_no_file_contains_the_path_of_the_stage(upgraded):
    found = [
        name for name, path in files(upgraded).items() if not path.is_symlink() and bytes(upgraded) in path.read_bytes()
    ]
    assert found == []


def test_uninstall_leaves_nothing_behind(own_stage):
    done = run(ROOT, own_stage, "--uninstall")
    assert (done.code, list(own_stage.iterdir())) == (0, [])


@pytest.fixture(scope="module")
def package(stage, tmp_path_factory):
    """The package, unpacked with its DEBIAN folder."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    folder = tmp_path_factory.mktemp("deb")
    copy_stage(stage, folder / "stage")
    for name in HEAVY:
        shutil.rmtree(folder / "stage" / PREFIX / "venvs/core/lib" / SITE / name)
    command = [sys.executable, ROOT / "deploy/deb/build_deb.py", folder / "stage", "--release", "7"]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    deb = next(folder.glob("visualpath_*-7_*.deb"))
    subprocess.run(["dpkg-deb", "-R", deb, folder / "unpacked"], check=True)
    listed = subprocess.run(["dpkg-deb", "-c", deb], check=True, stdout=subprocess.PIPE, text=True).stdout
    return SimpleNamespace(tree=folder / "unpacked", owners={line.split()[1] for line in listed.splitlines()})


def test_everything_in_the_package_belongs_to_root(package):
    assert package.owners == {"root/root"}


def test_the_package_holds_what_the_stage_holds_but_its_record(package, stage):
    packed = {name for name in files(package.tree) if not name.startswith("DEBIAN/")}
    heavy = tuple(f"{PREFIX}/venvs/core/lib/{SITE}/{name}/" for name in HEAVY)
    staged = {name for name in files(stage) if not name.startswith(heavy)}
    assert packed == staged - {f"{PREFIX}/share/installed.json"}


def test_dpkg_asks_before_it_overwrites_the_configuration(package):
    assert (package.tree / "DEBIAN/conffiles").read_text().split() == ["/etc/visualpath/secrets.env", f"/{CONFIG}"]


def test_dpkg_knows_the_checksum_of_every_other_file(package):
    sums = dict(line.split("  ", 1)[::-1] for line in (package.tree / "DEBIAN/md5sums").read_text().splitlines())
    installed = {name: path for name, path in files(package.tree).items() if not name.startswith(("DEBIAN/", "etc/"))}
    assert sums == {
        name: hashlib.md5(path.read_bytes()).hexdigest() for name, path in installed.items() if not path.is_symlink()
    }


def test_the_package_wants_the_python_of_its_venvs(package):
    minor = int(re.search(r"python3\.(\d+)", SITE)[1])
    depends = re.search(r"^Depends: (.*)$", (package.tree / "DEBIAN/control").read_text(), re.MULTILINE)[1]
    assert depends.startswith(f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1}), ")


@pytest.mark.parametrize("script", ["preinst", "postinst", "prerm", "postrm"])
def test_the_scripts_of_the_package_are_sound(package, script):
    subprocess.run(["sh", "-n", package.tree / "DEBIAN" / script], check=True)


def test_the_record_has_final_paths(stage):
    record = json.loads((stage / PREFIX / "share/installed.json").read_text())
    assert record["trees"] == [f"/{PREFIX}/venvs/core"]
