"""Nothing goes without a counter: frames x sources = OBS in sets + late + dropped + skipped + unreported."""

import os
import signal
from collections import Counter

import pytest

CONFIG = """
streams: {cam1: {source: none.mp4, pace: fast}}
ring: {dir: ring}
extractors:
  newest: {plugin: scripted, config: {mean_ms: 4, sd_ms: 1}}
  idle-only: {plugin: scripted, drop: skip_busy, config: {mean_ms: 7, sd_ms: 2}}
  third: {plugin: scripted, drop: keyframe_only, every: 3, config: {mean_ms: 4, sd_ms: 1}}
fusion:
  rules: [{label: never, when: newest.count >= 1}]
"""
SOURCES = ("newest", "idle-only", "third")
FRAMES, BURST = 300, 10


class World:
    """A played stream, three real extractors and the real fusion daemon."""

    def __init__(self, stream, start_daemon, config, ask, wait_for):
        self._stream, self._start_daemon, self._config = stream, start_daemon, config
        self._ask, self._wait_for = ask, wait_for
        self._fusion = start_daemon("fusion", config)
        stream.await_subscribers(kind="s")
        stream.state("starting")
        self._extractors = {source: start_daemon("extractor", config, source) for source in SOURCES}
        stream.await_subscribers(len(SOURCES))
        self.played = 0
        self._silent = Counter()

    def counters(self):
        return Counter(self._ask("fusion", "status", timeout_ms=5000)["counters"])

    def settled(self, source):
        counters = self.counters()
        return counters[f"obs.{source}"] + counters[f"skips.{source}"]

    def burst(self):
        self._stream.frames(self.played, self.played + BURST - 1)
        self.played += BURST

    def play(self, until, witness):
        """Bursts of frames, each when `witness` has spoken of all before it, and the stream's word after each."""
        while self.played < until:
            self.burst()
            self._wait_for(lambda: self.settled(witness) + self._silent[witness] == self.played)
            last = self.played - 1
            self._stream.state("live", last_frame_id=last, last_t_ns=last * self._stream.FRAME_NS)

    def kill_at_work(self, source):
        self.burst()
        self._extractors[source].kill()

    def restart(self, source):
        """It is taken again when the lease of the killed one has ended."""
        self._extractors[source] = self._start_daemon("extractor", self._config, source)
        self._stream.await_subscribers()
        self._silent[source] = self.played - self.settled(source)

    def send(self, source, number):
        os.kill(self._extractors[source].process.pid, number)

    def end(self):
        last = self.played - 1
        self._stream.state("ended", last_frame_id=last, last_t_ns=last * self._stream.FRAME_NS)
        self._wait_for(lambda: self._ask("fusion", "status")["streams"]["cam1"]["drained"])
        return self.counters()


@pytest.fixture
def world(fake_stream, start_daemon, write_config, ask, wait_for):
    return World(fake_stream(), start_daemon, write_config(CONFIG), ask, wait_for)


def own_frames(source):
    return FRAMES // 3 if source == "third" else FRAMES


def total(counters, beginning):
    return sum(n for name, n in counters.items() if name.startswith(beginning))


def assert_all_is_accounted_for(counters):
    for source in SOURCES:
        spoken = counters[f"obs.{source}"] + counters[f"skips.{source}"]
        assert spoken + counters[f"unreported.{source}"] == own_frames(source), source
    obs = total(counters, "obs.")
    assert obs == total(counters, "fused.") + total(counters, "late.") + total(counters, "dropped.")
    explained = sum(total(counters, kind) for kind in ("fused.", "late.", "dropped.", "skips.", "unreported."))
    assert explained == sum(map(own_frames, SOURCES))


def test_every_frame_of_every_source_is_accounted_for(world):
    world.play(FRAMES, witness="idle-only")
    counters = world.end()
    assert_all_is_accounted_for(counters)
    assert total(counters, "skips.") > 0, "nothing was skipped: the test shows nothing"
    assert total(counters, "unreported.") == 0


def test_with_a_killed_and_a_hung_extractor_what_they_kept_silent_about_is_counted(world):
    world.play(60, witness="newest")
    world.kill_at_work("newest")
    world.play(120, witness="idle-only")
    world.send("third", signal.SIGSTOP)
    world.play(180, witness="idle-only")
    world.send("third", signal.SIGCONT)
    world.restart("newest")
    world.play(240, witness="newest")
    world.kill_at_work("idle-only")
    world.play(FRAMES, witness="newest")
    counters = world.end()
    assert_all_is_accounted_for(counters)
    assert counters["unreported.newest"] >= 110
    assert counters["unreported.idle-only"] >= 50
    assert total(counters, "missing.") > 0
