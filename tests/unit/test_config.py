"""visualpath.yaml: strict, and every error says file, line and key."""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visualpath.core.errors import ConfigError
from visualpath.runtime.config import load_config

LEAST = "streams:\n  cam1: {source: a.mp4}\n"


@pytest.fixture
def load(tmp_path):
    """Write a text, and load it as the configuration."""

    def load(text):
        path = tmp_path / "visualpath.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path)

    return load


def refused(load, text):
    with pytest.raises(ConfigError) as caught:
        load(text)
    return str(caught.value).rpartition("/")[2]


# Errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (LEAST + "fuson: {}\n", "visualpath.yaml:3: fuson: unknown key; did you mean 'fusion'?"),
        (LEAST + "clip:\n  prre: 1s\n", "visualpath.yaml:4: clip.prre: unknown key; did you mean 'pre'?"),
        (LEAST + "clip:\n  qqqq: 1s\n", "visualpath.yaml:4: clip.qqqq: unknown key"),
        (
            "streams:\n  cam1:\n    source: a\n    loops: true\n",
            "visualpath.yaml:4: streams.cam1.loops: unknown key; did you mean 'loop'?",
        ),
        (
            LEAST + "extractors:\n  face:\n    hang_timout: 1s\n",
            "visualpath.yaml:5: extractors.face.hang_timout: unknown key; did you mean 'hang_timeout'?",
        ),
        (
            LEAST + "fusion:\n  rules:\n    - label: a\n      when: a.b > 1\n      cool_down: 1s\n",
            "visualpath.yaml:7: fusion.rules.0.cool_down: unknown key; did you mean 'cooldown'?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(load, text, error):
    assert refused(load, text) == error


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (
            "streams:\n  cam1:\n    pace: fast\n",
            "visualpath.yaml:2: streams.cam1: Object missing required field `source`",
        ),
        ("streams: [a]\n", "visualpath.yaml:1: streams: Expected `object`"),
        ("streams:\n  cam1: a.mp4\n", "visualpath.yaml:2: streams.cam1: Expected `object`"),
        (
            LEAST + "fusion:\n  window: 5\n",
            "visualpath.yaml:4: fusion.window: 5 is no duration: write a number and a unit",
        ),
        (LEAST + "ring:\n  size: 1 MB\n", "visualpath.yaml:4: ring.size: '1 MB' is no size"),
        (
            LEAST + "fusion:\n  late_arrival_threshold: 0.5\n",
            "visualpath.yaml:4: fusion.late_arrival_threshold: Expected",
        ),
        (LEAST + "log:\n  level: loud\n", "visualpath.yaml:4: log.level: Invalid enum value 'loud'"),
        (
            "streams:\n  cam1:\n    source: a\n    jpeg_quality: 101\n",
            "visualpath.yaml:4: streams.cam1.jpeg_quality: Expected `int` <= 100",
        ),
        (
            LEAST + "fusion:\n  rules:\n    - label: a\n      when: a.b > 1\n      for: 3\n",
            "visualpath.yaml:7: fusion.rules.0.for: 3 is no duration",
        ),
        (
            LEAST + "extractors:\n  face:\n    streams: [cam1, 5]\n",
            "visualpath.yaml:5: extractors.face.streams.1: Expected `str`",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_file_line_and_key(load, text, start):
    assert refused(load, text).startswith(start)


@pytest.mark.parametrize("section", ["streams", "extractors"])
@pytest.mark.parametrize("name", ["Cam", "a b", "-a", "ä", "x" * 33, "a.b", "a/b"])
def test_a_bad_name_is_refused(load, section, name):
    with pytest.raises(ConfigError, match=r"visualpath\.yaml:2: .* is no valid name: use 1 to 32 of"):
        load(f'{section}:\n  "{name}": {{source: a}}\n')


def test_a_name_that_stands_twice_is_refused(load):
    text = "streams:\n  cam1: {source: a}\n  cam1: {source: b}\n"
    assert refused(load, text) == "visualpath.yaml:3: streams.cam1: stands here twice"


def test_a_stream_that_is_not_there_is_refused_with_the_nearest_one(load):
    text = LEAST + "extractors:\n  face:\n    streams:\n    - cam2\n"
    assert refused(load, text) == (
        "visualpath.yaml:6: extractors.face.streams.0: no stream is called 'cam2'; did you mean 'cam1'?"
    )


@pytest.mark.parametrize(("key", "value"), [("when", "face"), ("score", "face")])
def test_a_rule_that_cannot_be_read_is_refused_with_its_place(load, key, value):
    rule = {"label": "a", "when": "a.b > 1", key: value}
    lines = "".join(f"{'    - ' if k == 'label' else '      '}{k}: {v}\n" for k, v in rule.items())
    error = refused(load, LEAST + "fusion:\n  rules:\n" + lines)
    assert f"fusion.rules.0.{key}: 'face' is no " in error


def test_two_rules_of_one_label_are_refused(load):
    rules = "extractors: {a: }\nfusion:\n  rules:\n    - {label: a, when: a.b > 1}\n    - {label: a, when: a.c > 1}\n"
    assert refused(load, LEAST + rules) == (
        "visualpath.yaml:7: fusion.rules.1.label: 'a' is another rule's label already: join the two with any"
    )


def test_a_rule_on_an_extractor_that_is_not_there_is_refused(load):
    rules = "extractors: {face: }\nfusion:\n  rules:\n    - {label: a, when: fcae.count > 1}\n"
    assert refused(load, LEAST + rules) == (
        "visualpath.yaml:6: fusion.rules.0.when: no extractor is called 'fcae'; did you mean 'face'?"
    )


def test_a_ring_that_cannot_hold_a_clip_is_refused(load):
    text = LEAST + "ring:\n  length: 8s\nclip: {pre: 5s, post: 3s}\n"
    assert refused(load, text) == (
        "visualpath.yaml:4: ring.length: 8 s must exceed a clip's pre + post, 8 s: make it longer"
    )


def test_a_ring_just_longer_than_a_clip_is_taken(load):
    load(LEAST + "ring: {length: 8.001s}\nclip: {pre: 5s, post: 3s}\n")


def test_a_clip_longer_than_the_default_ring_is_refused_with_the_ring(load):
    assert ": ring.length: 30 s must exceed" in refused(load, LEAST + "clip: {pre: 30s}\n")


@pytest.mark.parametrize("text", ["run_dir: x\n", "streams: {}\n"])
def test_a_configuration_without_streams_is_refused(load, text):
    assert refused(load, text) == "visualpath.yaml: no streams: name at least one under `streams:`"


def test_an_empty_file_is_refused(load):
    assert refused(load, "").startswith("visualpath.yaml:1: must be a mapping of sections")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"visualpath\.yaml: no such file"):
        load_config(tmp_path / "visualpath.yaml")


def test_every_error_is_one_line(load):
    for text in ("a: [", "a: \0", "a: !!int x", LEAST + "x: 1", "streams: {A: {}}"):
        assert "\n" not in refused(load, text)


# What comes out -------------------------------------------------------------------------------------


def test_relative_paths_are_relative_to_the_file(load, tmp_path):
    config = load(LEAST + "run_dir: run\nstate_dir: s\nvenvs_dir: v\nring: {dir: r}\nclip: {dir: c}\n")
    paths = (config.run_dir, config.state_dir, config.venvs_dir, config.ring_dir, config.clips_dir)
    assert paths == tuple(tmp_path / name for name in ("run", "s", "v", "r", "c"))
    assert config.streams["cam1"].source == str(tmp_path / "a.mp4")


def test_absolute_paths_are_kept(load):
    config = load("run_dir: /x/run\nstreams: {cam1: {source: /x/a.mp4}}\n")
    assert (str(config.run_dir), config.streams["cam1"].source) == ("/x/run", "/x/a.mp4")


def test_a_url_is_no_path(load):
    assert load("streams: {cam1: {source: 'rtsp://cam/1'}}\n").streams["cam1"].source == "rtsp://cam/1"


def test_a_relative_path_does_not_depend_on_the_working_directory(load, tmp_path, monkeypatch):
    load(LEAST)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    from_here = load_config((tmp_path / "visualpath.yaml").relative_to(tmp_path))
    assert from_here.state_dir == tmp_path / "state"


def test_two_configurations_do_not_share_a_ring_because_their_run_dirs_have_one_name(tmp_path):
    rings = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "visualpath.yaml").write_text(LEAST + "run_dir: run\n")
        rings.add(load_config(tmp_path / name / "visualpath.yaml").ring_dir)
    assert len(rings) == 2


def test_variables_come_from_the_environment(load, monkeypatch):
    monkeypatch.setenv("VP_TEST_PASSWORD", "s3")
    config = load("streams: {cam1: {source: 'rtsp://me:${VP_TEST_PASSWORD}@cam'}}\n")
    assert config.streams["cam1"].source == "rtsp://me:s3@cam"


def test_the_defaults_are_those_of_the_design(load):
    config = load(LEAST)
    assert (config.fusion.window_ns, config.fusion.late_arrival_threshold) == (100_000_000, 1.5)
    assert (config.fusion.plugin, config.clip.pre_ns, config.clip.post_ns) == ("rules", 5_000_000_000, 5_000_000_000)


def test_a_rules_defaults_are_those_of_the_design(load):
    rule = load(LEAST + "extractors: {a: }\nfusion: {rules: [{label: a, when: a.b > 1}]}\n").fusion.rules[0]
    assert (rule.for_ns, rule.cooldown_ns, rule.max_gap_ns) == (0, 2_000_000_000, 300_000_000)


def test_an_extractor_without_settings_is_taken(load):
    assert load(LEAST + "extractors:\n  face:\n").extractors["face"].expected


def test_an_extractor_looks_at_all_streams_unless_told_otherwise(load):
    config = load("streams: {a: {source: x}, b: {source: y}}\nextractors: {face: {}, text: {streams: [b]}}\n")
    assert (config.streams_of("face"), config.streams_of("text")) == (["a", "b"], ["b"])
    assert (config.extractors_of("a"), config.extractors_of("b")) == (["face"], ["face", "text"])


def test_an_extractor_may_look_at_no_stream(load):
    assert load(LEAST + "extractors: {face: {streams: []}}\n").streams_of("face") == []


def test_endpoint_overrides_reach_the_map(load):
    config = load(LEAST + "endpoints: {clip/trig: 'tcp://127.0.0.1:5'}\n")
    assert config.endpoints().address("clip", "trig") == "tcp://127.0.0.1:5"


# Garbage --------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    ["streams", "extractors", "ring", "fusion", "clip", "log", "rules", "when", "for", "cam1", "source"]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["5s", "a.b > 1", "x", "1MiB"])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100))
def test_binary_garbage_is_refused_by_a_config_error(load, data):
    with pytest.raises(ConfigError):
        load(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_nonsense_of_the_right_keys_is_taken_or_refused_by_a_config_error(load, data):
    with contextlib.suppress(ConfigError):
        load(json.dumps(data).replace("Infinity", ".inf").replace("NaN", ".nan"))
