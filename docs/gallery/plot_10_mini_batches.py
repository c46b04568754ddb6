"""
Mini-batches and learning rates
===============================

The gradient of the cost is a mean over all images. Stochastic gradient descent takes
the mean over a few images instead, a *mini-batch* of m, steps, and goes on with the
next few:

.. math:: v' = v - \\frac{\\eta}{m} \\sum_{\\text{batch}} \\nabla C_x.

When all images were used, in a new random order each time, an *epoch* is over. Two
numbers have to be chosen: the size of the batch and the learning rate :math:`\\eta`.
"""

import matplotlib.pyplot as plt
import numpy as np

from cnn_ext import SGD, Trainer, architectures, datasets, learning_rate_finder, ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])
digits = datasets.digits()
x, y = digits.x_train, digits.y_train


def new_net():
    """Always with the same first weights."""
    return architectures.build("tiny", (1, 8, 8), 10, rng=np.random.default_rng(0))


def trainer_of(lr):
    net = new_net()
    return Trainer(net, optimizer=SGD(net.parameters(), lr=lr))


# %%
# A batch's gradient is a guess
# -----------------------------
# How far is the gradient of a batch from that of all 1,438 images? The picture shows
# the angle between the two for the weights of the first layer. Four times the images
# make the guess about twice as good while the angle is small, and cost four times as
# much: many rough steps beat a few exact ones.


net = new_net().train()
first = net.parameters()[0]


def gradient(images):
    _, dz = ops.cross_entropy(net(x[images]), y[images])
    net.backward(dz, need_dx=False)
    return first.grad.ravel().copy()


rng = np.random.default_rng(0)
whole = gradient(np.arange(len(x)))
sizes = [1, 4, 16, 64, 256]
angles = []
for size in sizes:
    guesses = [gradient(rng.choice(len(x), size, replace=False)) for _ in range(30)]
    cosines = [g @ whole / np.linalg.norm(g) / np.linalg.norm(whole) for g in guesses]
    angles.append(np.degrees(np.arccos(cosines)))
means = [a.mean() for a in angles]
assert means == sorted(means, reverse=True)

fig, ax = plt.subplots(figsize=(6.5, 3.6))
ax.boxplot(angles, tick_labels=sizes)
ax.set(xlabel="images in a batch", ylabel="angle to the whole gradient, degrees")
ax.set_ylim(0)
ax.grid(alpha=0.3, axis="y")

# %%
# The size of a batch
# -------------------
# Ten epochs with the same learning rate. All curves have seen the same images; the
# smaller the batch, the more steps were made on the way.

fig, ax = plt.subplots(figsize=(6.5, 3.8))
last = {}
for batch_size, style in ((8, "-"), (32, "--"), (128, "-."), (len(x), ":")):
    history = trainer_of(lr=0.05).fit(x, y, 10, batch_size, progress=False)
    last[batch_size] = history["cost"][-1]
    label = f"{batch_size}: {10 * -(-len(x) // batch_size)} steps"
    ax.plot(history["number"], history["cost"], style, lw=2, label=label)
assert last[8] < last[32] < last[128] < last[len(x)]
ax.set(xlabel="epoch", ylabel="cost of the epoch", ylim=0)
ax.legend(title="images in a batch")
ax.grid(alpha=0.3)

# %%
# The learning rate
# -----------------
# Batches of 32. A rate that is too small wastes the epochs. One that is too large leaps
# across the valley, lands higher than it was, and the network ends up guessing: ten
# classes that are equally likely cost :math:`\ln 10 = 2.3`.

fig, ax = plt.subplots(figsize=(6.5, 3.8))
for lr, style in ((0.001, ":"), (0.01, "-."), (0.1, "-"), (1.0, "--")):
    history = trainer_of(lr).fit(x, y, epochs=10, batch_size=32, progress=False)
    last[lr] = history["cost"][-1]
    ax.plot(range(1, 11), np.minimum(history["cost"], 4), style, lw=2, label=f"{lr:g}")
assert last[0.1] < last[0.01] < last[0.001] < last[1.0]
ax.axhline(np.log(10), color="0.6", lw=0.8)
ax.set(xlabel="epoch", ylabel="cost of the epoch", ylim=(0, 4))
ax.legend(title="learning rate")
ax.grid(alpha=0.3)

# %%
# To find it without such a series, let the rate rise from step to step and watch the
# cost (Smith 2017). ``learning_rate_finder`` does this with a copy of the network.
# Where the curve falls fastest is a good rate to begin with; a little to the left of
# where it rises is the limit.

found = learning_rate_finder(trainer_of(lr=0.1), x, y, lowest=1e-3, batch_size=32)
assert 0.01 < found.suggestion < 1

fig, ax = plt.subplots(figsize=(6.5, 3.6))
ax.semilogx(found.rates, found.costs)
suggestion = f"suggestion: {found.suggestion:.2g}"
ax.axvline(found.suggestion, ls="--", color="C1", label=suggestion)
ax.set(xlabel="learning rate", ylabel="smoothed cost", ylim=(0, 4))
ax.legend()
ax.grid(alpha=0.3)

# %%
# In practice the rate changes along the way. ``fit(schedule="one-cycle")`` begins low,
# rises to the given rate, and ends near zero, where small steps settle into the valley.

plt.show()
