"""Which models plug-ins need: each distribution brings a `models.yaml` beside the package of its entry point.

    [project.entry-points."visualpath.models"]
    facemoment = "facemoment"          # facemoment/models.yaml

The package is found, never imported: vpctl reads manifests in a venv that has none of the ML libraries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from visualpath.core.errors import ConfigError, ModelError
from visualpath.core.strict import UNKNOWN_KEY, misfit
from visualpath.runtime.yaml_source import YamlSource, nearest

GROUP = "visualpath.models"
FILE_NAME = "models.yaml"

URLS_OR_HOW = "urls (or how: the command that makes its file)"

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
MISSING = "Object missing required field"
"""How msgspec tells the first key that is not there."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z"
"""Of models and files: no path, and nothing hidden."""
FileName = Annotated[str, Meta(pattern=NAME)]
Url = Annotated[str, Meta(pattern="^https?://[^/@]+/")]
Bytes = Annotated[int, Meta(gt=0)]


class Expected(NamedTuple):
    """What a file must be; None: not known."""

    size_bytes: int | None
    sha256: str | None


class Member(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One file of a pack; the archive may have it in a folder."""

    size: Bytes
    sha256: Sha256


class Model(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One model: a single file, or a pack of several that come in a zip archive.

    Attributes:
        name: what `vpctl models` and `model_path` know it by; its key in the manifest.
        needed_by: extractor and backend, as `face: insightface`.
        licence: of the weights, in words.
        licence_url: where it stands.
        origin: the page of those who made it.
        file: the name of what is downloaded.
        size: of that file, in bytes; None: not known.
        sha256: of that file; None: nobody has published one, and the first file that is taken is pinned.
        urls: where it is to be had; the others are mirrors. Empty: it must be made.
        members: of a pack: the files in the archive that are kept, by name.
        how: the command that makes the file, where one must.
    """

    needed_by: list[str]
    licence: str
    licence_url: str
    origin: str
    file: FileName
    size: Bytes | None = None
    sha256: Sha256 | None = None
    urls: list[Url] = []
    members: dict[FileName, Member] = {}
    how: str = ""
    name: FileName = ""

    @property
    def download(self) -> Expected:
        """What the downloaded file must be."""
        return Expected(self.size, self.sha256)

    @property
    def files(self) -> dict[str, Expected]:
        """What lies in the store, by name."""
        if not self.members:
            return {self.file: self.download}
        return {name: Expected(member.size, member.sha256) for name, member in self.members.items()}

    @property
    def size_bytes(self) -> int | None:
        """Of all its files in the store."""
        sizes = [expected.size_bytes for expected in self.files.values()]
        return sum(filter(None, sizes)) if None not in sizes else None

    @property
    def checksummed(self) -> bool:
        """Whether the manifest says what all its files must be."""
        return all(expected.sha256 for expected in self.files.values())

    @property
    def command(self) -> str:
        """The vpctl command that brings it."""
        if not self.urls:
            return f"vpctl models add FILE {self.name}"
        return f"vpctl models pull {self.name}{'' if self.checksummed else ' --trust'}"


@dataclass(frozen=True)
class Catalogue:
    """The models of several manifests, by name, and what is wrong with manifests, a line each."""

    models: dict[str, Model]
    problems: list[str]

    def find(self, name: str) -> Model:
        """One model.

        Raises:
            ModelError: no manifest has it.
        """
        if name in self.models:
            return self.models[name]
        known = nearest(name, self.models) or f"; there are {', '.join(self.models) or 'none'}"
        raise ModelError("; ".join([f"no manifest has a model {name!r}{known}", *self.problems]))


def installed_manifests() -> tuple[list[Path], list[str]]:
    """The manifests of this venv's distributions, and what is wrong with those that are not there."""
    found, problems = [], []
    for point in sorted(entry_points(group=GROUP)):
        try:
            spec = find_spec(point.value)
        except ImportError:
            spec = None
        path = Path(spec.origin).with_name(FILE_NAME) if spec is not None and spec.origin else None
        if path is not None and path.is_file():
            found.append(path)
        else:
            problems.append(f"{point.name}: there is no {FILE_NAME} beside {point.value}; install it again")
    return found, problems


def read_catalogue(manifests: Iterable[Path], problems: Sequence[str] = ()) -> Catalogue:
    """Read manifests; one that cannot be used hides no other, and of two models of a name the first one counts."""
    models: dict[str, Model] = {}
    wrong = list(problems)
    for path in dict.fromkeys(each.resolve() for each in manifests):
        try:
            for name, model in read_manifest(path).items():
                if models.setdefault(name, model) != model:
                    wrong.append(f"{path}: {name} is another model in a manifest before it: left out")
        except ConfigError as error:
            wrong.append(str(error))
    return Catalogue(models, wrong)


def read_manifest(path: Path) -> dict[str, Model]:
    """One manifest's models, by name.

    Raises:
        ConfigError: with file, line and key.
    """
    source = YamlSource(path)
    unknown = next((key for key in source.data if key != "models"), None)
    if unknown is not None:
        raise source.error((unknown,), f"{UNKNOWN_KEY}; a manifest has `models:` alone")
    entries = source.data.get("models")
    if not isinstance(entries, dict):
        raise source.error(("models",), "must be models by name")
    return {name: _read_model(source, name, value) for name, value in entries.items()}


def _read_model(source: YamlSource, name: str, value: Any) -> Model:
    place = ("models", name)
    if not re.match(NAME, name):
        raise source.error(place, f"a name has letters, digits, `.`, `_` and `-` alone: {NAME}")
    try:
        model = msgspec.structs.replace(msgspec.convert(value, Model), name=name)
    except msgspec.ValidationError as error:
        where, message = misfit(error)
        if not where and message.startswith(MISSING) and isinstance(value, dict):
            message = f"lacks {', '.join(_missing(value))}"
        if message == UNKNOWN_KEY:
            message += nearest(str(where[-1]), Model.__struct_fields__ + Member.__struct_fields__)
        raise source.error((*place, *where), message) from None
    if model.members and not model.file.endswith(".zip"):
        raise source.error((*place, "file"), "a model with members comes in a .zip")
    if not model.urls and not model.how:
        raise source.error(place, f"lacks {URLS_OR_HOW}")
    return model


def _missing(value: Mapping[str, Any]) -> list[str]:
    """All that a model's entry must have and has not."""
    required = [field.name for field in msgspec.structs.fields(Model) if field.required]
    return [key for key in required if key not in value] + ([] if value.keys() & {"urls", "how"} else [URLS_OR_HOW])
