"""Writing a file so that a reader finds the old one or the new one, never half of either."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name `path` only when it is whole and on the disk.

    The bytes go to a temporary file in the same folder, which replaces `path` at the end of the
    ``with`` block; on an exception, and on Ctrl-C at any moment, it is removed and `path` stays as
    it was. A symbolic link stays a link and its target is replaced. A new file has the permissions
    of the umask, a replaced one keeps its own.

    Parameters
    ----------
    path
        File to create or replace; its folder must exist.

    Yields
    ------
    BinaryIO
        Binary file open for writing.

    Raises
    ------
    ValueError
        If `path` is there but is not a regular file.
    OSError
        If the file cannot be written.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        raise ValueError(f"path: expected the name of a regular file, got {os.fspath(path)!r}")
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):  # rather than an error that names the temporary file
        raise FileNotFoundError(errno.ENOENT, "No such folder", folder)
    temporary = os.path.join(folder, f".{name[:40]}.{os.urandom(8).hex()}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                if os.path.exists(target):  # before there is anything in it that others could read
                    os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            _remove(temporary)
    finally:  # once more, as an interrupt may have come before the first attempt
        _remove(temporary)
    _sync_folder(folder)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _sync_folder(folder: str) -> None:
    """Make the folder's new entry durable, where the operating system opens folders at all."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
