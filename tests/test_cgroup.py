"""The quota of CPUs, read from control groups: trees of files as the kernel shows them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cnn_ext._cgroup import cpu_quota

V1 = {"cpu.cfs_quota_us": "{}", "cpu.cfs_period_us": "100000\n"}


def v1(quota: int) -> dict[str, str]:
    return {name: text.format(f"{quota}\n") for name, text in V1.items()}


def v2(text: str) -> dict[str, str]:
    return {"cpu.max": f"{text}\n"}


TREES = {
    "v2": ("0::/a\n", {"a": v2("250000 100000")}, 2.5),
    "v2, another period": ("0::/a\n", {"a": v2("30000 20000")}, 1.5),
    "v2, no limit": ("0::/a\n", {"a": v2("max 100000")}, math.inf),
    "v2, a smaller parent": (
        "0::/a/b/c\n",
        {"a": v2("150000 100000"), "a/b": v2("max 100000"), "a/b/c": v2("400000 100000")},
        1.5,
    ),
    "v2, a smaller child": (
        "0::/a/b\n",
        {"a": v2("400000 100000"), "a/b": v2("50000 100000")},
        0.5,
    ),
    "v2, a neighbour's limit": ("0::/a\n", {"a": v2("max 100000"), "b": v2("1 100000")}, math.inf),
    "v2, in a namespace": ("0::/\n", {"": v2("300000 100000")}, 3.0),
    "v2, a path from outside": ("0::/docker/12ab\n", {"": v2("300000 100000")}, 3.0),
    "v2, a path from outside whose head is here": (
        "0::/docker/12ab\n",
        {"": v2("300000 100000"), "docker": v2("100000 100000")},
        3.0,
    ),
    "v2, a group above the namespace": (
        "0::/../x\n",
        {"": v2("200000 100000"), "../x": v2("100000 100000")},
        2.0,
    ),
    "v2, a name with a colon and a blank": ("0::/a:b c\n", {"a:b c": v2("200000 100000")}, 2.0),
    "v1": ("3:cpu:/a\n", {"cpu/a": v1(250000)}, 2.5),
    "v1, two controllers": ("3:cpu,cpuacct:/a\n", {"cpu,cpuacct/a": v1(250000)}, 2.5),
    "v1, mounted by one name": ("3:cpuacct,cpu:/a\n", {"cpu/a": v1(250000)}, 2.5),
    "v1, no limit": ("3:cpu:/a\n", {"cpu": v1(-1), "cpu/a": v1(-1)}, math.inf),
    "v1, a smaller parent": (
        "3:cpu:/a/b\n",
        {"cpu": v1(-1), "cpu/a": v1(120000), "cpu/a/b": v1(300000)},
        1.2,
    ),
    "v1, a path from outside": ("3:cpu:/docker/12ab\n", {"cpu": v1(200000)}, 2.0),
    "v1, other controllers": (
        "4:cpuset:/a\n2:cpuacct:/a\n1:name=systemd:/a\n",
        {"cpu/a": v1(100000), "cpuset/a": v1(100000), "cpuacct/a": v1(100000)},
        math.inf,
    ),
    "hybrid, limited by v1": (
        "3:cpu:/a\n0::/a\n",
        {"cpu/a": v1(150000), "unified/a": {}},
        1.5,
    ),
    "hybrid, limited by v2": (
        "3:memory:/a\n0::/a\n",
        {"memory/a": {}, "unified/a": v2("150000 100000")},
        1.5,
    ),
    "broken files": (
        "0::/a/b/c/d/e/f\n",
        {
            "": v2("200000 100000"),
            "a": v2(""),
            "a/b": v2("100000"),
            "a/b/c": v2("many few"),
            "a/b/c/d": v2("100000 0"),
            "a/b/c/d/e": v2("0 100000"),
            "a/b/c/d/e/f": v2("9" * 5000 + " 1"),
        },
        2.0,
    ),
    "a huge number": ("0::/a\n", {"a": v2("1" + "0" * 400 + " 1")}, math.inf),
    "half of v1": ("3:cpu:/a\n", {"cpu/a": {"cpu.cfs_quota_us": "100000\n"}}, math.inf),
    "broken lines": ("\n3:cpu\nnonsense\n:::\n0::/a\n", {"a": v2("200000 100000")}, 2.0),
    "nothing mounted": ("0::/a\n3:cpu:/a\n", {}, math.inf),
}


@pytest.mark.parametrize(("text", "tree", "cpus"), TREES.values(), ids=TREES)
def test_the_smallest_quota_up_to_the_root(
    tmp_path: Path, text: str, tree: dict[str, dict[str, str]], cpus: float
) -> None:
    process, mount = tmp_path / "cgroup", tmp_path / "mount" / "fs"
    process.write_text(text)
    for folder, files in tree.items():
        (mount / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (mount / folder / name).write_text(content)
    assert cpu_quota(str(process), str(mount)) == cpus


def test_names_that_are_not_text(tmp_path: Path) -> None:
    name = b"a\xff"
    try:
        (tmp_path / "mount").mkdir()
        folder = bytes(tmp_path / "mount") + b"/" + name
        Path(folder.decode("utf-8", "surrogateescape")).mkdir()
    except OSError:
        pytest.skip("this file system wants names that are text")
    Path((folder + b"/cpu.max").decode("utf-8", "surrogateescape")).write_text("200000 100000")
    (tmp_path / "cgroup").write_bytes(b"0::/" + name + b"\n")
    assert cpu_quota(str(tmp_path / "cgroup"), str(tmp_path / "mount")) == 2.0


def test_without_control_groups(tmp_path: Path) -> None:
    assert cpu_quota(str(tmp_path / "none"), str(tmp_path)) == math.inf


def test_this_process() -> None:
    assert cpu_quota() > 0
