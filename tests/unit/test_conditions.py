"""Conditions over signals in Kleene's logic: unknown is not false."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visualpath.core.conditions import parse_condition, parse_signal
from visualpath.core.errors import RuleError

T, F, U = True, False, None
SAYS = {"t": "x.t >= 1", "f": "x.f >= 1", "u": "x.u >= 1"}
LEAF = {T: SAYS["t"], F: SAYS["f"], U: SAYS["u"]}


def holds(spec):
    """`x.t` is 1, `x.f` is 0, everything else is unknown."""
    return parse_condition(spec).holds({("x", "t"): 1.0, ("x", "f"): 0.0}.get)


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [(T, T, T), (T, U, U), (T, F, F), (U, T, U), (U, U, U), (U, F, F), (F, T, F), (F, U, F), (F, F, F)],
)
def test_all_follows_kleenes_conjunction(a, b, result):
    assert holds({"all": [LEAF[a], LEAF[b]]}) is result


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [(T, T, T), (T, U, T), (T, F, T), (U, T, T), (U, U, U), (U, F, U), (F, T, T), (F, U, U), (F, F, F)],
)
def test_any_follows_kleenes_disjunction(a, b, result):
    assert holds({"any": [LEAF[a], LEAF[b]]}) is result


@pytest.mark.parametrize(("a", "result"), [(T, F), (U, U), (F, T)])
def test_not_of_unknown_is_unknown(a, result):
    assert holds({"not": LEAF[a]}) is result


@pytest.mark.parametrize(
    ("op", "below", "equal", "above"),
    [
        (">=", F, T, T),
        ("<=", T, T, F),
        ("==", F, T, F),
        ("!=", T, F, T),
        (">", F, F, T),
        ("<", T, F, F),
    ],
)
def test_each_operator_compares_as_it_reads(op, below, equal, above):
    condition = parse_condition(f"x.y {op} 2")
    assert [condition.holds({("x", "y"): v}.get) for v in (1.0, 2.0, 3.0)] == [below, equal, above]


@pytest.mark.parametrize(
    ("text", "value"), [("x.y>=1", 1.0), (" x.y  >=  -1.5 ", -1.5), ("x.y >= .5", 0.5), ("x.y >= 2e-3", 0.002)]
)
def test_a_comparison_may_be_written_tight_or_wide(text, value):
    condition = parse_condition(text)
    assert (condition.signal, condition.op, condition.value) == (("x", "y"), ">=", value)


def test_a_signals_name_may_have_dots_of_its_own():
    assert parse_signal("face.eyes.left_Open2") == ("face", "eyes.left_Open2")


def test_a_condition_lists_its_signals_in_the_order_written():
    condition = parse_condition({"all": ["b.x > 1", {"not": "a.y > 1"}, {"any": ["c.z < 1", "b.x < 9"]}]})
    assert list(condition.signals()) == [("b", "x"), ("a", "y"), ("c", "z"), ("b", "x")]


def test_a_condition_prints_as_a_person_would_write_it():
    condition = parse_condition({"all": ["a.x >= 1.0", {"not": {"any": ["b.y < 0.5"]}}]})
    assert str(condition) == "all(a.x >= 1, not(any(b.y < 0.5)))"


@pytest.mark.parametrize(
    "text",
    ["", "face.count", "face.count =< 1", "face.count >= many", "1 <= face.count", "face.count >= 1 and x.y > 2"],
)
def test_a_bad_comparison_says_what_to_write(text):
    with pytest.raises(
        RuleError, match=r"is no condition: write <source>\.<signal> <op> <number>, e\.g\. face\.count >= 1"
    ):
        parse_condition(text)


@pytest.mark.parametrize("text", ["count >= 1", "Face.count >= 1", ".count >= 1", "face. >= 1", "fa ce.count >= 1"])
def test_a_bad_signal_is_refused(text):
    with pytest.raises(RuleError):
        parse_condition(text)


def test_a_bad_signal_says_what_to_write():
    with pytest.raises(RuleError, match=r"'count' is no signal: write <source>\.<signal>, e\.g\. face\.count"):
        parse_signal("count")


@pytest.mark.parametrize(
    "spec",
    [
        None,
        1,
        True,
        [],
        {},
        {"all": []},
        {"any": "x.y > 1"},
        {"all": ["x.y > 1"], "any": ["x.y > 1"]},
        {"xor": ["a.b > 1"]},
    ],
)
def test_a_bad_shape_says_what_to_write(spec):
    with pytest.raises(RuleError, match=r"write a comparison, or all: \[\.\.\.\], any: \[\.\.\.\], not: \.\.\."):
        parse_condition(spec)


@pytest.mark.parametrize("spec", [{"not": {"not": "nothing"}}, {"all": ["x.y > 1", {"any": [5]}]}])
def test_a_fault_deep_inside_is_found(spec):
    with pytest.raises(RuleError):
        parse_condition(spec)


# Laws -----------------------------------------------------------------------------------------------

leaves = st.sampled_from(sorted(SAYS.values()))
specs = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda part: {"not": part}, inner),
        st.builds(
            lambda kind, parts: {kind: parts}, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)
        ),
    ),
    max_leaves=8,
)


@given(specs)
def test_two_negations_cancel(spec):
    assert holds({"not": {"not": spec}}) is holds(spec)


@given(st.lists(specs, min_size=1, max_size=4))
def test_de_morgan_holds(parts):
    assert holds({"not": {"all": parts}}) is holds({"any": [{"not": part} for part in parts]})


@given(st.permutations(["x.t >= 1", "x.f >= 1", "x.u >= 1"]), st.sampled_from(["all", "any"]))
def test_order_of_parts_does_not_matter(parts, kind):
    assert holds({kind: parts}) is holds({kind: sorted(parts)})


@given(specs)
def test_learning_an_unknown_signal_never_reverses_an_answer(spec):
    condition = parse_condition(spec)
    known = {("x", "t"): 1.0, ("x", "f"): 0.0}
    before = condition.holds(known.get)
    for value in (0.0, 1.0):
        assert before is None or condition.holds({**known, ("x", "u"): value}.get) is before


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("a.x >= 1", 0.5, "0.5"),
        ("a.x >= 1", 0.123456789, "0.123457"),
        ("a.x >= 1", 0.9999999, "0.9999999"),
        ("a.x == 0.123457", 0.1234569, "0.1234569"),
        ("a.x < -2", -2.0000001, "-2.0000001"),
    ],
)
def test_a_value_is_shown_so_that_it_stands_to_the_threshold_as_it_does(text, value, shown):
    assert parse_condition(text).shown(value) == shown


@pytest.mark.parametrize("text", ["a.x >= 1", "a.x > 1234567.5", "a.x < 0.123456789"])
def test_a_comparison_is_told_with_the_whole_threshold(text):
    assert str(parse_condition(text)) == text
