"""The number of a stream's time line, strictly rising across restarts and reboots."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from visualpath.core.errors import ConfigError, StorageError
from visualpath.runtime.files import overwrite_durably, write_durably

log = logging.getLogger(__name__)


class EpochFile:
    """Keeps the last epoch of one stream on disk; it is synced before anybody hears of it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "epoch"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot use state directory {folder}: {error.strerror}") from error

    def next(self, newest_in_ring: int) -> int:
        """The next epoch; 1 for a new stream. Also above what the ring holds, should this file have been lost.

        Raises:
            ConfigError: the file is damaged; a guess could repeat an epoch.
            StorageError: it cannot be written.
        """
        try:
            last = max(int(self._path.read_text()) if self._path.exists() else 0, newest_in_ring)
            self._keep(f"{last + 1}\n".encode())
        except ValueError:
            raise ConfigError(
                f"{self._path} holds no number: write the last epoch there, or one well above it"
            ) from None
        except OSError as error:
            raise StorageError(f"cannot keep the epoch in {self._path}: {error.strerror}") from error
        return last + 1

    def _keep(self, data: bytes) -> None:
        try:
            write_durably(self._path, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._path.exists():
                raise
            log.warning("%s: %s: the epoch is written over the last one", self._path, error.strerror)
            overwrite_durably(self._path, data)
