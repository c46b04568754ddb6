"""
Colour images
=============

A colour image has three channels, red, green and blue. A kernel of the first layer then
has three planes, one for each channel, and the sum runs over them too:

.. math:: y_{k,p,q} = b_k + \\sum_{c,r,s} x_{c,\\,p+r,\\,q+s}\\, w_{k,c,r,s}.

Nothing else changes. Here a network learns which region of two photographs a small tile
comes from. With ``CNN_EXT_GALLERY=full`` it learns CIFAR-10 instead, from the folder
that ``CNN_EXT_CIFAR10`` names: its binary files, or pictures in one sub-folder for each
class.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from cnn_ext import SGD, Trainer, architectures, augment, datasets

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])
FULL = os.environ.get("CNN_EXT_GALLERY") == "full"

# %%
# The images
# ----------
# Six regions of the photographs are the classes. Each is cut into tiles of 8 x 8
# pixels, of which 150 are learned from and 50 are for the test.

regions = {  # photograph, rows, columns
    "sky": ("china.jpg", slice(0, 180), slice(340, 600)),
    "temple": ("china.jpg", slice(100, 360), slice(90, 330)),
    "lake": ("china.jpg", slice(225, 290), slice(360, 560)),
    "bushes": ("china.jpg", slice(330, 427), slice(330, 600)),
    "petals": ("flower.jpg", slice(110, 340), slice(190, 420)),
    "leaves": ("flower.jpg", slice(20, 400), slice(0, 170)),
}


def tiles(name, rows, columns, side=8):
    """The region of a photograph as tiles (N, 3, side, side), in random order."""
    region = load_sample_image(name)[rows, columns]
    down, across = region.shape[0] // side, region.shape[1] // side
    grid = region[: down * side, : across * side].reshape(down, side, across, side, 3)
    return rng.permutation(grid.transpose(0, 2, 4, 1, 3).reshape(-1, 3, side, side))


if FULL:
    cifar = datasets.load(os.environ["CNN_EXT_CIFAR10"], mode="RGB", test_fraction=0.1)
    classes = cifar.classes
    x, y, x_test, y_test = cifar.x_train, cifar.y_train, cifar.x_test, cifar.y_test
else:
    rng, classes = np.random.default_rng(0), tuple(regions)
    cut = [tiles(*region) for region in regions.values()]
    x = np.concatenate([of_region[:150] for of_region in cut])
    x_test = np.concatenate([of_region[150:200] for of_region in cut])
    y, y_test = np.arange(6).repeat(150), np.arange(6).repeat(50)
print(f"{len(x):,} images of {x.shape[1:]}, {x.dtype}; {len(x_test):,} for the test")

fig = plt.figure(figsize=(1.5 * len(classes), 3.3))
for (row, number), ax in np.ndenumerate(fig.subplots(2, len(classes))):
    image = x[np.flatnonzero(y == number)[row]]
    ax.imshow(image.transpose(1, 2, 0))  # (C, H, W) to (H, W, C)
    ax.set(xticks=[], yticks=[])
    if row == 0:
        ax.set_title(classes[number], fontsize=10)

# %%
# In colour and in grey
# ---------------------
# The same network, once with three channels and once with their mean alone. Mirror
# images and small shifts are other images of the same thing.


NAME, EPOCHS, BATCH = ("plain3", 10, 64) if FULL else ("plain2", 15, 32)


def trained(x):
    rng = np.random.default_rng(0)
    net = architectures.build(NAME, x.shape[1:], len(classes), rng=rng)
    trainer = Trainer(net, optimizer=SGD(net, lr=0.05, momentum=0.9, weight_decay=5e-4))
    shift = augment.RandomShift(x.shape[2] // 8, "edge")
    options = {
        "augment": [augment.RandomHorizontalFlip(), shift],
        "progress": False,
    }
    history = trainer.fit(x, y, EPOCHS, BATCH, schedule="one-cycle", **options)
    return trainer, history


def grey(x):
    return x.mean(axis=1, keepdims=True).round().astype(np.uint8)


in_colour, history = trained(x)
in_grey, grey_history = trained(grey(x))
accuracy = in_colour.evaluate(x_test, y_test)["accuracy"]
grey_accuracy = in_grey.evaluate(grey(x_test), y_test)["accuracy"]
print(f"colour {accuracy:.1%}, grey {grey_accuracy:.1%}")
assert accuracy > grey_accuracy > 0.7

fig, ax = plt.subplots(figsize=(6.5, 3.6))
curves = (
    (history, "o-", "colour", accuracy),
    (grey_history, "s--", "grey", grey_accuracy),
)
for curve, style, name, right in curves:
    label = f"{name}: {right:.1%} of the test right"
    ax.plot(curve["number"], curve["cost"], style, label=label)
ax.set(xlabel="epoch", ylabel="cost on augmented images", ylim=0)
ax.legend()
ax.grid(alpha=0.3)

# %%
# The full run, ten epochs of a small network on the training part of CIFAR-10, got 77.3
# % of the 5,000 images that were kept aside right in colour and 76.0 % in grey. There
# shape tells most. An epoch took 26 s at best on two cores that had other work too. The
# recipe ``cifar10`` of ``cnn-ext train`` takes more time and reaches 90 %.
#
# Kernels in colour
# -----------------
# A kernel over three channels can be shown as a small colour image: grey is 0, and a
# plane's numbers are the strengths of its colour. A kernel of one colour all over
# answers to that colour, one with a dark and a bright side to an edge. After a short
# training many still look as they began.

weight = in_colour.net[0].weight.data  # (K, 3, R, S)
fig, axes = plt.subplots(2, 8, figsize=(10, 2.8))
for kernel, ax in zip(weight, axes.ravel(), strict=False):
    ax.imshow((kernel / abs(weight).max() / 2 + 0.5).transpose(1, 2, 0))
    ax.set(xticks=[], yticks=[])

# %%
# What is confused
# ----------------

guesses = in_colour.predict(x_test)
wrong = np.flatnonzero(guesses != y_test)
fig, axes = plt.subplots(1, 8, figsize=(10, 1.8))
for ax in axes:
    ax.set_axis_off()
for image, ax in zip(wrong, axes, strict=False):
    ax.imshow(x_test[image].transpose(1, 2, 0))
    guess, true = classes[guesses[image]], classes[y_test[image]]
    ax.set_title(f"{guess},\nnot {true}", fontsize=9)
plt.show()
