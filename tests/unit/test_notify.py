"""What a daemon tells systemd, byte by byte."""

import os
import socket

import pytest

from visualpath.runtime.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, short_dir):
    """The socket of a service manager, and the environment that names it."""
    name = str(short_dir / "notify")
    address = name if request.param == "path" else "\0" + name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(10)
        yield receiver, {"NOTIFY_SOCKET": address.replace("\0", "@")}


@pytest.mark.parametrize(
    ("say", "said"),
    [
        (lambda notifier: notifier.ready("live"), b"READY=1\nSTATUS=live"),
        (lambda notifier: notifier.status("two\nlines"), b"STATUS=two lines"),
        (lambda notifier: notifier.alive(), b"WATCHDOG=1"),
        (lambda notifier: notifier.stopping(), b"STOPPING=1"),
    ],
)
def test_it_says(manager, say, said):
    receiver, environ = manager
    say(Notifier(environ))
    assert receiver.recv(4096) == said


def test_without_a_service_manager_it_says_nothing_to_nobody():
    Notifier({}).ready("live")


def test_a_service_manager_that_is_gone_ends_no_daemon(short_dir, caplog):
    Notifier({"NOTIFY_SOCKET": str(short_dir / "nobody")}).alive()
    assert "systemd does not take WATCHDOG=1: " in caplog.text


def test_a_service_manager_that_takes_nothing_holds_nobody_up(manager, caplog):
    notifier = Notifier(manager[1])
    while not caplog.records:  # until its queue is full
        notifier.alive()
    assert "timed out" in caplog.text


def test_the_watchdog_is_fed_three_times_in_its_time():
    assert Notifier({"WATCHDOG_USEC": "30000000"}).watchdog_ns == 10 * 10**9


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)},
    ],
    ids=["none", "no number", "another process's"],
)
def test_nobody_feeds_a_watchdog_that_is_not_there(environ):
    assert Notifier(environ).watchdog_ns is None
