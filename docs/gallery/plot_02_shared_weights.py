"""
A convolution is a matrix of shared weights
===========================================

Every output pixel of a convolution is a weighted sum of input pixels. A layer of
weighted sums is a product with a matrix, :math:`y = W x`, with the pixels of image and
result written one after the other. So a convolutional layer is a fully connected layer
of a special kind: most of its weights are zero, and the others are the same few numbers
again and again.
"""

import matplotlib.pyplot as plt
import numpy as np

from cnn_ext import ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])

# %%
# Four outputs, nine inputs
# -------------------------
# The picture is 3 x 3 and the kernel 2 x 2. Convolution proper rotates the kernel by
# 180 degrees, so the weights stand in the matrix in the order 4, 3, 2, 1.

image = np.arange(1.0, 10.0).reshape(3, 3)
kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
y = ops.convolve2d(image, kernel, "valid")
print(y)
assert (y == [[23, 33], [53, 63]]).all()

# %%
# ``conv2d_matrix`` shows the matrix of what a layer computes, which does not rotate.
# Given the rotated kernel it is that of the convolution above. Each row belongs to one
# output pixel and has its weights in the columns of the four pixels that this output
# looks at.

rotated = kernel[::-1, ::-1]
W = ops.conv2d_matrix(rotated[None, None], (1, 3, 3)).toarray()
assert W.shape == (4, 9)
assert (W @ image.ravel() == y.ravel()).all()
assert all(sorted(row[row != 0]) == [1, 2, 3, 4] for row in W)

fig, ax = plt.subplots(figsize=(9, 4.2))
ax.imshow(np.ma.masked_equal(W, 0), cmap="cividis", vmin=-4, vmax=4)
for (row, column), value in np.ndenumerate(W):
    if value:
        ax.text(column, row, f"{value:g}", ha="center", va="center", fontsize=13)
inputs = [f"$x_{{{h + 1}{w + 1}}}$" for h in range(3) for w in range(3)]
outputs = [f"$y_{{{p + 1}{q + 1}}}$" for p in range(2) for q in range(2)]
ax.set_xticks(range(9), inputs, fontsize=12)
ax.set_yticks(range(4), outputs, fontsize=12)
ax.set(
    xlabel="input pixel",
    ylabel="output pixel",
    title="W: the weights 4, 3, 2, 1 in every row",
)

# %%
# What sharing saves
# ------------------
# A picture of 8 x 8 pixels and a 3 x 3 kernel that keeps its extent: the matrix has 64
# x 64 places. A fully connected layer would learn all 4,096 of them, the convolution
# learns nine. Each of the nine is one of the diagonals below. They are parallel because
# the same detector is used everywhere; gaps are where the kernel hangs over the border
# of the picture.

rng = np.random.default_rng(0)
weight = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
W = ops.conv2d_matrix(weight, (1, 8, 8), padding="same")
x = rng.normal(size=(1, 1, 8, 8))
np.testing.assert_allclose(W @ x.ravel(), ops.conv2d(x, weight, padding="same").ravel())
print(f"{W.shape} places, {W.nnz} of them not zero, {weight.size} weights")
assert set(W.data) == set(weight.ravel())

shown = np.ma.masked_equal(W.toarray(), 0)
fig, ax = plt.subplots(figsize=(6.4, 5.4))
picture = ax.imshow(shown, cmap=plt.get_cmap("viridis", 9), vmin=0.5, vmax=9.5)
ax.set(xlabel="input pixel", ylabel="output pixel", title="8 x 8 pixels, kernel 3 x 3")
fig.colorbar(picture, ax=ax, label="number of the weight", ticks=range(1, 10))

# %%
# The way back
# ------------
# The gradient of a product with a matrix is a product with its transpose: if :math:`y =
# W x`, then :math:`dx = W^T dy`. A weight that stands in many places collects what each
# of them contributes: its gradient is the sum of the gradients of all its copies,
#
# .. math:: dw_{r,s} = \sum_{p,q} dy_{p,q}\, x_{p+r,\,q+s}.

dy = rng.normal(size=(1, 1, 8, 8))
dx, dweight, _ = ops.conv2d_backward(dy, x, weight, padding="same")
np.testing.assert_allclose(W.T @ dy.ravel(), dx.ravel())

# of a matrix whose 4,096 numbers were all free:
dW = np.outer(dy.ravel(), x.ravel())
for number, gradient in zip(weight.ravel(), dweight.ravel(), strict=True):
    copies = W.toarray() == number
    np.testing.assert_allclose(dW[copies].sum(), gradient)

# %%
# The package never builds this matrix. Its loops run over the nine weights and the
# pixels that they meet, which is the same sum without the zeros.

plt.show()
