"""Asking fusion to be taken, until it answers."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import zmq

from visualpath.runtime.poll import Parts
from visualpath.runtime.service import Service
from visualpath_protocol.clock import NS_PER_MS
from visualpath_protocol.codec import Codec
from visualpath_protocol.endpoints import FUSION
from visualpath_protocol.messages import Command, Ping, Reply
from visualpath_protocol.sockets import CONTROL, ZmqSocket

log = logging.getLogger(__name__)

RETRY_NS = 200 * NS_PER_MS
COMMAND_ID = "register"
"""One and the same command, asked again until it is answered."""


class Registration:
    """REGISTER once and again until ACCEPT.

    Args:
        link: the socket for OBS. Nothing is asked before fusion is there at its other end: an OBS that is sent
            sooner than that would be lost.
        current: makes the registration as it is now.
        on_accept: called once.
    """

    def __init__(
        self, service: Service, link: ZmqSocket, current: Callable[[], Ping], on_accept: Callable[[], None]
    ) -> None:
        self._service = service
        self._link = link
        self._current = current
        self._on_accept = on_accept
        self._socket = service.connect(CONTROL, FUSION)
        self._codec = Codec(Reply, max_bytes=CONTROL.max_bytes)
        self._last_refusal = ""
        self._wanted = False
        self.accepted = False
        service.loop.watch(self._socket, self._on_reply)
        service.loop.every(RETRY_NS, lambda _now: self._try())

    def start(self) -> None:
        """Begin to ask."""
        self._wanted = True
        self._try()

    def _try(self) -> None:
        if self._wanted and not self.accepted and self._link.poll(0, zmq.POLLOUT):
            args = msgspec.to_builtins(self._current())
            self._service.send(self._socket, Command(id=COMMAND_ID, name="register", args=args))

    def _on_reply(self, parts: Parts) -> None:
        reply = self._service.decode(self._codec, parts[-1], "register")
        if not isinstance(reply, Reply) or self.accepted:
            return
        if reply.ok:
            self.accepted = True
            log.info("accepted by fusion")
            self._on_accept()
        elif reply.error is not None and reply.error.message != self._last_refusal:
            self._last_refusal = reply.error.message
            log.error("refused by fusion: %s; asking again", reply.error.message)
