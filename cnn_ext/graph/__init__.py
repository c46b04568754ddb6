"""The network as a graph: nodes, shapes, and what makes fewer nodes of many."""

from .graph import Graph
from .node import Node
from .operator import OPERATORS, Operator
from .rewrite import simplify
from .value import Value

__all__ = ["OPERATORS", "Graph", "Node", "Operator", "Value", "simplify"]
