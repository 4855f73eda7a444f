"""The daemon and the offline decision make the same triggers of the same observations, to the byte."""

from __future__ import annotations

import msgspec
import pytest
from around_fusion import CONFIG, EPOCH, MS, World

from visualpath.core.observation import Observation
from visualpath.core.stream_fusion import StreamFusion
from visualpath.process.decision import make_fusion
from visualpath.process.offline import Decision, Looked
from visualpath.process.view import JpegFrame
from visualpath.process.worker import found
from visualpath.runtime.config import load_config
from visualpath.video import offline_params
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Ping, Trig

FRAMES = 60


def seen(source, frame_id):
    """Two moments, with a pause that is longer than the cooldown."""
    held = frame_id % 30 >= (5 if source == "face" else 8)
    return {"count": float(held), "sure": 0.5 + frame_id / 200}


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


def by_the_daemon(config, links, start_daemon, ask, wait_for):
    start_daemon("fusion", config)
    world = World(links)
    for source in ("face", "text"):
        ping = Ping(source=source, instance="i1", streams=["cam1"], state="ready")
        ask("fusion", "register", msgspec.to_builtins(ping), timeout_ms=10_000)
    world.say_state(fps=20.0)
    wait_for(lambda: ask("fusion", "status")["streams"]["cam1"]["epoch"] == EPOCH)
    sent = []
    for frame_id in range(FRAMES):
        for source in ("face", "text"):
            world.obs(source, frame_id, **seen(source, frame_id))
    while len(sent) < 2:
        sent.append(world.sent())
        world.ack(msgspec.msgpack.decode(sent[-1], type=Trig))
    return sent


def offline(config):
    fusion = StreamFusion("cam1", offline_params(), make_fusion(load_config(config).fusion), {})
    decision = Decision(fusion, ("face", "text"), epoch=EPOCH)
    outcomes = []
    for frame_id in range(FRAMES):
        t_ns = frame_id * 50 * MS
        results = {
            source: found([Observation(source, frame_id, t_ns, signals=seen(source, frame_id))], 0.0)
            for source in ("face", "text")
        }
        outcomes += decision.decide(Looked(JpegFrame(b"", frame_id, t_ns, "cam1", EPOCH), results))
    return [encode(outcome) for outcome in outcomes + decision.close() if isinstance(outcome, Trig)]


def test_the_same_observations_make_the_same_bytes(config, links, start_daemon, ask, wait_for):
    assert offline(config) == by_the_daemon(config, links, start_daemon, ask, wait_for)
