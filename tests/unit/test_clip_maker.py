"""The clips that wait for room on the disk."""

import pytest

from visualpath.clip import maker
from visualpath.clip.files import ClipFolder
from visualpath.clip.ledger import Ledger
from visualpath.clip.maker import RETRY_NS, ClipMaker
from visualpath.clip.order import ClipOrder
from visualpath.clip.stream import ClipStream
from visualpath.clip.worker import Worker
from visualpath.runtime.sections import ClipConfig
from visualpath_protocol.messages import Trig, make_trig_id

S = 1_000_000_000


def order(start):
    one = Trig(
        trig_id=make_trig_id("cam1", 1, "smile", start), stream="cam1", epoch=1, label="smile", reason="", score=0.5,
        frame_id=0, t_start_ns=start, t_end_ns=start,
    )  # fmt: skip
    return ClipOrder(clip_id=one.trig_id, stream="cam1", epoch=1, asked=(start, start), triggers=(one,))


@pytest.fixture
def clips(tmp_path):
    """Ten of them wait."""
    folder, config, ledger = ClipFolder(tmp_path), ClipConfig(), Ledger(tmp_path / "ledger.db")
    streams = {"cam1": ClipStream("cam1", tmp_path / "ring", 30 * S, config, folder)}
    worker = Worker(lambda _: None)
    clips = ClipMaker(streams, config, folder, ledger, None, worker)
    clips._waiting = {f"{n}": maker._Waiting(order(n), refused="no space") for n in range(10)}
    yield clips
    clips.stop()
    worker.close()
    ledger.close()


def test_room_is_asked_for_once_for_all_that_wait(clips, monkeypatch):
    monkeypatch.setattr(clips, "_free_bytes", lambda: 0)
    calls = []
    clips.on_no_space = lambda: calls.append(1)
    clips.tick(RETRY_NS)
    assert calls == [1]
