"""The options of training, which `train` and `tune` share."""

from __future__ import annotations

import argparse

from ..architectures import ARCHITECTURES
from ..initializers import INITIALIZERS
from ..optim import OPTIMIZERS
from ..training.defaults import ADAPTIVE_LR, DIGITS, OTHERS
from ..training.schedules import SCHEDULES
from ._network import arch
from ._options import add_data, add_threads, real, size, whole


def add_training(parser: argparse.ArgumentParser) -> None:
    """The options that say what is trained, and how."""
    add_data(parser)
    parser.add_argument(
        "--arch",
        type=arch,
        metavar="ARCH",
        help=f"{', '.join(ARCHITECTURES)}; or FILE.json, a list of layers as "
        "Sequential.from_config takes; or FILE.py, which is executed and must define "
        "build(input_shape, classes) that returns a Sequential (default: tiny for the digits; "
        "else nielsen for one channel of 20 pixels or more, vgg6 for three of 24 or more, tiny "
        "otherwise)",
    )
    decays = "; 0.01 for adamw, 0 for adam and rmsprop"
    for option, kind, what, more in (
        ("epochs", whole(1), "passes over the images", ""),
        ("batch-size", whole(1), "images in a step of descent", ""),
        ("lr", real("above 0", lambda v: v > 0), "highest learning rate",
         f"; {ADAPTIVE_LR} for adam, adamw and rmsprop"),
        ("weight-decay", real("of at least 0", lambda v: v >= 0), "pull of the weights to 0",
         decays),
    ):  # fmt: skip
        digits, others = (getattr(d, option.replace("-", "_")) for d in (DIGITS, OTHERS))
        default = (
            f"{digits:g}" if digits == others else f"{digits:g} for the digits, else {others:g}"
        )
        parser.add_argument(
            f"--{option}", type=kind, metavar="N", help=f"{what} (default: {default}{more})"
        )
    parser.add_argument(
        "--optimizer", choices=OPTIMIZERS, default="sgd", help="rule of descent (default: sgd)"
    )
    parser.add_argument(
        "--momentum",
        type=real("from 0 up to but not 1", lambda v: 0 <= v < 1),
        metavar="N",
        help="part of the last step that goes on in the next, of sgd and rmsprop (default: 0.9 for "
        "sgd, 0 for rmsprop)",
    )
    parser.add_argument(
        "--clip-norm",
        type=real("above 0", lambda v: v > 0),
        metavar="N",
        help="norm that the gradients of a step are clipped to (default: none)",
    )
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="one-cycle",
        help="how the learning rate changes during training (default: one-cycle)",
    )
    parser.add_argument(
        "--initializer",
        choices=INITIALIZERS,
        default="he",
        help="how the first weights are drawn, of every network (default: he)",
    )
    parser.add_argument(
        "--seed",
        type=whole(0),
        default=0,
        metavar="N",
        help="for the weights, the order of the images and dropout; the same seed gives the same "
        "model (default: 0)",
    )
    parser.add_argument(
        "--validation-split",
        type=real("from 0 up to but not 1", lambda v: 0 <= v < 1),
        default=0.0,
        metavar="PART",
        help="part of the training images that is kept aside to watch training (default: 0, or "
        "the validation part that the data have)",
    )
    parser.add_argument(
        "--early-stopping",
        type=whole(1),
        metavar="PATIENCE",
        help="stop after so many epochs without a lower validation cost and take the best weights; "
        "needs --validation-split or data with a validation part (default: never)",
    )
    parser.add_argument(
        "--size",
        type=size,
        metavar="SIDE|HxW",
        help="pixels that pictures are resized to (default: their own size, the same for all)",
    )
    parser.add_argument(
        "--colour",
        action=argparse.BooleanOptionalAction,
        help="read pictures with three channels instead of one grey one (default: grey)",
    )
    add_threads(parser, "1 for the digits, else ")
