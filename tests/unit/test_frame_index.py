"""The clip daemon's index of readable frames: announced ones, completed from the ring."""

import pytest

from visualbase.ring import RingReader, RingWriter
from visualpath.clip.index import FrameIndex
from visualpath_protocol.messages import FrameHeader

MS = 1_000_000
S = 1_000_000_000


class Ring:
    """A real ring, written as the frame daemon does, and an index of it."""

    def __init__(self, folder, length_ns=30 * S):
        self.folder = folder
        self.reader = RingReader(folder, "cam1")
        self.index = FrameIndex(self.reader, length_ns)
        self._writers = {}

    def write(self, frame_id, t_ns=None, epoch=1):
        if epoch not in self._writers:
            self._writers[epoch] = RingWriter(self.folder, "cam1", epoch, max_seconds=30, max_bytes=1 << 20)
        bare = FrameHeader(
            stream="cam1", epoch=epoch, frame_id=frame_id, t_ns=frame_id * 40 * MS if t_ns is None else t_ns,
            wall_ns=0, mono_ns=0, width=2, height=2, payloads=[],
        )  # fmt: skip
        return self._writers[epoch].append(bare, b"picture")

    def announce(self, *headers):
        """The (epoch, frame_id) of everything that became known."""
        return [ids(fresh) for header in headers for fresh in self.index.add(header)]

    def close(self):
        self.reader.close()
        for writer in self._writers.values():
            writer.close()


def ids(header):
    return header.epoch, header.frame_id


def kept(index, epoch=1):
    return [header.frame_id for header in index.frames_from(epoch, -1)]


@pytest.fixture
def ring(tmp_path):
    ring = Ring(tmp_path)
    yield ring
    ring.close()


def test_frames_come_out_as_they_are_announced(ring):
    assert ring.announce(*(ring.write(n) for n in range(3))) == [(1, 0), (1, 1), (1, 2)]


def test_frames_that_were_not_announced_are_recovered_from_the_ring_in_order(ring):
    headers = [ring.write(n) for n in range(6)]
    ring.announce(headers[0])
    assert ring.announce(headers[5]) == [(1, n) for n in range(1, 6)]


def test_the_recovered_header_says_where_the_picture_lies(ring):
    headers = [ring.write(n) for n in range(3)]
    ring.announce(headers[0])
    assert ring.index.add(headers[2])[0] == headers[1]


def test_frames_before_the_first_announced_one_are_recovered(ring):
    headers = [ring.write(n) for n in range(3)]
    assert ring.announce(headers[2]) == [(1, 0), (1, 1), (1, 2)]


def test_a_frame_that_was_never_written_stays_a_hole(ring):
    headers = [ring.write(n) for n in (0, 1, 4)]
    assert ring.announce(*headers) == [(1, 0), (1, 1), (1, 4)]


def test_catch_up_takes_what_the_ring_holds(ring):
    for n in range(3):
        ring.write(n)
    ring.index.catch_up()
    assert kept(ring.index) == [0, 1, 2]


def test_catch_up_returns_what_was_not_known(ring):
    headers = [ring.write(n) for n in range(3)]
    ring.announce(headers[0])
    assert ring.index.catch_up() == headers[1:]


def test_an_announcement_of_what_is_known_from_the_ring_is_ignored(ring):
    headers = [ring.write(n) for n in range(3)]
    ring.index.catch_up()
    assert ring.announce(*headers) == []


def test_a_frame_announced_twice_is_known_once(ring):
    header = ring.write(0)
    ring.announce(header, header)
    assert kept(ring.index) == [0]


def test_a_frame_that_comes_behind_its_successor_is_ignored(ring):
    headers = [ring.write(n) for n in range(3)]
    ring.announce(*headers)
    assert ring.announce(headers[1]) == []


def test_a_new_epoch_begins_at_frame_0_again(ring):
    ring.announce(ring.write(0), ring.write(1))
    assert ring.announce(ring.write(0, epoch=2)) == [(2, 0)]


def test_the_end_of_an_epoch_is_recovered_when_the_next_one_begins(ring):
    headers = [ring.write(n) for n in range(3)]
    ring.announce(headers[0])
    assert ring.announce(ring.write(0, epoch=2)) == [(1, 1), (1, 2), (2, 0)]


def test_a_frame_of_a_past_epoch_is_ignored(ring):
    late = ring.write(7)
    ring.announce(ring.write(0, epoch=2))
    assert ring.announce(late) == []


def test_frames_of_the_epoch_before_can_still_be_had(ring):
    ring.announce(ring.write(0), ring.write(1), ring.write(0, epoch=2))
    assert kept(ring.index, epoch=1) == [0, 1]


def test_last_is_the_newest_frame(ring):
    ring.announce(ring.write(0), ring.write(1))
    assert ids(ring.index.last) == (1, 1)


def test_an_empty_index_has_no_last_frame(ring):
    assert ring.index.last is None


@pytest.mark.parametrize(
    ("t_ms", "first"),
    [(-50, 0), (0, 0), (39, 0), (40, 1), (79, 1), (160, 4), (10_000, 4)],
    ids=["before all", "at the first", "during it", "at a frame", "during a frame", "at the last", "after all"],
)
def test_frames_from_begins_with_the_frame_that_is_shown_then(ring, t_ms, first):
    ring.announce(*(ring.write(n) for n in range(5)))
    assert [header.frame_id for header in ring.index.frames_from(1, t_ms * MS)] == list(range(first, 5))


def test_an_epoch_that_never_was_has_no_frames(ring):
    ring.announce(ring.write(0))
    assert ring.index.frames_from(9, 0) == []


def test_frames_older_than_the_length_are_let_go(tmp_path):
    ring = Ring(tmp_path, length_ns=2 * S)
    ring.announce(*(ring.write(n, t_ns=n * S) for n in range(10)))
    assert kept(ring.index) == [7, 8, 9]
    ring.close()


def test_an_older_epoch_is_let_go_when_the_present_one_is_long_enough(tmp_path):
    ring = Ring(tmp_path, length_ns=2 * S)
    ring.announce(ring.write(0), *(ring.write(n, t_ns=n * S, epoch=2) for n in range(4)))
    assert kept(ring.index, epoch=1) == []
    ring.close()


def test_a_stream_that_begins_anew_again_and_again_does_not_grow_the_index(tmp_path):
    ring = Ring(tmp_path, length_ns=2 * S)
    for epoch in range(1, 200):
        ring.announce(*(ring.write(n, t_ns=n * S // 2, epoch=epoch) for n in range(3)))
        for old in tmp_path.glob(f"cam1/{epoch - 10}-*.seg"):
            old.unlink()
    assert sum(len(kept(ring.index, epoch)) for epoch in range(1, 200)) < 100
    ring.close()
