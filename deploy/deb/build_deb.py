#!/usr/bin/env python3
"""`make deb`: pack the stage that `make install` made as a Debian package.

The package is the stage, hard-linked, with what dpkg wants besides: control, the list of configuration files, checksums
(for `dpkg -V`) and the scripts of deploy/install. It runs on the Python that the venvs were made with, and only there.

Standard library only. Exit status: 0: packed; 1: it could not be, the reason is told; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
COMPRESSION = ("-Zzstd", "-z6")
"""For core, light and face 6 s and 217 MB; xz -1 takes 31 s for 206 MB. dpkg reads it from 1.21.18 on (Debian 12)."""


def version() -> str:
    """Return that of the platform."""
    lines = (ROOT / "daemons" / "pyproject.toml").read_text().splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version ="))


def said(*command: str | Path) -> str:
    """Return what a command prints."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def python_of(stage: Path) -> tuple[int, int]:
    """Return the version of the Python that the stage's venvs run on."""
    folder = next(stage.glob("**/venvs/core/lib/python3.*"))
    return 3, int(folder.name.rpartition(".")[2])


def control(tree: Path, release: str) -> str:
    """Return the package's control file."""
    major, minor = python_of(tree)
    size = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    fields = {
        "VERSION": f"{version()}-{release}",
        "ARCHITECTURE": said("dpkg", "--print-architecture"),
        "SIZE": str(size // 1024),
        "PYTHON": f"python3 (>= {major}.{minor}), python3 (<< {major}.{minor + 1})",
    }
    text = (HERE / "control").read_text()
    for name, value in fields.items():
        text = text.replace(f"@{name}@", value)
    return text


def describe(tree: Path, release: str) -> None:
    """Write what dpkg wants to know into a package's tree."""
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    configuration = [path for path in files if path.is_relative_to(tree / "etc")]
    folder = tree / "DEBIAN"
    folder.mkdir()
    (folder / "control").write_text(control(tree, release))
    (folder / "conffiles").write_text("".join(f"/{path.relative_to(tree)}\n" for path in configuration))
    sums = (
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(tree)}\n"
        for path in files
        if path not in configuration
    )
    (folder / "md5sums").write_text("".join(sums))
    for script in SCRIPTS:
        shutil.copyfile(ROOT / "deploy" / "install" / script, folder / script)
        (folder / script).chmod(0o755)


def main() -> int:
    """Parse the arguments; pack."""
    parser = argparse.ArgumentParser(description="Pack a stage of `make install` as a Debian package.")
    parser.add_argument("stage", type=Path, help="what DESTDIR was")
    parser.add_argument("--release", default="1", help="the last part of the version; default: 1")
    args = parser.parse_args()
    os.umask(0o022)
    tree = args.stage.with_name("package")
    try:
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(args.stage, tree, symlinks=True, copy_function=os.link)
        for record in tree.glob("**/share/installed.json"):
            record.unlink()
        describe(tree, args.release)
        said("dpkg-deb", "--root-owner-group", *COMPRESSION, "--build", tree, args.stage.parent)
        shutil.rmtree(tree)
    except (OSError, subprocess.CalledProcessError) as err:
        print(f"deb: {err}", file=sys.stderr)
        return 1
    package = max(args.stage.parent.glob("*.deb"), key=lambda path: path.stat().st_mtime)
    print(f"{package}: {package.stat().st_size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
