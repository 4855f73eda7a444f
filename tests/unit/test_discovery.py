"""Finding plug-ins: one that cannot be had never hides the others, and says why."""

import sys
import types
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from visualpath.core.errors import PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.fusion import BaseFusion
from visualpath.core.rules import RulesFusion
from visualpath.plugin import discovery
from visualpath.plugin.discovery import (
    EXTRACTORS,
    FUSIONS,
    OLD_NAMES,
    discover_extractors,
    discover_fusions,
    load_extractor,
    load_fusion,
)


class Good(BaseExtractor):
    def extract(self, frame):
        return None


class Other(Good):
    pass


@pytest.fixture
def install(monkeypatch):
    """Make these the only entry points, as name=value; `fakes` is an importable module."""
    module = types.ModuleType("vp_fakes")
    module.Good, module.Other, module.a_function, module.Unrelated = Good, Other, len, dict
    monkeypatch.setitem(sys.modules, "vp_fakes", module)

    def install(group=EXTRACTORS, **points):
        found = EntryPoints(EntryPoint(name, value, group) for name, value in points.items())
        monkeypatch.setattr(discovery, "entry_points", lambda group: found.select(group=group))

    return install


def test_a_plug_in_is_found_by_name(install):
    install(a="vp_fakes:Good", b="vp_fakes:Other")
    assert load_extractor("b") is Other


def test_discovery_finds_all_of_the_group(install):
    install(a="vp_fakes:Good", b="vp_fakes:Other")
    assert discover_extractors() == {"a": Good, "b": Other}


def test_extractors_are_no_fusions(install):
    install(a="vp_fakes:Good")
    assert discover_fusions() == {}


def test_a_missing_plug_in_is_refused_with_those_that_are_there(install):
    install(b="vp_fakes:Good", a="vp_fakes:Good")
    with pytest.raises(
        PluginError, match=f"no plug-in 'c' in the group {EXTRACTORS} of this venv; installed here: a, b"
    ):
        load_extractor("c")


def test_a_missing_plug_in_where_there_is_none_says_so(install):
    install()
    with pytest.raises(PluginError, match="installed here: none"):
        load_fusion("c")


def test_an_import_error_is_told_with_its_cause(install):
    install(a="vp_no_such_module:X")
    with pytest.raises(
        PluginError, match=r"'a' \(vp_no_such_module:X\) cannot be imported: ModuleNotFoundError: .*vp_no"
    ):
        load_extractor("a")


def test_an_import_error_keeps_the_original_exception(install):
    install(a="vp_no_such_module:X")
    with pytest.raises(PluginError) as caught:
        load_extractor("a")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_module_without_the_class_is_told(install):
    install(a="vp_fakes:Gone")
    with pytest.raises(PluginError, match=r"AttributeError: .*Gone"):
        load_extractor("a")


@pytest.mark.parametrize("what", ["Unrelated", "a_function"])
def test_a_wrong_class_is_refused(install, what):
    install(a=f"vp_fakes:{what}")
    with pytest.raises(PluginError, match=rf"plug-in 'a' \(vp_fakes:{what}\) is no BaseExtractor"):
        load_extractor("a")


def test_an_extractor_in_the_group_of_fusions_is_refused(install):
    install(group=FUSIONS, a="vp_fakes:Good")
    with pytest.raises(PluginError, match="is no BaseFusion"):
        load_fusion("a")


def test_a_broken_plug_in_does_not_hide_the_others(install):
    install(a="vp_no_such_module:X", b="vp_fakes:Good", c="vp_fakes:Unrelated")
    assert discover_extractors() == {"b": Good}


def test_a_broken_plug_in_is_logged_with_its_cause(install, caplog):
    install(a="vp_no_such_module:X")
    discover_extractors()
    (line,) = caplog.messages
    assert "'a' (vp_no_such_module:X) cannot be imported: ModuleNotFoundError" in line


def test_a_plug_in_that_raises_while_it_is_imported_does_not_hide_the_others(install, tmp_path, monkeypatch):
    (tmp_path / "vp_raises.py").write_text("raise RuntimeError('no GPU here')\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(a="vp_raises:X", b="vp_fakes:Good")
    assert discover_extractors() == {"b": Good}


def test_a_plug_in_under_an_old_name_of_the_group_is_found(install):
    install(group="analysiscore.extractors", a="vp_fakes:Good")
    assert (load_extractor("a"), discover_extractors()) == (Good, {"a": Good})


def test_an_old_name_of_the_group_is_warned_of_once_with_the_right_one(install, caplog):
    install(group="analysiscore.fusions", warned="vp_fakes:Good")
    discover_fusions(), discover_fusions()
    [line] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "'warned' is in the entry-point group analysiscore.fusions, an old name: write visualpath.fusions" in line


def test_the_right_name_of_the_group_wins_over_the_old_one(install, monkeypatch):
    points = [EntryPoint("a", "vp_fakes:Other", OLD_NAMES[EXTRACTORS]), EntryPoint("a", "vp_fakes:Good", EXTRACTORS)]
    install()
    monkeypatch.setattr(discovery, "entry_points", lambda group: EntryPoints(points).select(group=group))
    assert discover_extractors() == {"a": Good}


def test_the_rules_are_a_plug_in_like_any_other():
    assert load_fusion("rules") is RulesFusion
    assert issubclass(RulesFusion, BaseFusion)
