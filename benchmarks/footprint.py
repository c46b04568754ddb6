"""What a package weighs: its installed files, and the time of its import.

    python benchmarks/footprint.py cnn_ext torch

Bytes are those of the files that its installation lists, without the packages that it needs.  The
time is that of a process which starts Python and imports the package, the median of ten in turns;
one that imports NumPy alone stands beside them.  Install a wheel of this package first: of an
editable installation the files are elsewhere.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from importlib.metadata import distribution

ROUNDS = 10


def installed(package: str) -> int:
    """Bytes of the files of a distribution."""
    paths = [file.locate() for file in distribution(package).files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())


def seconds(package: str) -> float:
    """A process that imports the package and ends."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {package}"], check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("packages", nargs="+")
    packages = ["numpy", *parser.parse_args().packages]
    for package in packages:
        seconds(package)  # so that the files are in memory
    times = [{package: seconds(package) for package in packages} for _ in range(ROUNDS)]
    print("| package | installed, MB | import, ms |\n| --- | --- | --- |")
    for package in packages:
        median = statistics.median(row[package] for row in times)
        print(f"| {package} | {installed(package) / 1e6:.1f} | {1e3 * median:.0f} |")


if __name__ == "__main__":
    main()
