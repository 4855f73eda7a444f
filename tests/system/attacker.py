"""What an intruder tries in the box, as the user that runs it: prints a JSON object, attempt: outcome.

attacker.py reach SOCKET...    connect to each, read the ring, clips and configuration
attacker.py replace SOCKET...  put something of one's own in the place of fusion's
attacker.py spoil              read and write what belongs to the daemons
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

FUSION = "/run/visualpath/fusion"
DONE = "done"
Attempts = dict[str, Callable[[], object]]


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def bind_over(path: str) -> None:
    """As libzmq does it: what has this name is deleted first."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


def reaching(sockets: list[str]) -> Attempts:
    """Everything that a stranger on the machine must not see."""
    places = ("/run/visualpath-ring", "/var/lib/visualpath/clips", "/var/lib/visualpath/fusion", "/run/visualpath")
    return {
        **{f"connect {path}": lambda path=path: connect(path) for path in sockets},
        **{f"list {place}": lambda place=place: os.listdir(place) for place in places},
        "read the configuration": Path("/etc/visualpath/visualpath.yaml").read_text,
        "read the secrets": Path("/etc/visualpath/secrets.env").read_text,
    }


def replacing(sockets: list[str]) -> Attempts:
    """Everything that would let an extractor speak as fusion, or as a stream that is not up yet."""
    mine = f"/run/visualpath/mine-{os.getpid()}"
    fusion = [path for path in sockets if path.startswith(FUSION)]
    return {
        **{f"unlink {path}": lambda path=path: os.unlink(path) for path in fusion},
        **{f"rename {path}": lambda path=path: os.rename(path, f"{path}.old") for path in fusion},
        **{f"bind over {path}": lambda path=path: bind_over(path) for path in fusion},
        "put a socket beside fusion's": lambda: bind_over(f"{FUSION}/mine"),
        "rename fusion's folder": lambda: os.rename(FUSION, f"{FUSION}.old"),
        "remove fusion's folder": lambda: os.rmdir(FUSION),
        "make a folder over fusion's": lambda: (os.mkdir(mine), os.rename(mine, FUSION)),
        "link to another folder": lambda: os.symlink("/tmp", f"{FUSION}.new"),
        "make the folder of a daemon that is to come": lambda: os.mkdir("/run/visualpath/frame-cam9"),
        "open fusion's folder to all": lambda: os.chmod(FUSION, 0o777),
    }


def spoiling(_: list[str]) -> Attempts:
    """What an extractor must neither read nor write."""
    return {
        "write into the ring": lambda: Path("/run/visualpath-ring/cam1/mine").touch(),
        "list the clips": lambda: os.listdir("/var/lib/visualpath/clips"),
        "list the outbox": lambda: os.listdir("/var/lib/visualpath/fusion"),
        "read the secrets": Path("/etc/visualpath/secrets.env").read_text,
        "write the configuration": lambda: Path("/etc/visualpath/visualpath.yaml").write_text(""),
    }


def outcome(attempt: Callable[[], object]) -> str:
    """`done`, or the name of the error number."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return DONE


if __name__ == "__main__":
    attempts = {"reach": reaching, "replace": replacing, "spoil": spoiling}[sys.argv[1]](sys.argv[2:])
    print(json.dumps({what: outcome(attempt) for what, attempt in attempts.items()}))
