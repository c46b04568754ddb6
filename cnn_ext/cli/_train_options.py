"""The options of training, which `train` and `tune` share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from ..architectures import ARCHITECTURES
from ..initializers import INITIALIZERS
from ..optim import OPTIMIZERS
from ..training.defaults import DECAYS, MOMENTUM
from ..training.descent import PRECISIONS
from ..training.schedules import SCHEDULES
from ._augment import augment
from ._network import arch
from ._options import add_data, add_threads, add_views, real, size, whole

ABOVE_0 = real("above 0", lambda v: v > 0)
AT_LEAST_0 = real("of at least 0", lambda v: v >= 0)
PART = real("from 0 up to but not 1", lambda v: 0 <= v < 1)


def add_training(parser: argparse.ArgumentParser) -> None:
    """The options that say what is trained, and how."""
    add_data(parser)
    _add_pictures(parser)
    _add_network(parser)
    _add_descent(parser)
    _add_cost(parser)
    _add_end(parser)
    add_views(parser)
    parser.add_argument(
        "--seed",
        type=whole(0),
        default=0,
        metavar="N",
        help="for the weights, the order of the images, augmentation and dropout; the same seed "
        "gives the same model (default: 0)",
    )
    add_threads(parser, "1 for images of at most 256 pixels, else ")


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=size,
        metavar="SIDE|HxW",
        help="pixels that pictures are resized to (default: their own size, or a common one of at "
        "most 96 where they differ or are larger)",
    )
    parser.add_argument(
        "--colour",
        action=argparse.BooleanOptionalAction,
        help="read pictures with three channels instead of one grey one (default: if any picture "
        "has colours)",
    )
    parser.add_argument(
        "--augment",
        type=augment,
        metavar="TRANSFORMS",
        help="how the images trained on are changed by chance: mild, which moves them by a few "
        "pixels, none, or transforms of cnn_ext.augment, such as "
        "'RandomHorizontalFlip, RandomShift(2)' (default: mild, none for many small grey images)",
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--arch",
        type=arch,
        metavar="ARCH",
        help=f"{', '.join(ARCHITECTURES)}; or FILE.json, a list of layers as "
        "Sequential.from_config takes; or FILE.py, which is executed and must define "
        "build(input_shape, classes) that returns a Sequential (default: plain2, plain3 or plain4 "
        "by the size of the images, quick for 10,000 grey ones of 20 to 36 pixels)",
    )
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="let the network begin with mean and deviation of the training images (default: yes, "
        "unless --arch begins with Normalize itself)",
    )
    parser.add_argument(
        "--whiten",
        action=argparse.BooleanOptionalAction,
        help="give the first convolution filters that whiten patches of the images, and keep them, "
        "in place of --normalize; for airbench and its like (default: it is drawn and learned as "
        "all others)",
    )
    parser.add_argument(
        "--initializer",
        choices=INITIALIZERS,
        default="he",
        help="how the first weights are drawn, of every network (default: he)",
    )


def _add_descent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--epochs",
        type=whole(1),
        metavar="N",
        help="passes over the images (default: fewer the more images there are)",
    )
    parser.add_argument(
        "--batch-size",
        type=whole(1),
        metavar="N",
        help="images in a step of descent (default: 16 to 128, by the number of images)",
    )
    parser.add_argument(
        "--optimizer", choices=OPTIMIZERS, default="sgd", help="rule of descent (default: sgd)"
    )
    parser.add_argument(
        "--lr",
        type=ABOVE_0,
        metavar="N",
        help="highest learning rate (default: by optimizer and network, or less where a short "
        "trial finds that too high)",
    )
    for option, what in (
        ("bias-lr", "learning rate of biases and of what normalisation learns"),
        ("head-lr", "learning rate of the last layer"),
    ):
        parser.add_argument(
            f"--{option}",
            type=ABOVE_0,
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
        "--weight-decay",
        type=AT_LEAST_0,
        metavar="N",
        help=f"pull of the weights to 0 (default: {_others(DECAYS)})",
    )
    parser.add_argument(
        "--momentum",
        type=PART,
        metavar="N",
        help=f"part of the last step that goes on in the next (default: {_others(MOMENTUM)})",
    )
    parser.add_argument(
        "--rest-momentum",
        type=PART,
        metavar="N",
        help="momentum of what --bias-lr and --head-lr are for (default: --momentum)",
    )
    parser.add_argument(
        "--keep-norms",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="for muon: filters and matrices keep their norms instead of decaying, and all else "
        "loses the same part in a step, --lr times --weight-decay, whatever its own rate "
        "(default: they decay)",
    )
    parser.add_argument(
        "--clip-norm",
        type=ABOVE_0,
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
        "--average",
        type=PART,
        metavar="DECAY",
        help="keep the mean of the weights along the way, those of k steps ago with weight DECAY^k "
        "(default: the last weights)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="what the products of convolutions and linear layers take; bfloat16 is slower where "
        "the CPU has no fast products of it (default: float32)",
    )


def _add_cost(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--class-weight",
        choices=("balanced",),
        help="let each class count as much as any other, however many images it has (default: "
        "each image counts the same)",
    )
    parser.add_argument(
        "--label-smoothing",
        type=PART,
        metavar="PART",
        help="part of each target that is spread over all classes (default: 0)",
    )


def _add_end(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--validation-split",
        type=PART,
        metavar="PART",
        help="part of the training images, of every class alike, that is kept aside to watch "
        "training; the model gets the weights whose cost was lowest there (default: the "
        "validation part that the data have, else 0.05 to 0.15 where there are enough images)",
    )
    parser.add_argument(
        "--early-stopping",
        type=whole(1),
        metavar="PATIENCE",
        help="stop after so many epochs without a lower validation cost (default: never)",
    )
    parser.add_argument(
        "--max-seconds",
        type=ABOVE_0,
        metavar="S",
        help="end training after so many seconds; the schedule comes to its end (default: none)",
    )


def _others(values: Mapping[str, float]) -> str:
    return ", ".join(f"{value:g} for {name}" for name, value in values.items())
