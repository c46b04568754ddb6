"""Array-likes of other packages: taken as their rows, or refused by name; never read otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from cnn_ext import Lanes, Linear, Sequential, Trainer, metrics, ops, safetensors
from cnn_ext.data import gather, stratified_split, write_idx
from cnn_ext.data.labelled import LabelledSet

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
MASKED = np.ma.masked_greater(VALUES, 5)
LABELS = np.array([2, 0, 1, 2])


def trained(x, y, **options):
    net = Sequential(Linear(3, 3))
    net.initialize("he", np.random.default_rng(0))
    Trainer(net, seed=0).fit(x, y, 2, 2, progress=False, **options)
    return net[0].weight.data


INDICES = {
    "plain": None,
    "shuffled": [3, 1, 0, 2],
    "repeated": [1, 1, 1, 1],
    "names": list("abcd"),
    "from seven": [7, 8, 9, 10],
}


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("columns", [None, ["a", "b", "c"], [2, 1, 0], ["a", "a", 0]])
def test_a_data_frame_is_its_rows_whatever_its_names(index, columns):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(VALUES, INDICES[index], columns)
    labels = pandas.Series(LABELS, INDICES[index])
    np.testing.assert_array_equal(gather(frame, [3, 0, 0]), VALUES[[3, 0, 0]])
    np.testing.assert_array_equal(gather(labels, [3, 0]), LABELS[[3, 0]])
    part = LabelledSet(frame, labels).part(np.array([2, 1]))
    np.testing.assert_array_equal(part[np.array([0])], VALUES[[2]])
    np.testing.assert_array_equal(part.y, LABELS[[2, 1]])
    for options in ({}, {"validation_split": 0.5}):
        expected = trained(VALUES, LABELS, **options)
        np.testing.assert_array_equal(trained(frame, labels, **options), expected)
    np.testing.assert_array_equal(ops.relu(frame), VALUES)
    assert metrics.accuracy(labels, LABELS) == 1


def test_a_data_frame_of_words_is_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    with pytest.raises(TypeError, match="x: expected real numbers, got dtype object"):
        gather(frame, [0])
    with pytest.raises(TypeError, match="x: expected real numbers, got an array of object"):
        ops.relu(frame)


ENTRANCES = {
    "ops": (lambda x: ops.relu(x), "x"),
    "lanes": (lambda x: Lanes.pack(x), "x"),
    "lists": (lambda x: ops.relu([x, x]), "x"),
    "weights": (lambda x: ops.linear(VALUES, x), "weight"),
    "net": (lambda x: Sequential(Linear(3, 3))(x), "x"),
    "plan": (lambda x: Sequential(Linear(3, 3)).eval().compile((3,))(x), "x"),
    "gather": (lambda x: gather(x, [0]), "x"),
    "gather of a list": (lambda x: gather([x, x], [0]), "x"),
    "fit": (lambda x: trained(x, LABELS), "x"),
    "targets": (lambda x: trained(VALUES, x), "y"),
    "validation": (
        lambda x: trained(VALUES, LABELS, validation_data=(VALUES, x)),
        r"validation_data\[1\]",
    ),
    "one step": (lambda x: Trainer(Sequential(Linear(3, 3))).train_on_batch(VALUES, x), "y"),
    "metrics": (lambda x: metrics.accuracy(x, LABELS), "y_true"),
    "split": (stratified_split, "labels"),
    "idx": (lambda x: write_idx("never written", x), "array"),
    "safetensors": (lambda x: safetensors.write("never written", {"w": x}), r"tensors\['w'\]"),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("masked", [MASKED, np.ma.array(VALUES), MASKED.astype(int)])
def test_masked_arrays_are_refused_by_name(entrance, masked):
    """Also one in which nothing is masked: what it says depends on its values otherwise."""
    enter, name = ENTRANCES[entrance]
    with pytest.raises(TypeError, match=rf"^{name}: expected numbers without a mask.*\.filled\("):
        enter(masked)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("form", ["csr_array", "coo_matrix"])
def test_sparse_matrices_are_refused_by_name(entrance, form):
    sparse = pytest.importorskip("scipy.sparse")
    enter, name = ENTRANCES[entrance]
    with pytest.raises(TypeError, match=rf"^{name}: expected a dense array, got a sparse {form}"):
        enter(getattr(sparse, form)(VALUES))


class Wrapped:
    """An array of another package, which knows NumPy's protocol."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return Wrapped(self.values[index])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("wrap", [Wrapped, np.matrix, "torch"])
def test_what_knows_the_array_protocol_is_taken(wrap):
    if wrap == "torch":
        wrap = pytest.importorskip("torch").from_numpy
    x = wrap(VALUES)
    np.testing.assert_array_equal(ops.relu(x), VALUES)
    np.testing.assert_array_equal(gather(x, [3, 0]), VALUES[[3, 0]])
    assert type(gather(x, [3, 0])) is np.ndarray
    y = LABELS if wrap is np.matrix else wrap(LABELS)
    np.testing.assert_array_equal(trained(x, y), trained(VALUES, LABELS))


@pytest.mark.parametrize("entrance", sorted(ENTRANCES.keys() - {"lists", "gather of a list"}))
def test_a_tensor_with_a_gradient_is_refused_by_name(entrance):
    torch = pytest.importorskip("torch")
    enter, name = ENTRANCES[entrance]
    with pytest.raises(TypeError, match=rf"^{name}: expected .* requires grad"):
        enter(torch.tensor(VALUES, requires_grad=True))


@pytest.mark.parametrize("method", ["outputs", "predict", "predict_proba"])
def test_what_has_no_images_is_refused_by_name(method):
    trainer = Trainer(Sequential(Linear(3, 2)))
    with pytest.raises(TypeError, match="^x: expected images in an array, got NoneType"):
        getattr(trainer, method)(None)
