"""
Filters on a photograph
=======================

A kernel of nine numbers slides over a picture. At each place its numbers multiply the
nine pixels below it, and the sum of the products is one pixel of the result:

.. math:: y_{p,q} = \\sum_{r,s} x_{p+r,\\,q+s}\\, w_{r,s}

What the sum shows depends on the nine numbers alone. Here they are chosen by hand; on
the later pages a network learns them.
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from cnn_ext import ops
from cnn_ext.filters import FILTERS

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])
photo = load_sample_image("china.jpg")[60:300, 200:520] / 255  # (H, W, 3)
grey = photo.mean(axis=2)

# %%
# The kernels
# -----------
# The sum of a kernel's numbers tells what becomes of an even area, where all nine
# pixels have the same value: that value times the sum. Sharpen and blur have the sum 1
# and leave such an area as it is. Kernels that look for edges have the sum 0 and make
# it black. The kernel for embossing has the sum 1 as well.

names = [*FILTERS]
fig, axes = plt.subplots(1, len(names), figsize=(12, 2.4))
for ax, name in zip(axes, names, strict=True):
    kernel = FILTERS[name]
    ax.imshow(kernel, cmap="PuOr", vmin=-5, vmax=5)
    for (r, s), value in np.ndenumerate(kernel):
        text = "1/9" if name == "blur" else f"{value:g}"
        shade = "white" if abs(value) > 3 else "black"
        ax.text(s, r, text, ha="center", va="center", fontsize=11, color=shade)
    ax.set(title=name, xticks=[], yticks=[], xlabel=f"sum {kernel.sum():g}")

even = np.full((5, 5), 0.5)
for name in names:
    kernel_sum = FILTERS[name].sum()
    np.testing.assert_allclose(
        ops.correlate2d(even, FILTERS[name], "valid"), 0.5 * kernel_sum
    )

# %%
# The pictures
# ------------
# ``mode="same"`` keeps the extent of the picture; pixels beyond its border count as
# zero. A colour picture is filtered channel by channel. Results of kernels whose sum is
# 0 have both signs, so zero is shown as grey.

fig, axes = plt.subplots(2, 4, figsize=(12, 5))
axes = axes.ravel()
axes[0].imshow(photo)
axes[0].set_title("the photograph")
for ax, name in zip(axes[1:], names, strict=True):
    if FILTERS[name].sum() == 0:
        y = ops.correlate2d(grey, FILTERS[name], "same")
        ax.imshow(y, cmap="gray", vmin=-1, vmax=1)
    else:
        y = ops.correlate2d(photo, FILTERS[name], "same")
        ax.imshow(y.clip(0, 1))
    assert y.shape[:2] == photo.shape[:2]
    ax.set_title(name)
for ax in axes:
    ax.set(xticks=[], yticks=[])

blurred = ops.correlate2d(grey, FILTERS["blur"], "same")
assert np.isclose(blurred[100, 100], grey[99:102, 99:102].mean())

# %%
# Vertical and horizontal edges
# -----------------------------
# Sobel's kernel is the product of a column that smooths, 1 2 1, and a row that takes
# the difference of the pixels to the left and to the right. Its transpose finds
# horizontal edges, and both together give the strength of an edge in any direction,
#
# .. math:: g = \sqrt{g_x^2 + g_y^2}.
#
# A network's first layer finds such edge detectors by itself.

np.testing.assert_array_equal(FILTERS["sobel-x"], np.outer([1, 2, 1], [1, 0, -1]))
np.testing.assert_array_equal(FILTERS["sobel-y"], FILTERS["sobel-x"].T)

g_x = ops.correlate2d(grey, FILTERS["sobel-x"], "valid")
g_y = ops.correlate2d(grey, FILTERS["sobel-y"], "valid")

fig, axes = plt.subplots(1, 3, figsize=(12, 3.4))
titles = "vertical edges, $g_x$", "horizontal edges, $g_y$", "strength, $g$"
for ax, title, y in zip(axes, titles, (g_x, g_y, np.hypot(g_x, g_y)), strict=True):
    signed = y.min() < 0
    image = ax.imshow(
        y, cmap="gray" if signed else "cividis", vmin=-3 if signed else 0, vmax=3
    )
    ax.set(title=title, xticks=[], yticks=[])
    fig.colorbar(image, ax=ax, shrink=0.8)
plt.show()
