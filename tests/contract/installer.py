"""The modules of deploy/install in this process, and a root to install into; for each venv stands an empty folder."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
PREFIX = Path("/opt/visualpath")
CONFIG = "etc/visualpath/visualpath.yaml"
SECRETS = "etc/visualpath/secrets.env"
VPCTL = "usr/bin/vpctl"


def load_scripts(monkeypatch):
    """The modules of deploy/install, and those of venvs that they use, until the test ends."""
    monkeypatch.syspath_prepend(str(ROOT / "venvs"))
    monkeypatch.syspath_prepend(str(ROOT / "deploy" / "install"))
    found = {}
    for name in ("build", "wheelhouse", "files", "staged_venv", "layout", "install"):
        folder = ROOT / ("venvs" if name in ("build", "wheelhouse") else "deploy/install")
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        found[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, found[name])
        spec.loader.exec_module(found[name])
    return SimpleNamespace(**found)


class Machine:
    """A root to install into, as `make install VENVS=core` does."""

    def __init__(self, root, scripts, monkeypatch):
        self.root, self.scripts, self.monkeypatch = root, scripts, monkeypatch
        monkeypatch.setattr(scripts.install, "install_venvs", self._make_venv)
        monkeypatch.setattr(scripts.install, "say_of_itself", lambda layout: [])

    def _make_venv(self, layout, names, python, sources):
        for name in names:
            folder = layout.folder(layout.prefix / "venvs" / name)
            (folder / self.scripts.staged_venv.MARK).write_text("{}")

    def layout(self, prefix=PREFIX):
        return self.scripts.layout.Layout(self.root, prefix)

    def install(self, prefix=PREFIX):
        self.scripts.install.install(self.layout(prefix), ["core"], None, [])

    def uninstall(self):
        self.scripts.install.uninstall(self.layout())

    def refusal(self, prefix=PREFIX):
        """Why it cannot be installed."""
        with pytest.raises(self.scripts.install.InstallError) as refused:
            self.install(prefix)
        return str(refused.value)

    def next_version(self):
        """Change what is to be installed: each file gets one line more."""
        told = self.scripts.install.all_files

        def more(prefix):
            files = told(prefix)
            return [file if file.link else replace(file, data=file.data + b"# 2\n") for file in files]

        self.monkeypatch.setattr(self.scripts.install, "all_files", more)

    def cut_off(self, after):
        """Install until so many files are there, and no further."""
        put, left = self.scripts.layout.Layout.put, [after]

        def put_some(layout, file):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            put(layout, file)

        with self.monkeypatch.context() as patch:
            patch.setattr(self.scripts.layout.Layout, "put", put_some)
            with pytest.raises(KeyboardInterrupt):
                self.install()

    def write(self, name, text="mine\n"):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        return path

    def names(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir())
