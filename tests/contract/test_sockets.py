"""Real sockets over ipc: what PROTOCOL.md says of the links."""

import stat
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from visualpath_protocol.errors import EndpointError
from visualpath_protocol.security import FolderClaim
from visualpath_protocol.sockets import (
    CONTROL,
    FRAMES,
    HEADERS,
    LINKS,
    OBSERVATIONS,
    ROOM_BYTES,
    TAP,
    TRIGGERS,
    bind,
    connect,
    taken_bytes,
    topic,
)

DEADLINE_S = 10.0


class Bench:
    """A context, a claimed folder, and every socket made here, closed at the end."""

    def __init__(self, folder):
        self.claim = FolderClaim(folder)
        self.context = zmq.Context()
        self.sockets = []

    def address(self, link):
        return f"ipc://{self.claim.folder / link.name}"

    def bind(self, link):
        self.sockets.append(bind(self.context, link, self.address(link), self.claim))
        return self.sockets[-1]

    def connect(self, link, **options):
        self.sockets.append(connect(self.context, link, self.address(link), **options))
        return self.sockets[-1]

    def close(self):
        for socket in self.sockets:
            socket.close(linger=0)
        self.context.term()
        self.claim.release()


@pytest.fixture
def bench():
    with tempfile.TemporaryDirectory(prefix="vp-", dir="/tmp") as short:
        bench = Bench(Path(short) / "run" / "daemon")
        yield bench
        bench.close()


def receive(socket):
    """The next message's parts, within the deadline."""
    assert socket.poll(int(DEADLINE_S * 1000)), "nothing came"
    return socket.recv_multipart()


def until(condition):
    """Poll until `condition` gives something."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError("the condition did not come true")


def sent(socket, *parts):
    """Whether the message went into a queue just now."""
    try:
        socket.send_multipart(parts, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


def take_one(subscriber, patience_ms):
    """Take one message off, if one comes: 1 or 0."""
    if not subscriber.poll(patience_ms):
        return 0
    subscriber.recv_multipart()
    return 1


def subscribed(publisher, subscriber, *topics):
    """Subscribe, and wait until the publisher knows."""
    for name in topics:
        subscriber.subscribe(name)
        assert receive(publisher) == [b"\1" + name]


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_a_bound_socket_is_for_us_and_our_group(bench, link):
    bench.bind(link)
    path = bench.claim.folder / link.name
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o770


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_both_sides_of_a_link_carry_its_options(bench, link):
    for socket in (bench.bind(link), bench.connect(link)):
        assert (socket.sndhwm, socket.rcvhwm) == (link.hwm, link.hwm)
        assert socket.linger == link.linger_ms
        assert socket.getsockopt(zmq.MAXMSGSIZE) == taken_bytes(socket.type, link)


def test_a_socket_left_by_a_dead_run_does_not_prevent_the_next(bench):
    first = bench.bind(CONTROL)
    first.close()
    until(lambda: first.closed)
    assert (bench.claim.folder / "control").exists()
    server, client = bench.bind(CONTROL), bench.connect(CONTROL)
    client.send(b"still here")
    assert receive(server)[1] == b"still here"


def test_a_regular_file_is_not_bound_over(bench):
    (bench.claim.folder / "control").write_text("precious")
    with pytest.raises(EndpointError, match="is no socket"):
        bench.bind(CONTROL)
    assert (bench.claim.folder / "control").read_text() == "precious"


def test_an_address_that_cannot_be_bound_leaves_no_socket_open(bench):
    address = f"ipc://{bench.claim.folder / ('x' * 200)}"
    with pytest.raises(EndpointError, match="cannot bind"):
        bind(bench.context, CONTROL, address, bench.claim)


@pytest.mark.parametrize("address", ["nonsense", "carrier://pigeon", "tcp://127.0.0.1"])
def test_an_address_that_is_none_cannot_be_connected_to(bench, address):
    with pytest.raises(EndpointError, match="cannot connect"):
        connect(bench.context, CONTROL, address)


# headers, frames, tap


def test_a_topic_is_the_name_a_zero_byte_and_the_kind():
    assert topic("cam1", "h") == b"cam1\0h"


def test_a_subscription_to_cam1_does_not_receive_cam10(bench):
    publisher, subscriber = bench.bind(HEADERS), bench.connect(HEADERS)
    subscribed(publisher, subscriber, topic("cam1", "h"))
    for stream in ("cam10", "cam1"):
        publisher.send_multipart([topic(stream, "h"), stream.encode()])
    assert receive(subscriber) == [b"cam1\0h", b"cam1"]


def test_a_subscription_to_headers_does_not_receive_states(bench):
    publisher, subscriber = bench.bind(HEADERS), bench.connect(HEADERS)
    subscribed(publisher, subscriber, topic("cam1", "h"))
    for kind in ("s", "h"):
        publisher.send_multipart([topic("cam1", kind), kind.encode()])
    assert receive(subscriber) == [b"cam1\0h", b"h"]


def test_the_headers_publisher_hears_of_each_subscriber(bench):
    publisher = bench.bind(HEADERS)
    for _ in range(2):
        subscribed(publisher, bench.connect(HEADERS), topic("cam1", "s"))


def test_a_subscriber_that_does_not_read_stops_nobody(bench):
    publisher, lazy, eager = bench.bind(FRAMES), bench.connect(FRAMES), bench.connect(FRAMES)
    subscribed(publisher, lazy, topic("cam1", "j"))
    eager.subscribe(topic("cam1", "j"))
    eager.subscribe(b"now")
    assert receive(publisher) == [b"\1now"]
    taken = kept = 0
    for _ in range(10 * FRAMES.hwm):
        assert sent(publisher, topic("cam1", "j"), b"header", bytes(256 * 1024))
        taken += take_one(eager, 20)
    while take_one(lazy, 200):
        kept += 1
    assert kept < 10 * FRAMES.hwm
    assert taken > kept


# obs


def test_an_observation_without_a_fusion_is_refused_at_once(bench):
    pusher = bench.connect(OBSERVATIONS)
    assert not sent(pusher, b"obs")


def test_observations_arrive_in_order_once_fusion_is_there(bench):
    pusher = bench.connect(OBSERVATIONS)
    puller = bench.bind(OBSERVATIONS)
    until(lambda: sent(pusher, b"0"))
    for number in range(1, 50):
        assert sent(pusher, b"%d" % number)
    assert [receive(puller) for _ in range(50)] == [[b"%d" % number] for number in range(50)]


def test_a_fusion_that_does_not_read_makes_a_full_queue_not_a_block(bench):
    pusher = bench.connect(OBSERVATIONS)
    bench.bind(OBSERVATIONS)
    until(lambda: sent(pusher, b"0"))
    until(lambda: not sent(pusher, bytes(100_000)))


def test_a_message_beyond_the_room_drops_its_sender_and_not_the_socket(bench):
    puller = bench.bind(OBSERVATIONS)
    monitor = puller.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    try:
        wild, tame = bench.connect(OBSERVATIONS), bench.connect(OBSERVATIONS)
        until(lambda: sent(wild, b"wild 1"))
        assert receive(puller) == [b"wild 1"]
        until(lambda: sent(tame, b"tame 1"))
        assert receive(puller) == [b"tame 1"]
        assert sent(wild, bytes(OBSERVATIONS.max_bytes + ROOM_BYTES + 1))
        receive(monitor)
        assert sent(tame, b"tame 2")
        assert receive(puller) == [b"tame 2"]
        until(lambda: sent(wild, b"wild 2") and puller.poll(20))
        assert receive(puller) == [b"wild 2"]
        assert not monitor.poll(0), "only the sender of the large message was disconnected"
    finally:
        puller.disable_monitor()
        monitor.close(linger=0)


def test_a_message_within_the_room_arrives_so_that_it_can_be_refused_in_words(bench):
    pusher, puller = bench.connect(OBSERVATIONS), bench.bind(OBSERVATIONS)
    until(lambda: sent(pusher, bytes(OBSERVATIONS.max_bytes + ROOM_BYTES)))
    assert len(receive(puller)[0]) == OBSERVATIONS.max_bytes + ROOM_BYTES


# trig, control


def test_a_router_sees_the_identity_of_fusion_and_one_body(bench):
    router, dealer = bench.bind(TRIGGERS), bench.connect(TRIGGERS, identity="fusion")
    until(lambda: sent(dealer, b"trig"))
    assert receive(router) == [b"fusion", b"trig"]
    router.send_multipart([b"fusion", b"ack"])
    assert receive(dealer) == [b"ack"]


def test_a_trigger_without_a_clip_daemon_is_refused_at_once(bench):
    assert not sent(bench.connect(TRIGGERS, identity="fusion"), b"trig")


def test_a_restarted_fusion_takes_its_identity_over_from_a_run_that_still_hangs(bench):
    router, old = bench.bind(TRIGGERS), bench.connect(TRIGGERS, identity="fusion")
    until(lambda: sent(old, b"old"))
    assert receive(router) == [b"fusion", b"old"]
    new = bench.connect(TRIGGERS, identity="fusion")
    until(lambda: sent(new, b"new"))
    assert receive(router) == [b"fusion", b"new"]
    router.send_multipart([b"fusion", b"ack"])
    assert receive(new) == [b"ack"]


def test_without_handover_the_restarted_fusion_would_not_be_heard(bench):
    """The proof that the option is what makes the test above pass."""
    router, old = bench.bind(replace(TRIGGERS, bind_options={})), bench.connect(TRIGGERS, identity="fusion")
    until(lambda: sent(old, b"old"))
    assert receive(router) == [b"fusion", b"old"]
    new = bench.connect(TRIGGERS, identity="fusion")
    until(lambda: sent(new, b"new"))
    until(lambda: sent(old, b"again"))
    assert receive(router) == [b"fusion", b"again"]
    assert not router.poll(300)


def test_a_reply_finds_its_client(bench):
    router = bench.bind(CONTROL)
    clients = [bench.connect(CONTROL) for _ in range(2)]
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    for _ in clients:
        identity, body = receive(router)
        router.send_multipart([identity, b"reply " + body])
    assert [receive(client) for client in clients] == [[b"reply 0"], [b"reply 1"]]


def test_a_tap_is_subscribed_to_by_kind(bench):
    publisher, subscriber = bench.bind(TAP), bench.connect(TAP)
    subscribed(publisher, subscriber, b"trigger")
    publisher.send_multipart([b"state", b"no"])
    publisher.send_multipart([b"trigger", b"yes"])
    assert receive(subscriber) == [b"trigger", b"yes"]


# the end


@pytest.mark.parametrize("link", [HEADERS, FRAMES, OBSERVATIONS, TAP], ids=lambda link: link.name)
def test_a_context_ends_at_once_where_nothing_lingers(bench, link):
    context = zmq.Context()
    socket = connect(context, link, bench.address(link))
    if link.connect_type == zmq.PUSH:
        bench.bind(link)
        until(lambda: sent(socket, b"0"))
        while sent(socket, bytes(100_000)):
            pass
    began = time.monotonic()
    socket.close()
    context.term()
    assert time.monotonic() - began < 2.0


def test_a_context_waits_for_an_undelivered_command_no_longer_than_its_linger(bench):
    context = zmq.Context()
    client = connect(context, CONTROL, bench.address(CONTROL))
    client.send(b"to nobody")
    began = time.monotonic()
    client.close()
    context.term()
    assert CONTROL.linger_ms / 1000 * 0.9 < time.monotonic() - began < 2.0
