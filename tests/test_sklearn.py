"""`cnn_ext.sklearn`: scikit-learn's own checks and tools, threads and files."""
# ruff: noqa: E402 (what needs scikit-learn is imported where it is there)

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

import cnn_ext
from cnn_ext import Conv2d, Flatten, Linear, ReLU, Sequential, datasets, get_num_threads

sklearn = pytest.importorskip("sklearn", minversion="1.6")

import joblib
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cnn_ext.sklearn import CNNClassifier, CNNRegressor

LAYERS = [
    {"type": "Conv2d", "in_channels": 1, "out_channels": 8, "kernel_size": 3},
    {"type": "ReLU"},
    {"type": "Flatten"},
    {"type": "Linear", "in_features": 288, "out_features": 10},
]


def failures(estimator):
    """Every check of scikit-learn that is expected to fail, and why."""
    expected = {
        "check_sample_weight_equivalence_on_dense_data": "an image that stands twice in the set "
        "stands in two batches, one of weight 2 in one",
    }
    if isinstance(estimator, CNNClassifier) and estimator.early_stopping:
        expected["check_classifiers_one_label_sample_weights"] = (
            "of five images whose weight is not 0 no tenth can be kept aside"
        )
    if estimator.warm_start:
        expected["check_supervised_y_2d"] = "its second fit goes on from the first"
    return expected


@parametrize_with_checks(
    [
        CNNClassifier(random_state=0),
        CNNRegressor(random_state=0),
        CNNClassifier(solver="sgd", early_stopping=True, random_state=0),
        CNNRegressor(solver="sgd", warm_start=True, random_state=0),
    ],
    expected_failed_checks=failures,
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    whole = datasets.digits()
    return whole.x_train[:400], whole.y_train[:400], whole.x_test, whole.y_test


def small(**options):
    return CNNClassifier(**{"architecture": LAYERS, "max_iter": 8, "random_state": 0} | options)


def convolutional(input_shape, outputs, rng):
    net = Sequential(Conv2d(1, 8, 3), ReLU(), Flatten(), Linear(288, outputs))
    net.initialize("he", rng)
    return net


# ------------------------------------------------------------------------------------------- data


def test_images_and_rows_are_the_same(digits):
    x, y, unseen, _ = digits
    answers = [
        clone(small(**options)).fit(images, y).predict_proba(unseen)
        for images, options in (
            (x, {}),
            (x[:, 0], {}),
            (x.reshape(400, 64), {"image_shape": (8, 8)}),
            (x.reshape(400, 64), {"image_shape": (1, 8, 8)}),
            ((x.reshape(400, 64)).tolist(), {"image_shape": (8, 8)}),
        )
    ]
    for answer in answers[1:]:
        assert np.array_equal(answer, answers[0])


def test_unit_of_the_numbers_does_not_matter(digits):
    x, y, unseen, wanted = digits
    thousands = small().fit(x * 2000.0 - 500, y)
    assert thousands.score(unseen * 2000.0 - 500, wanted) > 0.85


def test_labels_are_what_they_were(digits):
    x, y, unseen, wanted = digits
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "8", "9"])
    estimator = small().fit(x, names[y])
    assert estimator.classes_.tolist() == sorted(names)
    assert estimator.score(unseen, names[wanted]) > 0.85
    assert estimator.net_.task.classes == tuple(sorted(names))
    assert estimator.predict_proba(unseen).sum(1) == pytest.approx(1)
    assert (estimator.predict(unseen) == estimator.classes_[
        estimator.decision_function(unseen).argmax(1)
    ]).all()  # fmt: skip


@pytest.mark.parametrize(
    "architecture", ["auto", "allconv_10k", LAYERS, {"type": "Sequential", "layers": LAYERS},
                     convolutional, lambda s, n: Sequential(Flatten(), Linear(64, n))]
)  # fmt: skip
def test_architectures(architecture, digits):
    x, y, unseen, wanted = digits
    estimator = small(architecture=architecture, max_iter=10).fit(x, y)
    assert estimator.score(unseen, wanted) > 0.8
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 10
    assert estimator.n_features_in_ == 64


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"architecture": "nothing"}, ValueError, "^architecture: expected one of auto, lenet5"),
        ({"architecture": lambda shape, outputs: None}, TypeError, "architecture"),
        ({"architecture": lambda s, n: Sequential(Linear(64, 3))}, ValueError, "10 outputs"),
        ({"image_shape": (4, 4)}, ValueError, "image_shape"),
        ({"image_shape": (4, 16)}, ValueError, "image_shape"),
        ({"image_shape": 64}, TypeError, "image_shape"),
        ({"solver": "lbfgs"}, ValueError, "solver"),
        ({"learning_rate": "invscaling"}, ValueError, "schedule"),
        ({"max_iter": 0}, ValueError, "epochs"),
        ({"num_threads": 0}, ValueError, "num_threads"),
    ],
)
def test_what_does_not_fit_is_refused(options, error, message, digits):
    x, y, *_ = digits
    with pytest.raises(error, match=message):
        small(**options).fit(x, y)


def test_other_images_and_labels_are_refused(digits):
    x, y, *_ = digits
    with pytest.raises(ValueError, match="takes images"):
        CNNClassifier("tiny").fit(x.reshape(400, 64), y)
    estimator = small(max_iter=1, warm_start=True).fit(x, y)
    with pytest.raises(ValueError, match="expected images"):
        estimator.predict(x.reshape(400, 1, 4, 16))
    with pytest.raises(ValueError, match="classes"):
        estimator.fit(x, y + 1)
    with pytest.raises(ValueError, match="classes"):
        small().partial_fit(x, y)
    with pytest.raises(ValueError, match="classes"):
        estimator.partial_fit(x, y, classes=[0, 1])


# --------------------------------------------------------------------------------------- training


def test_same_random_state_same_network(digits):
    x, y, unseen, _ = digits
    first, second, other = (
        small(random_state=seed, architecture=convolutional).fit(x, y).predict_proba(unseen)
        for seed in (3, 3, 4)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_early_stopping(digits):
    x, y, *_ = digits
    estimator = small(max_iter=200, early_stopping=True, n_iter_no_change=2).fit(x, y)
    assert estimator.n_iter_ < 200
    assert estimator.history_.stopped == "early"
    assert len(estimator.history_["validation_cost"]) == estimator.n_iter_


def test_warm_start_goes_on(digits):
    x, y, *_ = digits
    estimator = small(warm_start=True, max_iter=3).fit(x, y)
    net = estimator.net_
    estimator.set_params(max_iter=2).fit(x, y)
    assert estimator.net_ is net
    assert estimator.loss_curve_[3] < estimator.loss_curve_[0] / 2
    assert [epoch.number for epoch in estimator.history_] == [1, 2, 3, 4, 5]
    assert clone(estimator).fit(x, y).n_iter_ == 2


def test_partial_fit(digits):
    x, y, unseen, wanted = digits
    estimator = small(solver="sgd", learning_rate_init=0.02)
    for _ in range(6):
        for part in np.split(np.arange(400), 4):
            estimator.partial_fit(x[part], y[part], classes=range(10))
    assert estimator.n_iter_ == 24
    assert estimator.score(unseen, wanted) > 0.85


def test_weights(digits):
    x, y, unseen, wanted = digits
    wrong = np.where(np.arange(400) % 2, y, (y + 1) % 10)
    halves = (np.arange(400) % 2).astype(float)
    for scale in (1.0, 1 / 400):  # they are relative
        estimator = small().fit(x, wrong, sample_weight=halves * scale)
        assert estimator.score(unseen, wanted) > 0.8
    steps = small(learning_rate_init=0.01)
    for _ in range(8):
        steps.partial_fit(x, wrong, classes=range(10), sample_weight=halves)
    assert steps.score(unseen, wanted) > 0.8
    for wrong_weights in (-halves, halves - 0.5, 0 * halves, halves[1:]):
        with pytest.raises(ValueError, match="[Ss]ample.weight"):
            small().fit(x, y, sample_weight=wrong_weights)
    left_out, some = (
        small().fit(x, y, sample_weight=halves),
        small().fit(x[1::2], y[1::2]),
    )
    assert np.array_equal(left_out.predict_proba(unseen), some.predict_proba(unseen))
    numbers = CNNRegressor(random_state=0, max_iter=10)
    assert numbers.fit(x, np.where(halves, 0, 1e3), sample_weight=halves).predict(x).max() < 500


def test_class_weights(digits):
    x, y, unseen, _ = digits
    names = np.where(y == 3, "three", "other")
    found = {}
    for case, weight in (
        ("none", None),
        ("ones", {"other": 1}),
        ("balanced", "balanced"),
        ("much", {"three": 1e3}),
        ("nothing", {"three": 0}),
    ):
        estimator = small(architecture=convolutional, class_weight=weight, max_iter=1)
        found[case] = (estimator.fit(x, names).predict(unseen) == "three").mean()
    assert found["nothing"] == 0 < found["none"] == found["ones"] < found["much"]
    assert found["none"] <= found["balanced"] < found["much"]
    with pytest.raises(ValueError, match="class_weight"):
        small(class_weight="balanced").partial_fit(x, names, classes=["other", "three"])


def test_regression_of_numbers_in_their_own_unit(digits):
    x, y, unseen, wanted = digits
    targets = np.stack([y * 1e4 + 1e6, y * -1e-4], 1)
    estimator = CNNRegressor(max_iter=20, random_state=0).fit(x, targets)
    assert estimator.score(unseen, np.stack([wanted * 1e4 + 1e6, wanted * -1e-4], 1)) > 0.75
    assert estimator.predict(unseen).shape == (len(unseen), 2)
    single = CNNRegressor(max_iter=1, random_state=0).fit(x, targets[:, 0])
    assert single.predict(unseen).shape == (len(unseen),)
    assert np.abs(single.net_(unseen)[:, 0] - single.predict(unseen)).max() == 0
    for part in (slice(200), slice(200, 400)):
        single.partial_fit(x[part], targets[part, 0])
    assert single.n_iter_ == 3
    with pytest.raises(ValueError, match="y: expected 1 "):
        single.partial_fit(x, targets)


# -------------------------------------------------------------------------- tools of scikit-learn


def test_pipeline_cross_validation_and_calibration(digits):
    x, y, unseen, wanted = digits
    rows = x.reshape(400, 64)
    line = make_pipeline(StandardScaler(), small(image_shape=(8, 8)))
    assert cross_val_score(line, rows, y, cv=2).min() > 0.7
    calibrated = CalibratedClassifierCV(small(), cv=2).fit(x, y)
    assert calibrated.score(unseen, wanted) > 0.8


def used(estimator, *_):
    # threads of the kernels while the estimator works
    with estimator._threads():
        return get_num_threads()


SHARE = max(1, joblib.cpu_count() // 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python's of forks beside threads
@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        (("threading", {}), 1),
        (("multiprocessing", {}), 1),
        (("loky", {"inner_max_num_threads": 3}), 3),
        (("loky", {}), SHARE),
    ],
)
def test_jobs_share_the_processors(backend, expected, digits, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    x, y, *_ = digits
    name, options = backend
    search = GridSearchCV(
        small(max_iter=1), {"alpha": [0.0, 0.1]}, scoring=used, cv=2, n_jobs=2, refit=False
    )
    before = get_num_threads()
    with joblib.parallel_config(name, **options):
        search.fit(x[:100], y[:100])
    assert search.cv_results_["mean_test_score"].tolist() == [expected, expected]
    assert get_num_threads() == used(small()) == before


def test_any_number_of_jobs_finds_the_same(digits):
    x, y, *_ = digits
    grid = {"learning_rate_init": [1e-5, 0.005], "solver": ["adam", "sgd"]}
    alone, both = (
        GridSearchCV(small(max_iter=2), grid, cv=2, n_jobs=jobs).fit(x, y) for jobs in (1, 2)
    )
    scores = [search.cv_results_["mean_test_score"].tolist() for search in (alone, both)]
    assert scores[0] == scores[1]
    assert both.best_params_["learning_rate_init"] == 0.005


def test_number_of_threads_that_is_given_counts():
    answers = joblib.Parallel(2, backend="threading")(
        joblib.delayed(used)(small(num_threads=2)) for _ in range(2)
    )
    assert answers == [2, 2]


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("kind", [CNNClassifier, CNNRegressor])
def test_fitted_estimators_as_files(kind, digits, tmp_path):
    x, y, unseen, _ = digits
    estimator = kind(max_iter=2, random_state=0).fit(x, y)
    joblib.dump(estimator, tmp_path / "estimator.joblib")
    for copy in (
        joblib.load(tmp_path / "estimator.joblib"),
        pickle.loads(pickle.dumps(estimator)),
    ):
        assert np.array_equal(copy.predict(unseen), estimator.predict(unseen))
        copy.partial_fit(x, y)
        assert copy.n_iter_ == 3
    estimator.partial_fit(x, y)
    assert np.array_equal(copy.predict(unseen), estimator.predict(unseen))


@pytest.mark.parametrize("kind", [CNNClassifier, CNNRegressor])
def test_exported_files_take_raw_images(kind, digits, tmp_path):
    x, y, unseen, _ = digits
    raw, unseen = x * 255 + 7, unseen[:20] * 255 + 7
    estimator = kind(max_iter=2, random_state=0).fit(raw, y * 100)
    estimator.export_c(tmp_path / "digits.c")
    assert "digits_predict" in (tmp_path / "digits.h").read_text()
    pytest.importorskip("onnx")
    estimator.export_onnx(tmp_path / "digits.onnx")
    outputs = cnn_ext.Plan(cnn_ext.onnx.load(tmp_path / "digits.onnx"))(unseen)
    expected = estimator.net_(unseen)
    assert np.allclose(outputs, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_without_scikit_learn_it_says_what_to_install():
    code = "import sys; sys.modules['sklearn.base'] = None; import cnn_ext.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: cnn_ext.sklearn needs scikit-learn" in done.stderr
    assert "pip install 'cnn_ext[sklearn]'" in done.stderr
