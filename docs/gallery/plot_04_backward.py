"""
Backward: a full convolution with the rotated kernel
====================================================

A layer gets the gradient of the cost at its output, :math:`dy`, and passes on the
gradient at its input, :math:`dx`. An input pixel takes part in every output whose
window covers it, and the window that reaches it from the upper left meets it with the
*last* weight of the kernel. So the sum over all outputs goes through the kernel
backwards:

.. math:: dx = \\mathrm{full}(dy,\\ \\mathrm{rot}_{180}(w)),
   \\qquad dw_{r,s} = \\sum_{p,q} dy_{p,q}\\, x_{p+r,\\,q+s}.

The first formula is the forward pass again, on a gradient with zeros around it.
"""

import matplotlib.animation as animation
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from numpy.testing import assert_allclose

from cnn_ext import ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])

# %%
# The formula and the numbers
# ---------------------------
# The kernel is 3 x 3 and the image 5 x 5, so output and gradient are 3 x 3.

rng = np.random.default_rng(1)
x = rng.normal(size=(5, 5))
w = np.array([[1.0, 2.0, 0.0], [0.0, 3.0, -1.0], [-2.0, 0.0, 1.0]])
dy = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.0], [1.0, 1.0, 0.0]])

rotated = w[::-1, ::-1]
dx = ops.correlate2d(dy, rotated, "full")
dw = ops.correlate2d(x, dy, "valid")  # the second formula: dy slides over the image

# %%
# The layer's own backward pass gives the same two arrays.

layer_dx, layer_dw, _ = ops.conv2d_backward(
    dy[None, None], x[None, None], w[None, None]
)
assert_allclose(layer_dx[0, 0], dx)
assert_allclose(layer_dw[0, 0], dw)

# %%
# Neither formula is needed to measure a gradient. Take the cost :math:`C = \sum_{p,q}
# dy_{p,q} y_{p,q}`, whose gradient at the output is :math:`dy`, move one number by a
# little in both directions, and see how much the cost changes.


def cost(x, w):
    return (dy * ops.correlate2d(x, w, "valid")).sum()


def central_differences(function, array, step=1e-5):
    """How fast a function changes with each number of an array."""
    slopes = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        move = np.zeros_like(array)
        move[place] = step
        slopes[place] = function(array + move) - function(array - move)
    return slopes / (2 * step)


assert_allclose(central_differences(lambda x: cost(x, w), x), dx, atol=1e-8)
assert_allclose(central_differences(lambda w: cost(x, w), w), dw, atol=1e-8)

# %%
# Convolution proper rotates its kernel, so the gradient at the input is the full
# convolution in the strict sense of the word.

assert_allclose(ops.convolve2d(dy, w, "full"), dx)

# %%
# With several channels and images, each input channel collects from all output
# channels, so the two axes of channels change places too. It is still one forward
# convolution:
#
# .. math:: dx_c = \sum_k \mathrm{full}(dy_k,\ \mathrm{rot}_{180}(w_{k,c})),
#    \qquad db_k = \sum_{n,p,q} dy_{n,k,p,q}.

images, weight = rng.normal(size=(4, 2, 6, 6)), rng.normal(size=(3, 2, 3, 3))
gradient = rng.normal(size=(4, 3, 4, 4))  # (N, K, P, Q)
turned = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)  # (C, K, R, S)
dimages, _, dbias = ops.conv2d_backward(gradient, images, weight)
assert_allclose(dimages, ops.conv2d(gradient, turned, padding="full"), atol=1e-12)
assert_allclose(dbias, gradient.sum(axis=(0, 2, 3)))

# %%
# Step by step
# ------------
# The rotated kernel slides over the gradient, which has two rows and columns of zeros
# on each side. At each place the sum of the products is one number of :math:`dx`.

padded = np.pad(dy, 2)
extreme = abs(dx).max()


def show(ax, grid, title):
    """A small array as coloured squares with its numbers."""
    ax.imshow(grid, cmap="PuOr", vmin=-extreme, vmax=extreme)
    for (row, column), value in np.ndenumerate(grid):
        shade = "white" if abs(value) > extreme / 2 else "black"
        ax.text(column, row, f"{value:g}", ha="center", va="center", color=shade)
    ax.set(title=title, xticks=[], yticks=[])


fig, axes = plt.subplots(1, 4, figsize=(11, 3.6), width_ratios=[3, 3, 7, 5])
show(axes[0], w, "kernel")
show(axes[1], rotated, "rotated by 180°")
show(axes[2], padded, "gradient at the output, padded")
show(axes[3], dx, "gradient at the input")
window = axes[2].add_patch(
    Rectangle((-0.5, -0.5), 3, 3, fill=False, lw=3, color="#0072B2")
)
covers = {}
for row, column in np.ndindex(dx.shape):
    cover = Rectangle((column - 0.5, row - 0.5), 1, 1, color="0.9", zorder=3)
    covers[row, column] = axes[3].add_patch(cover)


def draw(frame):
    row, column = divmod(frame, dx.shape[1])
    window.set_xy((column - 0.5, row - 0.5))
    for place, cover in covers.items():
        cover.set_visible(place > (row, column))
    total = (padded[row : row + 3, column : column + 3] * rotated).sum()
    assert np.isclose(total, dx[row, column])
    return [window, *covers.values()]


ani = animation.FuncAnimation(fig, draw, frames=dx.size, interval=400)
plt.show()
