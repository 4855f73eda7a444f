"""Who is who among the faces: scores, roles, and that the main face does not change with every frame."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemoment.extractors.face_classifier import FaceClassifierExtractor
from facemoment.roles import Roles
from facemoment.vision import Face
from visualbase.frame import Frame
from visualpath.core.extractor import check_depends
from visualpath.core.observation import Observation

MS = 1_000_000
STEP = 50


def face(track_id=0, size=0.2, x=0.5, y=0.5, inside=1.0):
    """A face by its middle."""
    return Face(track_id=track_id, x=x - size / 2, y=y - size / 2, w=size, h=size, confidence=0.9, inside=inside)


def roles(classifier, frames, first_ms=0):
    """By frame: role by track."""
    return [
        {each.track_id: each.role for each in classifier.classify(faces, (first_ms + i * STEP) * MS)}
        for i, faces in enumerate(frames)
    ]


def last(frames):
    return roles(Roles(), frames)[-1]


def both(a=0.3, b=0.2):
    return [face(0, a, x=0.35), face(1, b, x=0.7)]


def mains(seen):
    return [next((track_id for track_id, role in each.items() if role == "main"), None) for each in seen]


def test_the_score_is_stability_40_size_30_centrality_20_inside_10():
    classifier = Roles()
    for t in range(0, 1001, STEP):
        (seen,) = classifier.classify([face(size=0.15, x=0.75, inside=0.8)], t * MS)
    assert (seen.stability, seen.size, seen.inside) == pytest.approx((1.0, 0.5, 0.8))
    assert seen.centrality == pytest.approx(1 - 0.25 / 0.5**0.5)
    assert seen.score == pytest.approx(0.4 * 1.0 + 0.3 * 0.5 + 0.2 * seen.centrality + 0.1 * 0.8)


def test_a_face_that_has_just_come_is_transient():
    assert last([[face()]] * 10) == {0: "transient"}


def test_a_face_that_has_stayed_for_half_a_second_is_the_main_one():
    assert last([[face()]] * 11) == {0: "main"}


def test_of_two_the_better_is_main_and_the_other_the_passenger():
    assert last([both()] * 20) == {0: "main", 1: "passenger"}


def test_a_third_person_is_transient():
    assert last([[*both(), face(2, 0.1, y=0.1)]] * 20) == {0: "main", 1: "passenger", 2: "transient"}


def test_a_tiny_face_is_noise():
    assert last([[face(0), face(1, 0.01)]] * 20) == {0: "main", 1: "noise"}


@pytest.mark.parametrize(("phases", "expected"), [((0,), "noise"), ((0, 1), "passenger")])
def test_a_face_that_is_seen_on_less_than_half_of_the_frames_is_noise(phases, expected):
    frames = [[face(0), *([face(1, x=0.7)] if i % 3 in phases else [])] for i in range(31)]
    assert last(frames) == {0: "main", 1: expected}


def test_a_face_that_walks_through_is_transient():
    assert last([[face(x=0.1 + i * 0.02)] for i in range(40)]) == {0: "transient"}


@pytest.mark.parametrize(("dx", "dy"), [(1.0, 0.0), (0.0, 1.0)])
def test_a_face_that_sways_by_a_part_of_its_size_is_as_steady_to_the_side_as_up_and_down(dx, dy):
    """In a wide picture a square face is higher, in fractions of it, than wide."""
    classifier, w, h = Roles(), 0.1, 0.178
    for i in range(40):
        away = 0.2 * (-1) ** (i // 4)
        box = {"x": 0.4 + dx * away * w, "y": 0.4 + dy * away * h, "w": w, "h": h}
        (seen,) = classifier.classify([Face(track_id=0, confidence=0.9, **box)], i * STEP * MS)
    assert seen.stability == pytest.approx(0.5, abs=0.1)


def test_the_main_face_may_move_and_stays_the_main_one():
    seen = roles(Roles(), [[face(0), face(1, 0.15, x=0.8)]] * 20 + [[face(0, x=0.5 - i * 0.02)] for i in range(20)])
    assert set(mains(seen[20:])) == {0}


def test_two_of_nearly_the_same_score_do_not_take_turns():
    frames = [both(0.25 + 0.02 * (i % 2), 0.25 - 0.02 * (i % 2) + 0.02) for i in range(100)]
    assert len(set(mains(roles(Roles(), frames))[11:])) == 1


def test_one_who_is_much_better_takes_over_after_half_a_second():
    seen = roles(Roles(), [both(0.25, 0.1)] * 20 + [both(0.06, 0.3)] * 20)
    assert mains(seen)[20:] == [0] * 10 + [1] * 10


def test_one_who_is_only_a_little_better_never_takes_over():
    seen = roles(Roles(), [both(0.2, 0.1)] * 20 + [both(0.2, 0.25)] * 60)
    assert set(mains(seen)[20:]) == {0}


def test_a_main_face_that_is_missed_on_a_frame_does_not_hand_over():
    seen = roles(Roles(), [both()] * 20 + [[both()[1]]] + [both()] * 5)
    assert mains(seen)[20:] == [None] + [0] * 5


def test_half_a_second_after_the_main_face_has_gone_another_is():
    seen = roles(Roles(), [both()] * 20 + [[both()[1]]] * 15)
    assert mains(seen)[20:] == [None] * 10 + [1] * 5


def test_the_order_of_the_faces_does_not_matter():
    frames = [both() if i % 2 else both()[::-1] for i in range(20)]
    assert last(frames) == {0: "main", 1: "passenger"}


def test_faces_that_have_gone_are_forgotten():
    def size_after(n_faces):
        classifier = Roles()
        roles(classifier, [[face(i // 20)] for i in range(20 * n_faces)])
        return len(pickle.dumps(classifier))

    assert size_after(500) < size_after(10) + 100


def test_after_a_reset_nobody_is_known():
    classifier = Roles()
    roles(classifier, [both()] * 20)
    classifier.reset()
    assert roles(classifier, [both()] * 12) == roles(Roles(), [both()] * 12)


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.01, 0.1, 0.2, 0.3])),
                         max_size=4, unique_by=lambda each: each[0]), max_size=60))  # fmt: skip
def test_there_is_never_a_second_main_face_or_passenger(frames):
    for seen in roles(Roles(), [[face(i, size, x=0.1 + 0.15 * i) for i, size in each] for each in frames]):
        assert list(seen.values()).count("main") <= 1
        assert list(seen.values()).count("passenger") <= 1


# The extractor --------------------------------------------------------------------------------------


def extracted(faces, n=20):
    extractor = FaceClassifierExtractor()
    for i in range(n):
        frame = Frame(data=None, frame_id=i, t_ns=i * STEP * MS)
        said = extractor.extract(frame, {"face": [Observation(source="face", data=faces)]})
    return said


def test_its_signals_count_the_roles():
    signals = extracted([*both(), face(2, 0.01)]).signals
    score = signals.pop("main_score")
    assert signals == {"faces": 3.0, "main": 1.0, "passenger": 1.0, "transient": 0.0, "noise": 1.0}
    assert 0.8 < score < 1.0


def test_a_frame_without_faces_has_an_empty_list():
    said = extracted([])
    assert (said.data, said.signals["main"], said.signals["main_score"]) == ([], 0.0, 0.0)


def test_its_data_are_in_the_order_of_the_faces():
    assert [each.track_id for each in extracted(both()[::-1]).data] == [1, 0]


def test_it_depends_on_face():
    check_depends(FaceClassifierExtractor, "face_classifier", ["face"])


def test_it_takes_no_configuration():
    with pytest.raises(ValueError, match="takes no configuration, found size"):
        FaceClassifierExtractor({"size": 3})
