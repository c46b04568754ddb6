"""Fetching the published files of a data set, with checksum and resumption; needs pooch."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any, NamedTuple

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

URL_VARIABLE = "CNN_EXT_DATA_URL"
_TIMEOUT = 60  # seconds without an answer


class Source(NamedTuple):
    """Where the files of a data set are published, and the hash of each."""

    url: str
    hashes: dict[str, str]


SOURCES = {
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        {
            "train-images-idx3-ubyte.gz": "sha256:"
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "sha256:"
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "sha256:"
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "sha256:"
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": Source(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        {
            "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar-10": Source(
        "https://www.cs.toronto.edu/~kriz",
        {"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"},
    ),
    "cifar-100": Source(
        "https://www.cs.toronto.edu/~kriz",
        {"cifar-100-binary.tar.gz": "md5:03b5dce01913d631647c71ecec9e9cb8"},
    ),
}


def fetch(source: str, file: str, folder: Path, base_url: str | None = None) -> Path:
    """Download one file of a data set into a folder, unless it is there and whole.

    What a broken connection leaves stays in ``<file>.part``, and the next call goes on from there.
    Of several processes that want the same file, one fetches it and the others wait for it.

    Parameters
    ----------
    source
        Key of `SOURCES`.
    file
        Name of one of its files.
    folder
        Where to put it; created if need be.
    base_url
        URL of the folder that holds the file. By default, where the environment variable
        ``CNN_EXT_DATA_URL`` is set, the folder `source` under the URL that it names, else the
        place where the set is published.

    Returns
    -------
    Path
        The file, its checksum verified.

    Raises
    ------
    ImportError
        If pooch is not installed.
    ValueError
        If the file that came has another checksum; it is thrown away.
    OSError
        If the file cannot be fetched or written, or ``<file>.part`` is a link.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError("downloading needs pooch: pip install 'cnn_ext[datasets]'") from error

    if base_url is None:
        mirror = os.environ.get(URL_VARIABLE)
        base_url = f"{mirror.rstrip('/')}/{source}" if mirror else SOURCES[source].url
    part = folder / f"{file}.part"

    def downloader(url: str, output: str | IO[bytes], _: Any) -> None:
        _resume(url, part)
        os.replace(part, str(output))

    url = f"{base_url.rstrip('/')}/{file}"
    hashed = SOURCES[source].hashes[file]
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{file}.lock"):
        return Path(pooch.retrieve(url, hashed, file, folder, None, downloader))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process or thread at a time go on; the lock ends with its process, however that ends.

    The file at `path` is there only to be locked. Who is done removes it, so that one who has
    waited for it may hold a lock on a file that has no name any more, and asks again.
    """
    windows = sys.platform == "win32"  # which does not remove open files
    while True:
        with _own(path) as file:
            _lock(file)
            if not windows and not _is_named(file, path):
                continue
            try:
                yield
            finally:
                if not windows:
                    path.unlink(missing_ok=True)
        if windows:
            with suppress(OSError):  # another process has it open, and will remove it
                path.unlink()
        return


def _own(path: Path) -> IO[bytes]:
    """Open a file of this module's own to read and append, made if need be.

    Raises OSError if something else has its name: a link, through which another file would be
    written, or what is no regular file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    if path.is_symlink():
        raise OSError(f"{path}: expected no link, as it would be written through; remove it")
    descriptor = os.open(path, flags, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(f"{path}: expected a regular file of no other name; remove it")
    return os.fdopen(descriptor, "a+b")


def _is_named(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(file: IO[bytes]) -> None:
    """Wait until nobody else has the lock, which closing the file gives back."""
    if sys.platform == "win32":
        while True:
            try:
                file.seek(0)
                return msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            except OSError:  # after ten seconds
                pass
    with suppress(OSError):  # of file systems without locks, where one process at a time may fetch
        fcntl.flock(file, fcntl.LOCK_EX)


def _resume(url: str, part: Path) -> None:
    """Bring `part` to the full length of the file at `url` (HTTP range requests, RFC 9110)."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    start = 0
    if os.path.lexists(part):
        with _own(part) as file:
            start = file.seek(0, os.SEEK_END)
    request = Request(url, headers={"User-Agent": "cnn_ext"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with urlopen(request, timeout=_TIMEOUT) as response, _own(part) as file:
            length = response.headers.get("Content-Length")
            if response.status != 206:
                file.truncate(0)
            begin = file.seek(0, os.SEEK_END)
            copyfileobj(response, file)
            received = file.tell() - begin
            if length is not None and received < int(length):
                raise ConnectionError(f"connection lost after {received} of {length} bytes")
    except HTTPError as error:
        with error:
            # nothing is left to send: the part is whole, or so wrong that its checksum will tell
            if start and error.code == 416:
                return
            raise OSError(f"{url}: {error}") from error
    except (OSError, HTTPException) as error:
        raise OSError(f"{url}: {error}") from error
