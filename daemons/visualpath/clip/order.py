"""What each clip is to hold, and into which clip a trigger goes: one incident, one clip. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from visualpath_protocol.messages import COUNT_MAX, FrameHeader, Trig

MAX_TRIGGERS = 500
"""Of one clip: a plug-in that fires at every frame must not fill the memory. What comes beyond begins another."""

Span = tuple[int, int]
"""Event time: first instant, last instant."""


class ClipOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A clip that was asked for.

    Attributes:
        clip_id: the id of its first trigger; of a clip that goes on where another ended, with an ending: `-r` and the
            revision that asked for more, `-f` and the frame from which pictures have another size.
        asked: event time asked for; it may begin below 0.
        triggers: the newest revision of each, in the order they came.
    """

    clip_id: str
    stream: str
    epoch: int
    asked: Span
    triggers: tuple[Trig, ...]

    def __str__(self) -> str:
        """E.g. `clip 0123456789abcdef cam1/3 4.000s..14.500s`."""
        start, end = (t_ns / 1e9 for t_ns in self.asked)
        return f"clip {self.clip_id} {self.stream}/{self.epoch} {start:.3f}s..{end:.3f}s"

    @property
    def label(self) -> str:
        """Of the first trigger."""
        return self.triggers[0].label

    def contains(self, trig: Trig) -> bool:
        """Whether the whole moment was asked for."""
        return self.asked[0] <= trig.t_start_ns and trig.t_end_ns <= self.asked[1]

    def with_trigger(self, trig: Trig, span: Span | None = None) -> ClipOrder:
        """This order with one more trigger, or a higher revision of one it has; over `span` too."""
        known = {each.trig_id: each for each in self.triggers}
        if trig.trig_id not in known or trig.revision > known[trig.trig_id].revision:
            known[trig.trig_id] = trig
        asked = self.asked if span is None else (min(self.asked[0], span[0]), max(self.asked[1], span[1]))
        return msgspec.structs.replace(self, asked=asked, triggers=tuple(known.values()))

    def rest_from(self, frame: FrameHeader) -> ClipOrder:
        """What is left when the clip has to end before `frame`: a clip of its own, of the same triggers."""
        asked = frame.t_ns, max(self.asked[1], frame.t_ns)
        return msgspec.structs.replace(self, clip_id=f"{root_of(self.clip_id)}-f{frame.frame_id}", asked=asked)


def root_of(clip_id: str) -> str:
    """The id of the clip whose rest this is; its own if it is none. A rest's rest has the same root: ids stay short."""
    return clip_id.partition("-f")[0]


def span_of(trig: Trig, pre_ns: int, post_ns: int) -> Span:
    """What a trigger asks for: never clamped at the beginning; the end is what a database can hold."""
    return trig.t_start_ns - pre_ns, min(trig.t_end_ns + post_ns, COUNT_MAX)


def place(
    trig: Trig, span: Span, opened: Iterable[ClipOrder], before: ClipOrder | None, max_length_ns: int
) -> ClipOrder:
    """The order that a trigger belongs to: a clip in the making that it overlaps, as it then is, or its own.

    Args:
        trig: the trigger.
        span: what it asks for.
        opened: clips of its stream that can still take more, in the order they began.
        before: the clip of a lower revision of the same trigger, whatever its state.
        max_length_ns: no clip is made longer than this by joining; a single trigger may ask for more.
    """
    candidates = {order.clip_id: order for order in opened if order.epoch == trig.epoch}
    clip_id = trig.trig_id
    if before is not None:
        if candidates.pop(before.clip_id, None) is not None and _fits(before, span, max_length_ns):
            return before.with_trigger(trig, span)
        if before.contains(trig):
            return before.with_trigger(trig)
        clip_id = f"{trig.trig_id}-r{trig.revision}"
        if before.asked[0] <= trig.t_start_ns <= before.asked[1]:
            span = before.asked[1], max(span[1], before.asked[1])
    for order in candidates.values():
        overlaps = span[0] <= order.asked[1] and order.asked[0] <= span[1] and len(order.triggers) < MAX_TRIGGERS
        if overlaps and _fits(order, span, max_length_ns):
            return order.with_trigger(trig, span)
    return ClipOrder(clip_id=clip_id, stream=trig.stream, epoch=trig.epoch, asked=span, triggers=(trig,))


def _fits(order: ClipOrder, span: Span, max_length_ns: int) -> bool:
    """Whether an order may grow by a span. A rest begins where pictures change their size, and never before."""
    if root_of(order.clip_id) != order.clip_id and span[0] < order.asked[0]:
        return False
    return max(order.asked[1], span[1]) - min(order.asked[0], span[0]) <= max_length_ns
