"""What an extractor must do on any day: start, say what can travel, forget when told, and survive odd frames."""

from __future__ import annotations

import gc
import inspect
import re
import sys
import time
import weakref
from typing import Any

import numpy as np

from visualpath.core.errors import ExtractionError, told
from visualpath.core.extractor import BaseExtractor
from visualpath.process.host import ExtractorHost
from visualpath.testing.conformance.pictures import FRAME_NS, UnreadableFrame, as_seen, frame_of, odd_pictures
from visualpath.testing.conformance.places import line_of_error, line_of_stack
from visualpath.testing.conformance.process_state import held_by_process
from visualpath.testing.conformance.trial import Trial, difference
from visualpath.testing.conformance.verdict import Doubted, Refused
from visualpath_protocol.errors import InvalidName
from visualpath_protocol.messages import check_name

UNKNOWN_KEY = "no_such_key_of_the_kit"
SIGNAL_NAME = re.compile(r"[A-Za-z0-9_.]+")
"""What `core.conditions` reads after the dot of `source.signal`."""
KEPT_FRAMES_MAX = 4
CYCLES = 3
DIFFERENT = "What it says differs even from one fresh process to the next (random numbers? the clock?)"


def check_class(trial: Trial) -> str:
    """Its name, version and what it asks for."""
    kind, name = trial.extractor, trial.plan.name
    check_metadata(kind, name)
    if not (isinstance(kind.version, str) and kind.version):
        raise Refused(f"`version` is {kind.version!r}: write text, such as '1.0.0'")
    _check_picture(kind.input_width, kind.pixel_format)
    for width, pixel_format in kind.backend_pictures.values():
        _check_picture(width, pixel_format)
    given = ("frame", "seen") if kind.depends else ("frame",)
    try:
        inspect.signature(kind.extract).bind(None, *given)
    except TypeError as error:
        raise Refused(f"extract() is called with {' and '.join(given)}: {error}") from error
    return f"{name} {kind.version}"


def _check_picture(width: object, pixel_format: object) -> None:
    if width is not None and (not isinstance(width, int) or isinstance(width, bool) or width < 1):
        raise Refused(f"`input_width` is {width!r}: write a number of pixels of at least 1, or None for full size")
    if pixel_format not in ("bgr", "gray"):
        raise Refused(f"`pixel_format` is {pixel_format!r}: write 'bgr' or 'gray'")


def check_metadata(kind: type[Any], name: str) -> None:
    """What extractors and fusions have in common."""
    if kind.name != name:
        raise Refused(f"the class says name = {kind.name!r}, its entry point {name!r}: write the same in both")
    if not isinstance(kind.depends, tuple):
        raise Refused(f"`depends` is a {type(kind.depends).__name__}: write a tuple of names, such as ('face',)")
    try:
        for each in (name, *kind.depends):
            check_name("plug-in", each)
    except (InvalidName, TypeError) as error:
        raise Refused(str(error)) from error


def check_config(trial: Trial) -> str:
    """It can be made as configured, and a mistyped key is refused with a ValueError."""
    _ = trial.choice  # what is wrong with the host's own keys
    with trial.watch.starting("the construction"):
        try:
            trial.extractor(trial.plan.config)
        except Exception as error:
            what = f"the configuration {trial.plan.config}" if trial.plan.config else "no configuration"
            hint = "" if trial.plan.config else ": if it needs one, give it with --plugin-config"
            raise Refused(
                f"it cannot be made with {what}: {told(error)}{hint}", line_of_error(error, trial.root)
            ) from error
        try:
            trial.extractor({**trial.plan.config, UNKNOWN_KEY: 1})
        except ValueError as error:
            return f"an unknown key is refused: {error}"
        except Exception as error:
            raise Refused(
                f"a wrong configuration must be refused with a ValueError, not {told(error)}",
                line_of_error(error, trial.root),
            ) from error
    raise Doubted("an unknown key is taken without a word: a typo in visualpath.yaml would go unseen")


def check_start(trial: Trial) -> str:
    """Its models load, and it looks at a first frame."""
    _ = trial.tape  # made before the clock runs
    started = time.monotonic()
    with trial.host() as host:
        loaded = time.monotonic()
        trial.say_of(host, 0)
        first_ms = (time.monotonic() - loaded) * 1e3
    backend = next(iter(trial.choice.loaders))
    of = f"backend {backend}, " if backend else ""
    pictures = f"pictures: {trial.view.pixel_format}, {_asked(trial.view.input_width)}"
    return f"{of}{pictures}, ready after {loaded - started:.1f} s, first frame {first_ms:.0f} ms"


def check_observations(trial: Trial) -> str:
    """What it says of ordinary frames can travel, and rules can read it."""
    names: dict[str, None] = {}
    count = size_max = 0
    with trial.host() as host:
        for number in range(len(trial.tape)):
            started = time.perf_counter()
            looked = trial.look_at(host, number)
            trial.took_ms.append((time.perf_counter() - started) * 1e3)
            names.update(dict.fromkeys(name for each in looked.observations for name in each.signals))
            count += bool(looked.observations)
            size_max = max(size_max, len(looked.packed))
            if trial.too_slow:
                break
    unreadable = [name for name in names if not SIGNAL_NAME.fullmatch(name)]
    if unreadable:
        raise Refused(f"no rule can read the signal {unreadable[0]!r}: a name has letters, digits, _ and .")
    _require_input(trial, said=count > 0)
    of = f"{count} of {len(trial.took_ms)} frames"
    return f"{of}, signals {', '.join(names) or 'none'}, at most {size_max} bytes"


def _require_input(trial: Trial, *, said: bool) -> None:
    """Doubt what was not tried for want of something to look at."""
    blind = [name for name in trial.extractor.depends if not any(shown.saw(name) for shown in trial.tape)]
    if blind:
        raise Doubted(
            f"not tried is what it does where {' or '.join(blind)} saw something: no frame had any of that. Give some "
            f'with --tape FILE.py, whose tape() gives pairs (picture, {{"{blind[0]}": [Observation(data=...)]}})'
        )
    if not said:
        raise Doubted(
            "it said nothing of any frame, so what it says is not tried. Give it frames of which it says something "
            "with --tape FILE.py, whose tape() gives uint8 arrays of shape (height, width, 3)"
        )


def check_frame(trial: Trial) -> str:
    """It leaves the pixels as they were, and does not pile frames up."""
    with trial.host() as host:
        shown = trial.tape[0]
        frame = frame_of(shown.pixels, 0)
        trial.look(host, frame, shown.seen(frame), "frame 0 of the tape")
        if not np.array_equal(frame.data, shown.pixels):
            raise Refused("it writes into frame.data, which is read only: make a copy", _where_it_writes(trial))
        del frame
        kept = _kept_frames(trial, host)
    if kept > KEPT_FRAMES_MAX:
        raise Refused(f"it still holds {kept} of {len(trial.tape)} frames: keep what you need of them as a copy")
    return "left as they were" + (f", {kept} still held" if kept else "")


def _where_it_writes(trial: Trial) -> str:
    """numpy says where, if the pixels cannot be written to."""
    frame = frame_of(trial.tape[0].pixels, 0)
    frame.data.flags.writeable = False
    try:
        with trial.host() as host:
            trial.look(host, frame, trial.tape[0].seen(frame), "a frame that cannot be written to")
    except Refused as error:
        return error.where
    return ""


def _kept_frames(trial: Trial, host: ExtractorHost) -> int:
    """How many of the tape's frames are alive after it was shown."""
    pixels = []
    for number, each in enumerate(trial.tape):
        frame = frame_of(each.pixels, number, "kept")
        pixels.append(weakref.ref(frame.data))
        trial.look(host, frame, each.seen(frame), f"frame {number} of the tape")
        del frame
    gc.collect()
    return sum(each() is not None for each in pixels)


def check_reset(trial: Trial) -> str:
    """After reset() it says the same of the same frames."""
    with trial.host() as host:
        first = trial.say(host, epoch=1)
        again = trial.say(host, epoch=2)  # the host calls reset()
    if again == first:
        return f"the same {len(first)} frames after reset() give the same observations"
    if not trial.repeats_itself():
        raise Doubted(f"whether reset() forgets cannot be told. {DIFFERENT}: {difference(first, again)}")
    raise Refused(
        f"reset() does not forget the past: the same frames in the next epoch give others; {difference(first, again)}",
        _line_of(trial.extractor.reset, BaseExtractor.reset),
    )


def _line_of(method: Any, default: Any) -> str:
    """Where a method is written; "" if it is inherited."""
    if method is default or not inspect.isfunction(method):
        return ""
    return f"{method.__code__.co_filename}:{method.__code__.co_firstlineno}"


def check_streams(trial: Trial) -> str:
    """What it says of one stream has nothing to do with another."""
    with trial.host() as host:
        alone = trial.say(host, "one")
    count = len(trial.tape)
    beside = []
    with trial.host() as host:
        for number in range(count):
            beside.append(trial.say_of(host, number, "one"))
            trial.say_of(host, (number * 7 + 5) % count, "two", number + 1)
    if tuple(beside) == alone:
        return "a second stream beside it changes nothing"
    if not trial.repeats_itself():
        raise Doubted(f"whether streams share state cannot be told. {DIFFERENT}: {difference(alone, beside)}")
    raise Refused(
        "objects of two streams share state (an attribute of the class? a global?): with a second stream beside it, "
        f"it says others; {difference(alone, beside)}"
    )


def check_odd_frames(trial: Trial) -> str:
    """Sizes and pictures that no test clip has, and some camera gives."""
    shown = [(what, as_seen(picture, trial.view)) for what, picture in odd_pictures()]
    with trial.host() as host:
        for number, (what, pixels) in enumerate(shown):
            frame = frame_of(pixels, number * 3)
            seen = trial.tape[number % len(trial.tape)].seen(frame)
            trial.look(host, frame, seen, f"an odd frame ({what})")
        for what, pixels in shown[:3]:
            frame = frame_of(pixels, 0, f"begins-{what[0]}")
            trial.look(host, frame, trial.nothing_seen(), f"an odd frame ({what}), a stream's first")
    return f"{', '.join(what for what, _ in shown[:-1])}"


def check_errors(trial: Trial) -> str:
    """A frame on which it fails costs that frame, and no other."""
    with trial.host() as host:
        trial.say_of(host, 0)
        shown = trial.tape[0]
        broken = UnreadableFrame(shown.pixels, 1, FRAME_NS, "kit", 1)
        try:
            with trial.watch.doing("extract() of a frame that cannot be read"):
                host.handle(broken, shown.seen(broken))
            failed = "a frame that cannot be read is not missed"
        except ExtractionError as error:
            failed = f"a frame that cannot be read fails ({told(error)[:60]})"
        trial.say_of(host, min(2, len(trial.tape) - 1))
        trial.say_of(host, 0, "another")
    return f"{failed}, the next one is looked at"


def check_close(trial: Trial) -> str:
    """Opened and closed again and again, it leaves no thread, child or file behind."""
    _cycle(trial)  # what libraries make once for the process is made here
    _cycle(trial)
    before = held_by_process()
    for _ in range(CYCLES):
        _cycle(trial)
    after = held_by_process()
    left = {what: after[what] - before[what] for what in after if after[what] - before[what] >= CYCLES}
    if left:
        told_left = ", ".join(f"{count} {what}{'s' if count > 1 else ''}" for what, count in left.items())
        raise Refused(
            f"close() leaves behind what it holds: {told_left} more after {CYCLES} times open and close",
            _line_of_thread(trial) if "thread" in left else "",
        )
    return f"{after['thread']} threads, {after['open file']} files, as before"


def _cycle(trial: Trial) -> None:
    with trial.host() as host:
        trial.say_of(host, 0)
        trial.say_of(host, 0, "another")
    gc.collect()


def _line_of_thread(trial: Trial) -> str:
    """Where a thread of the plug-in that goes on stands."""
    stacks = (line_of_stack(frame, trial.root) for frame in sys._current_frames().values())
    return next((line for line in stacks if line), "")


def _asked(width: int | None) -> str:
    return "full size" if width is None else f"at least {width} wide"
