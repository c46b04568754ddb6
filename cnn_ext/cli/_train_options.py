"""The options of training, which `train` and `tune` share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from ..architectures import ARCHITECTURES
from ..initializers import INITIALIZERS
from ..optim import OPTIMIZERS
from ..training.defaults import DIGITS, LEARNING_RATES, MOMENTUM, OTHERS, WEIGHT_DECAYS
from ..training.schedules import SCHEDULES
from ._augment import VIEWS, augment
from ._network import arch
from ._options import add_data, add_threads, real, size, whole

positive = real("above 0", lambda v: v > 0)
part = real("from 0 up to but not 1", lambda v: 0 <= v < 1)


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
    rates, decays = ("; " + _others(of) for of in (LEARNING_RATES, WEIGHT_DECAYS))
    for option, kind, what, more in (
        ("epochs", whole(1), "passes over the images", ""),
        ("batch-size", whole(1), "images in a step of descent", ""),
        ("lr", positive, "highest learning rate",
         rates),
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
        type=part,
        metavar="N",
        help=f"part of the last step that goes on in the next (default: {_others(MOMENTUM)})",
    )
    for option, kind, what in (
        ("bias-lr", positive, "learning rate of biases and of what normalisation learns"),
        ("head-lr", positive, "learning rate of the last layer"),
    ):
        parser.add_argument(
            f"--{option}",
            type=kind,
            default=1.0,
            metavar="FACTOR",
            help=f"{what}, as a multiple of --lr (default: 1)",
        )
    parser.add_argument(
        "--decay-biases",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether --weight-decay pulls biases too (default: it does)",
    )
    parser.add_argument(
        "--average",
        type=part,
        metavar="DECAY",
        help="take the moving average of the weights, those of k steps ago with weight DECAY^k, "
        "such as 0.999 (default: the last weights)",
    )
    parser.add_argument(
        "--label-smoothing",
        type=part,
        default=0.0,
        metavar="PART",
        help="part of each target that is spread over all classes (default: 0)",
    )
    parser.add_argument(
        "--clip-norm",
        type=positive,
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
        "--whiten",
        action=argparse.BooleanOptionalAction,
        help="give the first convolution filters that whiten patches of the images, and keep them; "
        "for airbench and its like (default: it is drawn and learned as all others)",
    )
    parser.add_argument(
        "--augment",
        type=augment,
        metavar="TRANSFORMS",
        help="change the images that are trained on by chance, in every epoch anew, as Python "
        "writes it: 'RandomHorizontalFlip(), RandomShift(4, \"reflect\")'; cnn_ext.augment has "
        "the transforms (default: none)",
    )
    parser.add_argument(
        "--views",
        choices=VIEWS,
        help="give the mean over views of each image in the test: it and its mirror image, or "
        "these also moved by a pixel (default: the image alone)",
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
        type=part,
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


def _others(values: Mapping[str, float]) -> str:
    # what optimizers begin with
    return ", ".join(f"{value:g} for {name}" for name, value in values.items())
