"""docs/operations.md names every counter that the code has, and says what to do when it grows."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from visualbase.clip import GapReason
from visualpath.core.align_types import DropReason, ResetKind, SetReason
from visualpath.core.ladder import Cause
from visualpath.ctl import console
from visualpath.runtime import main
from visualpath_protocol.messages import Ack, SkipReason

ROOT = Path(__file__).parents[2]
PAGES = ["docs/operations.md", "docs/architecture.md", "docs/clips.md", "docs/plugins.md"]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
CODE = sorted((ROOT / "daemons" / "visualpath").rglob("*.py")) + sorted((ROOT / "daemons" / "visualbase").rglob("*.py"))

ACK_RESULTS = get_args(get_type_hints(Ack)["result"])
MESSAGES = ("obs", "skip", "bound", "ping", "bye")
MESSAGE_FAULTS = ("malformed", "version", "oversized")
PEER_FAULTS = ("stranger", "revoked", "plain", "wrong-key")
SOURCE_LOSSES = ("behind", "damaged", "not_rising", "cut_short")
ENDINGS = {  # what follows the constant beginning of a counter's name; capitals: any name, and so does the document
    "acked.": ACK_RESULTS,
    "backend.": (
        *(f"refused.{cause}" for cause in ("missing", "device", "load")),
        *(f"down.{cause}" for cause in get_args(Cause)),
        *("up.probe", "failed.errors", "failed.probation", "recovered.frame", "recovered.reload"),
    ),
    "clips.deleted.": ("quota", "min_free", "retention"),
    "damaged.": ("outbox", "ledger"),
    "dropped.": (*DropReason.__args__, *MESSAGES),
    "dropped.source.": SOURCE_LOSSES,
    "failed.": ("evicted", "error"),
    "fused.": ("SOURCE",),
    "hooks.done.": ("HOOK",),
    "hooks.failed.": ("HOOK",),
    "hooks.full.": ("HOOK",),
    "hooks.retried.": ("HOOK",),
    "late.": ("SOURCE",),
    "missing.": ("down.SOURCE", "idle.SOURCE", "slow.SOURCE"),
    "obs.": ("SOURCE",),
    "refused.": tuple(f"LINK.{reason}" for reason in (*MESSAGE_FAULTS, *PEER_FAULTS)),
    "refused.obs.": ("changed", "name-taken", "too-many-sources", "unknown-stream"),
    "resets.": get_args(ResetKind),
    "sent.": MESSAGES,
    "sets.": get_args(SetReason),
    "skipped.": get_args(SkipReason),
    "skips.": ("SOURCE",),
    "source.disconnects.": ("ended", "stalled", "failed"),
    "unreported.": ("SOURCE",),
    "triggers.": tuple(result for result in ACK_RESULTS if result != "expired"),  # clip never says that
}


def named(node):
    """The counters' names in an expression: literals whole, f-strings by their constant beginning and a star."""
    if isinstance(node, ast.JoinedStr):
        first = node.values[0]
        return {first.value + "*"} if isinstance(first, ast.Constant) else {"*"}
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) else set()
    if isinstance(node, ast.IfExp):
        return named(node.body) | named(node.orelse)
    return set()


def last_name(node):
    return getattr(node, "attr", getattr(node, "id", "")).lstrip("_")


def counters_in(source):
    """Every counter that `counters[...]`, `Counter(name=...)` and `refusals.add(...)` name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and last_name(node.value) == "counters":
            found |= named(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "add" and last_name(node.func.value) == "refusals":
                found |= named(node.args[0])
        elif isinstance(node, ast.Call) and last_name(node.func) == "Counter":
            found |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return found


def in_code():
    return set().union(*(counters_in(path.read_text(encoding="utf-8")) for path in CODE))


def expanded():
    """The whole names, those with a variable ending too."""
    whole = {name for name in in_code() if not name.endswith("*")}
    endings = {name[:-1] for name in in_code() if name.endswith("*")}
    return whole | {beginning + ending for beginning in endings for ending in ENDINGS[beginning]}


def links_refused():
    """The links that `decode(codec, data, "link")` and `_refuse("link", error)` name."""
    found = set()
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "decode" and len(node.args) == 3:
                    found |= named(node.args[2])
                elif node.func.attr == "_refuse":
                    found |= named(node.args[0])
    return found


def test_the_scan_sees_each_way_to_count():
    source = """
self._counters["plain"] += 1
service.counters[f"sent.{kind}" if sent else f"dropped.{kind}"] += 1
self._refusals.add(f"refused.{link}.{kind}", error)
service.refusals.add("failed.ledger", error)
Counter(frames_written=0)
seen.add("no counter")
"""
    assert counters_in(source) == {
        "plain", "sent.*", "dropped.*", "refused.*", "failed.ledger", "frames_written",
    }  # fmt: skip


def test_the_scan_finds_counters_of_every_daemon():
    assert {"frames", "received", "sets", "clips.saved", "dropped.tap"} <= in_code()


def test_every_beginning_of_a_name_is_known_here():
    assert {name[:-1] for name in in_code() if name.endswith("*")} == set(ENDINGS)


def section(heading):
    """The text below a heading: its first table, and what follows that."""
    found = re.search(rf"^## {heading}\n.*?((?:^\|[^\n]*\n)+)(.*?)(?=^## |\Z)", OPERATIONS, re.MULTILINE | re.DOTALL)
    assert found, f"docs/operations.md has no section {heading} with a table"
    return found[1], found[2]


def quoted(text):
    return set(re.findall(r"`([^`]+)`", text))


def in_counter_table():
    """The names in the second column, where each is explained."""
    rows = section("Counters")[0].splitlines()[2:]
    return set().union(*(quoted(row.split("|")[2]) for row in rows))


@pytest.mark.parametrize("name", sorted(expanded()))
def test_every_counter_is_documented(name):
    explained = in_counter_table() | quoted(section("Counters")[1])
    assert name in explained, f"docs/operations.md does not say what the counter {name} means"


def test_every_documented_counter_exists():
    assert in_counter_table() <= expanded()


@pytest.mark.parametrize("link", sorted(links_refused()))
def test_every_link_that_refuses_is_named(link):
    listed = re.search(r"^LINK is .*?\. ", OPERATIONS, re.MULTILINE | re.DOTALL)
    assert listed
    assert f"`{link}`" in listed[0]


@pytest.mark.parametrize("reason", get_args(GapReason))
def test_every_reason_of_a_gap_is_explained(reason):
    assert f"\n| `{reason}` |" in (ROOT / "docs" / "clips.md").read_text(encoding="utf-8")


def exit_codes(module):
    return sorted({value for name, value in vars(module).items() if name.startswith("EXIT_")})


@pytest.mark.parametrize(("module", "table"), [(main, 0), (console, 1)])
def test_every_exit_code_is_documented(module, table):
    codes = re.findall(r"^\| (\d+) \|", section("Exit codes")[table], re.MULTILINE)
    assert set(exit_codes(module)) <= set(map(int, codes))


@pytest.mark.parametrize("name", ["README.md", *PAGES])
def test_links_to_files_lead_somewhere(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name}: {target} is not there"


@pytest.mark.parametrize("name", PAGES)
def test_paragraphs_are_at_most_120_wide(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []
