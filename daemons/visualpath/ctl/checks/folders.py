"""Whether the daemons can use their folders: owner, mode, and what may lie in them."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from visualpath.ctl.checks.finding import Examined, Finding, Findings, ok, problem, warning


def check_folders(examined: Examined) -> Findings:
    """Each folder of the configuration, as the user who runs vpctl."""
    config = examined.config
    folders = {
        "run_dir": config.run_dir,
        "state_dir": config.state_dir,
        "clip.dir": config.clips_dir,
        "ring.dir": config.ring_dir,
    }
    for key, folder in folders.items():
        findings = list(_check_folder(key, folder))
        yield from findings or [ok(f"{key} {folder}: writable{'' if folder.exists() else ', will be made'}")]


def _check_folder(key: str, folder: Path) -> Findings:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        yield problem(f"{key} {folder}: {there} is no folder", f"move it away, or change {key}")
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield _unwritable(key, there)
        return
    if there != folder:
        return
    status = folder.stat()
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        yield warning(f"{key} {folder}: any user may write there ({mode(folder)})", f"chmod o-w {folder}")
    if key == "run_dir" and status.st_uid not in (0, os.geteuid()) and status.st_gid not in _groups():
        yield problem(f"run_dir {folder} belongs to a stranger, {owner(folder)}", "remove it, or set another run_dir")
    strangers = [path for path in _within(folder) if not os.access(path, os.W_OK)]
    if strangers:
        yield _unwritable(key, strangers[0], among=len(strangers))


def _unwritable(key: str, path: Path, among: int = 1) -> Finding:
    me = pwd.getpwuid(os.geteuid()).pw_name
    if path.stat().st_uid == os.geteuid():
        mend = (
            f"chmod u+rwX {path}" if os.access(path.parent, os.W_OK) else f"mount its file system for writing: {path}"
        )
    else:
        folder = path if path.is_dir() else path.parent
        mend = f"run vpctl and the daemons as the {owner(path)}, or: sudo chown -R {me} {folder}"
    more = f", and {among - 1} more" if among > 1 else ""
    return problem(f"{key}: {me} may not write {path} ({owner(path)}, {mode(path)}){more}", mend)


def _within(folder: Path) -> Iterator[Path]:
    """What lies there, two levels deep and no clips: state that another user made once stops the next start."""
    for path in _entries(folder):
        yield path
        if path.is_dir():
            yield from _entries(path)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() or path.suffix in ("", ".db", ".log"))
    except PermissionError:
        return []


def _groups() -> tuple[int, ...]:
    return os.getegid(), *os.getgroups()


def owner(path: Path) -> str:
    """The owner's name, or number where that user has none."""
    uid = path.stat().st_uid
    try:
        return f"owner {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"owner {uid}"


def mode(path: Path) -> str:
    """Permissions in octal, as chmod takes them."""
    return f"mode {stat.S_IMODE(path.stat().st_mode):04o}"
