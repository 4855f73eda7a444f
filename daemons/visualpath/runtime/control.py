"""Asking a daemon for something."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import zmq

from visualpath.core.errors import CommandError, Unreachable
from visualpath_protocol.clock import NS_PER_MS, mono_ns
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.endpoints import Endpoints
from visualpath_protocol.errors import EndpointError, ProtocolError
from visualpath_protocol.messages import Command, Reply
from visualpath_protocol.sockets import CONTROL, ZmqContext, connect

RESEND_MS = 500


class ControlClient:
    """Sends commands to daemons, from any thread. Commands are idempotent, so a lost one is sent again.

    Args:
        name: whose key is used over tcp, if there is one of that name.
    """

    def __init__(self, endpoints: Endpoints, name: str = "vpctl") -> None:
        self._name = name
        self._endpoints = endpoints
        self._context: ZmqContext = zmq.Context()
        self._ids = itertools.count(1)
        self._codec = Codec(Reply, max_bytes=CONTROL.max_bytes)

    def ask(self, daemon: str, command: str, args: dict[str, Any] | None = None, *, timeout_ms: int = 2000) -> Any:
        """The result of one command.

        Raises:
            Unreachable: no answer in time.
            CommandError: the daemon refused it.
            EndpointError: a key that it takes to ask cannot be used.
        """
        address = self._endpoints.address(daemon, CONTROL.name)
        keys = self._endpoints.client_keys(daemon, CONTROL.name, self._name)
        socket = connect(self._context, CONTROL, address, keys=keys)
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


def ask_all(
    client: ControlClient, daemons: Sequence[str], command: str, args: dict[str, Any] | None = None, *, timeout_ms: int
) -> dict[str, dict[str, Any] | None]:
    """What each of the daemons answers, by name; None for one that does not answer, or refuses."""

    def ask(daemon: str) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = client.ask(daemon, command, args, timeout_ms=timeout_ms)
        except (Unreachable, CommandError, EndpointError):
            return None
        return answer

    with ThreadPoolExecutor(max_workers=len(daemons)) as pool:  # those that are down are waited for together
        return dict(zip(daemons, pool.map(ask, daemons), strict=True))
