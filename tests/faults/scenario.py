"""The frame of the fault scenarios: a chain at work, one fault, and what came of it, audited.

A scenario plays on a `Trial`: real daemons under supervisord, a live stream, two extractors and a rule that fires again
and again. `run` starts the chain, lets the scenario strike, ends the stream's epoch so that every frame is settled,
stops the chain when no trigger is on its way, and compares what lies on disk with what the daemons counted.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from audit import Audit, audit, unsettled
from books import Books, read_books
from chain import EXEC, FRAME, STREAM, VENVS, Chain, FaultError, Status

from visualpath_protocol.clock import mono_ns
from visualpath_protocol.sockets import OBSERVATIONS

SOURCES = ("a", "b")
COOLDOWN_S = 0.9
START_S = 60.0
RECOVERY_S = 60.0
LOST_SAYING = ("dropped.obs", "dropped.skip", "dropped.bound")
"""What an extractor counts when nobody takes its messages; each has used a sequence number."""

CONFIG = f"""
state_dir: state
venvs_dir: {VENVS}
ring: {{length: 30s, size: 64MiB}}
streams:
  {STREAM}: {{source: "synthetic://?width=320&height=240&fps=30&live=1&frames=0"}}
extractors:
  a: {{plugin: wayward, venv: core, hang_timeout: 2s, config: {{mood: $HERE/mood-a}}}}
  b: {{plugin: wayward, venv: core, hang_timeout: 2s, config: {{mood: $HERE/mood-b, ms: 20}}}}
fusion:
  rules:
    - {{label: moment, when: a.wanted >= 1, for: 200ms, cooldown: {COOLDOWN_S:g}s}}
clip: {{dir: clips, pre: 300ms, post: 300ms, stall_timeout: 3s, format: mjpeg}}
"""


@dataclass
class Outcome:
    """What one fault did to a running chain.

    Attributes:
        happened: in words.
        back_s: from the fault, or from its end, until data flowed through every link; None: they flowed all the time.
        triggers, saved: moments decided; those of them whose clips are whole on disk.
        failed: why clips could not be, by trigger.
        messages: OBS, SKIP and BOUND lost, as the record shows, and as counted.
        unreported: frames x sources that nothing was said of, the same; None: fusion was restarted, and the count with
            it.
        wrong: whatever is not as it must be.
    """

    happened: str = ""
    back_s: float | None = None
    triggers: int = 0
    saved: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    messages: tuple[int, int] = (0, 0)
    unreported: tuple[int, int] | None = None
    wrong: list[str] = field(default_factory=list)


class Trial:
    """A running chain, and the clock of one fault.

    Attributes:
        chain: all its daemons.
        mend: what is to be undone before the chain is stopped.
        outcome: what is known so far.
    """

    def __init__(self, chain: Chain, mend: ExitStack) -> None:
        self.chain = chain
        self.mend = mend
        self.outcome = Outcome()
        self._struck_s = 0.0

    def mood(self, source: str, *words: str) -> None:
        """Tell an extractor how to behave from the next frame on; see `wayward`."""
        path = self.chain.folder / f"mood-{source}"
        fresh = path.with_suffix(".new")
        fresh.write_text(" ".join(words))
        fresh.rename(path)

    def struck(self) -> None:
        """The fault begins here, or it ends here: recovery is counted from the last call on."""
        self._struck_s = time.monotonic()

    def flows(self) -> None:
        """Wait until data flow through every link, and note how long that took."""
        self.chain.wait_for_flow(RECOVERY_S)
        self.outcome.back_s = time.monotonic() - self._struck_s

    def comes_back(self, daemon: str, old_pid: int) -> None:
        """Wait until another process of this daemon answers and data flow."""
        self.chain.wait(lambda: self.is_another(daemon, old_pid), f"{daemon} answers again", RECOVERY_S)
        self.flows()

    def is_another(self, daemon: str, old_pid: int) -> bool:
        """Whether the daemon answers, and is not the process of this number."""
        status = self.chain.status(daemon)
        return status is not None and status["pid"] != old_pid

    def status(self, daemon: str) -> Status:
        """Of a daemon that must answer."""
        status: Status = self.chain.wait(lambda: self.chain.status(daemon), f"{daemon} answers", RECOVERY_S)
        return status

    def counter(self, daemon: str, name: str) -> int:
        """One counter of a daemon that must answer."""
        n: int = self.status(daemon)["counters"].get(name, 0)
        return n

    def begin_epoch(self) -> int:
        """Restart the frame daemon in order; returns the epoch that begins, once fusion knows of it."""
        before = self.status("fusion")["streams"][STREAM]["epoch"]
        os.kill(self.chain.pid(FRAME), signal.SIGTERM)

        def epoch() -> int | None:
            stream = self.status("fusion")["streams"][STREAM]
            return stream["epoch"] if stream["epoch"] > before and stream["last_t_ns"] is not None else None

        begun: int = self.chain.wait(epoch, "a new epoch begins", RECOVERY_S)
        return begun


@dataclass(frozen=True)
class Scenario:
    """One fault.

    Attributes:
        name: short; `show_faults.py --only` takes it.
        fault: what is done.
        play: does it on a trial and waits until all is well again; returns what happened; FaultError if that is not
            what must happen.
        prepare: changes a chain that is not started yet (its `env`, its folders, its YAML).
        text: of the configuration.
        excused: words of log lines that tell of a defect which the fault brings about.
        lost_triggers, failed_clips: whether the fault may cost any.
        lacking: why it cannot be played on this machine; "" if it can.
        blind: the record itself is struck, so that the counters have nothing to be compared with.
    """

    name: str
    fault: str
    play: Callable[[Trial], str]
    prepare: Callable[[Trial], None] = lambda _trial: None
    text: str = CONFIG
    excused: tuple[str, ...] = ()
    lost_triggers: bool = False
    failed_clips: bool = False
    blind: bool = False
    lacking: Callable[[], str] = lambda: ""


def run(scenario: Scenario, *, keep: bool = False) -> Outcome:
    """Play one scenario on a chain of its own; what goes wrong stands in the outcome."""
    with Chain(scenario.text, {EXEC: "make venvs"}, keep=keep) as chain, ExitStack() as mend:
        trial = Trial(chain, mend)
        install_wayward(chain)
        trial.mood("a", "firing")
        trial.mood("b")
        scenario.prepare(trial)
        try:
            _play(scenario, trial)
        except FaultError as error:
            trial.outcome.wrong.append(str(error))
            trial.outcome.wrong += [f"{role.daemon}: {chain.log(role.daemon)[-600:]}" for role in chain.roles]
        if trial.outcome.wrong and keep:
            trial.outcome.wrong.append(f"all of it lies in {chain.folder}")
        return trial.outcome


def _play(scenario: Scenario, trial: Trial) -> None:
    chain = trial.chain
    chain.up()
    chain.wait_for_flow(START_S)
    first = trial.begin_epoch()
    before = trial.status("fusion")
    chain.await_trigger(START_S)
    trial.struck()
    trial.outcome.happened = scenario.play(trial)
    chain.await_trigger(START_S)
    last = trial.begin_epoch()
    statuses = chain.wait_for_answers(RECOVERY_S)
    asked_ns = mono_ns()
    for source in SOURCES:
        trial.mood(source)
    chain.wait(lambda: not unsettled(chain.config), "no trigger is on its way", RECOVERY_S)
    chain.down()
    if pids := chain.pids():
        trial.outcome.wrong.append(f"still there after down: {pids}")
    _settle_moments(scenario, trial.outcome, audit(chain.config, COOLDOWN_S))
    if scenario.blind:
        return
    books = read_books(chain.config, SOURCES, asked_ns)
    trial.outcome.wrong += books.damage
    same = before["pid"] == statuses["fusion"]["pid"]
    _settle_messages(trial.outcome, books, statuses, whole=same)
    if same:
        counted = _unreported(statuses["fusion"]) - _unreported(before)
        _settle_frames(trial.outcome, books.unreported(SOURCES, range(first, last)), counted)


def _settle_moments(scenario: Scenario, outcome: Outcome, found: Audit) -> None:
    outcome.wrong += [line for line in found.wrong if not any(word in line for word in scenario.excused)]
    outcome.triggers, outcome.saved, outcome.failed = len(found.triggers), len(found.saved), found.failed
    if found.failed and not scenario.failed_clips:
        outcome.wrong.append(f"clips failed: {found.failed}")
    if outcome.saved + len(outcome.failed) != outcome.triggers and not scenario.lost_triggers:
        outcome.wrong.append(f"{outcome.triggers} triggers, {outcome.saved} clips, {len(outcome.failed)} failed")


def _settle_messages(outcome: Outcome, books: Books, statuses: dict[str, Status], *, whole: bool) -> None:
    """What fusion misses is what it counted; where it was restarted, what the extractors counted, and its queue."""
    seen = books.lost_messages()
    if whole:
        counted = sum(statuses["fusion"]["sources"].get(source, {}).get("lost", 0) for source in SOURCES)
    else:
        extractors = [statuses[f"extractor-{source}"]["counters"] for source in SOURCES]
        counted = sum(counters.get(name, 0) for counters in extractors for name in LOST_SAYING)
    outcome.messages = seen, counted
    in_hand = 0 if whole else OBSERVATIONS.hwm * len(SOURCES)
    if not 0 <= seen - counted <= in_hand:
        outcome.wrong.append(f"{seen} messages were lost, {counted} are counted")


def _settle_frames(outcome: Outcome, seen: int, counted: int) -> None:
    outcome.unreported = seen, counted
    if seen != counted:
        outcome.wrong.append(f"of {seen} frames nothing was said, {counted} are counted")


def _unreported(fusion: Status) -> int:
    counters: Counter[str] = Counter(fusion["counters"])
    return sum(counters[f"unreported.{source}"] for source in SOURCES)


def install_wayward(chain: Chain) -> None:
    """Have the chain's venvs find the plug-in `wayward`, without installing it."""
    folder = chain.folder / "plugins"
    info = folder / "wayward-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wayward\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[visualpath.extractors]\nwayward = wayward:Wayward\n")
    shutil.copy(Path(__file__).with_name("wayward.py"), folder)
    chain.env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
