"""
Signals of sensors
==================

A sequence is an image of one row. A one-dimensional convolution slides along time, over
as many channels as there are sensors:

.. math:: y_{k,p} = b_k + \\sum_{c,r} x_{c,\\,p+r}\\, w_{k,c,r}.

The task is that of a wristwatch: tell from the three axes of an accelerometer whether
its wearer rests, walks, runs or has fallen. The signals are made here, with a random
tempo, strength, direction and moment, and noise on top.
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np

from cnn_ext import (
    SGD,
    Conv1d,
    Flatten,
    Linear,
    MaxPool1d,
    ReLU,
    Sequential,
    Trainer,
    metrics,
)

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])
rng = np.random.default_rng(0)
RATE, LENGTH = 32, 128  # samples a second, samples: four seconds
CLASSES = "rest", "walk", "run", "fall"

# %%
# The signals
# -----------
# The watch is worn at any angle, so each signal along the vertical is turned into a
# random direction of the sensor's three axes. Gravity, 1 g, is always there.


def waves(steps):
    return np.sin(steps) + 0.4 * np.sin(2 * steps)


def recordings(count):
    """Signals (N, 3, LENGTH) in g, and their classes (N,)."""
    t = np.arange(LENGTH) / RATE
    x, y = [], rng.integers(0, len(CLASSES), count)
    for name in y:
        vertical = np.ones(LENGTH)  # gravity
        phase = rng.uniform(0, 2 * np.pi)
        if CLASSES[name] == "walk":
            steps = 2 * np.pi * rng.uniform(1.6, 2.2) * t + phase
            vertical += rng.uniform(0.2, 0.5) * waves(steps)
        elif CLASSES[name] == "run":
            steps = 2 * np.pi * rng.uniform(2.6, 3.4) * t + phase
            vertical += rng.uniform(0.3, 0.8) * waves(steps)
        elif CLASSES[name] == "fall":
            start = rng.integers(10, LENGTH - 30)
            vertical[start : start + 12] = 0  # nothing carries the watch
            vertical[start + 12 : start + 16] += rng.uniform(1.0, 2.0)  # the impact
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        x.append(direction[:, None] * vertical + rng.normal(0, 0.15, (3, LENGTH)))
    return np.array(x, np.float32), y


x, y = recordings(1200)
x_test, y_test = recordings(400)

fig = plt.figure(figsize=(10, 4.6))
axes = fig.subplots(2, 2, sharex=True, sharey=True)
seconds = np.arange(LENGTH) / RATE
for number, (name, ax) in enumerate(zip(CLASSES, axes.ravel(), strict=True)):
    signals = x[np.flatnonzero(y == number)[0]]
    for axis, signal, style in zip("xyz", signals, ("-", "--", ":"), strict=True):
        ax.plot(seconds, signal, style, label=axis)
    ax.set_title(name)
    ax.grid(alpha=0.3)
for ax in axes[1]:
    ax.set_xlabel("time, s")
for ax in axes[:, 0]:
    ax.set_ylabel("acceleration, g")
axes[0, 0].legend(ncols=3)

# %%
# Two networks
# ------------
# The first sees all numbers at once: a fully connected network has to learn each
# pattern at each moment and in each direction anew. The second slides small detectors
# along the time, nine samples wide. Pooling makes the sequence shorter, so that the
# next detectors see longer stretches.

full = Sequential(Flatten(), Linear(3 * LENGTH, 64), ReLU(), Linear(64, 4))
sliding = Sequential(
    *(Conv1d(3, 16, 9, padding="same"), ReLU(), MaxPool1d(4)),
    *(Conv1d(16, 32, 9, padding="same"), ReLU(), MaxPool1d(4)),
    *(Flatten(), Linear(32 * LENGTH // 16, 4)),
)

fig, ax = plt.subplots(figsize=(7, 3.8))
accuracies = {}
kinds = ("fully connected", full, "s--"), ("convolutional", sliding, "o-")
for name, net, style in kinds:
    net.initialize("he", np.random.default_rng(0))
    trainer = Trainer(net, optimizer=SGD(net.parameters(), lr=0.02, momentum=0.9))
    history = trainer.fit(
        x, y, epochs=20, batch_size=32, schedule="one-cycle", progress=False,
        validation_data=(x_test, y_test),
    )  # fmt: skip
    accuracies[name] = trainer.evaluate(x_test, y_test)["accuracy"]
    weights = sum(p.data.size for p in net.parameters())
    label = f"{name}, {weights:,} weights: {accuracies[name]:.1%}"
    ax.plot(history["number"], history["validation_accuracy"], style, label=label)
ax.set(xlabel="epoch", ylabel="accuracy on new signals")
ax.set(ylim=(0, 1.02), xticks=[1, 5, 10, 15, 20])
ax.legend()
ax.grid(alpha=0.3)
assert accuracies["convolutional"] > accuracies["fully connected"] + 0.05

# %%
# What is taken for what
# ----------------------

matrix = metrics.confusion_matrix(y_test, trainer.predict(x_test))
fig, ax = plt.subplots(figsize=(4.6, 4.2))
ax.imshow(matrix, cmap="Blues")
for (true, guessed), count in np.ndenumerate(matrix):
    shade = "white" if count > matrix.max() / 2 else "black"
    ax.text(guessed, true, count, ha="center", va="center", color=shade)
ax.set_xticks(range(4), CLASSES)
ax.set_yticks(range(4), CLASSES)
ax.set(xlabel="guess", ylabel="true class")

# %%
# Where it looks
# --------------
# The gradient at the input tells which samples the answer "fall" depends on. They are
# those of the fall and of the impact.

falls = x_test[y_test == 3]
one_hot = np.eye(4, dtype=np.float32)[[3] * len(falls)]
sliding.train()
sliding(falls)
dx = sliding.backward(one_hot)
sliding.eval()
strength = np.linalg.norm(dx, axis=1)  # over the axes of the sensor, (N, LENGTH)
impact = np.linalg.norm(falls, axis=1).argmax(axis=1)
assert np.mean(abs(strength.argmax(axis=1) - impact) < 16) > 0.9  # within half a second

fig, ax = plt.subplots(figsize=(8, 3.8))
ax.plot(seconds, falls[0].T, color="0.6", lw=1)
ax.set(xlabel="time, s", ylabel="acceleration, g; the three axes in grey")
ax.grid(alpha=0.3)
right = ax.twinx()
right.fill_between(seconds, strength[0], alpha=0.4, color="C1")
right.set(ylabel="strength of the gradient", ylim=(0, 3 * strength[0].max()))
plt.show()
