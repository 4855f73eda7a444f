"""A graph of MediaPipe that breaks, with a scripted one in its place; the real one: tests/e2e."""

import pytest

from facemoment.graph import Graph


class Breaking:
    """Fails on "bad", on everything after that, and once more when it is closed, as MediaPipe's do."""

    def __init__(self):
        self.broken = self.closed = False
        self.resets = 0

    def process(self, given):
        if given is None:
            raise ValueError("no picture")
        self.broken = self.broken or given == "bad"
        if self.broken:
            raise RuntimeError("Graph has errors")
        return given

    def reset(self):
        self.resets += 1

    def close(self):
        if self.broken:
            self.broken = False
            raise RuntimeError("Graph has errors")
        self.closed = True


@pytest.fixture
def made():
    return []


@pytest.fixture
def graph(made):
    def make():
        made.append(Breaking())
        return made[-1]

    return Graph(make)


@pytest.fixture
def broken(graph):
    with pytest.raises(RuntimeError, match="Graph has errors"):
        graph.process("bad")
    return graph


def test_pictures_that_work_share_one(graph, made):
    assert [graph.process(picture) for picture in "ab"] == ["a", "b"]
    assert len(made) == 1


def test_the_picture_after_one_that_failed_is_looked_at(broken):
    assert broken.process("good") == "good"


def test_a_broken_one_is_freed(broken, made):
    assert [each.closed for each in made] == [True]


def test_input_that_breaks_nothing_costs_no_other_graph(graph, made):
    with pytest.raises(ValueError, match="no picture"):
        graph.process(None)
    graph.process("good")
    assert len(made) == 1


def test_a_new_epoch_after_a_failure_is_no_error(broken):
    broken.reset()
    assert broken.process("good") == "good"


def test_reset_forgets_in_the_graph_in_use(graph, made):
    graph.reset()
    assert made[0].resets == 1


def test_close_frees_it(graph, made):
    graph.close()
    assert made[0].closed


def test_close_after_a_failure_is_no_error(broken):
    broken.close()
