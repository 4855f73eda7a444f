"""What the `config:` mappings of the extractors have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

Checked = TypeVar("Checked", bound="Settings")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One extractor's mapping, but for what is the host's.

    Attributes:
        extractor: its name, as messages have it.
        allowed: which keys there are and what they may be, for people.
    """

    extractor: ClassVar[str]
    allowed: ClassVar[str]

    @classmethod
    def parse(cls: type[Checked], config: Mapping[str, Any]) -> Checked:
        """Check a mapping.

        Raises:
            ValueError: an unknown key, or a value that is not allowed.
        """
        try:
            return msgspec.convert(dict(config), cls)
        except msgspec.ValidationError as err:
            raise ValueError(f"{cls.extractor}: {err}; allowed are {cls.allowed}") from err
