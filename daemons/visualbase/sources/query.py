"""What follows the `?` of an address, checked and typed."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from visualbase.errors import SourceError

T = TypeVar("T", bound=msgspec.Struct)


def read_query(uri: str, kind: type[T], hint: str) -> T:
    """The query of an address as a `kind`, whose fields are the keys that may stand there.

    Raises:
        SourceError: an unknown key, one that stands there twice, or a value of the wrong type or size; ends in `hint`.
    """
    pairs = parse_qsl(urlsplit(uri).query, keep_blank_values=True)
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise SourceError(uri, "a key stands there twice", hint)
    try:
        return msgspec.convert(dict(pairs), kind, strict=False)
    except msgspec.ValidationError as error:
        raise SourceError(uri, str(error).replace(" - at `$.", " - at `"), hint) from None
