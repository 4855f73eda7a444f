#!/usr/bin/env python3
"""`make install`, `make uninstall`: lay visualpath out below a root, and take it away again.

What lies where is in deploy/install/README.md. With a root other than `/` it is a stage, for any user to make and
somebody else to pack: no file of it contains the stage's path. For `/` one must be root; users and directories are
then made, and daemons that run are restarted on what is new.

Again: only what changed is replaced. What an operator edited in /etc/visualpath is kept, as are state and clips. Venvs
that an earlier run installed are brought up to date, too, and files that have no place any more are removed.

Standard library only. Exit status: 0: done; 1: it could not be, the reason is told; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "venvs"))
from build import AT_ONCE, OWN, PREFERRED, BuildError, Interpreter, choose_interpreter, pip_sources
from files import ALWAYS, PREFIX, File, all_files, moved
from layout import InstallError, Layout
from staged_venv import Pip, StagedVenv, own_sources, recover

HERE = Path(__file__).resolve().parent
INSTALLABLE = sorted(name for name in OWN if name not in ("dev", "sample") and not name.startswith("conflict-"))
PACKAGE_LIST = Path("/var/lib/dpkg/info/visualpath.list")
"""What is there of the package; after `apt remove` only its configuration."""
HIDDEN = ("/dev", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/var/tmp")  # noqa: S108
"""Where the units let no daemon look for programs, or nothing lasts."""
COMPLETIONS = {
    "bash": "/usr/share/bash-completion/completions/vpctl",
    "zsh": "/usr/share/zsh/vendor-completions/_vpctl",
    "fish": "/usr/share/fish/vendor_completions.d/vpctl.fish",
}


def check_place(stage: Path, prefix: Path) -> None:
    """Refuse a place that cannot be installed to; InstallError says why."""
    if not re.fullmatch(r"(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*){2,}", str(prefix)):
        raise InstallError(
            f"PREFIX={prefix}: give an absolute path of visualpath's own, of letters, digits and . _ + -: {PREFIX}"
        )
    if any(prefix.is_relative_to(place) for place in HIDDEN):
        raise InstallError(f"PREFIX={prefix}: daemons under systemd see nothing there; {PREFIX} is usual")
    if stage != Path("/"):
        return
    if os.geteuid() != 0:
        raise InstallError("to install on this machine one must be root; to make a stage, give DESTDIR=")
    if shutil.which("systemd-sysusers") is None:
        raise InstallError("this machine has no systemd: make venvs, and run it from here (make up)")
    if PACKAGE_LIST.exists() and "/usr/bin/vpctl" in PACKAGE_LIST.read_text().splitlines():
        raise InstallError("the package visualpath is installed here: install a newer one, or `apt remove visualpath`")


def lock(stage: Path) -> None:
    """Keep others out of a stage until this process ends; InstallError if another is at work there."""
    stage.mkdir(parents=True, exist_ok=True)
    try:
        fcntl.flock(os.open(stage, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InstallError(f"another install is at work in {stage}") from None


def check_python(python: Interpreter) -> None:
    """Refuse a Python that the daemons' users could not start; InstallError says why."""
    for folder in Path(python.path).parents:
        if not folder.stat().st_mode & 0o001:
            raise InstallError(
                f"{python.path} is no Python for all users ({folder} is closed to them): PYTHON={PREFERRED}"
            )


def install_venvs(layout: Layout, names: list[str], python: Interpreter, sources: list[str]) -> None:
    """Make those venvs that are missing or of which something changed, two at a time."""
    venvs = [StagedVenv(name, layout.prefix / "venvs" / name, layout.stage, python) for name in names]
    recover(layout.folder(layout.prefix / "venvs"))
    with own_sources(names) as copies, tempfile.TemporaryDirectory(prefix="visualpath-pip-") as temporary:
        inputs = {venv: venv.inputs(copies) for venv in venvs}
        stale = [venv for venv in venvs if venv.recorded() != inputs[venv]]
        if stale:
            pip = Pip(Path(temporary), python, sources)
            pip.build(copies)

        def make(venv: StagedVenv) -> float:
            started = time.monotonic()
            venv.make(pip, inputs[venv])
            return time.monotonic() - started

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for venv, seconds in zip(stale, pool.map(make, stale), strict=True):
                layout.change(f"{venv.final}: made in {seconds:.0f} s")


def say_of_itself(layout: Layout) -> list[File]:
    """Return the man page and the completions, as the vpctl that was installed tells them."""
    python = layout.real(layout.prefix / "venvs" / ALWAYS / "bin" / "python")

    def said(*command: str) -> str:
        environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([python, *command], capture_output=True, text=True, env=environ, check=False)
        if done.returncode:
            raise InstallError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    vpctl = "import sys; from visualpath.ctl.main import main; main(sys.argv[1:], prog_name='vpctl')"
    return [
        File(Path("/usr/share/man/man1/vpctl.1"), moved(said(str(HERE / "manpage.py")), layout.prefix)),
        *(File(Path(path), said("-c", vpctl, "completion", shell).encode()) for shell, path in COMPLETIONS.items()),
    ]


def wanted_venvs(layout: Layout, named: list[str], exact: bool) -> list[str]:
    """Return those that are named, and unless these are to be all, those that are there already."""
    there = [] if exact else [name for name in layout.venvs() if name in INSTALLABLE]
    return list(dict.fromkeys([ALWAYS, *named, *there]))


def install(layout: Layout, names: list[str], python: Interpreter, sources: list[str]) -> None:
    """Install everything, with these venvs and no others, and on this machine set it up."""
    files, models = all_files(layout.prefix), layout.prefix / "models"
    layout.claim(files, trees=[layout.prefix / "venvs" / name for name in names], folders=[models])
    install_venvs(layout, names, python, sources)
    said = say_of_itself(layout)
    layout.claim(said)
    for file in (*files, *said):
        layout.put(file)
    layout.folder(models)
    layout.drop_venvs(names)
    layout.drop_files()
    if not layout.changes and not layout.interrupted:
        print("nothing changed")
    elif layout.stage == Path("/"):
        run_script("postinst", "configure", *(["installed"] if layout.installed else []))
    layout.finish()


def uninstall(layout: Layout) -> None:
    """Stop what runs on this machine, and remove what was installed."""
    if not layout.installed:
        raise InstallError(f"nothing is installed under {layout.real(layout.prefix)} by `make install`")
    if layout.stage == Path("/"):
        run_script("prerm", "remove")
    layout.remove()
    if layout.stage == Path("/"):
        run_script("postrm", "remove")
    print("removed; kept are what was edited in /etc/visualpath, /var/lib/visualpath with state and clips, models that"
          " were pulled, and the user visualpath")  # fmt: skip


def run_script(name: str, *args: str) -> None:
    """Run one of the package's scripts on this machine."""
    sys.stdout.flush()
    subprocess.run(["/bin/sh", HERE / name, *args], check=True)


def main() -> int:
    """Parse the arguments; install or remove."""
    parser = argparse.ArgumentParser(description="Install visualpath below a root, or remove it.")
    parser.add_argument("venvs", nargs="*", metavar="VENV", choices=[*INSTALLABLE, []], help=", ".join(INSTALLABLE))
    parser.add_argument("--destdir", default="", help="root of a stage; default: this machine")
    parser.add_argument("--prefix", type=Path, default=Path(PREFIX), help=f"default: {PREFIX}")
    parser.add_argument("--python", help=f"Python that the venvs are made with (default: {PREFERRED}, else this one)")
    parser.add_argument("--offline", action="store_true", help="ask no index: all comes from the wheelhouse")
    parser.add_argument("--exact", action="store_true", help="remove venvs of an earlier run that are not named")
    parser.add_argument("--uninstall", action="store_true", help="remove what was installed")
    args = parser.parse_args()
    os.umask(0o022)
    try:
        if args.destdir and not Path(args.destdir).is_absolute():
            raise InstallError(f"DESTDIR={args.destdir}: give an absolute path")
        stage = Path(args.destdir or "/").resolve()
        check_place(stage, args.prefix)
        lock(stage)
        layout = Layout(stage, args.prefix)
        if args.uninstall:
            uninstall(layout)
        else:
            python = choose_interpreter(args.python)
            check_python(python)
            install(layout, wanted_venvs(layout, args.venvs, args.exact), python, pip_sources(args.offline))
    except KeyboardInterrupt:
        print("interrupted: what was there works on; run it again", file=sys.stderr)
        return 1
    except (InstallError, BuildError, OSError, subprocess.CalledProcessError) as err:
        print(f"{'uninstall' if args.uninstall else 'install'}: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
