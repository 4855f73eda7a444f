"""Getting a model from the network into its store: fetched, checked, placed, in this order."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from visualpath.core.errors import ModelError
from visualpath.models.answer import shown
from visualpath.models.fetch import MEBIBYTE, Fetch, Patience, Watch
from visualpath.models.install import install
from visualpath.models.manifest import Expected, Model
from visualpath.models.store import USABLE, ModelStore, sha256_of


@dataclass(frozen=True)
class Pulled:
    """What came of it.

    Attributes:
        fetched: False: it was there already.
        pins: the sha256 of files that were taken on trust, by name.
    """

    fetched: bool
    pins: dict[str, str]


def pull(
    store: ModelStore, model: Model, watch: Watch, *, trust: bool = False, patience: Patience | None = None
) -> Pulled:
    """Bring a model, if it is not there; what was fetched before it was interrupted is kept for the next time.

    Args:
        trust: take a file of which no checksum is known, and pin that of this one.

    Raises:
        ModelError: it cannot be had, or what came is not it; the message says what to do.
        OSError: the disk refuses.
    """
    if not model.urls:
        raise ModelError(f"{model.name} is not to be had ready-made: `{model.how}`, then `{model.command}`")
    with store.lock(model):
        if store.check(model).state in USABLE:
            return Pulled(False, {})
        expected = _expected(store, model)
        if expected.sha256 is None and not model.checksummed and not trust:
            raise ModelError(
                f"{model.name}: no checksum of it is known; `vpctl models pull {model.name} --trust` takes what "
                f"{shown(model.urls[0])} gives, and pins it"
            )
        fetch = Fetch(store.state_file(model, "part"), store.state_file(model, "from"), expected, watch)
        if patience is not None:
            fetch.patience = patience
        _require_room(store, model, fetch)
        url = _fetch_right(fetch, list(model.urls), model)
        pins = install(store, model, fetch.part, shown(url))
        fetch.forget()
        return Pulled(True, pins)


def _expected(store: ModelStore, model: Model) -> Expected:
    """As the manifest says, else as it was pinned when it was taken first."""
    pinned = store.record(model).pins.get(model.file)
    return Expected(model.size, model.sha256 or pinned)


def _require_room(store: ModelStore, model: Model, fetch: Fetch) -> None:
    """Of the download's rest, and of the copy that is made of it."""
    unpacked = model.size_bytes or model.size or 0
    needed = (model.size or 0) - fetch.here_bytes() + unpacked
    free = shutil.disk_usage(store.folder).free
    if free < needed:
        raise ModelError(
            f"{model.name} needs {needed / MEBIBYTE:.0f} MiB in {store.folder}, and {free / MEBIBYTE:.0f} MiB are "
            "free: make room, or set another models_dir"
        )


def _fetch_right(fetch: Fetch, urls: list[str], model: Model) -> str:
    """Fetch until the content is right; returns the URL. What is wrong is deleted.

    A part that was resumed may have been spoilt before: then the same URL is asked for the whole.
    """
    while True:
        resumed = fetch.here_bytes() > 0
        url = fetch.run(urls)
        fetch.watch.note(f"{model.file}: checking its sha256")
        found = sha256_of(fetch.part)
        if fetch.expected.sha256 in (None, found):
            return url
        fetch.forget()
        wrong = f"{shown(url)}: what came has the sha256 {found}, not {fetch.expected.sha256}: deleted"
        if not resumed:
            urls.remove(url)
        if not urls:
            raise ModelError(f"{model.name}: {wrong}; the manifest or the server is wrong, and neither is used")
        fetch.watch.note(wrong)
