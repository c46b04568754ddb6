"""
Saturated neurons
=================

A sigmoid neuron that is badly wrong should learn fast. Under the quadratic cost it does
the opposite: where its output is near 0 or 1 the sigmoid is flat, the neuron is
*saturated*, and its gradient carries the slope :math:`\\sigma'(z) = a (1 - a)` as a
factor. The cross-entropy is the cost from whose gradient this factor drops out.
"""

import matplotlib.pyplot as plt
import numpy as np

from cnn_ext import SGD, Linear, Sequential, Sigmoid, Trainer, ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])

# %%
# Two costs, two gradients
# ------------------------
# With weighted input :math:`z`, output :math:`a = \sigma(z)` and target :math:`y`,
#
# .. math::
#    :nowrap:
#
#    \begin{align*}
#    C &= \tfrac12 (y - a)^2, &
#    \frac{\partial C}{\partial z} &= (a - y)\,\sigma'(z), \\
#    C &= -\left[y \ln a + (1 - y) \ln(1 - a)\right], &
#    \frac{\partial C}{\partial z} &= a - y.
#    \end{align*}
#
# The target is 0 here, so a large z is a large error.

z = np.linspace(-6, 6, 121)[:, None]
a, y = ops.sigmoid(z), np.zeros_like(z)
# costs are means over the images, so the gradient is multiplied by their number
quadratic = ops.sigmoid_backward(ops.quadratic(a, y)[1], a) * len(z)
cross_entropy = ops.binary_cross_entropy(z, y)[1] * len(z)
np.testing.assert_allclose(quadratic, (a - y) * a * (1 - a))
np.testing.assert_allclose(cross_entropy, a - y)

fig, ax = plt.subplots(figsize=(7, 3.8))
ax.plot(z, quadratic, label="quadratic cost")
ax.plot(z, cross_entropy, "--", label="cross-entropy: the output itself")
ax.set(xlabel="weighted input z; the target is 0", ylabel="gradient at z")
ax.legend()
ax.grid(alpha=0.3)

# %%
# One neuron learns
# -----------------
# One input, which is always 1, and the target 0. The first neuron begins with weight
# 0.6 and bias 0.9, where its output is 0.82; the second with 2 and 2, output 0.98. Both
# costs have the same learning rate, so that only the gradients differ.


def outputs_while_learning(layers, loss, weight, bias, steps=300):
    net = Sequential(*layers)
    net[0].weight.data[:] = weight
    net[0].bias.data[:] = bias
    trainer = Trainer(net, loss, SGD(net.parameters(), lr=0.15))
    x, y = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    outputs = []
    for _ in range(steps):
        outputs.append(ops.sigmoid(net[0](x)).item())
        trainer.train_on_batch(x, y)
    return outputs


fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
ends = {}
for ax, (weight, bias) in zip(axes, [(0.6, 0.9), (2.0, 2.0)], strict=True):
    # "binary_cross_entropy" does the sigmoid itself
    for name, style, layers in (
        ("quadratic", "-", [Linear(1, 1), Sigmoid()]),
        ("binary_cross_entropy", "--", [Linear(1, 1)]),
    ):
        curve = outputs_while_learning(layers, name, weight, bias)
        ends[name, weight] = curve
        ax.plot(curve, style, label=name.replace("_", " "))
    ax.set(
        xlabel="step",
        title=f"weight {weight:g}, bias {bias:g}: begins at {curve[0]:.2f}",
    )
    ax.grid(alpha=0.3)
axes[0].set(ylabel="output; the target is 0", ylim=(0, 1))
axes[1].legend()

# %%
# Under the quadratic cost the neuron that is more wrong stands still at first. Under
# the cross-entropy it is the fastest where it is most wrong.

for name in ("quadratic", "binary_cross_entropy"):
    curve = ends[name, 2.0]
    print(f"{name}: {curve[0]:.3f} at first, {curve[50]:.3f} after 50 steps")
assert ends["quadratic", 2.0][50] > 0.95
assert ends["binary_cross_entropy", 2.0][50] < 0.5

# %%
# How much slower on average? The slope is at most a quarter, and its mean over all
# outputs is
#
# .. math:: \int_0^1 a (1 - a)\, da = \tfrac16,
#
# so a learning rate for the quadratic cost, divided by six, is a first guess for the
# cross-entropy.

midpoints = (np.arange(1000) + 0.5) / 1000
assert np.isclose((midpoints * (1 - midpoints)).mean(), 1 / 6)

# %%
# Targets between 0 and 1
# -----------------------
# The cross-entropy is smallest where the output equals the target, for any target from
# 0 to 1. Its least value is then not 0 but the binary entropy :math:`-[y \ln y + (1 -
# y) \ln(1 - y)]`.

outputs = np.linspace(0.005, 0.995, 199)
fig, ax = plt.subplots(figsize=(7, 3.8))
for target, style in ((0.1, "-"), (0.5, "--"), (0.8, "-.")):
    costs = [
        ops.binary_cross_entropy([[np.log(a / (1 - a))]], [[target]])[0]
        for a in outputs
    ]
    least = int(np.argmin(costs))
    entropy = -(target * np.log(target) + (1 - target) * np.log(1 - target))
    assert np.isclose(outputs[least], target) and np.isclose(costs[least], entropy)
    ax.plot(outputs, costs, style, label=f"target {target}")
    ax.plot(outputs[least], costs[least], "ko")
ax.set(xlabel="output", ylabel="cross-entropy", ylim=(0, 3))
ax.legend(title="dots: the binary entropy")
ax.grid(alpha=0.3)
plt.show()
