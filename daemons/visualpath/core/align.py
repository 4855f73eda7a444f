"""The alignment engine: OBS of several sources in, one set per frame out, in order of event time.

The rules (R1 to R26) and guarantees (G1 to G10) are those of the alignment contract. The laws behind them:

*   Pure: time is an argument, decisions are return values, `next_deadline()` says when to tick (R1, R23).
*   Only the head, the waiting frame with the smallest (t_ns, frame_id), may leave. It leaves when all it
    waits for have reported it or promised not to (complete), when its window is over, or when the buffer
    overflows, time resets, or the stream ends. Having left, it is the frontier, which only rises (G1, G2).
*   A frame behind the frontier never becomes a set: its OBS are late, or dropped with a reason (G6).
*   Only `tick` acts by time; every other input acts by what it says (R22).
*   After every input the head is one that has to wait: whatever changes who is waited for or what is
    promised ends with `_flow` (R19).
*   One source alone does not move time while another lives: a jump needs proof (R7) or the word of the
    control channel (R9). A reset replaces the time line and forgets all promises; nothing else does (R8).
*   What grows is bounded: buffer, retired frames, skips per source, sources (G4).
"""

from __future__ import annotations

from typing import Any

from visualpath.core.align_line import Frame, Obs, TimeLine
from visualpath.core.align_sources import Roster, Source
from visualpath.core.align_types import (
    Active,
    AlignedSet,
    AlignParams,
    Drop,
    DropReason,
    Idle,
    Late,
    Output,
    Reset,
    ResetKind,
    SetReason,
)

__all__ = [
    "Active",
    "AlignParams",
    "AlignedSet",
    "Aligner",
    "Drop",
    "DropReason",
    "Idle",
    "Late",
    "Output",
    "Reset",
    "ResetKind",
    "SetReason",
]


class Aligner:
    """Aligns the OBS of one stream, for as long as the stream's daemon lives.

    The shell drains its sockets, stamps each message on arrival, hands it over, then calls `tick` once and
    polls until `next_deadline` (R22). Each input returns its outputs in order. Stamps (`arrival`, `now`)
    are monotonic ns; one that goes back counts as the latest (R2). `t_ns` is event time.
    """

    def __init__(self, params: AlignParams | None = None) -> None:
        self._params = params or AlignParams()
        self._now = 0
        self._epoch = 0
        self._gen = 0
        self._created = 0  # frames so far
        self._roster = Roster(self._params.max_sources)
        self._line = TimeLine(self._params)

    # Inputs: who is there.

    def source_up(
        self,
        source: str,
        now: int,
        expected: bool = True,
        ordered: bool = True,
        stride: int = 1,
        phase: int = 0,
    ) -> list[Output]:
        """A source has come, or come back: it owes only frames that are new from now on (R3).

        Args:
            source: its name. One too many is not taken; its OBS are dropped as `too_many_sources`.
            now: monotonic ns.
            expected: frames wait for it; otherwise its OBS are taken, but never waited for.
            ordered: it works in order, so that an OBS settles all earlier frames (R12).
            stride: it reports only the frames with frame_id mod stride == phase (keyframe_only).
            phase: see stride.
        """
        self._advance(now)
        self._roster.put(Source(source, self._created, expected, ordered, stride, phase))
        return self._flow()

    def source_down(self, source: str, now: int) -> list[Output]:
        """A source has gone: nothing waits for it any more (R3)."""
        self._advance(now)
        self._roster.take_down(source)
        return self._flow()

    # Inputs: what sources say.

    def obs(
        self, source: str, frame_id: int, t_ns: int, arrival: int, epoch: int | None = None, payload: Any = None
    ) -> list[Output]:
        """An OBS: it ends in exactly one of set, late, drop (G6). `epoch` None is the current one."""
        self._advance(arrival)
        obs = Obs(source, frame_id, t_ns, payload)
        if not (_is_natural(frame_id) and _is_natural(t_ns)):
            return [obs.dropped("invalid")]
        who = self._roster.get(source) or self._register(source)
        if who is None:
            return [obs.dropped("too_many_sources")]
        out = self._wake(who)
        out += self._judge(who, obs, self._epoch if epoch is None else epoch)
        out += self._flow()
        return out

    def skip(self, source: str, frame_id: int, t_ns: int, arrival: int, epoch: int | None = None) -> list[Output]:
        """A promise: no OBS of this frame will come (R16). An invalid one is ignored (R4)."""
        self._advance(arrival)
        who = self._roster.get(source)
        if who is None or not (_is_natural(frame_id) and _is_natural(t_ns)):
            return []
        out = self._wake(who)
        if epoch is None or epoch == self._epoch:
            who.promise_skip(frame_id, self._params.max_buffered_frames)
        out += self._flow()
        return out

    def bound(self, source: str, t_ns: int, arrival: int, epoch: int | None = None) -> list[Output]:
        """A promise: no OBS of an event time below t_ns will come (R16). An invalid one is ignored (R4)."""
        self._advance(arrival)
        who = self._roster.get(source)
        if who is None or not _is_natural(t_ns):
            return []
        out = self._wake(who)
        if epoch is None or epoch == self._epoch:
            who.promise_bound(t_ns)
        out += self._flow()
        return out

    # Inputs: time, and the trusted control channel.

    def tick(self, now: int) -> list[Output]:
        """Time has come this far: who owes an answer for too long is idle, what is overdue leaves (R21).

        What became complete because a source fell idle leaves in the same order and for the same reason
        whether it is released before what is overdue (R21b) or with it, so there is no step for it.
        """
        self._advance(now)
        deadline = self.next_deadline()
        if deadline is None or self._now < deadline:
            return []
        out = self._fall_idle()
        mark = self._line.newest_created_until(self._now - self._params.window_ns)
        while (head := self._line.head) is not None and head.key <= mark:
            out.append(self._release("complete" if self._is_complete(head) else "window"))
        out += self._flow()
        return out

    def epoch(self, n: int, now: int) -> list[Output]:
        """The stream has begun epoch n: what waits leaves, and time starts anew (R9)."""
        self._advance(now)
        return self._reset(n, "epoch") if n > self._epoch else []

    def close(self, now: int) -> list[Output]:
        """The stream has ended: what waits leaves (R26)."""
        self._advance(now)
        return self._release_all("close")

    def next_deadline(self) -> int | None:
        """When `tick` has something to do next, in monotonic ns; None: only after another input (R23)."""
        deadlines = []
        if (pending := self._roster.longest_pending()) is not None:
            deadlines.append(pending + self._params.idle_timeout_ns)
        if (oldest := self._line.first_created) is not None:
            deadlines.append(oldest.first_arrival + self._params.window_ns)
        return min(deadlines, default=None)

    def _advance(self, stamp: int) -> None:
        self._now = max(self._now, stamp)

    # Sources.

    def _register(self, source: str) -> Source | None:
        """R3: an OBS makes an unknown source an optional one, if there is room."""
        who = Source(source, self._created, expected=False, ordered=True, stride=1, phase=0)
        return who if self._roster.put(who) else None

    def _wake(self, who: Source) -> list[Output]:
        """R5: any word of a source is a sign of life."""
        return [Active(who.name)] if self._roster.wake(who) else []

    def _fall_idle(self) -> list[Output]:
        """R21a: who has owed an answer for idle_timeout is waited for no more."""
        pending_until = self._now - self._params.idle_timeout_ns
        return [Idle(name) for name in self._roster.fall_idle(pending_until)]

    # OBS.

    def _judge(self, who: Source, obs: Obs, epoch: int) -> list[Output]:
        """R6 to R8: is it of the time line that we follow, or does it prove that there is another?

        Proof is enough OBS in a row that tell the same, from two sources if any but this one lives; whether
        this one is up does not matter. (R7 counts up sources only, and would let one that is down jump alone.)
        """
        if epoch < self._epoch:
            return [obs.dropped("stale_epoch")]
        kind = "epoch" if epoch > self._epoch else self._line.out_of_band(obs.t_ns, self._now)
        if kind is None:
            return self._place(who, obs)
        run = self._line.strayed(obs, kind, epoch, self._now)
        witnesses = 2 if self._roster.another_lives(who) else 1
        if not (0 < self._params.jump_confirm <= run.count and len(run.sources) >= witnesses):
            return [obs.dropped(kind)]
        return self._reset(epoch, kind) + self._place(who, obs)

    def _reset(self, epoch: int, kind: ResetKind) -> list[Output]:
        """R8: what waits leaves, then nothing of this generation is remembered."""
        out = self._release_all("reset")
        self._line = TimeLine(self._params)
        self._roster.forget()
        self._gen += 1
        self._epoch = epoch
        out.append(Reset(self._gen, kind))
        return out

    def _place(self, who: Source, obs: Obs) -> list[Output]:
        """R10 to R14: an in-band OBS joins its frame, or is late, or is dropped."""
        line = self._line
        line.saw(obs.t_ns, self._now)
        if line.contradicts(obs):
            return [obs.dropped("t_mismatch")]
        if who.ordered and who.up:
            who.promise_bound(obs.t_ns + 1)
        if obs.key <= line.frontier:
            return [self._come_late(obs)]
        frame = line.buffer.get(obs.frame_id) or self._create(obs)
        if obs.source in frame.payloads:
            return [obs.dropped("duplicate")]
        frame.add(obs, self._now)
        return []

    def _come_late(self, obs: Obs) -> Late | Drop:
        """R13: a set is never emitted again."""
        line = self._line
        retired = line.retired.get(obs.frame_id)
        orphan = retired is None
        if retired is None:
            if obs.t_ns < line.horizon_ns or obs.key <= line.floor:
                return obs.dropped("too_late")
            retired = line.remember(obs.key, set())
        elif obs.source in retired.sources:
            return obs.dropped("duplicate")
        revision = retired.revise(obs.source)
        behind_ns = line.frontier[0] - obs.t_ns
        return Late(self._gen, obs.frame_id, obs.t_ns, obs.source, revision, orphan, behind_ns, payload=obs.payload)

    def _create(self, obs: Obs) -> Frame:
        """R14, R15: a frame begins to wait, and the others begin to owe it an answer."""
        frame = Frame(obs.t_ns, obs.frame_id, self._created, first_arrival=self._now)
        self._created += 1
        self._line.insert(frame)
        self._roster.owe(obs, self._now)
        return frame

    # Frames that leave.

    def _flow(self) -> list[Output]:
        """R19, R20: release what need not wait, and what there is no room for."""
        out: list[Output] = []
        line = self._line
        while (head := line.head) is not None:
            if self._is_complete(head) and not self._overtakes(head):
                out.append(self._release("complete"))
            elif len(line.buffer) > self._params.max_buffered_frames:
                out.append(self._release("overflow"))
            else:
                break
        return out

    def _waited_for(self, frame: Frame) -> list[Source]:
        """R17: optional sources never, newcomers only in frames created after they joined."""
        return [who for who in self._roster.awaited if who.joined <= frame.number]

    def _is_complete(self, frame: Frame) -> bool:
        """R18: somebody is waited for, and each of them has reported the frame or settled it."""
        waited_for = self._waited_for(frame)
        for who in waited_for:
            if who.name not in frame.payloads and not who.settled(frame.frame_id, frame.t_ns):
                return False
        return bool(waited_for)

    def _overtakes(self, frame: Frame) -> bool:
        """R18b: may an earlier frame that nobody has reported yet still come?

        Its time is not known, but it is below t_ns: who promised a bound of t_ns or more owes none.
        """
        unseen = self._line.unseen_before(frame)
        return bool(unseen) and any(who.bound < frame.t_ns and who.owes_any(unseen) for who in self._waited_for(frame))

    def _release(self, reason: SetReason) -> AlignedSet:
        """R24: the head leaves as a set."""
        frame = self._line.pop_head()
        silent = self._roster.silent_in(frame.payloads)
        skipped = tuple(who.name for who in silent if who.settled(frame.frame_id, frame.t_ns))
        return AlignedSet(
            gen=self._gen,
            frame_id=frame.frame_id,
            t_ns=frame.t_ns,
            obs=tuple(sorted(frame.payloads)),
            missing=tuple(who.name for who in silent if who.name not in skipped),
            skipped=skipped,
            reason=reason,
            hold_ns=self._now - frame.first_arrival,
            spread_ns=frame.last_arrival - frame.first_arrival,
            payloads=frame.payloads,
        )

    def _release_all(self, reason: SetReason) -> list[Output]:
        out: list[Output] = []
        while self._line.head is not None:
            out.append(self._release(reason))
        return out


def _is_natural(value: object) -> bool:
    """R4. Strictly int: a float or a bool from a source is no id and no time."""
    return type(value) is int and value >= 0
