"""What stands in the place of secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visualpath.runtime.redaction import SHORTEST, Redaction, passwords, variables


def test_the_value_of_a_variable_is_shown_as_its_name():
    redact = Redaction(variables({"CAM_PASSWORD": "hunter22"}))
    assert redact("rtsp://admin:hunter22@cam: 401") == "rtsp://admin:${CAM_PASSWORD}@cam: 401"


def test_the_longer_of_two_secrets_that_begin_alike_is_taken_whole():
    redact = Redaction(variables({"A": "secret", "B": "secret-two"}))
    assert redact("secret-two") == "${B}"


@pytest.mark.parametrize("value", ["", "true", "0.75", "1500ms", "256MiB", "30", "-2.5s"])
def test_numbers_and_short_words_are_no_secrets(value):
    assert Redaction(variables({"LIMIT": value}))(f"limit {value}!") == f"limit {value}!"


def test_every_text_of_a_tree_is_redacted_and_its_keys_are_not():
    redact = Redaction({"hunter22": "..."})
    tree = {"hunter22": ["a hunter22", ("hunter22",), {"b": "hunter22"}, 3, None]}
    assert redact.of(tree) == {"hunter22": ["a ...", ["..."], {"b": "..."}, 3, None]}


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:p%40ss-word@cam:554/1",
        "rtsp://admin:p@ss-word@cam/1",
        "rtsps://:p@ss-word@cam",
        "http://u:p@ss-word@c",
    ],
)
def test_a_password_of_an_address_is_found_however_it_is_written(address):
    assert "ss-word" not in Redaction(passwords([address]))(f"{address} p@ss-word")


@pytest.mark.parametrize("address", ["a.mp4", "/srv/a:b@c.mp4", "rtsp://cam/1", "rtsp://admin@cam/1", "file:///a.mp4"])
def test_an_address_without_a_password_hides_nothing(address):
    assert Redaction(passwords([address]))(address) == address


@given(st.dictionaries(st.text(min_size=1), st.text()), st.text())
def test_no_secret_is_left_in_any_text(values, text):
    said = Redaction(dict.fromkeys(values.values(), ""))(text)
    hidden = [value for value in values.values() if len(value) >= SHORTEST and value.isalpha()]
    assert len(said) <= len(text)
    assert not [value for value in hidden if value in text and said == text]
