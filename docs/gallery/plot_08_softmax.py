"""
Softmax and its derivative
==========================

The last layer of a classifier gives one number for each class, a logit. Softmax makes
of them probabilities, positive numbers that sum up to 1:

.. math:: a_j = \\frac{e^{z_j}}{\\sum_k e^{z_k}}.

Every output depends on every input, so its derivative is a matrix.
"""

import matplotlib.pyplot as plt
import numpy as np
from numpy.testing import assert_allclose

from cnn_ext import ops

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])

# %%
# One logit moves
# ---------------
# Three classes, of which the first has a logit that goes from -5 to 5 while the others
# stay at 0 and 1. What the first class gains the others lose, in the proportion that
# they have among themselves.

moving = np.linspace(-5, 5, 101)
z = np.stack([moving, np.zeros(101), np.ones(101)], axis=1)
a = ops.softmax(z)
assert_allclose(a.sum(axis=1), 1)
assert_allclose(a[:, 2] / a[:, 1], np.e)

fig, ax = plt.subplots(figsize=(7, 3.6))
for number, style in enumerate(("-", "--", "-.")):
    ax.plot(moving, a[:, number], style, label=f"$a_{number + 1}$")
ax.set(xlabel="logit $z_1$; $z_2 = 0$, $z_3 = 1$", ylabel="probability", ylim=(0, 1))
ax.legend()
ax.grid(alpha=0.3)

# %%
# The derivative
# --------------
# By the quotient rule,
#
# .. math:: \frac{\partial a_j}{\partial z_i} = \begin{cases}
#    a_i (1 - a_i) & i = j, \\ -a_i\, a_j & i \neq j. \end{cases}
#
# Central differences agree. Each row and each column sums up to 0, because the
# probabilities always sum up to 1, and a number that is added to all logits changes
# nothing.

z = np.array([2.0, 1.0, 0.0, -1.0])
a = ops.softmax(z[None])[0]
formula = np.diag(a) - np.outer(a, a)

step = 1e-5
moves = step * np.eye(4)
measured = (ops.softmax(z + moves) - ops.softmax(z - moves)).T / (2 * step)
assert_allclose(formula, measured, atol=1e-9)
assert_allclose(formula.sum(axis=0), 0, atol=1e-15)
assert_allclose(ops.softmax(z[None] + 100), ops.softmax(z[None]))

fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), width_ratios=[4, 5])
bars = axes[0].bar(range(1, 5), a)
axes[0].bar_label(bars, fmt="%.2f", padding=2)
axes[0].set_xticks(
    range(1, 5), [f"$z_{i} = {value:g}$" for i, value in enumerate(z, start=1)]
)
axes[0].set(ylabel="probability", title="softmax", ylim=(0, 0.75))
picture = axes[1].imshow(formula, cmap="PuOr", vmin=-0.25, vmax=0.25)
for (row, column), value in np.ndenumerate(formula):
    shade = "white" if abs(value) > 0.12 else "black"
    axes[1].text(column, row, f"{value:.3f}", ha="center", va="center", color=shade)
axes[1].set_xticks(range(4), [f"$z_{i}$" for i in range(1, 5)])
axes[1].set_yticks(range(4), [f"$a_{i}$" for i in range(1, 5)])
axes[1].set_title("its derivative")
fig.colorbar(picture, ax=axes[1], shrink=0.85)

# %%
# Backward without the matrix
# ---------------------------
# A layer needs the product of this matrix with the gradient at its output, for which
# the matrix itself need not be built:
#
# .. math:: dz_i = a_i \Bigl(da_i - \sum_j da_j\, a_j\Bigr).

da = np.array([0.3, -1.0, 0.5, 2.0])
assert_allclose(ops.softmax_backward(da[None], a[None])[0], formula @ da)
assert_allclose(ops.softmax_backward(da[None], a[None])[0], a * (da - (da * a).sum()))

# %%
# The gradient that remains
# -------------------------
# The cost that belongs to softmax is the log-likelihood, :math:`C = -\ln a_y` for the
# right class :math:`y`. Its gradient at the outputs is :math:`-1/a_y` for that class
# and 0 for the others. The product with the matrix leaves the simplest thing possible,
# output minus target:
#
# .. math:: \frac{\partial C}{\partial z_i} = a_i - y_i.

target = np.array([0.0, 0.0, 1.0, 0.0])
through_the_matrix = formula @ (-target / a)
cost, gradient = ops.cross_entropy(z[None], [2])
assert np.isclose(cost, -np.log(a[2]))
assert_allclose(gradient[0], a - target)
assert_allclose(through_the_matrix, a - target, atol=1e-15)

# %%
# So a neuron that is sure and wrong is not stuck as a saturated sigmoid under the
# quadratic cost is: its gradient is almost 1.
#
# Large numbers
# -------------
# :math:`e^{1000}` is beyond every floating-point number. Since a number may be added to
# all logits, the largest is subtracted first, and no power exceeds 1.

huge = np.array([[1000.0, 999.0, -1000.0]])
assert_allclose(
    ops.softmax(huge), [[1 / (1 + np.exp(-1)), np.exp(-1) / (1 + np.exp(-1)), 0]]
)
print(ops.softmax(huge), ops.log_softmax(huge))
plt.show()
