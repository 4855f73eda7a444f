"""Who may connect over tcp: ZeroMQ's questions about keys (ZAP, RFC 27) are answered from a folder of public keys.

ZeroMQ asks when a connection is made, and never again. So a key that is revoked later needs more: the sockets that it
was let in to are unbound and bound again, which ends all their connections, also those of subscribers, who say nothing
that could be refused. Whoever still may is back within about a second.
"""

from __future__ import annotations

import logging
import socket as network
from dataclasses import dataclass, field

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from visualpath.runtime.poll import Parts, PollLoop
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S, mono_ns
from visualpath_protocol.errors import KeyFileError
from visualpath_protocol.keys import Keyring, Known
from visualpath_protocol.sockets import Link, ZmqContext, ZmqSocket

log = logging.getLogger(__name__)

ZAP_ADDRESS = "inproc://zeromq.zap.01"
ZAP_PARTS = 9
"""Of a request with a CURVE key: identity, delimiter, version, id, domain, address, identity, mechanism, key."""
ACCEPTED = b"200"
REFUSED = b"300"
"""RFC 27 says "try again later", not "never" (400): after that libzmq would not try again before its program is
restarted, though a file here may let it in at any moment."""

RELOAD_NS = NS_PER_S
REBIND_NS = 50 * NS_PER_MS
"""libzmq gives a port back a moment later, in a thread of its own."""
MONITORED_MAX = 100_000
"""Events of connections that may wait; libzmq stands still where there are more."""

SOMEBODY = "somebody"
"""Whose address cannot be told."""

WRONG_KEY = zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


@dataclass
class _Watched:
    """A socket bound to tcp.

    Attributes:
        bound: its address in ZeroMQ's words.
        peers: address of each connection, by file descriptor.
        failing: why the connection broke off whose end is told next.
    """

    socket: ZmqSocket
    monitor: ZmqSocket
    link: Link
    address: str
    bound: str
    peers: dict[int, str] = field(default_factory=dict)
    failing: str = ""


class Guard:
    """The handler of ZAP for one context, in the thread of its loop.

    Args:
        refusals: counts `refused.LINK.stranger`, `revoked`, `plain` and `wrong-key`, and tells who it was.
        keys: whom this machine knows; a change holds after a second at most. It knows itself by its secret, whatever
            becomes of its public file; but what is revoked, or open for some links alone, stays so.

    Raises:
        KeyFileError: this machine's own secret cannot be read.
    """

    def __init__(self, context: ZmqContext, loop: PollLoop, refusals: Refusals, keys: Keyring) -> None:
        self._context = context
        self._loop = loop
        self._refusals = refusals
        self._keys = keys.folder
        self._own = {keys.serving().public: Known(keys.own)}
        self._known: dict[bytes, Known] = {}
        self._wrong: list[str] = []
        self._let_in: set[tuple[bytes, str]] = set()
        """Keys, and the links that they have been let in to since these were bound."""
        self._watched: dict[str, _Watched] = {}
        self._unbound: list[_Watched] = []
        self._bind_ns: int | None = None
        """When the unbound are bound again (monotonic)."""
        self._reload(0)
        self._zap = context.socket(zmq.ROUTER)
        self._zap.linger = 0
        self._zap.bind(ZAP_ADDRESS)
        loop.watch(self._zap, self._on_request)
        loop.every(RELOAD_NS, self._reload)
        loop.on_tick(self._bind_again, lambda: self._bind_ns)

    def watch(self, socket: ZmqSocket, link: Link, address: str) -> None:
        """Count who fails at this socket before any key is asked about, and cut it off from revoked keys."""
        name = f"inproc://monitor.{link.name}"
        socket.monitor(name, _EVENTS)
        monitor = self._context.socket(zmq.PAIR)
        monitor.linger, monitor.rcvhwm = 0, MONITORED_MAX
        monitor.connect(name)
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        watched = self._watched[link.name] = _Watched(socket, monitor, link, address, bound)
        self._loop.watch(monitor, lambda parts: self._on_connection(watched, parts))

    def close(self) -> None:
        """Give the guard's own sockets back."""
        for watched in self._watched.values():
            self._make_room(watched)
            watched.socket.disable_monitor()
            watched.monitor.close()
        self._zap.close()

    def _on_request(self, parts: Parts) -> None:
        if len(parts) != ZAP_PARTS:
            return  # only this process can ask, and it asks about CURVE alone
        identity, delimiter, version, request_id, domain, address, _, _, key = parts
        public, link, peer = z85.encode(key), domain.decode(), _plain(address.decode())
        known = self._known.get(public)
        if known is not None and known.may_use(link):
            self._let_in.add((public, link))
            code, name = ACCEPTED, known.name
        else:
            code, name = REFUSED, ""
            self._refuse(link, peer, public, known)
        self._zap.send_multipart([identity, delimiter, version, request_id, code, b"", name.encode(), b""])

    def _refuse(self, link: str, peer: str, public: bytes, known: Known | None) -> None:
        if known is None:
            told = f"{peer} with the key {public.decode()}, which no file in {self._keys.path} has"
            self._refusals.add(f"refused.{link}.stranger", told)
        elif known.revoked:
            self._refusals.add(f"refused.{link}.revoked", f"{peer} with a key of {known.name} that was revoked")
        else:
            allowed = ", ".join(sorted(known.links))
            self._refusals.add(f"refused.{link}.stranger", f"{peer}: {known.name} may use {allowed}")

    def _on_connection(self, watched: _Watched, parts: Parts) -> None:
        """ACCEPTED and DISCONNECTED name the connection; a failure is told just before the latter."""
        told = parse_monitor_message(parts)
        event, value = told["event"], int(told["value"])
        if event == zmq.EVENT_ACCEPTED:
            watched.peers[value] = _peer(value)
        elif event == zmq.EVENT_DISCONNECTED:
            peer = watched.peers.pop(value, SOMEBODY)
            if watched.failing:
                self._refusals.add(f"refused.{watched.link.name}.{watched.failing}", peer)
                watched.failing = ""
        else:
            watched.failing = "wrong-key" if value == WRONG_KEY else "plain"

    def _make_room(self, watched: _Watched) -> None:
        """libzmq's thread may wait for room to tell of a connection, and the next call for a lock of that thread's."""
        for _ in range(MONITORED_MAX):  # a flood is not waited for: libzmq has room from half of them on
            if not watched.monitor.poll(0):
                break
            self._on_connection(watched, watched.monitor.recv_multipart())

    def _reload(self, _now: int) -> None:
        try:
            found, wrong = self._keys.known(self._known)
            known = self._own | found
        except KeyFileError as error:  # the list that was read last stands
            known, wrong = self._known, [str(error)]
        if wrong != self._wrong:
            for each in wrong:
                self._refusals.add("failed.keys", each)
        self._wrong = wrong
        gone = {
            (public, link) for public, link in self._let_in if public not in known or not known[public].may_use(link)
        }
        for public, link in gone:
            log.warning("%s may no longer use %s: all its connections are cut", self._known[public].name, link)
        self._known = known
        for link in {link for _, link in gone}:
            self._cut(self._watched[link])

    def _cut(self, watched: _Watched) -> None:
        self._let_in = {(public, link) for public, link in self._let_in if link != watched.link.name}
        if watched not in self._unbound:
            watched.socket.unbind(watched.bound)
            watched.peers.clear()
            self._unbound.append(watched)
            self._bind_ns = mono_ns() + REBIND_NS

    def _bind_again(self, now: int) -> None:
        if self._bind_ns is None or now < self._bind_ns:
            return
        for watched in list(self._unbound):
            self._make_room(watched)
            try:
                watched.socket.bind(watched.address)
            except zmq.ZMQError as error:
                self._refusals.add("failed.bind", f"{watched.address}: {error}; tried again")
            else:
                watched.bound = watched.socket.getsockopt_string(zmq.LAST_ENDPOINT)  # a host may have moved
                self._unbound.remove(watched)
        self._bind_ns = now + REBIND_NS if self._unbound else None


def _peer(fd: int) -> str:
    """The address at the other end of a connection of libzmq's; by now the descriptor may be closed, or another's."""
    try:
        connection = network.socket(fileno=fd)
    except OSError:
        return SOMEBODY
    try:
        name = connection.getpeername()
    except OSError:
        return SOMEBODY
    finally:
        connection.detach()
    return _plain(name[0]) if isinstance(name, tuple) else SOMEBODY


def _plain(address: str) -> str:
    """IPv4 as people write it, also where the socket takes both."""
    return address.removeprefix("::ffff:")
