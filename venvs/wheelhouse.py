#!/usr/bin/env python3
"""Download the wheels of every lock but one, for this Python and machine, into $WHEELHOUSE, else `wheelhouse/`.

With that folder `venvs/build.py --offline` builds without a network. Only what is missing is downloaded, and each
package is kept as soon as it is whole, so that an interrupted download goes on where it was. What `ultra` has more
than others is left out: gigabytes, and under AGPL-3.0.

Exit status: 0: all are there; 1: some could not be downloaded; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from build import AT_ONCE, OWN, PREFERRED, ROOT, BuildError, choose_interpreter, clean_environ, excerpt, wheelhouse

LEFT_OUT = "ultra"


def requirements(lock: str) -> list[str]:
    """Return a lock's requirements, one to a line, each with its marker and hashes."""
    lines = (line for line in lock.splitlines(keepends=True) if not line.lstrip().startswith("#"))
    joined = "".join(lines).replace("\\\n", "")
    return [" ".join(line.split()) for line in joined.splitlines() if line.strip()]


class Downloader:
    """Downloads wheels with a pip of its own: the system's Python need not have one.

    Args:
        python: path of that pip's Python.
        folder: where the wheels are kept.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self._command = [str(python), "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        self._command += ["--find-links", str(folder), "--dest", str(folder)]

    def has_all(self, name: str) -> bool:
        """Whether a venv can be built from what is there."""
        return self._pip("--no-index", "-r", str(ROOT / "venvs" / f"{name}.lock")).returncode == 0

    def download(self, requirement: str) -> str:
        """Download one package, unless it is there or not for this Python; return what went wrong, or ""."""
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(requirement)
            file.flush()
            done = self._pip("-r", file.name)
        return "\n    ".join(excerpt(done.stdout)) if done.returncode else ""

    def _pip(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [*self._command, *args]
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean_environ(), text=True, check=False
        )


def fill(downloader: Downloader, pool: ThreadPoolExecutor) -> bool:
    """Download what is missing for any lock; return whether all is there."""
    whole = {name: pool.submit(downloader.has_all, name) for name in OWN if name != LEFT_OUT}
    locks = [(ROOT / "venvs" / f"{name}.lock").read_text() for name, future in whole.items() if not future.result()]
    wanted = dict.fromkeys(line for lock in locks for line in requirements(lock))
    errors = {line: pool.submit(downloader.download, line) for line in wanted}
    for line, future in errors.items():
        if error := future.result():
            print(f"{line.split()[0]}: FAILED:\n    {error}", file=sys.stderr, flush=True)
    return not any(future.result() for future in errors.values())


def main() -> int:
    """Make a pip, and download with it."""
    parser = argparse.ArgumentParser(description="Download the wheels of venvs/*.lock into wheelhouse/.")
    parser.add_argument("--python", help=f"Python that the wheels are for (default: {PREFERRED}, else this one)")
    args = parser.parse_args()
    folder = wheelhouse()
    try:
        python = choose_interpreter(args.python)
    except BuildError as err:
        print(f"venvs/wheelhouse.py: {err}", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.glob("*.whl"))
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(AT_ONCE) as pool:
        subprocess.run([python.path, "-m", "venv", temporary], env=clean_environ(), check=True)
        try:
            whole = fill(Downloader(Path(temporary) / "bin" / "python", folder), pool)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            print("interrupted: what was downloaded is kept", file=sys.stderr)
            whole = False
    wheels = set(folder.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels)
    print(f"{folder}: {len(wheels)} wheels, {size / 1e6:.0f} MB; {len(wheels - before)} of them downloaded")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
