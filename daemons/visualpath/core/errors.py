"""Everything the platform raises on purpose.

VisualpathError
├── ConfigError       visualpath.yaml cannot be used; the message names file, line and key
│   └── PluginConfigError  a plug-in's own part of it; carries the key
├── StorageError      the disk does not let a daemon start or go on; trying again may help
├── RecordError       a record of fusion's inputs cannot be read
├── RuleError         a rule's condition cannot be read
├── PluginError       a plug-in cannot be found, imported or made
├── ModelError        a model's weights cannot be had, or be stored
│   └── ModelMissingError  they are not there, or are not what they must be; the message has the command that mends it
├── DeviceUnavailable  the device that a model was to run on cannot be used
├── ExtractionError   an extractor failed on one frame
├── CommandError      a command was refused; carries a code and a hint
└── Unreachable       a daemon did not answer
"""

from __future__ import annotations

from visualpath_protocol.codec import fit_text


class VisualpathError(Exception):
    """Base of all errors of the platform."""


class ConfigError(VisualpathError):
    """The configuration cannot be used."""


class PluginConfigError(ConfigError):
    """A plug-in's `config:` cannot be used; `key` is the place in it that is wrong."""

    def __init__(self, key: tuple[str | int, ...], message: str) -> None:
        super().__init__(f"{'.'.join(map(str, key))}: {message}" if key else message)
        self.key = key
        self.message = message


class StorageError(VisualpathError):
    """The disk does not let a daemon start or go on; trying again may help."""


class RecordError(VisualpathError):
    """A record of fusion's inputs cannot be read."""


class RuleError(VisualpathError, ValueError):
    """A rule's condition cannot be read."""


class PluginError(VisualpathError):
    """A plug-in cannot be found, imported or made."""


class ModelError(VisualpathError):
    """A model's weights cannot be had, or be stored."""


class ModelMissingError(ModelError):
    """A model's weights are not there, or are not what they must be."""


class DeviceUnavailable(VisualpathError):
    """The device that a model was to run on cannot be used."""


class ExtractionError(VisualpathError):
    """An extractor failed on one frame."""


class CommandError(VisualpathError):
    """A command was refused."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message}: {hint}" if hint else message)
        self.code = code
        self.message = message
        self.hint = hint


class Unreachable(VisualpathError):
    """A daemon did not answer."""


def told(error: Exception) -> str:
    """What an exception says, fit for a message. Its text, too, may be made by a plug-in, and fail."""
    try:
        ours = type(error) in (ExtractionError, ModelMissingError)
        text = str(error) if ours else f"{type(error).__name__}: {error}"
    except Exception as another:
        text = f"{type(error).__name__}, whose text cannot be made: {type(another).__name__}"
    return fit_text(text)
