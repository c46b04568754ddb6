"""
A network in a scikit-learn pipeline
====================================

``CNNClassifier`` is an estimator like those of scikit-learn, so all that the library
does with estimators it does with a network: pipelines, cross-validation, searches, and
its displays. Beside it stand a support vector machine and the vote of the nearest
neighbours.
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from cnn_ext.sklearn import CNNClassifier

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])
X, y = load_digits(return_X_y=True)  # (1797, 64), counts from 0 to 16
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

# %%
# A pipeline
# ----------
# scikit-learn's data are rows. ``image_shape`` tells how the 64 numbers of a row are an
# image; behind any step that keeps the pixels in their places the network still sees
# it. The step before it here takes square roots, which brings out the faint strokes.

network = make_pipeline(
    FunctionTransformer(np.sqrt),
    CNNClassifier(image_shape=(8, 8), max_iter=10, random_state=0),
)
network.fit(X_train, y_train)
print(f"{network.score(X_test, y_test):.2%} of {len(y_test)} test images")
assert network.score(X_test, y_test) > 0.97

# %%
# Cross-validation
# ----------------
# Three classifiers on the same five folds. On digits as small as these they come out
# close together.

classifiers = {
    "CNNClassifier": network,
    "SVC": make_pipeline(StandardScaler(), SVC()),
    "KNeighborsClassifier": KNeighborsClassifier(),
}
scores = {
    name: cross_val_score(c, X_train, y_train, cv=5) for name, c in classifiers.items()
}
for name, values in scores.items():
    print(f"{name}: {values.mean():.2%} +- {values.std():.2%}")
assert scores["CNNClassifier"].mean() > 0.97

fig, ax = plt.subplots(figsize=(7, 3))
for row, values in enumerate(scores.values()):
    ax.plot(100 * values, np.full(5, row), "o", alpha=0.7)
    ax.plot(100 * values.mean(), row, "k|", ms=24, mew=2)
ax.set_yticks(range(3), scores)
ax.set(xlabel="accuracy of a fold, %; the mean is a line", ylim=(-0.5, 2.5))
ax.invert_yaxis()
ax.grid(alpha=0.3, axis="x")

# %%
# A search
# --------
# ``GridSearchCV`` tries every pair of learning rate and weight decay. The names of the
# arguments are those of ``MLPClassifier``, with the name of the step in front.

search = GridSearchCV(
    network,
    {
        "cnnclassifier__learning_rate_init": [0.001, 0.003, 0.01],
        "cnnclassifier__alpha": [0.0, 0.1],
    },
    cv=2,
)
search.fit(X_train, y_train)
print(search.best_params_, f"{search.best_score_:.2%}")

table = search.cv_results_["mean_test_score"].reshape(2, 3)
assert np.isclose(table.max(), search.best_score_)
fig, ax = plt.subplots(figsize=(6.5, 3.2))
picture = ax.imshow(100 * table, cmap="cividis")
for (row, column), value in np.ndenumerate(table):
    shade = "black" if value > (table.min() + table.max()) / 2 else "white"
    ax.text(column, row, f"{value:.1%}", ha="center", va="center", color=shade)
ax.set_xticks(range(3), search.param_grid["cnnclassifier__learning_rate_init"])
ax.set_yticks(range(2), search.param_grid["cnnclassifier__alpha"])
ax.set(xlabel="learning_rate_init", ylabel="alpha")
fig.colorbar(picture, ax=ax, label="mean accuracy of two folds, %")

# %%
# The best of them
# ----------------

fig, ax = plt.subplots(figsize=(5.4, 5))
ConfusionMatrixDisplay.from_estimator(
    search.best_estimator_, X_test, y_test, cmap="Blues", colorbar=False, ax=ax
)
ax.set_title(f"{search.score(X_test, y_test):.2%} of the test images")

# %%
# The network itself is ``search.best_estimator_[-1].net_``; ``export_onnx`` and
# ``export_c`` of the estimator write it as a file that takes what the step before it
# gives.

plt.show()
