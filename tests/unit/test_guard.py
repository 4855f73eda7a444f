"""Whose address is told of a connection that has failed, and what a guard does with its sockets.

libzmq may have closed that connection, and another may have its number.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import zmq

from visualpath.runtime import guard
from visualpath.runtime.guard import SOMEBODY, Guard, _peer
from visualpath.runtime.poll import PollLoop
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.clock import NS_PER_S, mono_ns
from visualpath_protocol.keys import ClientKeys, KeyFolder, Keyring
from visualpath_protocol.sockets import OBSERVATIONS, connect

PATIENCE_S = 30.0
GUESTS = ("guest", "zoe")
ANY_PORT = "tcp://127.0.0.1:*"


@pytest.fixture
def connection():
    """Both ends of a tcp connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            yield accepted, client


def test_the_peer_of_a_connection_is_its_address(connection):
    assert _peer(connection[0].fileno()) == "127.0.0.1"


def test_a_connection_that_was_looked_at_stays_open(connection):
    _peer(connection[0].fileno())
    connection[1].sendall(b"x")
    assert connection[0].recv(1) == b"x"


def test_a_closed_descriptor_is_nobodys():
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    assert _peer(read) == SOMEBODY


def test_a_descriptor_that_is_no_socket_is_nobodys_and_stays_open():
    read, write = os.pipe()
    assert _peer(write) == SOMEBODY
    os.close(read)
    os.close(write)


def test_a_descriptor_that_is_a_local_socket_is_nobodys():
    ends = socket.socketpair()
    assert _peer(ends[0].fileno()) == SOMEBODY
    for end in ends:
        end.close()


class Guarded:
    """A link with CURVE on a port that is another after each bind, its guard, and their loop."""

    def __init__(self, keys, spoil=lambda: None):
        self.keys = keys
        pair, *_ = [keys.new(name) for name in ("hub", *GUESTS)]
        spoil()
        self.context = zmq.Context()
        self.loop = PollLoop()
        self.counters = Counter()
        self.guard = Guard(self.context, self.loop, Refusals(self.counters), Keyring(keys, "hub", {}))
        self.server = self.context.socket(zmq.PULL)
        self.server.curve_server = True
        self.server.curve_publickey, self.server.curve_secretkey = pair.public, pair.secret
        self.server.zap_domain = b"obs"
        self.server.bind(ANY_PORT)
        self.guard.watch(self.server, OBSERVATIONS, ANY_PORT)
        self.loop.watch(self.server, lambda parts: self.counters.update(parts))

        self.loop.every(10_000_000, lambda _now: self._until() and self.loop.stop())

    @property
    def bound(self):
        return self.server.getsockopt_string(zmq.LAST_ENDPOINT)

    def run_until(self, condition):
        """Run the loop until the condition holds."""
        self._until = condition
        late = threading.Timer(PATIENCE_S, self.loop.stop)
        late.start()
        self.loop.run()
        late.cancel()
        assert condition()

    def client(self, keys):
        """Connect somebody."""
        return connect(self.context, OBSERVATIONS, self.bound, keys=keys)

    def let_in(self, name):
        """Let one who is known say its name."""
        keys = ClientKeys(self.keys.pair(name), self.keys.public("hub"))
        with contextlib.closing(self.client(keys)) as client:
            self.run_until(lambda: client.poll(0, zmq.POLLOUT))
            client.send(name.encode())
            self.run_until(lambda: self.counters[name.encode()])

    def close(self):
        self.guard.close()
        self.server.close(0)
        self.context.term()
        self.loop.close()


@pytest.fixture
def guarded(tmp_path):
    guarded = Guarded(KeyFolder(tmp_path / "keys"))
    yield guarded
    guarded.close()


def test_a_link_that_is_bound_elsewhere_after_a_revocation_can_be_cut_again(guarded):
    for name in GUESTS:
        guarded.let_in(name)
        before = guarded.bound
        guarded.keys.revoke(name)
        guarded.run_until(lambda before=before: guarded.bound not in ("", before))


def test_a_machine_knows_itself_though_everybody_may_write_its_public_file(tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    guarded = Guarded(folder, spoil=lambda: (folder.path / "hub.pub").chmod(0o666))
    keys = Keyring(folder, "hub", {}).asking("extractor-face", "fusion")
    with contextlib.closing(guarded), contextlib.closing(guarded.client(keys)) as client:
        guarded.run_until(lambda: client.poll(0, zmq.POLLOUT))
        assert guarded.counters["failed.keys"] == 1


def test_a_machines_own_key_that_is_revoked_lets_nobody_in(tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    guarded = Guarded(folder, spoil=lambda: (folder.path / "hub.pub").rename(folder.path / "hub.revoked"))
    keys = Keyring(folder, "hub", {}).asking("extractor-face", "fusion")
    with contextlib.closing(guarded), contextlib.closing(guarded.client(keys)):
        guarded.run_until(lambda: guarded.counters["refused.obs.revoked"])


def test_no_other_secret_in_the_folder_makes_its_name_known(tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    guarded = Guarded(folder, spoil=lambda: (folder.path / "guest.pub").chmod(0o666))
    keys = ClientKeys(folder.pair("guest"), folder.public("hub"))
    with contextlib.closing(guarded), contextlib.closing(guarded.client(keys)):
        guarded.run_until(lambda: guarded.counters["refused.obs.stranger"])


def bind_again(guarded):
    [watched] = guarded.guard._watched.values()
    guarded.guard._cut(watched)
    guarded.guard._bind_again(mono_ns() + NS_PER_S)


def after_libzmq_stands_still(folder, then):
    """Make connections until libzmq has no room to tell of them, and do that."""
    guard.MONITORED_MAX = 2000
    guarded = Guarded(KeyFolder(folder))
    port = int(guarded.bound.rpartition(":")[2])
    with contextlib.suppress(TimeoutError):  # it greets no more
        for _ in range(5000):
            with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
                connection.recv(1)
        sys.exit("libzmq never stood still")
    then(guarded)


@pytest.mark.parametrize("then", ["close", "bind_again"])
def test_a_guard_goes_on_though_libzmq_waits_for_room_to_tell_it_of_connections(tmp_path, then):
    """In a process of its own: a thread that stands still in libzmq holds up all others of its interpreter."""
    subprocess.run([sys.executable, __file__, tmp_path, then], timeout=PATIENCE_S, check=True)


if __name__ == "__main__":
    after_libzmq_stands_still(Path(sys.argv[1]), {"close": Guarded.close, "bind_again": bind_again}[sys.argv[2]])
    os._exit(0)
