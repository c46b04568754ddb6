"""Writing a file so that a reader finds the old one or the new one, never half of either."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
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
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise ValueError(f"path: expected the name of a regular file, got {os.fspath(path)!r}")
    temporary = target.with_name(f".{target.name[:40]}.{os.urandom(8).hex()}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                if target.exists():  # before there is anything in it that others could read
                    os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    finally:  # once more, as an interrupt may have come before the first attempt
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the folder's new entry durable, where the operating system opens folders at all."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
