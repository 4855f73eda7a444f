"""Whether there is room for the ring and the clips."""

from __future__ import annotations

import shutil
from pathlib import Path

from visualpath.ctl.checks.finding import Examined, Findings, mebibytes, ok, problem, warning
from visualpath.runtime.config import Config

MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")
CLIPS_FEW = 50
STATE_MIN_BYTES = 64 << 20


def check_disk(examined: Examined) -> Findings:
    """Room for clips, at the largest that the ring allows, and for state."""
    config = examined.config
    clip_bytes = largest_clip_bytes(config)
    free = shutil.disk_usage(existing(config.clips_dir)).free
    text = f"clip.dir {config.clips_dir}: {mebibytes(free)} free, room for {free // clip_bytes} clips"
    text += f" of at most {mebibytes(clip_bytes)}"
    mend = f"delete old clips in {config.clips_dir}, or set clip.dir to a larger disk"
    if free < 2 * clip_bytes:
        yield problem(text, mend)
    elif free < CLIPS_FEW * clip_bytes:
        yield warning(text, mend)
    else:
        yield ok(text)
    state_free = shutil.disk_usage(existing(config.state_dir)).free
    if state_free < STATE_MIN_BYTES:
        yield problem(
            f"state_dir {config.state_dir}: {mebibytes(state_free)} free; triggers could not be stored",
            "make room on that disk, or set another state_dir",
        )


def check_ring(examined: Examined) -> Findings:
    """On a memory file system that is large enough for all streams, and within the machine's memory."""
    config = examined.config
    folder = existing(config.ring_dir)
    kind, mount = file_system(folder)
    if kind not in MEMORY_FILE_SYSTEMS:
        yield warning(
            f"ring.dir {config.ring_dir} lies on {kind}: every frame goes to that disk",
            f"set ring.dir in {config.path} to a folder on a tmpfs, such as one under /dev/shm",
        )
    wanted = config.ring.max_bytes * len(config.streams)
    held = sum(path.stat().st_size for path in config.ring_dir.glob("*/*.seg"))
    free = shutil.disk_usage(folder).free
    text = f"ring.size x streams: {mebibytes(wanted)}; {mount} has {mebibytes(free)} free and {mebibytes(held)} in use"
    if free + held < wanted:
        remount = f", or mount -o remount,size={-(-wanted * 3 // 2 >> 20)}M {mount}" if kind == "tmpfs" else ""
        yield problem(f"{text}: old frames go too early", f"lower ring.size in {config.path}{remount}")
    else:
        yield ok(text)
    available = memory_available()
    if kind in MEMORY_FILE_SYSTEMS and wanted - held > available:
        yield problem(
            f"the ring may grow by {mebibytes(wanted - held)}, the machine has {mebibytes(available)} of memory left",
            f"lower ring.size in {config.path}, or stop what uses the memory",
        )


def largest_clip_bytes(config: Config) -> int:
    """Of a full ring, the part that a clip covers."""
    covered_ns = config.clip.pre_ns + config.clip.post_ns
    return max(1, config.ring.max_bytes * covered_ns // config.ring.length_ns)


def existing(path: Path) -> Path:
    """The path, or the nearest of its parents that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def file_system(path: Path) -> tuple[str, str]:
    """Kind of the file system that a path lies on, and where it is mounted."""
    real = path.resolve()
    mounts = (line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines())
    found = [(where, kind) for where, kind in mounts if real.is_relative_to(where.replace("\\040", " "))]
    where, kind = max(reversed(found), key=lambda mount: len(mount[0]))  # of two at one place, the upper
    return kind, where


def memory_available() -> int:
    """Bytes that can be had without swapping, as the kernel estimates them."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    [kibibytes] = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kibibytes) << 10
