"""
Backpropagation by hand
=======================

A network of two inputs, three hidden neurons and two outputs is small enough to compute
every gradient in a few lines of NumPy. The letters: :math:`z^l = W^l a^{l-1} + b^l` and
:math:`a^l = \\sigma(z^l)` for layer :math:`l`, and :math:`\\delta^l = \\partial C /
\\partial z^l`, the error of the layer. Four equations are all of backpropagation:

.. math::
   :nowrap:

   \\begin{align*}
   \\delta^L &= \\frac{\\partial C}{\\partial a^L} \\odot \\sigma'(z^L), &
   \\delta^l &= (W^{l+1})^T \\delta^{l+1} \\odot \\sigma'(z^l), \\\\
   \\frac{\\partial C}{\\partial b^l} &= \\delta^l, &
   \\frac{\\partial C}{\\partial W^l} &= \\delta^l\\, (a^{l-1})^T.
   \\end{align*}
"""

import matplotlib.pyplot as plt
import numpy as np
from numpy.testing import assert_allclose

from cnn_ext import SGD, Linear, Sequential, Sigmoid, ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])


def sigma(z):
    return 1 / (1 + np.exp(-z))


# %%
# Forward
# -------
# One image, which is two numbers, and the outputs that are wanted for it.

W = {
    1: np.array([[0.5, -1.0], [1.5, 0.5], [-0.5, 1.0]]),
    2: np.array([[1.0, -1.0, 0.5], [0.5, 1, -1]]),
}
b = {1: np.array([0.1, -0.2, 0.0]), 2: np.array([0.0, 0.3])}
x, y = np.array([1.0, 0.5]), np.array([1.0, 0.0])


def forward(W, b):
    """The outputs of all layers, a[0] being the input, and the quadratic cost."""
    a = [x]
    for layer in W:
        a.append(sigma(W[layer] @ a[-1] + b[layer]))
    return a, ((a[-1] - y) ** 2).sum() / 2


a, cost = forward(W, b)
print("hidden", a[1].round(3), "outputs", a[2].round(3), f"cost {cost:.4f}")

# %%
# Backward
# --------
# The four equations, from the last layer to the first. With the quadratic cost
# :math:`\partial C / \partial a = a - y`, and the slope of the sigmoid is :math:`a (1 -
# a)`.

delta = {2: (a[2] - y) * a[2] * (1 - a[2])}
delta[1] = W[2].T @ delta[2] * a[1] * (1 - a[1])
dW = {layer: np.outer(delta[layer], a[layer - 1]) for layer in (1, 2)}
db = delta

# %%
# Three ways to the same numbers
# ------------------------------
# The layers of the package give the same gradients,

net = Sequential(Linear(2, 3), Sigmoid(), Linear(3, 2), Sigmoid()).astype(np.float64)
for layer, linear in ((1, net[0]), (2, net[2])):
    linear.weight.data[:] = W[layer]
    linear.bias.data[:] = b[layer]
net.train()
outputs = net(x[None])
net.backward(ops.quadratic(outputs, y[None])[1])
assert_allclose(outputs[0], a[2])
for layer, linear in ((1, net[0]), (2, net[2])):
    assert_allclose(linear.weight.grad, dW[layer])
    assert_allclose(linear.bias.grad, db[layer])

# %%
# and so do central differences, which know nothing of the chain rule. They need two
# forward passes for each number that is learned; backpropagation needs one pass back
# for all of them.

by_hand, measured = [], []
for numbers, gradients in ((W, dW), (b, db)):
    for layer in (1, 2):
        for place in np.ndindex(numbers[layer].shape):
            keep, costs = numbers[layer][place], []
            for step in (1e-5, -1e-5):
                numbers[layer][place] = keep + step
                costs.append(forward(W, b)[1])
            numbers[layer][place] = keep
            measured.append((costs[0] - costs[1]) / 2e-5)
            by_hand.append(gradients[layer][place])
assert_allclose(measured, by_hand, atol=1e-9)
difference = np.abs(np.subtract(measured, by_hand)).max()
print(f"{len(by_hand)} gradients, which differ by {difference:.0e} at most")

# %%
# The picture shows the network with the gradient of each weight: the line is wider the
# more the weight matters. The numbers in the circles are the outputs, those below them
# the errors.

places = {(1, i): (1.6, 2 - i) for i in range(3)}
for layer, across in ((0, 0), (2, 3.2)):
    places |= {(layer, i): (across, 1.5 - i) for i in range(2)}
extreme = max(abs(g).max() for g in dW.values())
fig, ax = plt.subplots(figsize=(8, 5))
for layer, gradients in dW.items():
    for (k, j), gradient in np.ndenumerate(gradients):
        start, end = places[layer - 1, j], places[layer, k]
        colour = "C0" if gradient > 0 else "C1"
        style = "-" if gradient > 0 else "--"
        width = 0.5 + 7 * abs(gradient) / extreme
        ax.plot(*zip(start, end, strict=True), style, color=colour, lw=width, zorder=1)
for (layer, i), (across, up) in places.items():
    ax.scatter(across, up, s=1500, color="white", edgecolor="black", zorder=2)
    ax.text(across, up, f"{a[layer][i]:.2f}", ha="center", va="center", zorder=3)
    if layer:
        ax.text(across, up - 0.37, rf"$\delta$ = {delta[layer][i]:.4f}", ha="center")
ax.set(
    xlim=(-0.5, 3.8),
    ylim=(-0.6, 2.5),
    title="gradients: blue above 0, orange and dashed below",
)
ax.text(0, 2.2, "input", ha="center")
ax.text(3.2, 2.2, f"output; target {y[0]:g}, {y[1]:g}", ha="center")
ax.set_axis_off()

# %%
# Descent
# -------
# A step against the gradient, :math:`v' = v - \eta\, \nabla C`, makes the cost smaller:
# to first order by :math:`\eta \lVert \nabla C \rVert^2`.

norm2 = sum((g**2).sum() for g in (*dW.values(), *db.values()))
SGD(net.parameters(), lr=0.01).step()
after = ops.quadratic(net(x[None]), y[None])[0]
assert_allclose(cost - after, 0.01 * norm2, rtol=0.01)
print(f"the cost fell from {cost:.5f} to {after:.5f}")
plt.show()
