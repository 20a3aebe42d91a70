"""Linear readouts: ridge beside scikit-learn's and NumPy's, recursive least squares beside ridge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, ShapeError
from recurra.learning import RecursiveLeastSquares, Ridge


def data(samples: int = 50) -> tuple[Tensor, Tensor]:
    x = torch.randn(samples, 4, dtype=torch.float64)
    return x, torch.stack([x[:, 0] - 2 * x[:, 1] + 3, x[:, 2] * x[:, 3]], 1)


def normal_equations(x: Tensor, y: Tensor, penalty: float, weights: Tensor | None = None) -> np.ndarray:
    """Return `(F + 1, O)` by NumPy's least squares, the penalty as rows of their own."""
    ones = np.hstack([x.numpy(), np.ones((len(x), 1))])
    scale = np.ones((len(x), 1)) if weights is None else weights.numpy()[:, None] ** 0.5
    first = np.vstack([scale * ones, penalty**0.5 * np.eye(ones.shape[1])])
    second = np.vstack([scale * y.numpy(), np.zeros((ones.shape[1], y.shape[1]))])
    return np.linalg.lstsq(first, second, rcond=None)[0]


def weights_of(linear: nn.Linear) -> np.ndarray:
    return np.vstack([linear.weight.detach().numpy().T, linear.bias.detach().numpy()])


@pytest.mark.parametrize("penalty", [0.0, 1e-6, 0.7])
def test_ridge_solves_the_penalised_least_squares(penalty: float) -> None:
    x, y = data()
    made = weights_of(Ridge(penalty).add(x, y).solve())
    np.testing.assert_allclose(made, normal_equations(x, y, penalty), rtol=1e-9, atol=1e-12)


def test_ridge_takes_sequences_in_any_number_of_parts() -> None:
    x, y = data()
    whole = Ridge(0.1).add(x.view(5, 10, 4), y.view(5, 10, 2)).solve()
    parts = Ridge(0.1)
    for k in range(5):
        parts.add(x[10 * k : 10 * k + 10], y[10 * k : 10 * k + 10])
    torch.testing.assert_close(parts.solve().weight, whole.weight)
    assert whole(x.view(5, 10, 4)).shape == (5, 10, 2)


def test_ridge_keeps_the_features_dtype_and_draws_no_random_number() -> None:
    x, y = data()
    before = torch.get_rng_state()
    linear = Ridge().add(x.float(), y.float()).solve()
    assert linear.weight.dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), before)
    assert linear(x.float()[:, :4]).sub(y.float())[:, 0].abs().max() < 1e-4


def test_recursive_least_squares_equals_ridge_after_every_sample() -> None:
    x, y = data(12)
    online = RecursiveLeastSquares(4, 2, penalty=0.3)
    for n in range(12):
        online.update(x[n], y[n])
        expected = normal_equations(x[: n + 1], y[: n + 1], 0.3)
        np.testing.assert_allclose(weights_of(online.solve().double()), expected, rtol=1e-6, atol=1e-6)


def test_errors_are_those_of_the_forecast_before_learning() -> None:
    x, y = data(12)
    online = RecursiveLeastSquares(4, 2, penalty=0.3)
    errors = online.update(x.view(3, 4, 4), y.view(3, 4, 2)).view(12, 2)
    torch.testing.assert_close(errors[0], y[0])
    before = Ridge(0.3).add(x[:7], y[:7]).solve()
    torch.testing.assert_close(errors[7], y[7] - before(x[7]))


def test_forgetting_weighs_samples_by_their_age() -> None:
    x, y = data(30)
    online = RecursiveLeastSquares(4, 2, penalty=1.0, forgetting=0.9)
    online.update(x, y)
    ages = 0.9 ** torch.arange(29, -1, -1, dtype=torch.float64)
    expected = normal_equations(x, y, 0.9**30, ages)
    np.testing.assert_allclose(weights_of(online.solve()), expected, rtol=1e-8, atol=1e-10)


def test_forgetting_keeps_up_with_a_change() -> None:
    x, y = data(400)
    changed = torch.cat([y[:200], -y[200:]])
    late = {f: RecursiveLeastSquares(4, 2, forgetting=f).update(x, changed)[-50:, 0].abs().max() for f in (1.0, 0.9)}
    assert late[0.9] < 1e-3 < late[1.0]


def test_what_does_not_fit_is_refused() -> None:
    x, y = data()
    with pytest.raises(
        ShapeError, match=r"expected a target for each sample, got features \(50, 4\) and targets \(49, 2\)"
    ):
        Ridge().add(x, y[:49])
    with pytest.raises(ShapeError, match="expected 4 features and 2 targets as before, got 3 and 2"):
        Ridge().add(x, y).add(x[:, :3], y)
    with pytest.raises(ShapeError, match="expected 5 features and 2 targets, got 4 and 2"):
        RecursiveLeastSquares(5, 2).update(x, y)
    with pytest.raises(ArgumentError, match=r"there is nothing to fit yet: call add\(features, targets\) first"):
        Ridge().solve()
    with pytest.raises(ArgumentError, match="a penalty above 0 is needed"):
        Ridge(0.0).add(torch.zeros(3, 2), torch.zeros(3, 1)).solve()
    with pytest.raises(ArgumentError, match="penalty must not be negative, got -1"):
        Ridge(-1)
    with pytest.raises(ArgumentError, match="forgetting must be above 0 and at most 1, got 0"):
        RecursiveLeastSquares(1, 1, forgetting=0)
    with pytest.raises(ArgumentError, match=r"penalty must be above 0, got 0"):
        RecursiveLeastSquares(1, 1, penalty=0)
    with pytest.raises(ArgumentError, match="expected at least 1 feature and 1 target, got 0 and 1"):
        RecursiveLeastSquares(0, 1)
