"""
What has a network learned?
===========================

Five looks into a trained network: its kernels, the maps that an image causes, the
pixels that its answer depends on, the images that excite a map most, and its mistakes.
"""

# sphinx_gallery_thumbnail_number = 5

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from cnn_ext import SGD, Trainer, architectures, datasets, metrics, ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])
digits = datasets.digits()
net = architectures.build("tiny", (1, 8, 8), 10, rng=np.random.default_rng(0))
trainer = Trainer(net, optimizer=SGD(net.parameters(), lr=0.05, momentum=0.9))
images = digits.x_train, digits.y_train
trainer.fit(*images, epochs=10, batch_size=32, schedule="one-cycle", progress=False)
print(trainer.evaluate(digits.x_test, digits.y_test))


def tiles(images, titles=(), columns=8, **options):
    """Small images side by side, without axes."""
    rows = -(-len(images) // columns)
    size = columns * 1.25, rows * (1.5 if titles else 1.25)
    fig = plt.figure(figsize=size)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for image, ax in zip(images, axes, strict=False):
        ax.imshow(image, **options)
    for title, ax in zip(titles, axes, strict=False):
        ax.set_title(title, fontsize=9)
    return axes


# %%
# Kernels
# -------
# Those of the first layer look at pixels, so they can be read as pictures, violet above
# zero and orange below. A kernel that is violet on one side and orange on the other
# answers to an edge there.

kernels = net[0].weight.data[:, 0]
extreme = abs(kernels).max()
tiles(kernels, cmap="PuOr", vmin=-extreme, vmax=extreme)

# %%
# Maps
# ----
# What the image of a three causes in the first layer, after the ReLU: bright is where a
# detector found something.

image = digits.x_test[np.flatnonzero(digits.y_test == 3)[0]]
maps = net.activations(image[None])
assert [m.shape[1:] for m in maps][:2] == [(16, 8, 8), (16, 8, 8)]
assert (maps[1] >= 0).all()
tiles(maps[1][0], cmap="viridis")

# %%
# Saliency: the gradient at the input
# -----------------------------------
# The way back does not end at the weights. Its last step gives the gradient at the
# input: how much each pixel would change the output of a class (Simonyan et al. 2014).
# The gradient at the output is 1 for that class and 0 for the others.


shown = np.array([np.flatnonzero(digits.y_test == digit)[0] for digit in range(8)])
x, classes = digits.x_test[shown], digits.y_test[shown]
one_hot = np.eye(10, dtype=np.float32)[classes]
net.train()
net(x)
dx = net.backward(one_hot)
net.eval()

# %%
# Central differences for one pixel of the first image agree.

step = np.zeros((1, 1, 8, 8), np.float32)
step[0, 0, 3, 4] = 0.01
slope = (net(x[:1] + step) - net(x[:1] - step))[0, classes[0]] / 0.02
assert np.isclose(slope, dx[0, 0, 3, 4], atol=0.02 * abs(dx[0]).max())

tiles([*x[:, 0]], [f"a {digit}" for digit in classes], cmap="gray_r")

# %%
# The gradients of these eight images, each for its own digit:

extreme = abs(dx).max()
tiles([*dx[:, 0]], cmap="PuOr", vmin=-extreme, vmax=extreme)

# %%
# Violet pixels would speak for the digit if they were darker, orange ones against it:
# those in the hole of the zero, for instance.

assert classes[0] == 0 and dx[0, 0, 2:6, 3:5].mean() < 0

# %%
# Grad-CAM
# --------
# Single pixels are a restless picture. Grad-CAM (Selvaraju et al. 2017) asks the maps
# of the last convolution instead. The mean gradient of a map tells how much it matters
# for the class, and the maps, added with these weights, show where the network saw it,
# here below the outlines of the digits:
#
# .. math:: \alpha_k = \frac{1}{PQ} \sum_{p,q}
#    \frac{\partial z_y}{\partial A_{k,p,q}}, \qquad
#    L = \max\Bigl(0, \sum_k \alpha_k A_k\Bigr).
#
# The network is cut in two behind that layer; the way back through the rest gives the
# gradients.

body, rest = net[:4], net[4:]
A = body(x)
rest.train()
rest(A)
dA = rest.backward(one_hot)
alpha = dA.mean(axis=(2, 3), keepdims=True)
L = ops.relu((alpha * A).sum(axis=1))
axes = tiles([*L], cmap="viridis")
for ax, picture in zip(axes, x[:, 0], strict=True):
    ax.contour(picture, levels=[0.5], colors="white", linewidths=1.5)

# %%
# The images that excite a map most
# ---------------------------------
# Four maps of the second convolution, a row for each, with the eight test images that
# have the largest numbers in them. The frame is what the unit at that place sees, 5 x 5
# pixels.

A = body(digits.x_test)
strongest = A.max(axis=(2, 3))  # (N, K)
chosen = np.argsort(-strongest.mean(axis=0))[:4]
best = np.argsort(-strongest[:, chosen], axis=0)[:8].T  # (4, 8)
axes = tiles([*digits.x_test[best.ravel(), 0]], cmap="gray_r")
for ax, k, n in zip(axes, chosen.repeat(8), best.ravel(), strict=True):
    row, column = np.unravel_index(A[n, k].argmax(), (8, 8))
    corner = column - 2.5, row - 2.5
    ax.add_patch(Rectangle(corner, 5, 5, fill=False, lw=2, color="#D55E00"))
    ax.set(xlim=(-0.5, 7.5), ylim=(7.5, -0.5))

# %%
# Mistakes
# --------
# Which digits are taken for which:

probabilities = trainer.predict_proba(digits.x_test)
guesses = probabilities.argmax(axis=1)
matrix = metrics.confusion_matrix(digits.y_test, guesses)
wrong = np.flatnonzero(guesses != digits.y_test)
assert matrix.sum() - np.trace(matrix) == len(wrong)

fig, ax = plt.subplots(figsize=(5.4, 5))
ax.imshow(matrix, cmap="Blues", vmax=40)
for (true, guessed), count in np.ndenumerate(matrix):
    if count:
        shade = "white" if count > 20 else "black"
        ax.text(guessed, true, count, ha="center", va="center", color=shade)
ax.set(xlabel="guess", ylabel="true digit", xticks=range(10), yticks=range(10))

# %%
# The images themselves, the surest mistakes first:

wrong = wrong[np.argsort(-probabilities[wrong, guesses[wrong]])][:8]
titles = [f"{guesses[n]}, not {digits.y_test[n]}" for n in wrong]
tiles([*digits.x_test[wrong, 0]], titles, cmap="gray_r")

# %%
# The module ``cnn_ext.plot`` and the command ``cnn-ext plot`` draw kernels, maps,
# mistakes and the confusion of any network in one call.

plt.show()
