"""The poll loop: the only place where a daemon waits.

One pass: wait for a socket, a wake-up or a deadline; drain every readable socket; run what other
threads have handed over; then, once, everything that depends on time. A handler that raises is our bug:
the exception leaves `run` and the daemon dies loudly.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from visualpath_protocol.clock import NS_PER_MS, mono_ns
from visualpath_protocol.sockets import ZmqSocket

MAX_PARTS_PER_PASS = 1000
"""How many messages one socket may deliver before the others and the clock get their turn."""

STOP_SIGNALS = frozenset({2, 15})
LONGEST_WAIT_NS = 1_000 * NS_PER_MS

Parts = list[bytes]


@dataclass
class _Timer:
    interval_ns: int
    callback: Callable[[int], None]
    due_ns: int


class PollLoop:
    """Waits, drains, ticks. Belongs to the thread that calls `run`; `call_soon`, `wake` and `stop` are for any."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._handlers: dict[ZmqSocket, tuple[Callable[[Parts], None], int]] = {}
        self._timers: list[_Timer] = []
        self._tickers: list[tuple[Callable[[int], None], Callable[[], int | None]]] = []
        self._handed_over: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._wake_read, self.wake_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller.register(self._wake_read, zmq.POLLIN)

    def watch(self, socket: ZmqSocket, handler: Callable[[Parts], None], at_once: int = MAX_PARTS_PER_PASS) -> None:
        """Call `handler(parts)` for each message that arrives on `socket`, at most `at_once` of them in one pass."""
        self._handlers[socket] = handler, at_once
        self._poller.register(socket, zmq.POLLIN)

    def every(self, interval_ns: int, callback: Callable[[int], None]) -> None:
        """Call `callback(now_ns)` every `interval_ns`, first after one interval."""
        self._timers.append(_Timer(interval_ns, callback, mono_ns() + interval_ns))

    def on_tick(self, callback: Callable[[int], None], next_deadline: Callable[[], int | None] = lambda: None) -> None:
        """Call `callback(now_ns)` after each pass, and wake up at `next_deadline()` (monotonic ns) for it."""
        self._tickers.append((callback, next_deadline))

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` in the loop's thread. For other threads; callbacks keep their order."""
        self._handed_over.append(callback)
        self.wake()

    def wake(self) -> None:
        """End the present wait."""
        try:
            os.write(self.wake_fd, b"\0")
        except BlockingIOError:
            return  # the pipe is full of wake-ups already

    def stop(self) -> None:
        """Leave `run` after the present pass."""
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """Work until `stop`, SIGTERM or SIGINT, and do what was handed over before that. It may be called again."""
        while not self._stopping:
            for readable, _ in self._poller.poll(self._wait_ms()):
                if readable == self._wake_read:
                    self._drain_wakeups()
                else:
                    self._drain(readable)
            self._run_handed_over()
            self._run_timers()
        self._stopping = False
        self._run_handed_over()

    def rest(self, wait_ns: int) -> None:
        """Do nothing for so long, or until SIGTERM or SIGINT."""
        until_ns = mono_ns() + wait_ns
        poller = zmq.Poller()
        poller.register(self._wake_read, zmq.POLLIN)
        while not self._stopping and (left_ns := until_ns - mono_ns()) > 0:
            if poller.poll(-(-left_ns // NS_PER_MS)):
                self._drain_wakeups()

    def close(self) -> None:
        """Give the wake-up pipe back."""
        os.close(self._wake_read)
        os.close(self.wake_fd)

    def _wait_ms(self) -> int:
        if self._handed_over:
            return 0
        now = mono_ns()
        deadlines = [timer.due_ns for timer in self._timers]
        deadlines += [due for _, next_deadline in self._tickers if (due := next_deadline()) is not None]
        wait_ns = min(min(deadlines, default=now + LONGEST_WAIT_NS) - now, LONGEST_WAIT_NS)
        return max(0, -(-wait_ns // NS_PER_MS))

    def _drain(self, socket: ZmqSocket) -> None:
        handler, at_once = self._handlers[socket]
        for _ in range(at_once):
            try:
                parts = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            handler(parts)

    def _drain_wakeups(self) -> None:
        """Wake-up bytes are zero from our threads, or the numbers of signals (`signal.set_wakeup_fd`)."""
        if STOP_SIGNALS & set(os.read(self._wake_read, 4096)):
            self._stopping = True

    def _run_handed_over(self) -> None:
        while self._handed_over:
            self._handed_over.popleft()()

    def _run_timers(self) -> None:
        now = mono_ns()
        for callback, _ in self._tickers:
            callback(now)
        for timer in self._timers:
            if now >= timer.due_ns:
                passed = (now - timer.due_ns) // timer.interval_ns + 1  # what was missed is not made up for
                timer.due_ns += passed * timer.interval_ns
                timer.callback(now)
