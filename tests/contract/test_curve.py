"""tcp with CURVE keys: who is let in, who is refused and counted, and what happens when that changes."""

import contextlib
import json
import logging
import shutil
import socket
import threading
from collections import Counter

import pytest
import zmq

from visualpath.runtime import guard
from visualpath.runtime.config import load_config
from visualpath.runtime.control import ControlClient
from visualpath.runtime.service import Service
from visualpath_protocol.codec import encode
from visualpath_protocol.errors import KeyFileError
from visualpath_protocol.keys import ClientKeys, KeyFolder, KeyPair
from visualpath_protocol.messages import Command
from visualpath_protocol.sockets import CONTROL, OBSERVATIONS, TAP, connect

PATIENCE_S = 30.0


@pytest.fixture
def keys(short_dir):
    """The hub's folder of keys; it knows itself and a guest."""
    folder = KeyFolder(short_dir / "keys")
    folder.new("hub")
    folder.new("guest")
    return folder


@pytest.fixture
def config(write_config, free_ports, keys):
    return load_config(
        write_config(f"""
            streams: {{cam1: {{source: a.mp4}}}}
            security: {{key: hub}}
            endpoints:
              fusion/control: tcp://127.0.0.1:{free_ports[0]}
              fusion/obs: tcp://127.0.0.1:{free_ports[1]}
              fusion/tap: tcp://127.0.0.1:{free_ports[2]}
        """)
    )


class Hub:
    """A service called fusion in a thread, its three tcp links, and what has come on `obs`."""

    def __init__(self, config):
        self.service = Service("fusion", config)
        self.service.status = lambda: {"streams": {}}
        self.counters = self.service.counters
        self.came = Counter()
        self.service.loop.watch(self.service.bind(OBSERVATIONS), lambda parts: self.came.update(parts[-1:]))
        self.service.loop.every(5_000_000, lambda _now: self.service.emit("state", "going on"))
        self._thread = threading.Thread(target=self.service.loop.run)
        self._thread.start()

    def close(self):
        self.service.loop.stop()
        self._thread.join(10)
        self.service.close()


@pytest.fixture
def hub(config):
    hub = Hub(config)
    yield hub
    hub.close()


class Peer:
    """A program elsewhere with one key: says its name on `obs`, asks on `control`, listens on `tap`."""

    def __init__(self, config, name, keys):
        self._name = name.encode()
        self._context = zmq.Context()
        self._sockets = {}
        for link in (OBSERVATIONS, CONTROL, TAP):
            address = config.endpoints().address("fusion", link.name)
            self._sockets[link.name] = connect(self._context, link, address, keys=keys)
        self._sockets[TAP.name].subscribe(b"")
        self._received = Counter()
        self._ends = None

    def progress(self, link, hub):
        """Try to use the link; returns how often something has gone over it so far."""
        if link is not TAP:
            with contextlib.suppress(zmq.Again):
                message = self._name if link is OBSERVATIONS else encode(Command(id="x", name="status"))
                self._sockets[link.name].send(message, zmq.NOBLOCK)
        if link is OBSERVATIONS:
            return hub.came[self._name]
        while self._sockets[link.name].poll(0):
            self._sockets[link.name].recv_multipart()
            self._received[link.name] += 1
        return self._received[link.name]

    def watch_ends(self, link):
        """From now on, `ended` says whether the link's connection has ended."""
        self._ends = self._sockets[link.name].get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def ended(self):
        return bool(self._ends.poll(0))

    def close(self):
        for each in self._sockets.values():
            each.disable_monitor()
            each.close(linger=0)
        if self._ends is not None:
            self._ends.close()
        self._context.term()


@pytest.fixture
def peer(config, keys):
    """Make peers; by default with the key of that name, and the right one of the hub."""
    made = []

    def make(name="guest", own=None, server=None):
        given = ClientKeys(own or keys.pair(name), server or keys.public("hub"))
        made.append(Peer(config, name, given))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def passes(hub, wait_for):
    """Wait until something new has gone over a peer's link."""

    def passes(peer, link):
        before = peer.progress(link, hub)
        return wait_for(lambda: peer.progress(link, hub) > before, timeout_s=PATIENCE_S)

    return passes


@pytest.fixture
def counted(hub, wait_for):
    """Wait until the hub has counted something."""
    return lambda counter: wait_for(lambda: hub.counters[counter], timeout_s=PATIENCE_S)


@pytest.fixture
def nothing_passes(hub, peer, passes):
    """While something goes over the hub's own link several times, nothing does over the peer's."""
    friend = peer("hub")

    def check(refused, link):
        before = refused.progress(link, hub)
        for _ in range(5):
            passes(friend, link)
            assert refused.progress(link, hub) == before

    return check


def names_known(hub):
    return {known.name for known in hub.service._guard._known.values() if not known.revoked}


def take(squatter, port):
    """Bind the port if the hub has let it go; whether it has."""
    squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        return True
    return False


def stranger():
    return KeyPair(*zmq.curve_keypair())


# Who is let in ----------------------------------------------------------------------------------

EACH_LINK = pytest.mark.parametrize("link", [OBSERVATIONS, CONTROL, TAP], ids=lambda link: link.name)


@EACH_LINK
def test_a_known_key_is_let_in(peer, passes, link):
    assert passes(peer(), link)


def test_vpctl_asks_over_tcp_by_the_key_of_its_machine(hub, config):
    client = ControlClient(config.endpoints())
    try:
        assert client.ask("fusion", "status", timeout_ms=10_000)["daemon"] == "fusion"
    finally:
        client.close()


@EACH_LINK
def test_a_stranger_with_the_servers_public_key_is_refused_and_counted(peer, counted, nothing_passes, link):
    refused = peer("evil", own=stranger())
    assert counted(f"refused.{link.name}.stranger")
    nothing_passes(refused, link)


@EACH_LINK
def test_a_plain_client_is_refused_and_counted(config, hub, counted, nothing_passes, peer, link):
    plain = Peer(config, "plain", None)
    try:
        assert counted(f"refused.{link.name}.plain")
        nothing_passes(plain, link)
    finally:
        plain.close()


def test_a_client_that_means_another_server_is_refused_and_counted(peer, counted):
    peer(server=stranger().public)
    assert counted("refused.obs.wrong-key")


def test_a_key_for_one_link_opens_no_other(hub, peer, keys, passes, counted, nothing_passes):
    keys.new("viewer", ["tap"])
    viewer = peer("viewer")
    passes(viewer, TAP)
    assert counted("refused.obs.stranger")
    nothing_passes(viewer, OBSERVATIONS)


def test_a_refusal_is_reported_with_the_peers_address_and_key(hub, peer, caplog, wait_for):
    own = stranger()
    with caplog.at_level(logging.WARNING):
        peer("evil", own=own)
        wait_for(lambda: [m for m in caplog.messages if m.startswith("refused.obs.stranger")], timeout_s=PATIENCE_S)
    [line, *_] = [m for m in caplog.messages if m.startswith("refused.obs.stranger")]
    assert "127.0.0.1 with the key " + own.public.decode() in line


# What changes while the daemon runs -------------------------------------------------------------


@EACH_LINK
def test_a_revoked_key_is_cut_off_live_and_counted(peer, passes, keys, counted, nothing_passes, link):
    guest = peer()
    passes(guest, link)
    keys.revoke("guest")
    assert counted(f"refused.{link.name}.revoked")
    nothing_passes(guest, link)


@EACH_LINK
def test_the_others_are_back_after_a_key_was_revoked(peer, passes, keys, counted, link):
    guest, friend = peer(), peer("hub")
    passes(guest, link)
    passes(friend, link)
    keys.revoke("guest")
    counted(f"refused.{link.name}.revoked")
    assert passes(friend, link)


def test_a_key_that_becomes_known_opens_the_connection_that_was_refused(peer, passes, keys, counted):
    own = stranger()
    late = peer("late", own=own)
    counted("refused.tap.stranger")
    (keys.path / "late.pub").write_bytes(own.public)
    assert passes(late, TAP)


def test_a_key_whose_links_become_fewer_is_cut_off_from_the_others(peer, passes, keys, counted, nothing_passes):
    guest = peer()
    passes(guest, OBSERVATIONS)
    (keys.path / "guest.pub").write_bytes(keys.public("guest") + b" tap")
    assert counted("refused.obs.stranger")
    nothing_passes(guest, OBSERVATIONS)


def test_a_key_that_never_came_is_revoked_without_cutting_anybody(hub, config, peer, passes, keys, wait_for):
    friend = peer("hub")
    passes(friend, TAP)
    friend.watch_ends(TAP)
    keys.new("unused")
    wait_for(lambda: "unused" in names_known(hub), timeout_s=PATIENCE_S)
    keys.revoke("unused")
    wait_for(lambda: "unused" not in names_known(hub), timeout_s=PATIENCE_S)
    passes(friend, TAP)
    assert not friend.ended()


def test_a_damaged_key_file_is_counted_and_the_others_are_let_in(hub, peer, passes, keys, counted):
    (keys.path / "damaged.pub").write_text("no key")
    assert counted("failed.keys")
    assert passes(peer(), CONTROL)


def test_a_key_file_that_cannot_be_read_cuts_nobody_off(hub, peer, passes, keys, counted):
    guest = peer()
    passes(guest, TAP)
    guest.watch_ends(TAP)
    (keys.path / "loop").symlink_to("guest.pub")
    (keys.path / "loop").rename(keys.path / "guest.pub")
    assert counted("failed.keys")
    passes(guest, TAP)
    assert not guest.ended()


def test_a_folder_that_is_gone_revokes_nobody(hub, peer, passes, keys, counted):
    guest = peer()
    passes(guest, CONTROL)
    shutil.move(keys.path, keys.path.with_name("elsewhere"))
    assert counted("failed.keys")
    assert passes(guest, CONTROL)


def test_a_port_that_is_taken_meanwhile_is_counted_and_bound_when_it_is_free(
    hub, peer, free_ports, passes, keys, counted, wait_for, monkeypatch
):
    monkeypatch.setattr(guard, "REBIND_NS", 500_000_000)
    guest, friend = peer(), peer("hub")
    passes(guest, OBSERVATIONS)
    passes(friend, OBSERVATIONS)
    keys.revoke("guest")
    with socket.socket() as squatter:
        wait_for(lambda: take(squatter, free_ports[1]), timeout_s=PATIENCE_S)
        assert counted("failed.bind")
    assert passes(friend, OBSERVATIONS)


# What is missing --------------------------------------------------------------------------------


def test_a_daemon_without_the_machines_secret_does_not_start(config, keys):
    (keys.path / "hub.key").unlink()
    with pytest.raises(KeyFileError, match=r"hub\.key is missing: `vpctl keys new hub` makes it"):
        Service("fusion", config)


@pytest.mark.parametrize("command", [("trigger", "cam1"), ("tail", "--daemon", "fusion"), ("top", "--once")])
def test_vpctl_without_a_key_that_it_needs_ends_as_with_bad_configuration(vpctl, config, keys, command):
    shutil.rmtree(keys.path)
    result = vpctl(*command, path=config.path)
    assert (result.exit_code, result.stderr.splitlines()[-1].endswith("`vpctl keys new hub` makes it")) == (78, True)


@pytest.fixture
def status_without_keys(vpctl, config, keys):
    shutil.rmtree(keys.path)
    return vpctl("--json", "status", path=config.path)


def test_without_keys_fusion_is_no_more_than_down_to_status(status_without_keys):
    assert json.loads(status_without_keys.stdout)["fusion"]["down"]


def test_status_says_that_it_is_for_want_of_a_key(status_without_keys):
    last = status_without_keys.stderr.splitlines()[-1]
    assert (status_without_keys.exit_code, last.endswith("`vpctl keys new hub` makes it")) == (78, True)
