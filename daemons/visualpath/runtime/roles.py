"""Which daemons a configuration asks for, and the command that starts each."""

from __future__ import annotations

from dataclasses import dataclass

from visualpath.core.errors import ConfigError
from visualpath.runtime.config import Config
from visualpath_protocol.endpoints import CLIP, FUSION, extractor_daemon, frame_daemon

CORE_VENV = "core"
ROLES = ("frame", "extractor", "fusion", "clip")


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
            ConfigError: its venv is not built.
        """
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
    ]


def find_role(config: Config, role: str, instance: str) -> Role:
    """One daemon; ConfigError if the configuration has none such."""
    for candidate in roles(config):
        if (candidate.role, candidate.instance) == (role, instance):
            return candidate
    known = ", ".join(f"{r.role} {r.instance}".strip() for r in roles(config))
    raise ConfigError(f"{config.path} has no {role} {instance!r}; it has: {known}")
