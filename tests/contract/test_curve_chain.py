"""An extractor elsewhere, over tcp with CURVE: real daemons, two configurations, two folders of keys."""

import contextlib
import shutil
import time

import pytest

from visualpath.core.errors import Unreachable
from visualpath.runtime.config import load_config
from visualpath.runtime.control import ControlClient
from visualpath_protocol.keys import KeyFolder

PATIENCE_S = 60.0

ENTRY_POINTS = """
[visualpath.extractors]
looker = looker_plugin:Looker
[visualpath.fusions]
rules = visualpath.core.rules:RulesFusion
"""
PLUGIN = """
from visualpath.core.extractor import BaseExtractor


class Looker(BaseExtractor):
    def extract(self, frame):
        return None
"""
COMMON = """
run_dir: run
state_dir: state
ring: {{dir: ring, length: 30s}}
streams:
  cam1: {{source: 'synthetic://?width=160&height=120&fps=20&live=1'}}
extractors:
  looker: {{}}
fusion:
  rules: [{{label: never, when: looker.none > 1}}]
endpoints:
  fusion/obs: tcp://127.0.0.1:{0}
  fusion/control: tcp://127.0.0.1:{1}
  frame-cam1/headers: tcp://127.0.0.1:{2}
"""
HUB = "security: {key: hub}\n"
ANNEX = "security: {keys: annex-keys, key: annex, servers: {fusion: hub, frame-cam1: hub}}\n"


@pytest.fixture
def hub_keys(short_dir):
    folder = KeyFolder(short_dir / "keys")
    folder.new("hub")
    return folder


@pytest.fixture
def annex_keys(short_dir, hub_keys):
    """The annex made its own pair, and knows the hub; the hub does not know it yet."""
    folder = KeyFolder(short_dir / "annex-keys")
    folder.new("annex")
    shutil.copy(hub_keys.path / "hub.pub", folder.path)
    return folder


@pytest.fixture
def configs(short_dir, free_ports, hub_keys, annex_keys):
    """The YAML of the hub and that of the annex; they share only the ring."""
    paths = []
    for name, security in (("hub", HUB), ("annex", ANNEX)):
        paths.append(short_dir / f"{name}.yaml")
        paths[-1].write_text(COMMON.format(*free_ports) + security)
    return paths


@pytest.fixture
def fusion(configs):
    """The status of fusion, {} while it does not answer."""
    client = ControlClient(load_config(configs[0]).endpoints())

    def status():
        try:
            return client.ask("fusion", "status", timeout_ms=1000)
        except Unreachable:
            return {}

    yield status
    client.close()


@contextlib.contextmanager
def told(what):
    """Print how long the block took."""
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s")


def test_a_remote_extractor_works_while_its_key_is_known_and_the_hub_is_never_restarted(
    configs, hub_keys, annex_keys, fusion, start_daemon, install_plugins, wait_for
):
    plugins = install_plugins(ENTRY_POINTS, looker_plugin=PLUGIN)

    def counted(name):
        return fusion().get("counters", {}).get(name, 0)

    def sees_more():
        """Wait until fusion takes observations."""
        before = counted("obs.looker")
        wait_for(lambda: counted("obs.looker") > before, timeout_s=PATIENCE_S)

    hub = [start_daemon("fusion", configs[0], PYTHONPATH=plugins), start_daemon("frame", configs[0], "cam1")]
    first = start_daemon("extractor", configs[1], "looker", PYTHONPATH=plugins)
    wait_for(lambda: counted("refused.obs.stranger"), timeout_s=PATIENCE_S)
    assert counted("obs.looker") == 0

    with told("let in"):
        shutil.copy(annex_keys.path / "annex.pub", hub_keys.path)
        sees_more()

    with told("cut off"):
        hub_keys.revoke("annex")
        wait_for(lambda: counted("refused.obs.revoked"), timeout_s=PATIENCE_S)
        wait_for(lambda: fusion()["sources"]["looker"]["state"] == "down", timeout_s=PATIENCE_S)

    first.stop()
    for path in (annex_keys.path / "annex.key", annex_keys.path / "annex.pub"):
        path.unlink()
    annex_keys.new("annex")
    with told("let in by another key"):
        shutil.copy(annex_keys.path / "annex.pub", hub_keys.path)
        start_daemon("extractor", configs[1], "looker", PYTHONPATH=plugins)
        sees_more()
    assert all(daemon.alive() for daemon in hub)
