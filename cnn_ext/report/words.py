"""What layers and operators do, in a sentence for people who meet them for the first time."""

from __future__ import annotations

_SAYS = {
    "Normalize": "Subtracts the mean of the training pictures and divides by their deviation.",
    "Conv": "Small kernels slide over the input; each map shows where one of them fits.",
    "ConvTranspose": "Each input number paints a small kernel; the picture becomes larger.",
    "BatchNorm": "Brings each map to a common range.",
    "GroupNorm": "Brings groups of maps to a common range, picture by picture.",
    "LayerNorm": "Brings the maps to a common range, picture by picture.",
    "ReLU": "Keeps what is above 0; the rest becomes 0.",
    "PReLU": "Keeps what is above 0; the rest is multiplied by a learned number.",
    "MaxPool": "Keeps the greatest of neighbouring numbers; maps become smaller.",
    "AvgPool": "Takes the mean of neighbouring numbers; maps become smaller.",
    "GlobalAvgPool": "The mean of each map: one number is left of it.",
    "GlobalMaxPool": "The greatest number of each map.",
    "AdaptiveAvgPool": "Means of parts of each map.",
    "Linear": "Each output is a weighted sum of all inputs.",
    "Softmax": "Turns outputs into probabilities that sum to 1.",
    "Sigmoid": "Brings every number between 0 and 1.",
    "Tanh": "Brings every number between -1 and 1.",
    "Upsample": "Makes maps larger.",
    "ZeroPad": "Puts zeros around each map.",
}
_OPERATORS = {
    "conv2d": "Conv",
    "batch_norm": "BatchNorm",
    "linear": "Linear",
    "max_pool": "MaxPool",
    "avg_pool": "AvgPool",
    "add": "The sum of two values, number by number.",
    "mul": "The product of two values, number by number.",
    "gather": "The same numbers in other places.",
}


def about(name: str) -> str:
    """A sentence about a layer or an operator, or nothing where its name says it."""
    found = _OPERATORS.get(name, name)
    return _SAYS.get(found.removesuffix("1d").removesuffix("2d"), found if " " in found else "")
