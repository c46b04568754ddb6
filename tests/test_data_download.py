"""Downloads from a server on this machine: checksums, resumption, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from commands import ENVIRONMENT
from test_data_datasets import STEMS, cifar_files
from test_data_readers import tar_gz

from cnn_ext.data import datasets, write_idx
from cnn_ext.data.download import SOURCES, Source

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 28, 28)).astype(np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 10


class Server(ThreadingHTTPServer):
    """Serves `files`; `cut_at` is the byte where a connection breaks, once.

    At the byte `stall_at` of a file it sets `stalled` and waits, once, until `go_on` is set.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.cut_at: int | None = None
        self.stall_at: int | None = None
        self.stalled, self.go_on = threading.Event(), threading.Event()
        self.requests: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.requests.append((self.path, asked))
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if not self.server.ranges:
            start = 0
        if start and start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end, self.server.cut_at = self.server.cut_at, None
        stall, self.server.stall_at = self.server.stall_at, None
        if stall is not None:
            self.wfile.write(data[start:stall])
            self.wfile.flush()
            start = stall
            self.server.stalled.set()
            self.server.go_on.wait(60)
        with suppress(OSError):  # of a client that was killed
            self.wfile.write(data[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("CNN_EXT_DATA_URL", raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def mnist(server, tmp_path, monkeypatch):
    """The server offers a small MNIST under /mnist, and its hashes are the published ones."""
    hashes = {}
    for stem, array in zip(STEMS, (IMAGES, LABELS, IMAGES[:5], LABELS[:5]), strict=True):
        write_idx(tmp_path / stem, array)
        data = (tmp_path / stem).read_bytes()
        server.files[f"/mnist/{stem}.gz"] = data
        hashes[f"{stem}.gz"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    monkeypatch.setitem(SOURCES, "mnist", Source("http://127.0.0.1:9/unreachable", hashes))
    return tmp_path / "new" / "folder"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("by", ["argument", "argument with slash", "environment", "source"])
def test_download(server, mnist, monkeypatch, by):
    base_url = None
    if by == "environment":
        monkeypatch.setenv("CNN_EXT_DATA_URL", server.url)
    elif by == "source":
        monkeypatch.setitem(SOURCES, "mnist", SOURCES["mnist"]._replace(url=f"{server.url}/mnist"))
    else:
        base_url = f"{server.url}/mnist" + ("/" if "slash" in by else "")
    dataset = datasets.mnist(mnist, download=True, base_url=base_url)
    np.testing.assert_array_equal(dataset.x_train[:, 0], IMAGES)
    assert names(mnist) == sorted(f"{stem}.gz" for stem in STEMS)
    assert sorted(server.requests) == sorted((f"/mnist/{stem}.gz", None) for stem in STEMS)


def test_files_that_are_there_are_not_fetched(server, mnist):
    mnist.mkdir(parents=True)
    write_idx(mnist / "train-images.idx3-ubyte", IMAGES[::-1])
    dataset = datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    np.testing.assert_array_equal(dataset.x_train[:, 0], IMAGES[::-1])
    assert len(server.requests) == 3
    datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    assert len(server.requests) == 3


@pytest.mark.parametrize("ranges", [True, False])
def test_resume_after_a_cut(server, mnist, ranges):
    server.cut_at = 10_000
    server.ranges = ranges
    with pytest.raises(OSError, match=r"train-images.*connection lost after 10000 of 23536 bytes"):
        datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    assert names(mnist) == [f"{STEMS[0]}.gz.part"]
    assert (mnist / f"{STEMS[0]}.gz.part").stat().st_size == 10_000
    dataset = datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    np.testing.assert_array_equal(dataset.x_train[:, 0], IMAGES)
    assert server.requests[:2] == [
        (f"/mnist/{STEMS[0]}.gz", None),
        (f"/mnist/{STEMS[0]}.gz", "bytes=10000-"),
    ]
    assert names(mnist) == sorted(f"{stem}.gz" for stem in STEMS)


def test_a_part_that_is_already_whole(server, mnist):
    mnist.mkdir(parents=True)
    (mnist / f"{STEMS[0]}.gz.part").write_bytes(server.files[f"/mnist/{STEMS[0]}.gz"])
    dataset = datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    np.testing.assert_array_equal(dataset.x_train[:, 0], IMAGES)


def test_wrong_checksum_keeps_nothing(server, mnist):
    """Neither a wrong file nor a wrong part survives, so that the next attempt starts afresh."""
    right = server.files[f"/mnist/{STEMS[0]}.gz"]
    server.files[f"/mnist/{STEMS[0]}.gz"] = right[:-1] + b"?"
    with pytest.raises(ValueError, match=r"hash of downloaded file .*train-images"):
        datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    assert names(mnist) == []
    server.files[f"/mnist/{STEMS[0]}.gz"] = right
    (mnist / f"{STEMS[0]}.gz.part").write_bytes(b"of something else")
    with pytest.raises(ValueError, match="hash of downloaded file"):
        datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    assert names(mnist) == []
    datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")


def test_errors_name_the_url(server, mnist):
    url = f"{server.url}/nothing"
    with pytest.raises(OSError, match=f"{url}/train-images-idx3-ubyte.gz: .*404"):
        datasets.mnist(mnist, download=True, base_url=url)
    server.files.clear()
    with pytest.raises(OSError, match=r"unreachable/train-images-idx3-ubyte\.gz: "):
        datasets.mnist(mnist, download=True)


def test_nothing_is_fetched_unasked(server, mnist, monkeypatch):
    monkeypatch.setenv("CNN_EXT_DATA_URL", server.url)
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte, plain or \.gz"):
        datasets.mnist(mnist)
    assert server.requests == []


@pytest.mark.parametrize("kind", [10, 100])
def test_cifar_is_read_from_the_downloaded_archive(server, tmp_path, monkeypatch, kind):
    data = tar_gz({f"x/{name}": parts[2] for name, parts in cifar_files(kind).items()})
    archive = f"cifar-{kind}-binary.tar.gz"
    server.files[f"/{archive}"] = data
    source = Source(server.url, {archive: f"md5:{hashlib.md5(data).hexdigest()}"})
    monkeypatch.setitem(SOURCES, f"cifar-{kind}", source)
    read = {10: datasets.cifar10, 100: datasets.cifar100}[kind]
    assert read(tmp_path, download=True).x_test.shape == (3, 3, 32, 32)
    assert names(tmp_path) == [archive]


# Several processes at once

FETCH = """
import json, sys
from cnn_ext.data import datasets, download

folder, url, hashes = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
download.SOURCES["mnist"] = download.Source(url, hashes)
print("begin", flush=True)
print(datasets.mnist(folder, download=True).x_train.shape)
"""


def fetching(server, folder):
    """A process that fetches the set, and has begun to."""
    hashes = json.dumps(SOURCES["mnist"].hashes)
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, str(folder), f"{server.url}/mnist", hashes],
        env={**ENVIRONMENT, "no_proxy": "127.0.0.1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == "begin\n", process.stderr.read()
    return process


def assert_fetched(process):
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "(30, 1, 28, 28)\n"), err


def test_processes_that_fetch_at_once_all_succeed(server, mnist):
    server.stall_at = 5_000
    processes = [fetching(server, mnist) for _ in range(4)]
    assert server.stalled.wait(60)
    time.sleep(0.2)  # so that the others come upon the lock
    assert [process.poll() for process in processes] == [None] * 4
    server.go_on.set()
    for process in processes:
        assert_fetched(process)
    assert names(mnist) == sorted(f"{stem}.gz" for stem in STEMS)
    assert sorted(server.requests) == sorted((f"/mnist/{stem}.gz", None) for stem in STEMS)


def test_one_that_waits_goes_on_where_another_broke_off(server, mnist):
    server.stall_at = server.cut_at = 9_000
    first = fetching(server, mnist)
    assert server.stalled.wait(60)
    second = fetching(server, mnist)
    time.sleep(0.1)
    server.go_on.set()
    assert "connection lost after 9000 of 23536 bytes" in first.communicate(timeout=60)[1]
    assert first.returncode == 1
    assert_fetched(second)
    assert (f"/mnist/{STEMS[0]}.gz", "bytes=9000-") in server.requests
    assert names(mnist) == sorted(f"{stem}.gz" for stem in STEMS)


def test_threads_that_fetch_at_once_all_succeed(server, mnist):
    shapes = []

    def fetch():
        data = datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
        shapes.append(data.x_train.shape)

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shapes == [(30, 1, 28, 28)] * 6
    assert len(server.requests) == 4


def test_a_killed_process_blocks_nobody(server, mnist):
    server.stall_at = 9_000
    killed = fetching(server, mnist)
    assert server.stalled.wait(60)
    waiting = fetching(server, mnist)
    part = mnist / f"{STEMS[0]}.gz.part"
    while not part.exists():
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert_fetched(waiting)
    left = set(names(mnist)) - {f"{stem}.gz" for stem in STEMS}
    assert not any(name.endswith((".part", ".lock")) for name in left)
    datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")


def test_the_lock_that_a_killed_process_leaves_is_no_lock(server, mnist):
    mnist.mkdir(parents=True)
    (mnist / f"{STEMS[0]}.gz.lock").touch()
    datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    assert names(mnist) == sorted(f"{stem}.gz" for stem in STEMS)


@pytest.mark.skipif(os.name == "nt", reason="needs links")
@pytest.mark.parametrize("suffix", ["part", "lock"])
@pytest.mark.parametrize("kind", ["link", "link to nothing", "hard link", "folder", "pipe"])
def test_what_is_not_its_own_is_never_written_through(server, mnist, tmp_path, suffix, kind):
    mnist.mkdir(parents=True)
    own, victim = mnist / f"{STEMS[0]}.gz.{suffix}", tmp_path / "victim"
    if kind != "link to nothing":
        victim.write_bytes(b"of somebody else")
    match kind:
        case "link" | "link to nothing":
            own.symlink_to(victim)
        case "hard link":
            os.link(victim, own)
        case "folder":
            own.mkdir()
        case "pipe":
            os.mkfifo(own)
    with pytest.raises(OSError, match=rf"{STEMS[0]}\.gz\.{suffix}"):
        datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    assert os.path.lexists(own) and names(mnist) == [own.name]
    assert victim.exists() == (kind != "link to nothing")
    if victim.exists():
        assert victim.read_bytes() == b"of somebody else"
    own.rmdir() if kind == "folder" else own.unlink()
    datasets.mnist(mnist, download=True, base_url=f"{server.url}/mnist")
    assert names(mnist) == sorted(f"{stem}.gz" for stem in STEMS)


def test_without_pooch(mnist, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'cnn_ext\[datasets\]'"):
        datasets.mnist(mnist, download=True)


def test_every_source_is_https_with_a_full_hash():
    lengths = {"md5": 32, "sha256": 64}
    for url, hashes in SOURCES.values():
        assert url.startswith("https://") and not url.endswith("/") and hashes
        for known in hashes.values():
            kind, digits = known.split(":")
            assert len(bytes.fromhex(digits)) * 2 == lengths[kind]
