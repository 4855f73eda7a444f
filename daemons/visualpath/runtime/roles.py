"""Which daemons a configuration asks for, and the command that starts each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from visualpath.core.errors import ConfigError
from visualpath.runtime.config import Config
from visualpath_protocol.endpoints import CLIP, FUSION, WATCH, extractor_daemon, frame_daemon

CORE_VENV = "core"
ROLES = ("frame", "extractor", "fusion", "clip", "watch")
NOT_FOR_ALL = {
    "path", "models_dir", "streams", "extractors", "fusion", "record", "record_dir", "clip", "clips_dir",
    "hooks", "keys", "variables",
}  # fmt: skip
"""Fields of the configuration that only some daemons go by; the others concern all."""


@dataclass(frozen=True)
class Role:
    """One daemon to run: its role, the instance (a stream, an extractor, or ""), its name and its venv."""

    role: str
    instance: str
    daemon: str
    venv: str

    def command(self, config: Config) -> list[str]:
        """The argument list that runs it.

        Raises:
            ConfigError: its venv is not built, or another machine runs it.
        """
        if machine := machine_of(config, self.daemon):
            raise ConfigError(f"{self.daemon} runs on {machine}, says {config.path}: security.servers.{self.daemon}")
        python = config.venvs_dir / self.venv / "bin" / "python"
        if not python.exists():
            raise ConfigError(f"{self.daemon} needs the venv {self.venv!r}, which is not built: run `make venvs`")
        instance = [self.instance] if self.instance else []
        return [str(python), "-m", f"visualpath.{self.role}", *instance, "--config", str(config.path)]


def roles(config: Config) -> list[Role]:
    """Every daemon of the configuration, consumers before producers."""
    return [
        Role("clip", "", CLIP, CORE_VENV),
        Role("fusion", "", FUSION, CORE_VENV),
        *(Role("extractor", name, extractor_daemon(name), e.venv) for name, e in config.extractors.items()),
        *(Role("frame", name, frame_daemon(name), CORE_VENV) for name in config.streams),
        *([Role("watch", "", WATCH, CORE_VENV)] if config.hooks else []),
    ]


def local_roles(config: Config) -> list[Role]:
    """The daemons that this machine runs."""
    return [role for role in roles(config) if not machine_of(config, role.daemon)]


def machine_of(config: Config, daemon: str) -> str:
    """The name of the machine that runs a daemon; "" if that is this one."""
    if config.keys is None:
        return ""
    machine = config.keys.servers.get(daemon, "")
    return "" if machine == config.keys.own else machine


def find_role(config: Config, role: str, instance: str) -> Role:
    """One daemon; ConfigError if the configuration has none such."""
    for candidate in roles(config):
        if (candidate.role, candidate.instance) == (role, instance):
            return candidate
    known = ", ".join(f"{r.role} {r.instance}".strip() for r in roles(config))
    raise ConfigError(f"{config.path} has no {role} {instance!r}; it has: {known}")


def fingerprint(config: Config, daemon: str) -> str:
    """Of all that one daemon goes by: another one if a restart would make it work otherwise."""
    common = {name: getattr(config, name) for name in config.__struct_fields__ if name not in NOT_FOR_ALL}
    keys = config.keys  # their files are read again while a daemon runs
    common["keys"] = keys and [keys.own, dict(keys.servers)]
    own = next((_own(config, role) for role in roles(config) if role.daemon == daemon), None)
    return hashlib.sha256(msgspec.json.encode([common, own], enc_hook=_as_builtin)).hexdigest()[:12]


def _own(config: Config, role: Role) -> Any:
    """What concerns one daemon, and not all."""
    topology = {name: (e.group, e.stride, e.phase, config.streams_of(name)) for name, e in config.extractors.items()}
    if role.role == "frame":
        stream = config.streams[role.instance]
        return stream, len(config.extractors_of(role.instance)) if stream.ready_timeout_ns else 0
    if role.role == "extractor":
        extractor = config.extractors[role.instance]
        needed = [each for each in topology.items() if each[1][0] in extractor.depends]
        window_ns = config.fusion.window_ns if extractor.depends else 0
        return extractor, topology[role.instance], needed, window_ns, config.models_dir
    if role.role == "fusion":
        waited_for = {name: (e.expected, e.hang_timeout_ns, e.depends) for name, e in config.extractors.items()}
        paces = {name: stream.pace for name, stream in config.streams.items()}
        return config.fusion, list(paces.items()), topology, waited_for, config.record, config.record_dir
    if role.role == "clip":
        return config.clip, config.clips_dir, list(config.streams)
    return [each.daemon for each in local_roles(config)], config.hooks


def _as_builtin(value: object) -> str | int:
    """For msgspec: what of a configuration is no builtin."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, int):  # a Duration or Size
        return int(value)
    raise NotImplementedError(f"no fingerprint of {value!r}")
