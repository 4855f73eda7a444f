"""The alignment contract once more, slow and obvious: what `visualpath.core.align` is compared with.

Each method says one or two rules in the words of the contract, with plain lists that are searched and
sorted each time. It shares the output types with the engine and nothing else, and is meant for the
differential tests, for the bench, and for reading beside the contract; do not run a daemon on it.
"""

from __future__ import annotations

from typing import Any

from visualpath.core.align import Active, AlignedSet, AlignParams, Drop, Idle, Late, Reset

Record = dict[str, Any]


class SlowAligner:
    """The public face of `visualpath.core.align.Aligner`."""

    def __init__(self, params: AlignParams | None = None) -> None:
        self.params = params or AlignParams()
        self.now = 0
        self.current_epoch = 0
        self.gen = 0
        self.created = 0
        self.sources: list[Record] = []
        self.clear()

    def clear(self) -> None:
        """What R8 clears."""
        self.waiting: list[Record] = []
        self.retired: list[Record] = []
        self.frontier: tuple[int, int] | None = None
        self.forgotten: list[tuple[int, int]] = []
        self.newest: tuple[int, int] | None = None  # max_t and its arrival
        self.run: list[Record] = []
        for source in self.sources:
            source.update(bound=None, skips=[], pending=None)

    # Inputs.

    def source_up(
        self,
        source: str,
        now: int,
        expected: bool = True,
        ordered: bool = True,
        stride: int = 1,
        phase: int = 0,
    ) -> list[Any]:
        self.now = max(self.now, now)
        others = [known for known in self.sources if known["name"] != source]
        if len(others) < self.params.max_sources:
            newcomer = {"name": source, "expected": expected, "ordered": ordered, "stride": stride}
            newcomer |= {"phase": phase, "up": True, "idle": False, "joined": self.created}
            newcomer |= {"bound": None, "skips": [], "pending": None}
            self.sources = [*others, newcomer]
        return self.release_ready()

    def source_down(self, source: str, now: int) -> list[Any]:
        self.now = max(self.now, now)
        for known in self.sources:
            if known["name"] == source:
                known["up"] = False
        return self.release_ready()

    def obs(
        self, source: str, frame_id: int, t_ns: int, arrival: int, epoch: int | None = None, payload: Any = None
    ) -> list[Any]:
        self.now = max(self.now, arrival)
        if self.invalid(frame_id) or self.invalid(t_ns):
            return [Drop(source, frame_id, t_ns, "invalid")]
        if self.find(source) is None:
            if len(self.sources) == self.params.max_sources:
                return [Drop(source, frame_id, t_ns, "too_many_sources")]
            self.source_up(source, self.now, expected=False)
        sign_of_life = self.sign_of_life(source)
        if epoch is None:
            epoch = self.current_epoch
        verdict = self.take(source, frame_id, t_ns, epoch, payload)
        return sign_of_life + verdict + self.release_ready()

    def skip(self, source: str, frame_id: int, t_ns: int, arrival: int, epoch: int | None = None) -> list[Any]:
        self.now = max(self.now, arrival)
        known = self.find(source)
        if known is None or self.invalid(frame_id) or self.invalid(t_ns):
            return []
        outputs = self.sign_of_life(source)
        if epoch in (None, self.current_epoch) and frame_id not in known["skips"]:
            known["skips"] = [*known["skips"], frame_id][-self.params.max_buffered_frames :]
        return outputs + self.release_ready()

    def bound(self, source: str, t_ns: int, arrival: int, epoch: int | None = None) -> list[Any]:
        self.now = max(self.now, arrival)
        known = self.find(source)
        if known is None or self.invalid(t_ns):
            return []
        outputs = self.sign_of_life(source)
        if epoch in (None, self.current_epoch):
            self.raise_bound(known, t_ns)
        return outputs + self.release_ready()

    def tick(self, now: int) -> list[Any]:
        self.now = max(self.now, now)
        outputs: list[Any] = []
        for source in sorted(self.sources, key=lambda known: known["name"]):  # R21a
            pending, alive = source["pending"], source["up"] and not source["idle"]
            silent = pending is not None and self.now - pending >= self.params.idle_timeout_ns
            if source["expected"] and alive and silent:
                source["idle"] = True
                outputs.append(Idle(source["name"]))
        outputs += self.release_ready()  # R21b
        expired = [self.key(f) for f in self.waiting if self.now - self.first(f) >= self.params.window_ns]
        for frame in self.in_order():  # R21c
            if expired and self.key(frame) <= max(expired):
                outputs.append(self.release(frame, "complete" if self.complete(frame) else "window"))
        return outputs + self.release_ready()  # R21d

    def epoch(self, n: int, now: int) -> list[Any]:
        self.now = max(self.now, now)
        return self.reset(n, "epoch") if n > self.current_epoch else []

    def close(self, now: int) -> list[Any]:
        self.now = max(self.now, now)
        return [self.release(frame, "close") for frame in self.in_order()]

    def next_deadline(self) -> int | None:
        deadlines = [self.first(frame) + self.params.window_ns for frame in self.waiting]
        for source in self.sources:
            counts = source["expected"] and source["up"] and not source["idle"]
            if counts and source["pending"] is not None:
                deadlines.append(source["pending"] + self.params.idle_timeout_ns)
        return min(deadlines) if deadlines else None

    # Rules about sources.

    def find(self, name: str) -> Record | None:
        for source in self.sources:
            if source["name"] == name:
                return source
        return None

    def invalid(self, value: Any) -> bool:  # R4
        return isinstance(value, bool) or not isinstance(value, int) or value < 0

    def sign_of_life(self, name: str) -> list[Any]:  # R5
        source = self.find(name)
        assert source is not None
        was_idle = source["idle"]
        source.update(idle=False, pending=None)
        return [Active(name)] if was_idle else []

    def raise_bound(self, source: Record, t_ns: int) -> None:  # R16
        if source["bound"] is None or t_ns > source["bound"]:
            source["bound"] = t_ns

    def settled(self, source: Record, frame: Record) -> bool:  # R16
        off_stride = source["stride"] > 1 and frame["id"] % source["stride"] != source["phase"]
        skipped = frame["id"] in source["skips"]
        passed = source["bound"] is not None and frame["t"] < source["bound"]
        return bool(off_stride or skipped or passed)

    def settled_unseen(self, source: Record, frame_id: int, head: Record) -> bool:  # R18b
        off_stride = source["stride"] > 1 and frame_id % source["stride"] != source["phase"]
        skipped = frame_id in source["skips"]
        passed = source["bound"] is not None and source["bound"] >= head["t"]
        return bool(off_stride or skipped or passed)

    def waited_for(self, frame: Record) -> list[Record]:  # R17
        live = [s for s in self.sources if s["expected"] and s["up"] and not s["idle"]]
        return [s for s in live if s["joined"] <= frame["number"]]

    # Rules about OBS.

    def take(self, source: str, frame_id: int, t_ns: int, epoch: int, payload: Any) -> list[Any]:
        """R6 to R8."""
        if epoch < self.current_epoch:
            return [Drop(source, frame_id, t_ns, "stale_epoch")]
        kind = self.out_of_band(t_ns, epoch)
        if kind is None:
            self.run = []
            return self.place(source, frame_id, t_ns, payload)
        if self.run:
            last = self.run[-1]
            same = last["kind"] == kind and last["epoch"] == epoch
            drift = abs((t_ns - last["t"]) - (self.now - last["arrival"]))
            if not same or drift > self.params.future_guard_ns:
                self.run = []
        self.run.append({"kind": kind, "epoch": epoch, "t": t_ns, "arrival": self.now, "source": source})
        witnesses = {strange["source"] for strange in self.run}
        others = [known for known in self.sources if known["name"] != source]
        witnesses_needed = min(2, 1 + sum(known["up"] and not known["idle"] for known in others))
        enough = self.params.jump_confirm > 0 and len(self.run) >= self.params.jump_confirm
        if enough and len(witnesses) >= witnesses_needed:
            return self.reset(epoch, kind) + self.place(source, frame_id, t_ns, payload)
        return [Drop(source, frame_id, t_ns, kind)]

    def out_of_band(self, t_ns: int, epoch: int) -> Any:  # R6
        if epoch > self.current_epoch:
            return "epoch"
        if self.newest is not None:
            max_t, arrival = self.newest
            if t_ns > max_t + (self.now - arrival) + self.params.future_guard_ns:
                return "future"
        if self.frontier is not None and t_ns < self.frontier[0] - self.params.reset_backstep_ns:
            return "past"
        return None

    def reset(self, epoch: int, kind: Any) -> list[Any]:  # R8
        outputs: list[Any] = [self.release(frame, "reset") for frame in self.in_order()]
        self.clear()
        self.gen += 1
        self.current_epoch = epoch
        return [*outputs, Reset(self.gen, kind)]

    def place(self, source: str, frame_id: int, t_ns: int, payload: Any) -> list[Any]:
        """R10 to R15."""
        if self.newest is None or t_ns > self.newest[0]:
            self.newest = (t_ns, self.now)
        if any(f["id"] == frame_id and f["t"] != t_ns for f in self.waiting + self.retired):
            return [Drop(source, frame_id, t_ns, "t_mismatch")]
        reporter = self.find(source)
        assert reporter is not None
        if reporter["ordered"] and reporter["up"]:
            self.raise_bound(reporter, t_ns + 1)
        if self.frontier is not None and (t_ns, frame_id) <= self.frontier:
            return self.come_late(source, frame_id, t_ns, payload)
        found = [frame for frame in self.waiting if frame["id"] == frame_id]
        if found and source in self.reporters(found[0]):
            return [Drop(source, frame_id, t_ns, "duplicate")]
        report = (source, payload, self.now)
        if found:
            found[0]["obs"].append(report)
            return []
        frame = {"id": frame_id, "t": t_ns, "number": self.created, "obs": [report]}
        self.created += 1
        self.waiting.append(frame)
        for other in self.sources:
            owes = other["expected"] and other["up"] and other is not reporter
            if owes and not self.settled(other, frame) and other["pending"] is None:
                other["pending"] = self.now
        return []

    def come_late(self, source: str, frame_id: int, t_ns: int, payload: Any) -> list[Any]:  # R13
        assert self.frontier is not None
        found = [old for old in self.retired if old["id"] == frame_id]
        if not found:
            too_old = t_ns < self.frontier[0] - self.params.window_ns - self.params.allowed_lateness_ns
            if too_old or any((t_ns, frame_id) <= key for key in self.forgotten):
                return [Drop(source, frame_id, t_ns, "too_late")]
            self.retire({"id": frame_id, "t": t_ns, "sources": [source], "revision": 1})
            revision = 1
        elif source in found[0]["sources"]:
            return [Drop(source, frame_id, t_ns, "duplicate")]
        else:
            found[0]["sources"].append(source)
            found[0]["revision"] += 1
            revision = found[0]["revision"]
        behind = self.frontier[0] - t_ns
        return [Late(self.gen, frame_id, t_ns, source, revision, not found, behind, payload)]

    # Rules about frames.

    def key(self, frame: Record) -> tuple[int, int]:
        return (frame["t"], frame["id"])

    def first(self, frame: Record) -> int:
        return int(frame["obs"][0][2])

    def reporters(self, frame: Record) -> list[str]:
        return [source for source, _, _ in frame["obs"]]

    def in_order(self) -> list[Record]:
        return sorted(self.waiting, key=self.key)

    def complete(self, frame: Record) -> bool:  # R18
        waited_for = self.waited_for(frame)
        open_sources = [s for s in waited_for if not self.settled(s, frame)]
        open_sources = [s for s in open_sources if s["name"] not in self.reporters(frame)]
        return bool(waited_for) and not open_sources

    def held(self, head: Record) -> bool:  # R18b
        if self.frontier is None:
            return False
        first, last = self.frontier[1] + 1, head["id"] - 1
        if last < first or last - first + 1 > self.params.max_buffered_frames:
            return False
        buffered = [frame["id"] for frame in self.waiting]
        for frame_id in range(first, last + 1):
            for source in self.waited_for(head):
                if frame_id not in buffered and not self.settled_unseen(source, frame_id, head):
                    return True
        return False

    def release_ready(self) -> list[Any]:
        """R19, R20."""
        outputs: list[Any] = []
        while self.waiting:
            head = self.in_order()[0]
            if self.complete(head) and not self.held(head):
                outputs.append(self.release(head, "complete"))
            elif len(self.waiting) > self.params.max_buffered_frames:
                outputs.append(self.release(head, "overflow"))
            else:
                break
        return outputs

    def release(self, frame: Record, reason: Any) -> AlignedSet:  # R24
        self.waiting.remove(frame)
        self.frontier = self.key(frame)
        reporters = self.reporters(frame)
        silent = [s for s in self.sources if s["expected"] and s["name"] not in reporters]
        missing = [s["name"] for s in silent if not self.settled(s, frame)]
        skipped = [s["name"] for s in silent if self.settled(s, frame)]
        self.retire({"id": frame["id"], "t": frame["t"], "sources": reporters, "revision": 0})
        return AlignedSet(
            self.gen,
            frame["id"],
            frame["t"],
            tuple(sorted(reporters)),
            tuple(sorted(missing)),
            tuple(sorted(skipped)),
            reason,
            self.now - self.first(frame),
            frame["obs"][-1][2] - self.first(frame),
            {source: payload for source, payload, _ in frame["obs"]},
        )

    def retire(self, frame: Record) -> None:  # R25
        assert self.frontier is not None
        oldest = self.frontier[0] - self.params.window_ns - self.params.allowed_lateness_ns
        by_key = sorted([*self.retired, frame], key=self.key)
        kept = [old for old in by_key if old["t"] >= oldest][-self.params.max_buffered_frames :]
        self.forgotten += [self.key(old) for old in by_key if old not in kept]
        self.forgotten = [max(self.forgotten)] if self.forgotten else []
        self.retired = kept
