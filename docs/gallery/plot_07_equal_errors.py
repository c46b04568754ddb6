"""
Two networks that err equally often
===================================

Two networks tell dogs from cats. Both are wrong about one picture of three, so the
classification error cannot choose between them. The costs can: they ask how sure a
network was.
"""

import matplotlib.pyplot as plt
import numpy as np

from cnn_ext import metrics, ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])

# %%
# What they answer
# ----------------
# Each row is a picture; its two numbers are the probabilities of a dog and of a cat.

pictures = ["a dog", "a cat", "another dog"]
targets = np.array([[1, 0], [0, 1], [1, 0]])
answers = {
    "network 1": np.array([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]]),
    "network 2": np.array([[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]),
}

fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True)
place = np.arange(2)
for ax, picture, target, row in zip(axes, pictures, targets, range(3), strict=True):
    for shift, (name, rows) in zip((-0.2, 0.2), answers.items(), strict=True):
        ax.bar(place + shift, rows[row], 0.36, label=name)
    ax.bar(place, target, 0.85, fill=False, ls=":", lw=1.5, label="target")
    ax.axhline(0.5, color="0.6", lw=0.8, zorder=0)
    ax.set_xticks(place, ["dog", "cat"])
    ax.set(title=picture, ylim=(0, 1.05))
axes[0].set_ylabel("probability")
axes[0].legend()

# %%
# Both take the last dog for a cat. Network 1 says so with 0.6, which is hesitation;
# network 2 with 0.9, which is conviction. And where both are right, network 1 is surer.
#
# Three measures
# --------------
# - The *classification error* is the part of the pictures whose likelier class is
#   wrong.
# - The *squared error* is :math:`\sum_j (y_j - a_j)^2`, summed over the two classes,
#   the mean over the pictures: twice the quadratic cost.
# - The *cross-entropy* is :math:`-\sum_j y_j \ln a_j`, the mean over the pictures:
#   minus the logarithm of the probability that the right class got.
#
# ``ops.cross_entropy`` takes the numbers before the softmax. The logarithms of
# probabilities are such numbers, since the softmax of the logarithms gives the
# probabilities back.

truth = targets.argmax(axis=1)
measured = {}
for name, rows in answers.items():
    np.testing.assert_allclose(ops.softmax(np.log(rows)), rows)
    measured[name] = [
        metrics.error(truth, rows.argmax(axis=1)),
        2 * ops.quadratic(rows, targets)[0],
        ops.cross_entropy(np.log(rows), truth)[0],
    ]
    print(
        name,
        "error {:.2f}, squared error {:.2f}, cross-entropy {:.2f}".format(
            *measured[name]
        ),
    )

np.testing.assert_allclose(measured["network 1"], [0.33, 0.25, 0.38], atol=0.005)
np.testing.assert_allclose(measured["network 2"], [0.33, 0.71, 1.06], atol=0.005)

fig, ax = plt.subplots(figsize=(7, 3.8))
place = np.arange(3)
for shift, (name, values) in zip((-0.2, 0.2), measured.items(), strict=True):
    bars = ax.bar(place + shift, values, 0.38, label=name)
    ax.bar_label(bars, fmt="%.2f", padding=2)
ax.set_xticks(place, ["classification error", "squared error", "cross-entropy"])
ax.set(ylabel="mean over three pictures", ylim=(0, 1.25))
ax.legend()

# %%
# By hand for network 1: :math:`-\tfrac13 (\ln 0.9 + \ln 0.9 + \ln 0.4) = 0.38`. Of
# network 2 the last picture alone contributes :math:`-\tfrac13 \ln 0.1 = 0.77` to 1.06.

assert np.isclose(
    -(np.log(0.9) + np.log(0.9) + np.log(0.4)) / 3, measured["network 1"][2]
)

# %%
# What an answer costs
# --------------------
# The curves show the cost of one picture against the probability of its right class.
# Near 1 both are small. Near 0 the squared error ends at 2, while the cross-entropy
# grows without bound: a network that is sure and wrong pays most there, and its
# gradient says so.

right = np.linspace(0.01, 1, 200)
fig, ax = plt.subplots(figsize=(7, 3.8))
ax.plot(right, 2 * (1 - right) ** 2, label="squared error")
ax.plot(right, -np.log(right), "--", label="cross-entropy")
ax.axvspan(0, 0.5, color="0.92", zorder=0)
ax.text(0.25, 4.2, "counted as an error", ha="center")
ax.set(
    xlabel="probability of the right class", ylabel="cost of the picture", xlim=(0, 1)
)
ax.legend()
ax.grid(alpha=0.3)
plt.show()
