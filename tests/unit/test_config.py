"""visualpath.yaml: strict, and every error says file, line and key."""

import contextlib
import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visualpath.core.errors import ConfigError
from visualpath.fusion.sources import MAX_SOURCES
from visualpath.process.decision import check_fusion
from visualpath.runtime.config import load_config
from visualpath.runtime.extractors import MAX_DAEMONS

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


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        ("count: 3", "within", "is needed: in which span must the 3 times lie? e.g. within: 5s"),
        ("within: 3s", "within", "is the span in which `count` times must lie: say how many, at least 2"),
        ("count: 3, within: 1s, for: 400ms", "within", "is shorter than 3 times `for`: the rule could never fire"),
        ("count: 3, within: 1m", "within", "this and clip.pre must fit into ring.length, 30 s"),
        ("min_score: 0.5", "min_score", "bounds the score: name the signal that gives it, e.g. score: face.conf"),
        ("min_score: 2, score: a.c", "min_score", "Expected `float` <= 1.0"),
        ("count: 0", "count", "Expected `int` >= 1"),
    ],
)
def test_a_rule_that_could_never_fire_as_meant_is_refused_with_its_place(load, keys, key, message):
    text = LEAST + f"extractors: {{a: }}\nfusion:\n  rules:\n    - {{label: a, when: a.b > 1, {keys}}}\n"
    assert refused(load, text) == f"visualpath.yaml:6: fusion.rules.0.{key}: {message}"


@pytest.mark.parametrize(
    ("fusion", "place", "message"),
    [
        ("plugin: highlight\n  rules: [{label: a, when: a.b > 1}]", "5: fusion.rules", "is for the plug-in rules"),
        ("plugin: rules\n  config: {preset: default}", "5: fusion.config", "is for other plug-ins"),
    ],
)
def test_what_another_plug_in_would_take_is_refused(load, fusion, place, message):
    error = refused(load, LEAST + f"fusion:\n  {fusion}\n")
    assert error.startswith(f"visualpath.yaml:{place}: {message}")


HIGHLIGHT = LEAST + "extractors: {face: }\nfusion:\n  plugin: highlight\n  config:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HIGHLIGHT + "    preset: wild\n", "7: fusion.config.preset: Invalid enum value 'wild'; write one of default"),
        (HIGHLIGHT + "    gate:\n      jaw: 3\n", "8: fusion.config.gate.jaw: unknown key; did you mean 'yaw'?"),
        (HIGHLIGHT + "    cooldown: 3\n", "7: fusion.config.cooldown: 3 is no duration"),
        (
            HIGHLIGHT.replace("face", "quality") + "    preset: default\n",
            "5: fusion.plugin: 'highlight' needs the extractor 'face'",
        ),
    ],
)
def test_a_fusion_plug_in_is_checked_with_the_place_of_what_is_wrong(load, text, message):
    with pytest.raises(ConfigError) as refused:
        check_fusion(load(text))
    assert f"visualpath.yaml:{message}" in str(refused.value)


def test_a_fusion_plug_in_that_likes_its_configuration_is_left_alone(load):
    check_fusion(load(HIGHLIGHT + "    preset: conservative\n"))


def test_a_decision_without_rules_is_refused_before_the_daemon_does(load):
    with pytest.raises(ConfigError, match=r"fusion\.rules is empty"):
        check_fusion(load(LEAST + "extractors: {face: }\n"))


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


# Extractors: what is left out, instances, dependencies ----------------------------------------------


@pytest.mark.parametrize(
    ("extractors", "error"),
    [
        (
            "  face: {drop: keyframe_only}",
            "4: extractors.face.drop: keyframe_only needs `every: N`, the distance of keyframes",
        ),
        ("  face: {every: 3}", "4: extractors.face.every: goes with `drop: keyframe_only`, not with skip_oldest"),
        ("  face: {drop: keyframe_only, every: 1}", "4: extractors.face.every: Expected `int` >= 2"),
        (
            "  face: {drop: newest}",
            "4: extractors.face.drop: Invalid enum value 'newest'; "
            "write skip_oldest or skip_intermediate or skip_busy or keyframe_only",
        ),
        ("  face: {instances: 0}", "4: extractors.face.instances: Expected `int` >= 1"),
        (
            "  face: {instances: 2}\n  face-1: {}",
            "4: extractors.face.instances: one of them is called 'face-1', which is another extractor: rename that",
        ),
        (
            f"  {'x' * 31}: {{instances: 2}}",
            f"4: extractors.{'x' * 31}.instances: one of them: extractor '{'x' * 31}-0' is no valid name: "
            "use 1 to 32 of a-z, 0-9, '_' and '-', starting with a letter or digit",
        ),
        (
            "  face: {}\n  smile: {depends: [fcae]}",
            "5: extractors.smile.depends.0: no extractor is called 'fcae'; did you mean 'face'?",
        ),
        (
            "  face: {instances: 2}\n  smile: {depends: [face-0]}",
            "5: extractors.smile.depends.0: no extractor is called 'face-0'; did you mean 'face'?",
        ),
        ("  face: {depends: [face]}", "4: extractors.face.depends: a cycle: face -> face"),
        ("  face: {streams: []}", "4: extractors.face.streams: name at least one; without this key it looks at all"),
        (
            "  face: {streams: [cam1, cam1]}",
            "4: extractors.face.streams.1: 'cam1' stands here twice: take one out",
        ),
        (
            "  face: {}\n  smile: {depends: [face, face]}",
            "5: extractors.smile.depends.1: 'face' stands here twice: take one out",
        ),
        (
            "  face: {hang_timeout: 0s}",
            "4: extractors.face.hang_timeout: must be above 0: every inference would be a hang",
        ),
        (
            "  face: {drop: keyframe_only, every: 100000000000000000000}",
            "4: extractors.face.every: Expected `int` <= 1000000",
        ),
        (
            "  face: {instances: 40}\n  text: {instances: 24}\n  pose: {}",
            "6: extractors.pose: with it there are 65 extractor daemons, fusion takes 64: take some out",
        ),
        (
            "  face: {drop: keyframe_only, every: 2}\n  smile: {depends: [face], instances: 2}",
            "5: extractors.smile.instances: 'smile-1' would never get a frame that face look at, one of 2: "
            "write `drop: keyframe_only` and `every: 2` here, too",
        ),
        (
            "  face: {drop: keyframe_only, every: 2}\n  pose: {depends: [face]}\n"
            "  smile: {depends: [pose], instances: 4}",
            "6: extractors.smile.instances: 'smile-1' would never get a frame that pose look at, one of 2: "
            "write `drop: keyframe_only` and `every: 2` here, too",
        ),
    ],
)
def test_extractors_that_cannot_work_are_refused(load, extractors, error):
    assert refused(load, LEAST + "extractors:\n" + extractors + "\n") == f"visualpath.yaml:{error}"


def test_an_extractor_that_depends_on_one_that_does_not_look_at_its_streams_is_refused(load):
    text = (
        "streams: {a: {source: x}, b: {source: y}}\nextractors:\n  face: {streams: [b]}\n  smile: {depends: [face]}\n"
    )
    assert refused(load, text) == (
        "visualpath.yaml:4: extractors.smile.depends.0: 'face' does not look at a, as 'smile' does"
    )


def test_there_may_be_as_many_extractor_daemons_as_fusion_takes(load):
    assert MAX_DAEMONS == MAX_SOURCES
    assert len(load(LEAST + "extractors: {face: {instances: 40}, text: {instances: 24}}\n").extractors) == 64


@pytest.mark.parametrize(
    ("others", "smile"),
    [
        ("face: {drop: keyframe_only, every: 2}", "instances: 3"),
        ("face: {drop: keyframe_only, every: 2}", "instances: 2, drop: keyframe_only, every: 2"),
        ("face: {drop: keyframe_only, every: 4}", "instances: 2, drop: keyframe_only, every: 6"),
        ("face: {drop: keyframe_only, every: 3, instances: 2}", "drop: keyframe_only, every: 5"),
        ("face: {drop: keyframe_only, every: 2}, pose: {drop: keyframe_only, every: 3}", "instances: 5"),
        ("face: {drop: keyframe_only, every: 2}, pose: {drop: keyframe_only, every: 3}", "instances: 3"),
        ("face: {drop: keyframe_only, every: 2}, pose: {depends: [face]}", "instances: 2"),
    ],
)
def test_instances_are_refused_just_where_one_would_never_get_a_frame(load, others, smile):
    names = [name for name in ("face", "pose") if name in others]
    text = LEAST + f"extractors: {{{others}, smile: {{depends: {names}, {smile}}}}}\n"
    alone = load(LEAST + f"extractors: {{{others}, smile: {{{smile}}}}}\n").extractors
    groups = {each.group: [one for one in alone.values() if one.group == each.group] for each in alone.values()}
    seen = [n for n in range(500) if all(any(one.looks_at(n) for one in groups[name]) for name in names)]
    if all(any(one.looks_at(n) for n in seen) for one in groups["smile"]):
        load(text)
    else:
        assert "would never get a frame" in refused(load, text)


@pytest.mark.parametrize("key", ["group", "stride", "phase"])
def test_what_follows_from_instances_is_no_key(load, key):
    assert f"extractors.face.{key}: unknown key" in refused(load, LEAST + f"extractors: {{face: {{{key}: 2}}}}\n")


def test_a_cycle_of_dependencies_is_refused_with_its_way(load):
    text = LEAST + "extractors:\n  a: {depends: [b]}\n  b: {depends: [c]}\n  c: {depends: [a]}\n"
    message = refused(load, text)
    names = message.rpartition(": a cycle: ")[2].split(" -> ")
    assert {f"{one} -> {other}" for one, other in pairwise(names)} == {"a -> b", "b -> c", "c -> a"}


def test_dependencies_without_a_cycle_are_taken(load):
    text = "extractors:\n  a: {}\n  b: {depends: [a]}\n  c: {depends: [a]}\n  d: {depends: [b, c], streams: [cam1]}\n"
    assert load(LEAST + text).extractors["d"].depends == ["b", "c"]


def shares(config):
    return {name: (each.stride, each.phase) for name, each in config.extractors.items()}


def test_an_extractor_looks_at_every_frame_unless_told_otherwise(load):
    assert shares(load(LEAST + "extractors: {face: {}}\n")) == {"face": (1, 0)}


def test_keyframe_only_looks_at_one_of_so_many(load):
    assert shares(load(LEAST + "extractors: {face: {drop: keyframe_only, every: 5}}\n")) == {"face": (5, 0)}


def test_instances_are_daemons_of_their_own_that_share_the_frames(load):
    config = load(LEAST + "extractors: {face: {instances: 3}}\n")
    assert shares(config) == {"face-0": (3, 0), "face-1": (3, 1), "face-2": (3, 2)}


def test_instances_share_the_keyframes(load):
    config = load(LEAST + "extractors: {face: {instances: 2, drop: keyframe_only, every: 5}}\n")
    looked_at = [[name for name, each in config.extractors.items() if each.looks_at(n)] for n in range(0, 20, 5)]
    assert looked_at == [["face-0"], ["face-1"], ["face-0"], ["face-1"]]
    assert not any(each.looks_at(n) for each in config.extractors.values() for n in range(20) if n % 5)


def test_instances_run_the_plug_in_of_their_extractor(load):
    config = load(LEAST + "extractors: {face: {instances: 2}, pose: {instances: 2, plugin: mine}}\n")
    assert [each.plugin for each in config.extractors.values()] == ["face", "face", "mine", "mine"]


def test_a_source_goes_by_the_name_of_its_extractor(load):
    config = load(LEAST + "extractors: {face: {instances: 2}, text: {}}\n")
    assert [config.group_of(name) for name in ("face-0", "face-1", "text", "stranger")] == [
        "face", "face", "text", "stranger",
    ]  # fmt: skip


def test_a_rule_names_an_extractor_not_its_instances(load):
    text = LEAST + "extractors: {face: {instances: 2}}\nfusion: {rules: [{label: a, when: NAME.count > 1}]}\n"
    load(text.replace("NAME", "face"))
    assert "no extractor is called 'face-0'" in refused(load, text.replace("NAME", "face-0"))


def test_a_ring_that_cannot_hold_a_clip_is_refused(load):
    text = LEAST + "ring:\n  length: 8s\nclip: {pre: 5s, post: 3s}\n"
    assert refused(load, text) == (
        "visualpath.yaml:4: ring.length: 8 s must exceed a clip's pre + post, 8 s: make it longer"
    )


def test_a_ring_just_longer_than_a_clip_is_taken(load):
    load(LEAST + "ring: {length: 8.001s}\nclip: {pre: 5s, post: 3s}\n")


def test_rings_that_come_to_more_than_their_total_are_refused(load):
    text = "streams: {a: {source: a.mp4}, b: {source: b.mp4}}\nring:\n  size: 64MiB\n  total: 127MiB\n"
    assert "visualpath.yaml:4: ring.total: 133169152 bytes are less than size x 2 streams" in refused(load, text)


def test_rings_that_come_to_just_their_total_are_taken(load):
    load("streams: {a: {source: a.mp4}, b: {source: b.mp4}}\nring: {size: 64MiB, total: 128MiB}\n")


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
    config = load(LEAST + "run_dir: run\nstate_dir: s\nvenvs_dir: v\nmodels_dir: m\nring: {dir: r}\nclip: {dir: c}\n")
    paths = (config.run_dir, config.state_dir, config.venvs_dir, config.models_dir, config.ring_dir, config.clips_dir)
    assert paths == tuple(tmp_path / name for name in ("run", "s", "v", "m", "r", "c"))
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


def test_endpoint_overrides_reach_the_map(load):
    config = load(LEAST + "allow_plain_loopback: true\nendpoints: {clip/trig: 'tcp://127.0.0.1:5'}\n")
    assert config.endpoints().address("clip", "trig") == "tcp://127.0.0.1:5"


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:7001", "tcp://*:7001", "tcp://127.0.0.1:7001"])
def test_tcp_without_keys_is_refused_with_line_key_and_what_to_do(load, address):
    told = r":4: endpoints\.clip/trig: .*`security: {key: NAME}`.*`vpctl keys new NAME`"
    with pytest.raises(ConfigError, match=told):
        load(LEAST + f"endpoints:\n  clip/trig: '{address}'\n")


def test_tcp_with_keys_is_taken(load):
    config = load(LEAST + "security: {key: hub}\nendpoints: {clip/trig: 'tcp://10.0.0.5:7001'}\n")
    assert (config.keys.own, config.keys.folder.path) == ("hub", config.path.parent / "keys")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("security: {key: ../hub}", "security.key: '../hub' is no valid name of a key"),
        ("security: {key: hub, servers: {fusoin: b}}", "security.servers.fusoin: there is no such daemon"),
        ("security: {key: hub, servers: {fusion: 'B!'}}", "security.servers.fusion: 'B!' is no valid name of a key"),
        ("security: {servers: {fusion: b}}", "security.servers: needs `key`"),
        ("security: {keys: k, kye: hub}", "security.kye: unknown key; did you mean 'key'?"),
    ],
)
def test_a_security_section_that_cannot_be_is_refused(load, section, words):
    with pytest.raises(ConfigError) as refusal:
        load(LEAST + section + "\n")
    assert words in str(refusal.value)


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
