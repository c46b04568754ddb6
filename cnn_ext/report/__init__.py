"""One HTML page about a network and how it answers, with the network itself in it."""

from .page import Origin, write

__all__ = ["Origin", "write"]
