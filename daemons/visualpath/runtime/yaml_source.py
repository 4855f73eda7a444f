"""YAML with the line of each key, strict about what it takes.

Duplicate keys are errors; `${NAME}` in a string is replaced from the environment.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from visualpath.core.errors import ConfigError
from visualpath.runtime.redaction import VARIABLE, Redaction, variables

Key = tuple[str | int, ...]
"""Place of a value: mapping keys and list indexes from the root."""

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
"""Of one file, aliases (`*name`) followed: a few lines of them can stand for more than any memory holds."""
ERROR_MAX = 300
"""Characters of an error that may quote the file."""


class _Loader(yaml.SafeLoader):
    """As YAML 1.2: `true` and `false` are booleans; `off`, `no`, `on` and `yes` are words, as in `level: off`."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if first in "tTfF" or not tag.endswith(":bool")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class YamlSource:
    """One YAML file: `data` as builtins, and the line of each key for error messages.

    Attributes:
        variables: the `${NAME}` that were met so far, and their values.

    Raises:
        ConfigError: not readable, no YAML, no mapping, a duplicate key, or an unset variable.
    """

    def __init__(self, path: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.path = path
        self._environ = environ
        self.variables: dict[str, str] = {}
        self._lines: dict[Key, int] = {}
        self._values = 0
        self._constructor = yaml.SafeLoader("")
        try:
            node = yaml.compose(_text(path), Loader=_Loader)
            if not isinstance(node, yaml.MappingNode):
                raise ConfigError(f"{path}:1: must be a mapping of sections (streams:, extractors:, fusion:, ...)")
            self.data: dict[str, Any] = self._build_mapping(node, ())
        except RecursionError:
            raise ConfigError(f"{path}: is nested too deeply, or a part of it contains itself") from None
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file: name one, or copy deploy/visualpath.example.yaml there") from None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: is no UTF-8 text ({error.reason})") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f":{mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or str(error).splitlines()[0]
            raise ConfigError(f"{path}{where}: {problem[:ERROR_MAX]}") from error

    def error(self, key: Key, message: str) -> ConfigError:
        """A ConfigError that says file, line and key; the values of variables stay out of it."""
        line = next((self._lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self._lines), 1)
        name = ".".join(map(str, key))[:ERROR_MAX]
        message = Redaction(variables(self.variables))(message)[:ERROR_MAX]
        return ConfigError(f"{self.path}:{line}: {name}: {message}" if name else f"{self.path}:{line}: {message}")

    def _build(self, node: yaml.Node, key: Key) -> Any:
        self._lines.setdefault(key, node.start_mark.line + 1)
        self._values += 1
        if self._values > MAX_VALUES:
            raise self.error(key[:1], f"stands for more than {MAX_VALUES} values: an alias within an alias?")
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*key, index)) for index, item in enumerate(node.value)]
        try:
            value = self._constructor.construct_object(node, deep=True)
        except Exception as error:  # PyYAML's constructors raise whatever int(), date() and their tables do
            raise self.error(key, f"{str(node.value)[:32]!r} is no {node.tag.rpartition(':')[2]}") from error
        return VARIABLE.sub(lambda match: self._variable(match[1], key), value) if isinstance(value, str) else value

    def _build_mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = str(key_node.value)
            place = (*key, name)
            self._lines[place] = key_node.start_mark.line + 1
            if name in result:
                raise self.error(place, "stands here twice")
            result[name] = self._build(value_node, place)
        return result

    def _variable(self, name: str, key: Key) -> str:
        try:
            value = self.variables[name] = self._environ[name]
        except KeyError:
            raise self.error(key, f"the environment variable {name} is not set") from None
        return value


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: has more than {MAX_BYTES} bytes: that is no configuration")
    return data.decode()


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The end of an error about a word that is not allowed: what may have been meant, or nothing."""
    near = difflib.get_close_matches(word, list(allowed), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
