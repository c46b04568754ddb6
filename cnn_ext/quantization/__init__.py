"""Networks of bytes: grids for activations and weights, found on a sample, and what they cost."""

from .calibration import METHODS, Range
from .fastest import fastest
from .network import quantize
from .report import LayerLoss, loss_by_layer

__all__ = ["METHODS", "LayerLoss", "Range", "fastest", "loss_by_layer", "quantize"]
