"""Asking a daemon for something."""

from __future__ import annotations

import itertools
import os
from typing import Any

import zmq

from visualpath.core.errors import CommandError, Unreachable
from visualpath_protocol.clock import NS_PER_MS, mono_ns
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.endpoints import Endpoints
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import Command, Reply
from visualpath_protocol.sockets import CONTROL, ZmqContext, connect

RESEND_MS = 500


class ControlClient:
    """Sends commands to daemons, one at a time. Commands are idempotent, so a lost one is sent again."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._context: ZmqContext = zmq.Context()
        self._ids = itertools.count(1)
        self._codec = Codec(Reply, max_bytes=CONTROL.max_bytes)

    def ask(self, daemon: str, command: str, args: dict[str, Any] | None = None, *, timeout_ms: int = 2000) -> Any:
        """The result of one command.

        Raises:
            Unreachable: no answer in time.
            CommandError: the daemon refused it.
        """
        address = self._endpoints.address(daemon, CONTROL.name)
        socket = connect(self._context, CONTROL, address)
        request = Command(id=f"{os.getpid()}-{next(self._ids)}", name=command, args=args or {})
        try:
            reply = self._exchange(socket, request, mono_ns() + timeout_ms * NS_PER_MS)
        finally:
            socket.close(0)
        if reply is None:
            raise Unreachable(f"{daemon} does not answer (is it running?)")
        if not reply.ok:
            error = reply.error
            raise CommandError(*(error.code, error.message, error.hint) if error else ("failed", "no reason given"))
        return reply.result

    def _exchange(self, socket: zmq.Socket[bytes], request: Command, deadline_ns: int) -> Reply | None:
        while (left_ms := (deadline_ns - mono_ns()) // NS_PER_MS) > 0:
            socket.send(encode(request))
            while socket.poll(min(RESEND_MS, left_ms)):
                try:
                    reply = self._codec.decode(socket.recv())
                except ProtocolError:
                    continue
                if reply.id == request.id:
                    return reply
        return None

    def close(self) -> None:
        """Give the sockets back."""
        self._context.term()
