"""
Pooling
=======

A pooling layer looks at a feature map through windows and keeps one number of each: the
largest or the mean. The map becomes smaller, and a feature that moves by a pixel often
stays in its window.
"""

# sphinx_gallery_thumbnail_number = 3

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from numpy.testing import assert_array_equal

from cnn_ext import datasets, ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])


def show(ax, grid, title, cmap="cividis", window=2):
    """A small array as coloured squares with its numbers and windows."""
    grid = np.asarray(grid)
    middle = (grid.max() + grid.min()) / 2
    ax.imshow(grid, cmap=cmap)
    for (row, column), value in np.ndenumerate(grid):
        shade = "black" if value > middle else "white"
        ax.text(column, row, f"{value:.3g}", ha="center", va="center", color=shade)
    for row in range(0, grid.shape[0], window):
        for column in range(0, grid.shape[1], window):
            border = (column - 0.5, row - 0.5), window, window
            ax.add_patch(Rectangle(*border, fill=False, lw=2, ec="white", clip_on=True))
    ax.set(title=title, xticks=[], yticks=[])


# %%
# The maximum and the mean
# ------------------------
# Windows of 2 x 2 that do not overlap make a map of 4 x 4 one of 2 x 2.

a = np.array(
    [[29, 15, 28, 184], [0, 100, 70, 38], [12, 12, 7, 2], [12, 12, 45, 6]], float
)
b = np.array(
    [[31, 15, 28, 184], [0, 100, 70, 38], [12, 12, 7, 2], [12, 12, 45, 6]], float
)
largest, places = ops.max_pool2d(a[None, None], 2, return_indices=True)
mean = ops.avg_pool2d(b[None, None], 2)
assert_array_equal(largest[0, 0], [[100, 184], [12, 45]])
assert_array_equal(mean[0, 0], [[36.5, 80], [12, 15]])

fig, axes = plt.subplots(1, 4, figsize=(12, 3.5))
show(axes[0], a, "a map")
show(axes[1], largest[0, 0], "its maxima", window=1)
show(axes[2], b, "another map")
show(axes[3], mean[0, 0], "its means", window=1)

# %%
# Windows that hang over the edge
# -------------------------------
# A map of 5 x 5 has no place for three whole windows in a row. They are left out,
# unless ``ceil_mode=True`` keeps them with the pixels that they have.

face = [
    [0, 1, 0, 0, 0],
    [0, 1, 1, 1, 0],
    [1, 0, 0, 2, 1],
    [1, 4, 2, 1, 0],
    [0, 0, 1, 2, 1],
]
face = np.array(face, float)
kept = ops.max_pool2d(face[None, None], 2, ceil_mode=True)
left_out = ops.max_pool2d(face[None, None], 2)
assert_array_equal(kept[0, 0], [[1, 1, 0], [4, 2, 1], [0, 2, 1]])
assert_array_equal(left_out[0, 0], kept[0, 0, :2, :2])

fig, axes = plt.subplots(1, 3, figsize=(10, 3.8))
show(axes[0], face, "feature map, 5 x 5")
show(axes[1], kept[0, 0], "ceil_mode=True", window=1)
show(axes[2], left_out[0, 0], "ceil_mode=False", window=1)

# %%
# The way back
# ------------
# The largest number of a window alone decided the output, so the whole gradient goes to
# its place, the first one if several are equal: the lower left window of ``a`` has four
# times 12. Of a mean every pixel of the window had an equal share, so each gets that
# share of the gradient.

dy = np.array([[1.0, 2.0], [3.0, 4.0]])[None, None]
to_maximum = ops.max_pool2d_backward(dy, places, (1, 1, 4, 4))[0, 0]
spread = ops.avg_pool2d_backward(dy, (1, 1, 4, 4), 2)[0, 0]
assert_array_equal(to_maximum, [[0, 0, 0, 2], [0, 1, 0, 0], [3, 0, 0, 0], [0, 0, 4, 0]])
assert_array_equal(spread, np.kron(dy[0, 0], np.full((2, 2), 0.25)))

fig, axes = plt.subplots(1, 3, figsize=(10, 3.8))
show(axes[0], dy[0, 0], "gradient at the output", window=1)
show(axes[1], to_maximum, "backward of the maximum")
show(axes[2], spread, "backward of the mean")

# %%
# What pooling buys
# -----------------
# Move each of the digits by one pixel and compare it with itself. The curve shows the
# part of a digit that changes, the norm of the difference by the norm of the digit,
# without pooling and after pooling by windows of 2 x 2 and 4 x 4.

digits = datasets.digits().x_test  # (N, 1, 8, 8)
moved = np.pad(digits, ((0, 0), (0, 0), (0, 0), (1, 0)))[..., :-1]


def change(pool, size):
    before, after = pool(digits, size), pool(moved, size)
    norms = [
        np.linalg.norm(y.reshape(len(y), -1), axis=1) for y in (after - before, before)
    ]
    return (norms[0] / norms[1]).mean()


sizes = [1, 2, 4]
by_maximum = [change(ops.max_pool2d, size) for size in sizes]
by_mean = [change(ops.avg_pool2d, size) for size in sizes]
assert by_maximum == sorted(by_maximum, reverse=True)
assert by_mean == sorted(by_mean, reverse=True)

fig, ax = plt.subplots(figsize=(6, 3.6))
ax.plot(sizes, by_maximum, "o-", label="maximum")
ax.plot(sizes, by_mean, "s--", label="mean")
ax.set(xlabel="side of a window, pixels", ylabel="part that a move by 1 pixel changes")
ax.set(xticks=sizes, ylim=0)
ax.legend()
ax.grid(alpha=0.3)
plt.show()
