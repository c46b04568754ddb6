"""
Overfitting, watched on a validation set
========================================

A network with more weights than images can learn its images by heart. The cost on them
goes to zero, and says nothing about images that it has never seen. A *validation set*
is kept aside: never used for descent, but looked at after each epoch. Where its cost
begins to rise, the network has begun to learn the images instead of the digits.
"""

import matplotlib.pyplot as plt
import numpy as np

from cnn_ext import (
    SGD,
    Dropout,
    EarlyStopping,
    Sequential,
    Trainer,
    architectures,
    datasets,
)
from cnn_ext.augment import RandomAffine

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])

# %%
# Three parts
# -----------
# 100 digits to learn from, the next 700 to watch by, and the test set for the last
# figures, which no choice may follow.

digits = datasets.digits()
x, y = digits.x_train[:100], digits.y_train[:100]
watched = digits.x_train[100:800], digits.y_train[100:800]


def trained(weight_decay=0.0, dropout=0.0, **options):
    net = architectures.build("tiny", (1, 8, 8), 10, rng=np.random.default_rng(0))
    if dropout:
        net = Sequential(*net[:-1], Dropout(dropout), net[-1])
    optimizer = SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=weight_decay)
    trainer = Trainer(net, optimizer=optimizer)
    options = {"epochs": 60, "batch_size": 20, "progress": False} | options
    history = trainer.fit(x, y, validation_data=watched, **options)
    return trainer, history


plain, history = trained()
weights = sum(p.data.size for p in plain.net.parameters())
print(f"{weights:,} weights, {len(x)} images")

# %%
# Two costs that part
# -------------------
# On the images that are learned the cost falls all the time. On the validation images
# it falls, reaches its lowest point, and rises. The accuracy there hardly suffers: the
# network makes the same mistakes, only surer and surer of them, which the cost notices
# and the accuracy does not.

validation = history["validation_cost"]
best = int(np.argmin(validation))
assert history["cost"][-1] < 0.01 < validation[best] < validation[-1]

fig, axes = plt.subplots(1, 2, figsize=(10, 3.8))
epochs = range(1, 61)
axes[0].semilogy(epochs, history["cost"], label="training")
axes[0].semilogy(epochs, validation, "--", label="validation")
axes[0].axvline(best + 1, color="0.6", ls=":", label=f"lowest: epoch {best + 1}")
axes[1].plot(epochs, history["accuracy"], label="training")
axes[1].plot(epochs, history["validation_accuracy"], "--", label="validation")
axes[0].set(xlabel="epoch", ylabel="cost")
axes[1].set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02))
for ax in axes:
    ax.legend()
    ax.grid(alpha=0.3)

# %%
# Stop in time
# ------------
# ``EarlyStopping`` watches the validation cost, waits for a number of epochs without a
# better one, and takes the weights of the best.

stopped, short = trained(early_stopping=EarlyStopping(10))
assert short.stopped == "early" and len(short) < 60
kept = stopped.evaluate(*watched)["cost"]
assert np.isclose(kept, min(short["validation_cost"]))
print(f"stopped after epoch {len(short)}; the weights kept have a cost of {kept:.3f}")

# %%
# Make it harder to learn by heart
# --------------------------------
# *Weight decay* draws the weights to zero, *dropout* hides random neurons in every
# step, and *augmentation* never shows the same image twice: each digit is turned, moved
# and scaled a little, anew in every epoch.

ways = {
    "nothing": {},
    "weight decay": {"weight_decay": 0.01},
    "dropout": {"dropout": 0.5},
    "augmentation": {"augment": RandomAffine(10, (0.1, 0.1), (0.9, 1.1))},
}
fig, ax = plt.subplots(figsize=(7, 4))
costs = {}
for (name, options), style in zip(ways.items(), ("-", "--", "-.", ":"), strict=True):
    trainer, history = trained(**options)
    costs[name] = np.array(history["validation_cost"])
    accuracy = trainer.evaluate(digits.x_test, digits.y_test)["accuracy"]
    label = f"{name}: {accuracy:.1%} of the test right"
    ax.plot(epochs, costs[name], style, lw=2, label=label)
ax.set(xlabel="epoch", ylabel="validation cost", ylim=(0, 1.6))
ax.legend()
ax.grid(alpha=0.3)

# %%
# With weight decay the cost rises less, with dropout its lowest point is lower.
# Augmentation helps most: its cost falls below the lowest point of all others, and
# stays there.

assert costs["weight decay"][-1] < costs["nothing"][-1]
assert costs["dropout"].min() < costs["nothing"].min()
lowest = min(costs[name].min() for name in [*ways][:3])
assert costs["augmentation"][-10:].mean() < lowest
plt.show()
