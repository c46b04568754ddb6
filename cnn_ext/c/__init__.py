"""Graphs as C files."""

from .source import write_c

__all__ = ["write_c"]
