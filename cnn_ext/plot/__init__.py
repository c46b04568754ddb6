"""Pictures of what a network has learned and of what it does; needs Matplotlib.

Every function returns a ``matplotlib.figure.Figure`` that has no window and that nobody else keeps;
``figure.savefig("a.png")`` writes it, and a notebook shows it as the value of a cell.  Functions
that take ``ax=`` draw into axes of one's own.  An argument that does not fit raises TypeError or
ValueError, whose message names it.
"""

from .answers import WRONG, confusion, guesses, mistakes, reliability
from .curves import history, learning_rates
from .evidence import exciting, grad_cam, saliency
from .learned import feature_maps, kernels, weights

__all__ = [
    "WRONG",
    "confusion",
    "exciting",
    "feature_maps",
    "grad_cam",
    "guesses",
    "history",
    "kernels",
    "learning_rates",
    "mistakes",
    "reliability",
    "saliency",
    "weights",
]
