"""A StreamFusion with a scripted fusion, for the tests of what goes in and of what comes out."""

from visualpath.core.align import AlignParams
from visualpath.core.fusion import BaseFusion, FusionResult
from visualpath.core.stream_fusion import StreamFusion
from visualpath.core.stream_types import ByHand, SourceDown, Tick
from visualpath.core.trigger import Trigger
from visualpath_protocol.messages import Bound, Obs, Ping, Skip, StreamState, Trig

MS = 1_000_000
PARAMS = AlignParams(window_ns=100 * MS, idle_timeout_ns=1000 * MS)
QUIET_NS = 1100 * MS


class ScriptedFusion(BaseFusion):
    """Writes down what it is told; fires on the frames in `fire_on`."""

    def __init__(self):
        self.told = []
        self.sets = []
        self.fire_on = {}

    def update(self, frame):
        self.told.append(("update", frame.frame_id))
        self.sets.append(frame)
        return FusionResult(triggers=self.fire_on.get(frame.frame_id, ()))

    def reset(self):
        self.told.append("reset")

    def resume(self, label, t_end_ns):
        self.told.append(("resume", label, t_end_ns))


class Bench:
    """A StreamFusion of cam1 with a scripted fusion, short ways to feed it, and all outcomes so far."""

    def __init__(self, firings=None, fusion=None, **options):
        self.fusion = fusion or ScriptedFusion()
        self.outcomes = []
        self.stream = StreamFusion("cam1", PARAMS, self.fusion, firings or {}, **options)

    def feed(self, message, now):
        """Returns the triggers."""
        outcomes = self.stream.feed(message, now)
        self.outcomes += outcomes
        return [each for each in outcomes if isinstance(each, Trig)]

    def of(self, kind):
        return [each for each in self.outcomes if isinstance(each, kind)]

    def tick(self, now):
        return self.feed(Tick(), now)

    def down(self, source, now):
        return self.feed(SourceDown(source=source), now)

    def by_hand(self, label, t_ns, frame_id=5, reason="because"):
        (trig,) = self.feed(ByHand(label=label, t_ns=t_ns, frame_id=frame_id, reason=reason), 0)
        return trig

    def up(self, *sources, now=0, **fields):
        for source in sources:
            self.feed(Ping(source=source, instance="i", streams=["cam1"], state="ready", **fields), now)

    def state(self, state="live", epoch=3, now=0):
        message = StreamState(stream="cam1", epoch=epoch, state=state, last_frame_id=9, last_t_ns=900 * MS)
        return self.feed(message, now)

    def obs(self, source, frame_id, epoch=3, now=None, t_ns=None, observations=(), bound_ns=0, **fields):
        t_ns = frame_id * 100 * MS if t_ns is None else t_ns
        message = Obs(
            source=source,
            instance="i",
            seq=0,
            stream="cam1",
            epoch=epoch,
            frame_id=frame_id,
            t_ns=t_ns,
            mono_ns=0,
            observations=list(observations),
            bound_ns=max(bound_ns, t_ns),
            **fields,
        )
        return self.feed(message, t_ns if now is None else now)

    def skip(self, source, first, last, epoch=3, now=0):
        message = Skip(
            source=source,
            instance="i",
            seq=0,
            stream="cam1",
            epoch=epoch,
            first_frame_id=first,
            last_frame_id=last,
            first_t_ns=first * 100 * MS,
            t_ns=last * 100 * MS,
            reason="gap",
        )
        return self.feed(message, now)

    def bound(self, source, t_ns, epoch=3, now=0):
        message = Bound(source=source, instance="i", seq=0, stream="cam1", epoch=epoch, t_ns=t_ns)
        return self.feed(message, now)


def moment(label="smile", frame_id=2, **fields):
    return Trigger(**{"label": label, "t_start_ns": 100 * MS, "t_end_ns": 200 * MS, "frame_id": frame_id, **fields})
