"""The section `hooks` of visualpath.yaml: who is told what happens, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, field

from visualpath.core.units import Duration
from visualpath.runtime.redaction import VARIABLE
from visualpath.runtime.yaml_source import YamlSource

MAX_HOOKS = 16
"""Each has a thread."""
MIN_TIMEOUT_NS, MAX_TIMEOUT_NS = 100_000_000, 600_000_000_000
ADDRESS = re.compile(r"[!-~]+")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

EventKind = Literal["health", "clip.saved", "clip.failed"]


class HookConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One hook: a command or an address.

    Attributes:
        on: the kinds of events it is told.
        exec: a program and its arguments; no shell. A path with a slash counts from the folder of the YAML.
        webhook: an http(s) address that events are posted to.
        headers: of that request.
        timeout_ns: what takes longer has failed; a command is killed.
        retries: attempts after the first.
        for_ns: so long a daemon must be in another state before that is told.
    """

    on: Annotated[list[EventKind], Meta(min_length=1)] = field(default_factory=lambda: list(get_args(EventKind)))
    exec: list[str] = []
    webhook: str = ""
    headers: dict[str, str] = {}
    timeout_ns: Duration = field(default=Duration(10_000_000_000), name="timeout")
    retries: Annotated[int, Meta(ge=0, le=100)] = 5
    for_ns: Duration = field(default=Duration(3_000_000_000), name="for")


def check_hooks(hooks: Mapping[str, HookConfig], source: YamlSource) -> None:
    """What no single key can say about itself. Errors show no values: there may be secrets in them.

    Raises:
        ConfigError: with file, line and key.
    """
    if len(hooks) > MAX_HOOKS:
        raise source.error(("hooks",), f"there are {len(hooks)}, at most {MAX_HOOKS} can be: join some")
    for name, hook in hooks.items():
        for key, message in _misfits(hook):
            raise source.error(("hooks", name, key) if key else ("hooks", name), message)


def _misfits(hook: HookConfig) -> list[tuple[str, str]]:
    """The keys that cannot be used, and why."""
    found = []
    if bool(hook.exec) == bool(hook.webhook):
        found.append(("", "needs either exec: [program, argument, ...] or webhook: https://..."))
    if hook.exec and (not hook.exec[0] or any("\0" in word for word in hook.exec)):
        found.append(("exec", "must be a program and its arguments, without zero bytes"))
    if hook.webhook and not VARIABLE.search(hook.webhook) and not _is_address(hook.webhook):  # not known to this vpctl
        found.append(("webhook", "must be an address as https://host/path; a secret in it best as ${NAME}"))
    if hook.headers and not hook.webhook:
        found.append(("headers", "are for a webhook"))
    for name, value in hook.headers.items():
        if not HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
            found.append(("headers", f"{name!r} is no header, or its value has characters that none may have"))
    if not MIN_TIMEOUT_NS <= hook.timeout_ns <= MAX_TIMEOUT_NS:
        found.append(("timeout", "must be from 100ms to 10m"))
    return found


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        return whole and ADDRESS.fullmatch(text) is not None
    except ValueError:
        return False
