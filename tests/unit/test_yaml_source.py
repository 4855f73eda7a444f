"""YAML with the line of each key, strict about what it takes."""

import contextlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from visualpath.core.errors import ConfigError
from visualpath.runtime.yaml_source import YamlSource


@pytest.fixture
def read(tmp_path):
    """Write a text, and read it as YAML."""

    def read(text, environ=None):
        path = tmp_path / "a.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return YamlSource(path, environ or {})

    return read


def refused(read, text, environ=None):
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    return str(caught.value).rpartition("/")[2]


def test_a_mapping_becomes_builtins(read):
    assert read("a: 1\nb: [x, 2.5, true, null]\nc: {d: '5'}").data == {
        "a": 1,
        "b": ["x", 2.5, True, None],
        "c": {"d": "5"},
    }


@pytest.mark.parametrize("word", ["off", "no", "on", "yes", "Off", "n", "Y"])
def test_only_true_and_false_are_booleans(read, word):
    assert read(f"a: {word}\nb: [true, False]").data == {"a": word, "b": [True, False]}


def test_keys_are_text_however_yaml_reads_them(read):
    assert read("1: a\non: b\nnull: c").data == {"1": "a", "on": "b", "null": "c"}


def test_an_error_names_file_line_and_key(read):
    source = read("a:\n  b:\n    - x\n    - y: 1\n")
    assert str(source.error(("a", "b", 1, "y"), "is wrong")).endswith("a.yaml:4: a.b.1.y: is wrong")


def test_an_error_about_an_absent_key_names_the_line_of_its_section(read):
    source = read("x: 1\na:\n  b: 1\n")
    assert str(source.error(("a", "c"), "is missing")).endswith("a.yaml:2: a.c: is missing")


def test_an_error_about_the_whole_file_names_its_first_line(read):
    assert str(read("x: 1").error((), "is wrong")).endswith("a.yaml:1: is wrong")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: 1\nb: 2\na: 3\n", "a.yaml:3: a: stands here twice"),
        ("s:\n  c: 1\n  c: 1\n", "a.yaml:3: s.c: stands here twice"),
        ("l:\n- {k: 1, k: 2}\n", "a.yaml:2: l.0.k: stands here twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_the_second_line(read, text, error):
    assert refused(read, text) == error


def test_a_variable_is_replaced_wherever_it_stands_in_a_text(read):
    assert read("a: rtsp://${U}:${P}@cam", {"U": "me", "P": "s3"}).data == {"a": "rtsp://me:s3@cam"}


def test_a_variables_value_is_not_read_as_yaml(read):
    assert read("a: ${X}", {"X": "[1, 2]"}).data == {"a": "[1, 2]"}


def test_a_variable_is_not_replaced_twice(read):
    assert read("a: ${X}", {"X": "${Y}", "Y": "no"}).data == {"a": "${Y}"}


def test_an_unset_variable_is_refused_by_name_and_place(read):
    assert refused(read, "a:\n  b: ${GONE}") == "a.yaml:2: a.b: the environment variable GONE is not set"


def test_a_dollar_without_braces_is_left_alone(read):
    assert read("a: $X costs 5$").data == {"a": "$X costs 5$"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "just text", "5"])
def test_a_file_that_is_no_mapping_is_refused(read, text):
    assert refused(read, text).startswith("a.yaml:1: must be a mapping of sections")


def test_broken_yaml_is_refused_with_its_line(read):
    assert refused(read, "a: 1\nb: [1, 2\nc: 3\n").startswith("a.yaml:3: ")


def test_bytes_that_are_no_text_are_refused(read):
    assert "is no UTF-8 text" in refused(read, b"a: \xff\xfe")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file: name one, or copy"):
        YamlSource(tmp_path / "gone.yaml")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Is a directory"):
        YamlSource(tmp_path)


@pytest.mark.parametrize(
    "value", ["!!int x", "2001-99-99", "!!python/object:os.system x", "!!binary 'a'", "0x_", "!!float '_'"]
)
def test_a_scalar_that_is_not_what_its_tag_says_is_refused_with_its_place(read, value):
    assert refused(read, f"a:\n  b: {value}\n").startswith("a.yaml:2: a.b: ")


def test_an_alias_of_itself_is_refused(read):
    assert "contains itself" in refused(read, "a: &a [*a]")


def test_nesting_without_end_is_refused(read):
    assert "nested too deeply" in refused(read, "a: " + "[" * 5000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.text("ab:-[]{}&*!|>?#'\"%@` \n\t0x.\0", max_size=60)))
@example("a: 2020-13-45")
@example("? [a]\n: b")
@example("? {a: b}\n: c")
@example("<<: *x")
@example("%YAML 9.9\n---\na: b")
@example("a: 1\n--- \nb: 2")
def test_garbage_is_read_or_refused_by_a_config_error_and_nothing_else(read, data):
    with contextlib.suppress(ConfigError):
        assert isinstance(read(data).data, dict)


def test_aliases_within_aliases_that_stand_for_too_much_are_refused(read):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "values: an alias within an alias?" in refused(read, "\n".join(lines))


def test_a_file_that_is_too_large_to_be_a_configuration_is_refused(read):
    assert "that is no configuration" in refused(read, b"#" * (1 << 21))


def test_an_error_is_short_whatever_stands_in_the_file(read):
    assert len(refused(read, "a: *" + "b" * 100_000)) < 1000


def test_an_error_does_not_show_the_value_of_a_variable(read):
    source = read("a: '${PASSWORD}'", {"PASSWORD": "hunter22"})
    assert "hunter22" not in str(source.error(("a",), "nothing reads 'hunter22'"))
