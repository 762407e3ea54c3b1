"""The path is scikit-learn's optimum, certified over all columns, and does not depend on how little memory it has."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

from hneurons import store
from hneurons.cett.columns import ArrayColumns, ShardColumns
from hneurons.cett.shards import shard_table
from hneurons.errors import HNeuronsError
from hneurons.models.widths import Widths
from hneurons.probe.estimator import SparseLogisticRegression, training_problem
from hneurons.probe.l1_path import Problem, fit_l1_path
from hneurons.probe.l2_path import fit_l2_path

QUIET = {"progress": False}


def random_problem(n=150, p=400):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    return X, (X[:, :5].sum(axis=1) + rng.normal(size=n) > 0.8).astype(int)


def cett_like(n=240, p=900):
    """Small, positive, correlated and of very different sizes, as CETT is; a quarter of the rows are labelled 1."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(n, 6)) @ rng.normal(size=(6, p)) * 0.2
    X = np.exp(rng.normal(-3, 0.8, size=p) + common + 0.4 * rng.normal(size=(n, p)))
    score = (X[:, :8] / X[:, :8].std(axis=0)).sum(axis=1) + 2 * rng.normal(size=n)
    return X.astype(np.float16), (score > np.quantile(score, 0.75)).astype(int)


PROBLEMS = {"random": random_problem, "cett-like": cett_like}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]()


def objective(X, y, w, b, C, penalised=False):
    logits = X.astype(np.float64) @ w + b
    return C * np.logaddexp(0, np.where(y == 1, -logits, logits)).sum() + np.abs(w).sum() + penalised * abs(b)


def dense(fit, p):
    w = np.zeros(p)
    w[fit.columns] = fit.weights
    return w


def grid(X, y, n=5):
    first = 1 / np.abs((y - y.mean()) @ X.astype(np.float64)).max()
    return list(first * np.geomspace(1.01, 300, n))


@pytest.mark.slow
def test_free_intercept_is_the_optimum_of_saga(problem):
    X, y = problem
    fits = fit_l1_path(ArrayColumns(X), [Problem(y, np.ones(len(y)))], Cs := grid(X, y), **QUIET).fits[0]
    assert [f.C for f in fits] == Cs and all(f.converged and f.gap < 1e-6 for f in fits)
    for fit in fits[:3]:
        saga = LogisticRegression(C=fit.C, l1_ratio=1.0, solver="saga", max_iter=20_000, tol=1e-8)
        saga.fit(X.astype(np.float64), y)
        theirs = objective(X, y, saga.coef_[0], saga.intercept_[0], fit.C)
        assert fit.objective == pytest.approx(objective(X, y, dense(fit, X.shape[1]), fit.intercept, fit.C), rel=1e-9)
        assert fit.objective <= theirs * (1 + 1e-6)
        if saga.n_iter_[0] < 20_000 and theirs <= fit.objective * (1 + 1e-9):
            assert list(np.flatnonzero(saga.coef_[0])) == list(fit.columns)


def test_penalised_intercept_is_the_optimum_of_liblinear(problem):
    X, y = problem
    fits = fit_l1_path(ArrayColumns(X), [Problem(y, np.ones(len(y)))], grid(X, y), intercept="penalised", **QUIET).fits[0]
    for fit in fits:
        liblinear = LogisticRegression(C=fit.C, l1_ratio=1.0, solver="liblinear", max_iter=20_000, tol=1e-9, random_state=0)
        liblinear.fit(X.astype(np.float64), y)
        theirs = objective(X, y, liblinear.coef_[0], liblinear.intercept_[0], fit.C, penalised=True)
        assert fit.converged and fit.objective <= theirs * (1 + 1e-6)
        if theirs <= fit.objective * (1 + 1e-9):
            assert list(np.flatnonzero(liblinear.coef_[0])) == list(fit.columns)


def test_the_certificate_holds_over_all_columns(problem):
    X, y = problem
    for fit in fit_l1_path(ArrayColumns(X), [Problem(y, np.ones(len(y)))], grid(X, y), memory_gb=1e-4, **QUIET).fits[0]:
        w = dense(fit, X.shape[1])
        slopes = fit.C * (y - expit(X.astype(np.float64) @ w + fit.intercept)) @ X.astype(np.float64)
        off = np.where(w != 0, np.abs(slopes - np.sign(w)), np.maximum(0, np.abs(slopes) - 1))
        assert off.max() <= 1e-7 and fit.violation == pytest.approx(off.max(), abs=1e-10)


def test_little_memory_changes_the_passes_and_nothing_else():
    X, y = cett_like(p=6000)
    problem = [Problem(y, np.ones(len(y)))]
    # An eighth of it holds 500 columns.
    little = fit_l1_path(ArrayColumns(X), problem, Cs := grid(X, y, 10), memory_gb=8 * 500 * X.nbytes / 6000 / 1e9, **QUIET)
    much = fit_l1_path(ArrayColumns(X), problem, Cs, threads=2, **QUIET)
    assert much.passes == 1 < little.passes <= 3 * len(Cs)
    for a, b in zip(little.fits[0], much.fits[0], strict=True):
        assert list(a.columns) == list(b.columns)
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-5, atol=1e-7)


def test_weights_of_rows_are_rows_that_stand_several_times():
    X, y = cett_like()
    times = np.random.default_rng(3).integers(0, 4, len(y))
    rows = np.repeat(np.arange(len(y)), times)
    C = grid(X, y)[3]
    everyone, weighted = fit_l1_path(
        ArrayColumns(X), [Problem(y, np.ones(len(y))), Problem(y, times.astype(float))], [C], **QUIET
    ).fits
    repeated = fit_l1_path(ArrayColumns(X[rows]), [Problem(y[rows], np.ones(len(rows)))], [C], **QUIET).fits[0][0]
    assert weighted[0].objective == pytest.approx(repeated.objective, rel=1e-9)
    assert list(weighted[0].columns) == list(repeated.columns) != list(everyone[0].columns)


def test_too_strong_a_penalty_leaves_no_weight_and_says_so():
    X, y = cett_like()
    fit = fit_l1_path(ArrayColumns(X), [Problem(y, np.ones(len(y)))], [grid(X, y)[0] / 2], **QUIET).fits[0][0]
    assert len(fit.columns) == 0 and fit.converged and fit.gap == pytest.approx(0, abs=1e-12)
    assert fit.intercept == pytest.approx(np.log(y.mean() / (1 - y.mean())))


def test_weights_that_cross_zero_one_after_the_other_are_progress():
    X, y = cett_like()
    fits = fit_l1_path(ArrayColumns(X), [Problem(y, np.ones(len(y)))], [10, 30, 100, 300, 1000], **QUIET).fits[0]
    assert all(fit.converged and fit.gap < 1e-6 for fit in fits)


def test_a_penalty_too_weak_to_converge_is_flagged_with_its_gap():
    X, y = cett_like()
    strong, weak = fit_l1_path(ArrayColumns(X), [Problem(y, np.ones(len(y)))], [10, 1e6], **QUIET).fits[0]
    assert strong.converged and strong.gap < 1e-6
    assert not weak.converged and weak.violation > 1e-7 and 0 < weak.gap < 1


def test_one_class_is_refused():
    with pytest.raises(HNeuronsError, match="the training rows hold one class only"):
        Problem(np.ones(4), np.ones(4))
    with pytest.raises(HNeuronsError, match="one class only"):
        Problem(np.array([0, 0, 1]), np.array([1, 1, 0]))


@pytest.mark.parametrize("intercept", ["free", "penalised"])
def test_l2_is_the_optimum_of_scikit_learn(problem, intercept):
    X, y = problem
    fits = fit_l2_path(ArrayColumns(X), [Problem(y, np.ones(len(y)))], [0.1, 10], intercept=intercept, **QUIET).fits[0]
    for fit in fits:
        A = X.astype(np.float64)
        A = np.append(A, np.ones((len(A), 1)), axis=1) if intercept == "penalised" else A
        theirs = LogisticRegression(C=fit.C, fit_intercept=intercept == "free", tol=1e-9, max_iter=20_000).fit(A, y)
        w = theirs.coef_[0][: X.shape[1]]
        assert fit.converged and fit.gap < 1e-6
        np.testing.assert_allclose(fit.weights, w, atol=2e-4 * np.abs(w).max())


LAYERS, D_FF = 3, 70


def write_shards(folder, X, y, change=lambda rows: None):
    """Rows of X in two shards; the odd ones are other tokens."""
    paths = []
    for k, part in enumerate(np.array_split(np.arange(len(X)), 2)):
        rows = [
            {
                "question_id": f"q{i // 2}",
                "sample": 0,
                "split": "train" if i % 5 else "selection",
                "region": ("answer", "other")[i % 2],
                "label": int(y[i]),
            }
            for i in part
        ]
        change(rows)
        table = shard_table(rows, [X[i].reshape(LAYERS, D_FF) for i in part], Widths.of_layers(LAYERS, D_FF))
        paths.append(folder / f"{k:04d}.parquet")
        store.write_table(paths[-1], table, {"layers": LAYERS})
    return paths


@pytest.fixture
def shards(tmp_path):
    return write_shards(tmp_path, *cett_like(p=LAYERS * D_FF))


def test_shards_are_read_as_the_matrix_that_they_hold(shards):
    X, y = cett_like(p=LAYERS * D_FF)
    # So little memory that a layer is read in slices.
    columns = ShardColumns(shards, memory_gb=8 * 2 * len(X) * 30 / 1e9)
    read = list(columns.blocks())
    assert [first for first, _ in read[:4]] == [0, 30, 60, 70]
    np.testing.assert_array_equal(np.concatenate([b for _, b in read], axis=1), X)
    some = np.array([200, 3, 71])
    np.testing.assert_array_equal(columns.take(some), X[:, some])
    for labels in ("3-vs-1", "1-vs-1"):
        problem = training_problem(columns, labels)
        train = [i for i in range(len(X)) if i % 5 and (labels == "3-vs-1" or i % 2 == 0)]
        assert list(np.flatnonzero(problem.weight)) == train
        assert all(problem.y[i] == (y[i] == 1 and i % 2 == 0) for i in train)


def test_fit_path_of_shards_is_the_fit_of_the_matrix(shards):
    X, y = cett_like(p=LAYERS * D_FF)
    answers = [i for i in range(len(X)) if i % 5 and i % 2 == 0]
    model = SparseLogisticRegression(memory_gb=1e-4)
    fit = model.fit_path(shards, [5.0], labels="1-vs-1").fits[0][0]
    model.set_params(C=5.0).fit(X[answers], y[answers])
    np.testing.assert_allclose(dense(fit, X.shape[1]), model.coef_[0], atol=1e-5)
    assert model.converged_ and model.gap_ < 1e-6 and fit.intercept == pytest.approx(model.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5])
def test_a_value_that_is_no_share_is_named(tmp_path, value):
    X, y = cett_like(p=LAYERS * D_FF)
    X[31, 2 * D_FF + 4] = value
    table = shard_table([], [], Widths.of_layers(LAYERS, D_FF))
    names = ("question_id", "sample", "split", "region", "label")
    columns = [pa.array([f"q{i}" for i in range(len(X))]), *(pa.array([v] * len(X)) for v in (0, "train", "answer"))]
    cells = [
        pa.array([row.tobytes() for row in X[:, k * D_FF : (k + 1) * D_FF]], pa.binary(2 * D_FF)) for k in range(LAYERS)
    ]
    path = tmp_path / "0000.parquet"
    made = [*columns, pa.array(y), *cells]
    store.write_table(path, pa.table(dict(zip([*names, *table.schema.names[5:]], made, strict=True))), {})
    schema = table.schema.metadata
    store.write_table(path, store.read_table(path).cast(table.schema).replace_schema_metadata(schema), {})
    with pytest.raises(HNeuronsError, match=r"0000.parquet: q31, layer_002: a value is NaN, infinite or negative"):
        list(ShardColumns([path]).blocks())


def test_shards_that_do_not_fit_are_named(shards, tmp_path):
    table = store.read_table(shards[0])
    store.write_table(shards[0], table.drop_columns("layer_001"), {"layers": LAYERS})
    with pytest.raises(HNeuronsError, match=r"0000.parquet: layer_001 is missing"):
        ShardColumns(shards)
    store.write_table(shards[0], table, {"layers": LAYERS})
    with pytest.raises(HNeuronsError, match=r"\('q0', 0, 'answer'\) appears 2 times"):
        ShardColumns([shards[0], *shards])
    with pytest.raises(HNeuronsError, match="no CETT shards"):
        ShardColumns([])

    def no_hallucination(rows):
        for row in rows:
            row["label"] = 0

    paths = write_shards(tmp_path, *cett_like(p=LAYERS * D_FF), no_hallucination)
    with pytest.raises(HNeuronsError, match="one class only"):
        SparseLogisticRegression().fit_path(paths, [1.0])


def test_it_is_a_scikit_learn_estimator():
    check_estimator(SparseLogisticRegression(C=10.0))
