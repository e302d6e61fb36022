"""The last known good settings file on disk, so that a service can start while VWO cannot be reached.

The SDK key is removed from the file. The file carries a fingerprint of account and key and is signed with
the key, so that a client reads only what a client with the same key has written.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .._plain import read_path
from .._sdk_key import SdkKey
from .seal import MAX_SEALED_BYTES, KeptSettings, SettingsSeal, UnusableError

# A killed writer leaves its temporary file behind; others need theirs for a moment only.
STALE_S = 3600.0
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


class LastKnownGood:
    """Keeps one settings file on disk.

    Args:
        path: The path, whose folder must exist. The file is written with mode 0600.
        account_id: The account of the settings.
        sdk_key: The SDK key of the settings.
        max_age_s: For how many seconds after they were fetched the settings can be used.
        wall_clock: Returns the seconds since the epoch.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        account_id: int | str,
        sdk_key: SdkKey,
        *,
        max_age_s: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = read_path(path, "last_known_good")
        self._seal = SettingsSeal(account_id, sdk_key, max_age_s=max_age_s, wall_clock=wall_clock)
        self._writing = threading.Lock()

    def save(self, body: bytes, wall_s: float) -> None:
        """Keep a settings file. If that fails, the file that was kept before stays as it is.

        Args:
            body: The file as fetched; it must be a valid settings file.
            wall_s: When it was fetched, in seconds since the epoch.

        Raises:
            OSError: It cannot be written, or another write has not ended yet.
            UnusableError: The SDK key occurs in a place from which it cannot be removed.
        """
        content = self._seal.seal(body, wall_s)
        if not self._writing.acquire(blocking=False):
            raise OSError(errno.EBUSY, "the last write goes on")
        try:
            self._replace(content)
        finally:
            self._writing.release()

    def _replace(self, content: bytes) -> None:
        self._remove_stale()
        name = f".{self._path.name}.{secrets.token_hex(8)}.tmp"
        temporary = self._path.with_name(name)
        try:
            # Created with the final mode, and never through a link that somebody else has made.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _CLOSE_ON_EXEC | _BINARY
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        # So that the new name survives a power failure, on systems that can sync a folder.
        with suppress(OSError), _opened(self._path.parent, os.O_RDONLY) as folder:
            os.fsync(folder)

    def _remove_stale(self) -> None:
        """Remove temporary files of killed writers."""
        prefix = f".{self._path.name}."
        with suppress(OSError), os.scandir(self._path.parent) as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and entry.name.endswith(".tmp"):
                    self._remove_if_stale(entry)

    def _remove_if_stale(self, entry: os.DirEntry[str]) -> None:
        with suppress(OSError):
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_S:
                Path(entry.path).unlink()

    def load(self) -> KeptSettings:
        """Return the kept settings file.

        Raises:
            UnusableError: There is none, or it cannot be used.
        """
        try:
            content = self._read()
        except FileNotFoundError:
            raise UnusableError("there is none") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UnusableError("it is not a regular file") from None
            raise UnusableError(f"it cannot be read: {describe_os_error(error)}") from None
        return self._seal.open(content)

    def _read(self) -> bytes:
        if not _NO_FOLLOW and self._path.is_symlink():
            raise UnusableError("it is not a regular file")
        limit = MAX_SEALED_BYTES
        # Non-blocking, so that opening a pipe in its place does not hang; it is refused below.
        flags = os.O_RDONLY | _NO_FOLLOW | _NON_BLOCKING | _BINARY
        with _opened(self._path, flags) as number:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise UnusableError("it is not a regular file")
            with os.fdopen(number, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        if len(content) > limit:
            raise UnusableError("it is too large")
        return content


def describe_os_error(error: OSError) -> str:
    """Return the name of the error, without any path."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    number = os.open(path, flags | _CLOSE_ON_EXEC)
    try:
        yield number
    finally:
        os.close(number)
