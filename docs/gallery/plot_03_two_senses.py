"""
The two senses of convolution
=============================

Mathematicians and the authors of neural networks use one word for two operations. A
layer computes the *cross-correlation*: the feature detector slides over the image as it
is,

.. math:: y_{p,q} = \\sum_{r,s} x_{p+r,\\,q+s}\\, w_{r,s}.

*Convolution proper* runs through the kernel in the opposite direction,

.. math:: y_{i,j} = \\sum_{r,s} x_{i-r,\\,j-s}\\, w_{r,s},

which is the cross-correlation with the kernel rotated by 180 degrees.
"""

import matplotlib.pyplot as plt
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])


def show(ax, grid, title):
    """A small array as coloured squares with its numbers."""
    ax.imshow(grid, cmap="cividis", vmin=-1, vmax=4.5)
    for (row, column), value in np.ndenumerate(np.asarray(grid)):
        shade = "black" if value > 1.5 else "white"
        ax.text(column, row, f"{value:g}", ha="center", va="center", color=shade)
    ax.set(title=title, xticks=[], yticks=[])


# %%
# A face and a detector
# ---------------------
# The image is a face of 7 x 7 pixels. Where the feature map is large, the image has
# what the detector looks for: at the 4 it matches fully, since the detector has four
# ones.

image = np.zeros((7, 7))
for place in [(1, 1), (1, 5), (3, 3), (4, 1), (4, 5), (5, 2), (5, 3), (5, 4)]:
    image[place] = 1
detector = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])

correlation = ops.correlate2d(image, detector, "valid")
convolution = ops.convolve2d(image, detector, "valid")
assert_array_equal(
    correlation,
    [
        [0, 1, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [1, 0, 0, 2, 1],
        [1, 4, 2, 1, 0],
        [0, 0, 1, 2, 1],
    ],
)
assert_array_equal(convolution, ops.correlate2d(image, detector[::-1, ::-1], "valid"))
assert correlation.max() == detector.sum()
# a layer of a network computes the correlation
assert_array_equal(
    ops.conv2d(image[None, None], detector[None, None])[0, 0], correlation
)

fig, axes = plt.subplots(1, 4, figsize=(12, 3.8))
show(axes[0], image, "image, 7 x 7")
show(axes[1], detector, "feature detector")
show(axes[2], correlation, "cross-correlation:\nthe feature map")
show(axes[3], convolution, "convolution proper")

# %%
# An image of one bright pixel tells the two apart at a glance. Convolution copies the
# kernel to the place of the pixel, which is why the kernel of a filter is also called
# its impulse response. Cross-correlation leaves the rotated kernel there. A kernel that
# looks the same after a rotation by 180 degrees, such as that of blurring, cannot tell
# them apart.

impulse = np.zeros((5, 5))
impulse[2, 2] = 1
kernel = np.array([[1.0, 2.0, 3.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.5]])
copied = ops.convolve2d(impulse, kernel, "same")
turned = ops.correlate2d(impulse, kernel, "same")
assert_array_equal(copied[1:4, 1:4], kernel)
assert_array_equal(turned[1:4, 1:4], kernel[::-1, ::-1])

fig, axes = plt.subplots(1, 4, figsize=(12, 3.5))
show(axes[0], impulse, "one bright pixel")
show(axes[1], kernel, "kernel")
show(axes[2], copied, "convolution copies it")
show(axes[3], turned, "correlation rotates it")

# %%
# Three extents
# -------------
# *Valid* takes whole overlaps only, *same* keeps the extent of the image with zeros
# around it, and *full* takes every overlap: H + R - 1 rows. The smaller results are the
# middle of the larger ones.

full, same, valid = (
    ops.convolve2d(image, detector, mode) for mode in ("full", "same", "valid")
)
assert_array_equal(full[1:-1, 1:-1], same)
assert_array_equal(same[1:-1, 1:-1], valid)

fig, axes = plt.subplots(1, 3, figsize=(10.5, 4))
for ax, y, name in zip(
    axes, (full, same, valid), ("full", "same", "valid"), strict=True
):
    show(
        ax,
        np.pad(y, (9 - len(y)) // 2, constant_values=np.nan),
        f"{name}: {len(y)} x {len(y)}",
    )

# %%
# Why rotate at all?
# ------------------
# With the rotation the order of filters does not matter, :math:`x * (v * w) = (x * v) *
# w`, and neither does that of image and kernel. Cross-correlation has neither property.
# A network does not miss them: it learns its kernels, and learns them rotated if need
# be. The rotation returns on the way back through a layer, as the next page shows.

rng = np.random.default_rng(0)
x, v, w = rng.normal(size=(9, 9)), rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
assert_allclose(
    ops.convolve2d(ops.convolve2d(x, v), w), ops.convolve2d(x, ops.convolve2d(v, w))
)
assert_allclose(ops.convolve2d(v, w), ops.convolve2d(w, v))
assert not np.allclose(ops.correlate2d(v, w), ops.correlate2d(w, v))
plt.show()
