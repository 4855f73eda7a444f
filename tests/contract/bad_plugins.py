"""Plug-ins that each break one promise of docs/plugins.md, for the conformance kit to refuse."""

import ctypes
import os
import signal
import threading
import time

import numpy as np

from visualpath.core import BaseExtractor, BaseFusion, FusionResult, Observation, Trigger
from visualpath.core.errors import PluginConfigError


class Good(BaseExtractor):
    name = "good"
    input_width = 64
    pixel_format = "gray"

    def __init__(self, config=None):
        super().__init__(config)
        if self.config:
            raise ValueError("good takes no configuration")

    def extract(self, frame):
        return Observation(signals={"light": frame.data.mean() / 255})


class Leaks(Good):
    name = "leaks"

    def __init__(self, config=None):
        super().__init__(config)
        self._kept = []

    def extract(self, frame):
        self._kept.append(np.full(100_000, 7, np.uint8))  # leaks
        return super().extract(frame)

    def reset(self):
        self._kept.clear()


class SaysNan(Good):
    name = "says-nan"

    def extract(self, frame):
        return Observation(signals={"light": float("nan")})


class SaysNumber(Good):
    name = "says-number"

    def extract(self, frame):
        return 0.5


class SaysObject(Good):
    name = "says-object"

    def extract(self, frame):
        return Observation(data=object())


class SaysTooMuch(Good):
    name = "says-too-much"

    def extract(self, frame):
        return Observation(data=np.zeros(2_000_000, np.uint8))


class UnreadableSignal(Good):
    name = "unreadable-signal"

    def extract(self, frame):
        return Observation(signals={"how light": 0.5})


class Hangs(Good):
    name = "hangs"

    def extract(self, frame):
        while True:  # hangs
            time.sleep(0.01)


class Remembers(Good):
    name = "remembers"

    def __init__(self, config=None):
        super().__init__(config)
        self._count = 0

    def extract(self, frame):
        self._count += 1
        return Observation(signals={"count": self._count})

    def reset(self):  # forgets nothing
        pass


class Shares(Good):
    name = "shares"
    lights = {}

    def extract(self, frame):
        self.lights.setdefault(frame.frame_id, frame.stream)
        return Observation(signals={"first": self.lights[frame.frame_id] == frame.stream})

    def reset(self):
        self.lights.clear()


class Dices(Good):
    name = "dices"

    def extract(self, frame):
        return Observation(signals={"luck": int.from_bytes(os.urandom(4), "little")})


class Tiny(Good):
    name = "tiny"

    def extract(self, frame):
        return Observation(signals={"step": float(frame.data[5, 5, 0])})  # 1 x 1 has no such pixel


class Portrait(Good):
    name = "portrait"

    def extract(self, frame):
        height, width = frame.data.shape[:2]
        if height > width:
            raise RuntimeError("portrait is not for me")
        return super().extract(frame)


class Writes(Good):
    name = "writes"

    def extract(self, frame):
        frame.data[:2] = 0  # writes
        return super().extract(frame)


class Hoards(Good):
    name = "hoards"

    def __init__(self, config=None):
        super().__init__(config)
        self._frames = []

    def extract(self, frame):
        self._frames = [*self._frames[-15:], frame]
        return super().extract(frame)

    def reset(self):
        self._frames = []


class Segfaults(Good):
    name = "segfaults"

    def extract(self, frame):
        if frame.data.min() == 255:
            ctypes.string_at(0)  # segfaults on white
        return super().extract(frame)


class Exits(Good):
    name = "exits"

    def extract(self, frame):
        if frame.data.max() == 0:
            os._exit(7)
        return super().extract(frame)


class Prints(Good):
    name = "prints"

    def extract(self, frame):
        print("look " * 1000)  # prints
        return super().extract(frame)


class Eats(Good):
    name = "eats"

    def extract(self, frame):
        eaten = [np.ones(1_000_000) for _ in range(40)]
        while eaten:
            time.sleep(0.01)


class Floods(Good):
    name = "floods"

    def extract(self, frame):
        while True:
            print("look " * 1000)
            time.sleep(0.001)


class Locks(Good):
    name = "locks"

    def __init__(self, config=None):
        super().__init__(config)
        self._busy = False

    def extract(self, frame):
        if self._busy:
            raise RuntimeError("I am busy for ever")
        self._busy = True
        seen = super().extract(frame)
        self._busy = False
        return seen


class LeavesThreads(Good):
    name = "leaves-threads"

    def __init__(self, config=None):
        super().__init__(config)
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        threading.Event().wait()


class LeavesFiles(Good):
    name = "leaves-files"

    @classmethod
    def load_models(cls, config):
        return os.open("/dev/null", os.O_RDONLY)


class TakesSignals(Good):
    name = "takes-signals"

    def extract(self, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return super().extract(frame)


class Slow(Good):
    name = "slow"

    def extract(self, frame):
        if frame.stream == "long":
            time.sleep(1.1)
        return super().extract(frame)


class SlowFromTheFirst(Good):
    name = "slow-from-the-first"

    def extract(self, frame):
        time.sleep(1.01)
        return super().extract(frame)


class FailsInReset(Good):
    name = "fails-in-reset"

    def reset(self):
        raise RuntimeError("I never forget")


class LooksAtBoxes(Good):
    """Says how wide the first box is that `face` has found."""

    name = "looks-at-boxes"
    depends = ("face",)

    def extract(self, frame, seen=None):
        boxes = [box for said in seen["face"] for box in said.data]
        assert all(said.frame_id == frame.frame_id for said in seen["face"])
        return Observation(signals={"width": boxes[0]["w"]}) if boxes else None


class TakesStructs(LooksAtBoxes):
    name = "takes-structs"

    def extract(self, frame, seen=None):
        return Observation(signals={"width": sum(box.w for said in seen["face"] for box in said.data)})


class Spoils(LooksAtBoxes):
    name = "spoils"

    def extract(self, frame, seen=None):
        return Observation(signals={"left": float(sum(len(said.data.pop()) for said in seen["face"]))})


class Misnamed(Good):
    name = "another"


class WantsWidth(Good):
    name = "wants-width"
    input_width = "640"


class RaisesKeyError(Good):
    name = "raises-key-error"

    def __init__(self, config=None):
        BaseExtractor.__init__(self, config)
        self._limits = [{"limit": 1}[key] for key in self.config]


class Careless(Good):
    name = "careless"

    def __init__(self, config=None):
        BaseExtractor.__init__(self, config)


class TwoWays(Good):
    name = "two-ways"
    backends = {"heavy": lambda _: "heavy", "light": lambda _: "light"}
    backend_pictures = {"heavy": (320, "bgr")}


class HeavyIsMissing(Good):
    name = "heavy-is-missing"
    backends = {"heavy": lambda _: os.stat("/no/such/weights"), "light": lambda _: "light"}


class HeavyFails(Good):
    name = "heavy-fails"
    backends = {"heavy": lambda _: "heavy", "light": lambda _: "light"}

    def extract(self, frame):
        if self.models == "heavy" and frame.data.shape[1] == 1:
            raise RuntimeError("one column is too few for me")
        return super().extract(frame)


class WantsOddPictures(Good):
    name = "wants-odd-pictures"
    backends = {"heavy": lambda _: "heavy"}
    backend_pictures = {"heavy": (320, "rgb")}


class GoodFusion(BaseFusion):
    """Fires on every hundredth set."""

    name = "good-fusion"

    def __init__(self, config):
        if config:
            raise PluginConfigError((next(iter(config)),), "unknown key")
        self._count = 0

    def update(self, frame):
        self._count += 1
        if self._count % 100:
            return FusionResult()
        return FusionResult(triggers=(self.moment(frame),))

    def moment(self, frame):
        return Trigger("hundred", frame.t_ns, frame.t_ns, frame.frame_id)

    def reset(self):
        self._count = 0


class RemembersFusion(GoodFusion):
    name = "remembers-fusion"

    def reset(self):
        self._count += 1


class BadLabelFusion(GoodFusion):
    name = "bad-label-fusion"

    def moment(self, frame):
        return Trigger("Two Words", frame.t_ns, frame.t_ns, frame.frame_id)


class ValueErrorFusion(GoodFusion):
    name = "value-error-fusion"

    def __init__(self, config):
        if config:
            raise ValueError("no")
        self._count = 0


class TrustingFusion(GoodFusion):
    name = "trusting-fusion"
    depends = ("face",)

    def update(self, frame):
        if not (frame.observations or frame.missing or frame.skipped):
            raise KeyError("face")
        return super().update(frame)
