"""Show the version, the CPU, the instruction set and the threads.

The environment variable CNN_EXT_CPU chooses another instruction set.
"""

from __future__ import annotations

import argparse
import json

from .._dispatch import config, show_config
from ._options import add_json


def add_options(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps(config()))
    else:
        show_config()
    return 0
