"""What a trained network becomes where it is used: graphs, plans; `c_source` writes C files."""

from .from_network import graph_of
from .graph import Graph, Node
from .plan import Plan
from .simplify import simplify

__all__ = ["Graph", "Node", "Plan", "graph_of", "simplify"]
