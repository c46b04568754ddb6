"""
Fine-tuning an ONNX file
========================

ONNX files carry networks from one program to another. Here a network that reads digits
comes as such a file, and learns a new thing from twenty images: which digits have a
loop. Its convolutions know strokes already; only the last layer has to be new.
"""

# sphinx_gallery_thumbnail_number = 2

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import cnn_ext.onnx
from cnn_ext import SGD, Plan, Trainer, architectures, datasets, new_head, optim

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])
digits = datasets.digits()
folder = tempfile.TemporaryDirectory()

# %%
# The file
# --------
# Any feed-forward network of the ONNX operators that the documentation lists will do;
# this one is trained here, as the model that somebody else provides.

net = architectures.build("plain2", (1, 8, 8), 10, rng=np.random.default_rng(0))
images = digits.x_train, digits.y_train
Trainer(net).fit(*images, epochs=5, batch_size=32, schedule="one-cycle", progress=False)
path = Path(folder.name, "digits.onnx")
cnn_ext.onnx.export(net, path, input_shape=(1, 8, 8))

# %%
# Read again it is a graph. A plan of it answers as the network does; ``module()`` makes
# a network of it that learns.

graph = cnn_ext.onnx.load(path)
np.testing.assert_allclose(Plan(graph)(digits.x_test), net(digits.x_test), atol=1e-4)
for node in graph.nodes:
    print(node.op, graph.shapes[node.output])

# %%
# The new task
# ------------
# 0, 6, 8 and 9 have a loop, the others have none. Twenty images are all there is to
# learn from.

LOOPS = 0, 6, 8, 9
x, y = digits.x_train[::72], np.isin(digits.y_train[::72], LOOPS).astype(int)
x_test, y_test = digits.x_test, np.isin(digits.y_test, LOOPS).astype(int)
assert len(x) == 20

fig, axes = plt.subplots(2, 10, figsize=(10, 2.8))
for image, label, ax in zip(x, y, axes.ravel(), strict=True):
    ax.imshow(image[0], cmap="gray_r")
    ax.set_title("loop" if label else "open", fontsize=9)
    ax.set(xticks=[], yticks=[])

# %%
# Three ways
# ----------
# - A network with new weights learns from the twenty images alone.
# - ``new_head`` gives the file's network a new last layer; everything else is frozen.
# - Then all layers learn, the earlier the less: the rate of each layer is 0.8 times
#   that of the next.


def accuracies(net, optimizer, epochs):
    """Of the test images after each epoch."""
    trainer = Trainer(net, optimizer=optimizer)
    found = []

    def look(trainer, epoch):
        found.append(trainer.evaluate(x_test, y_test)["accuracy"])

    trainer.fit(x, y, epochs, 20, schedule="cosine", callbacks=[look], progress=False)
    return found


scratch = architectures.build("plain2", (1, 8, 8), 2, rng=np.random.default_rng(1))
scratch_curve = accuracies(scratch, SGD(scratch, 0.02, momentum=0.9), 60)

tuned = graph.module()
tuned.trainable = False
new_head(tuned, 2, classes=["open", "loop"], rng=np.random.default_rng(1))
head_only = accuracies(tuned, SGD(tuned, 0.02, momentum=0.9), 30)

tuned.trainable = True
groups = optim.layer_wise(tuned, 0.005, decay=0.8)
whole = accuracies(tuned, SGD(groups, momentum=0.9), 30)

fig, ax = plt.subplots(figsize=(7, 3.8))
ax.plot(range(1, 61), scratch_curve, ":", lw=2, label="a network with new weights")
ax.plot(range(1, 31), head_only, "-", lw=2, label="the file's network: new last layer")
ax.plot(range(31, 61), whole, "--", lw=2, label="then all layers")
ax.set(xlabel="epoch, one step of 20 images each", ylabel="accuracy on the test set")
ax.legend()
ax.grid(alpha=0.3)
print(f"new weights {scratch_curve[-1]:.1%}")
print(f"new head {head_only[-1]:.1%}, then all layers {whole[-1]:.1%}")
assert head_only[-1] > scratch_curve[-1] + 0.03
plt.show()

# %%
# Back into a file
# ----------------
# The classes travel with it.

cnn_ext.onnx.export(tuned, path, input_shape=(1, 8, 8))
plan = Plan(cnn_ext.onnx.load(path))
folder.cleanup()
np.testing.assert_array_equal(plan.predict(x_test), tuned.eval()(x_test).argmax(axis=1))
print(plan.task)
