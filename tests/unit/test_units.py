"""Durations and sizes as people write them."""

import math

import pytest

from visualpath.core.units import Duration, Size, decode_quantity


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250us", 250_000),
        ("500ms", 500_000_000),
        ("2s", 2_000_000_000),
        ("1.5s", 1_500_000_000),
        ("2m", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        (" 2 s ", 2_000_000_000),
        ("0s", 0),
        (0, 0),
    ],
)
def test_a_duration_is_read_in_ns(text, ns):
    assert Duration.parse(text) == ns


@pytest.mark.parametrize(
    ("text", "size"), [("7B", 7), ("64KiB", 65536), ("256MiB", 256 << 20), ("0.5GiB", 1 << 29), (0, 0)]
)
def test_a_size_is_read_in_bytes(text, size):
    assert Size.parse(text) == size


@pytest.mark.parametrize(
    "text", [5, 1.5, "5", "", "s", "-1s", "+1s", "1 fortnight", "1S", "1e3s", ".5s", "1s2", None, math.inf, math.nan]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is no duration"):
        Duration.parse(text)


@pytest.mark.parametrize("text", [5, "5", "1kB", "1MB", "1s", [], {}])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is no size"):
        Size.parse(text)


def test_a_refused_duration_says_what_to_write():
    with pytest.raises(
        ValueError, match=r"5 is no duration: write a number and a unit \(us, ms, s, m, h\), e\.g\. 500ms"
    ):
        Duration.parse(5)


def test_a_refused_size_says_what_to_write():
    with pytest.raises(ValueError, match=r"'1MB' is no size: .*\(B, KiB, MiB, GiB\), e\.g\. 64KiB"):
        Size.parse("1MB")


def test_a_number_beyond_all_floats_is_refused():
    with pytest.raises(ValueError, match="is no duration"):
        Duration.parse("9" * 400 + "s")


def test_a_quantity_that_was_read_already_is_kept():
    read = Duration.parse("2s")
    assert decode_quantity(Duration, read) is read


def test_other_types_are_not_read():
    with pytest.raises(NotImplementedError):
        decode_quantity(complex, "1")
