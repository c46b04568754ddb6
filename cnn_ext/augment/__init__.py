"""Augmentation: images changed by chance, so that a network sees others in every epoch.

``Trainer.fit(x, y, augment=[RandomShift(2), RandomHorizontalFlip(), Cutout(8)])``.  What an image
becomes depends on seed, epoch and the number of the image alone.
"""

from .chance import Chance, draws
from .colour import ColorJitter
from .compose import Compose
from .config import augmentation, from_config
from .elastic import ElasticTransform
from .erasing import Cutout, Erasing, RandomErasing
from .geometry import (
    AlternatingFlip,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
    RandomVerticalFlip,
    Shift,
)
from .mixing import CutMix, Mixing, MixUp
from .training import for_training
from .transform import Geometric, Transform
from .views import mean_over, views_of

__all__ = [
    "AlternatingFlip",
    "Chance",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Cutout",
    "ElasticTransform",
    "Erasing",
    "Geometric",
    "MixUp",
    "Mixing",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomShift",
    "RandomVerticalFlip",
    "Shift",
    "Transform",
    "augmentation",
    "draws",
    "for_training",
    "from_config",
    "mean_over",
    "views_of",
]
