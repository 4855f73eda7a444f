"""The section `hooks` of visualpath.yaml."""

import pytest

from visualpath.core.errors import ConfigError
from visualpath.runtime.config import load_config
from visualpath.runtime.roles import roles

LEAST = "streams:\n  cam1: {source: a.mp4}\n"


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "visualpath.yaml"
        path.write_text(LEAST + text)
        return load_config(path)

    return load


def daemons(config):
    return [role.daemon for role in roles(config)]


def test_hooks_bring_the_watch_daemon(load):
    assert "watch" in daemons(load("hooks: {ops: {exec: [tell]}}\n"))


def test_without_hooks_there_is_none(load):
    assert "watch" not in daemons(load(""))


def test_a_hook_has_these_defaults(load):
    hook = load("hooks: {ops: {exec: [tell]}}\n").hooks["ops"]
    assert (hook.on, hook.timeout_ns, hook.retries, hook.for_ns) == (
        ["health", "clip.saved", "clip.failed"], 10 * 10**9, 5, 3 * 10**9,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("{}", "4: hooks.ops: needs either exec: [program, argument, ...] or webhook: https://..."),
        ("{exec: [a], webhook: 'http://b'}", "4: hooks.ops: needs either exec"),
        ("{exec: ['']}", "4: hooks.ops.exec: must be a program and its arguments"),
        ("{exec: tell me}", "4: hooks.ops.exec: Expected `array`, got `str`"),
        ("{webhook: 'ftp://b'}", "4: hooks.ops.webhook: must be an address as https://host/path"),
        ("{webhook: 'http://'}", "4: hooks.ops.webhook: must be an address"),
        ("{webhook: 'http://b:0'}", "4: hooks.ops.webhook: must be an address"),
        ("{webhook: 'http://b:x'}", "4: hooks.ops.webhook: must be an address"),
        ("{webhook: 'http://b/a c'}", "4: hooks.ops.webhook: must be an address"),
        ("{exec: [a], headers: {X: y}}", "4: hooks.ops.headers: are for a webhook"),
        ("{webhook: 'http://b', headers: {X: \"a\\nb\"}}", "4: hooks.ops.headers: 'X' is no header"),
        ("{webhook: 'http://b', headers: {'X Y': a}}", "4: hooks.ops.headers: 'X Y' is no header"),
        ("{exec: [a], timeout: 1ms}", "4: hooks.ops.timeout: must be from 100ms to 10m"),
        ("{exec: [a], on: []}", "4: hooks.ops.on: Expected `array` of length >= 1"),
        (
            "{exec: [a], on: [clips]}",
            "4: hooks.ops.on.0: Invalid enum value 'clips'; write health or clip.saved or clip.failed",
        ),
        ("{exec: [a], retires: 1}", "4: hooks.ops.retires: unknown key; did you mean 'retries'?"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(load, hook, error):
    with pytest.raises(ConfigError) as caught:
        load(f"hooks:\n  ops: {hook}\n")
    assert str(caught.value).partition("visualpath.yaml:")[2].startswith(error)


def test_an_error_shows_no_secret(load):
    with pytest.raises(ConfigError) as caught:
        load("hooks:\n  ops: {webhook: 'https://b/hush hush'}\n")
    assert "hush" not in str(caught.value)


def test_a_seventeenth_hook_is_refused(load):
    with pytest.raises(ConfigError, match="there are 17, at most 16 can be"):
        load("hooks:\n" + "".join(f"  h{n}: {{exec: [a]}}\n" for n in range(17)))
