"""The runtime's vector functions: accurate over the whole range, special values, no side effect on the process."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from runtime_library import WIDTHS, load, pointer

FUNCTIONS = {
    "exp": "recurra::exp(x)", "expm1": "recurra::expm1(x)", "log": "recurra::log(x)", "log1p": "recurra::log1p(x)",
    "tanh": "recurra::tanh(x)", "sigmoid": "sigmoid(x)", "softplus": "softplus(x)", "erf": "recurra::erf(x)",
    "gelu": "gelu(x)", "gelu_tanh": "gelu_tanh(x)", "relu": "relu(x)", "sqrt": "recurra::sqrt(x)", "rsqrt": "rsqrt(x)",
    "reciprocal": "reciprocal(x)", "round": "recurra::round(x)", "floor": "recurra::floor(x)",
    "ceil": "recurra::ceil(x)", "trunc": "recurra::trunc(x)", "cube": "recurra::pow(x, 3)",
    "power": "recurra::pow(x, -1.7)", "sign": "sign(x)",
    "minimum": "minimum(x, splat<V>(1))", "maximum": "maximum(splat<V>(1), x)",
}  # fmt: skip

SOURCE = """
#include "error_function.h"
using namespace recurra;
template <class R, class F> static void each(const R* p, R* q, int64_t n, F f) {
    int64_t i = 0;
    for (; i + LANES<R> <= n; i += LANES<R>) store(q + i, f(load(p + i)));
    if (i < n) store(q + i, f(load(p + i, Some{int(n - i)})), Some{int(n - i)});
}
#define FUNCTION(name, value) \\
    extern "C" void name##_4(const float* p, float* q, int64_t n) { \\
        using V = Vec<float>; each(p, q, n, [](V x) RECURRA_LAMBDA -> V { return value; }); } \\
    extern "C" void name##_8(const double* p, double* q, int64_t n) { \\
        using V = Vec<double>; each(p, q, n, [](V x) RECURRA_LAMBDA -> V { return value; }); }
extern "C" unsigned control() { return _mm_getcsr(); }
extern "C" double total(const double* p, int n) { return sum_lanes(load(p, Some{n})) + max_lanes(load(p, Some{n})); }
extern "C" int lanes() { return LANES<float>; }
extern "C" void whole(const int64_t* p, int64_t* q, int64_t* r) {
    const auto a = load_long<float>(p), b = load_long<float>(p + LANES<float>);
    store_long<float>(q, floor_divide(a, b));
    store_long<float>(r, remainder(a, b));
}
""" + "\n".join(f"FUNCTION({name}, ({value}))" for name, value in FUNCTIONS.items())

Calls = Callable[[str, np.ndarray], np.ndarray]


@pytest.fixture(scope="module", params=sorted(WIDTHS))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load(tmp_path_factory.mktemp("math"), SOURCE, request.param, "math")


@pytest.fixture(scope="module")
def call(library: ctypes.CDLL) -> Calls:
    def run(name: str, x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x)
        y = np.empty_like(x)
        getattr(library, f"{name}_{x.itemsize}")(pointer(x), pointer(y), ctypes.c_int64(len(x)))
        return y

    return run


def _sigmoid(x: torch.Tensor) -> torch.Tensor:
    small = torch.exp(-x.abs())
    return torch.where(x < 0, small, 1.0) / (1 + small)


def _gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x == -math.inf, -0.0, x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


IN_DOUBLE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log1p": torch.log1p, "tanh": torch.tanh,
    "sigmoid": _sigmoid, "erf": torch.erf, "gelu_tanh": _gelu_tanh,
    "softplus": lambda x: torch.where(x > 20, x, torch.log1p(torch.exp(-x.abs())) + x.clamp(min=0)),
    "gelu": lambda x: torch.where(x == -math.inf, -0.0, x * torch.special.erfc(-x * 0.5**0.5) / 2),
    "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal, "relu": torch.relu,
    "round": torch.round, "floor": torch.floor, "ceil": torch.ceil, "trunc": torch.trunc,
    "cube": lambda x: x**3, "power": lambda x: x ** float(np.float32(-1.7)), "sign": torch.sign,
    "minimum": lambda x: torch.minimum(x, torch.ones(())), "maximum": lambda x: torch.maximum(x, torch.ones(())),
}  # fmt: skip
"""In double precision, whose errors are far below those looked for."""

SPECIAL = [
    0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 1e-45, -1e-45, 88.72283, 88.72284, -87.4, -100.0, -103.9,
    -103.98, 20.0, 20.000002, 9.02, -9.02, -17.4, -13.9, -14.4, 0.5, 1.5, 2.5, 8388607.5, 16777216.0,
]  # fmt: skip


@cache
def _singles() -> np.ndarray:
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**32, 1 << 22, dtype=np.uint32).view(np.float32)
    common = random.uniform(-110, 110, 1 << 20).astype(np.float32)
    near = random.normal(size=1 << 20).astype(np.float32)
    return np.concatenate([bits, common, near, np.array(SPECIAL, np.float32)])


@cache
def _truth(name: str) -> np.ndarray:
    x = torch.from_numpy(_singles()).double()
    y = IN_DOUBLE[name](x)
    if name in ("sigmoid", "gelu_tanh", "gelu", "softplus", "exp", "power"):
        y = torch.where(x.isnan(), math.nan, y)
    return torch.where(y.abs() > 3.4028235677973366e38, torch.copysign(torch.tensor(math.inf), y), y).numpy()


@pytest.mark.parametrize("name", sorted(IN_DOUBLE))
def test_single_precision_over_all_bit_patterns(call: Calls, name: str) -> None:
    x, truth = _singles(), _truth(name)
    if name == "power":  # the C library's own function, lane by lane
        x, truth = x[::16], truth[::16]
    with np.errstate(invalid="ignore"):  # signalling NaNs are among the bit patterns
        y = call(name, x).astype(np.float64)
        near = np.abs(y - truth) <= 4e-7 * np.abs(truth) + 1.5e-45
    right = near | (y == truth) | (np.isnan(y) & np.isnan(truth))
    assert right.all(), [(x[i], y[i], truth[i]) for i in np.flatnonzero(~right)[:5]]
    # Negative results that underflow keep their sign. relu and log of 1 may have either zero.
    if name not in ("relu", "log", "sign"):
        zero = truth == 0
        assert (np.signbit(y[zero]) == np.signbit(truth[zero])).all()


def test_tanh_and_erf_stay_within_one(call: Calls) -> None:
    x = np.linspace(-20, 20, 2_000_001, dtype=np.float32)
    assert np.abs(call("tanh", x)).max() == 1.0
    assert np.abs(call("erf", x)).max() == 1.0
    assert call("sigmoid", np.zeros(3, np.float32)).tolist() == [0.5] * 3


KAPPA = mpmath.mpf(0.044715)  # the double that torch multiplies by
PRECISE: dict[str, Callable[[mpmath.mpf], mpmath.mpf]] = {
    "exp": mpmath.exp, "expm1": mpmath.expm1, "log": mpmath.log, "log1p": mpmath.log1p, "tanh": mpmath.tanh,
    "erf": mpmath.erf, "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: x if x > 20 else mpmath.log1p(mpmath.exp(x)),
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "gelu_tanh": lambda x: x / (1 + mpmath.exp(-2 * mpmath.sqrt(2 / mpmath.pi) * (x + KAPPA * x**3))),
}  # fmt: skip


@cache
def _doubles() -> np.ndarray:
    random, n = np.random.default_rng(1), 400
    signs = random.choice([-1.0, 1.0], n)
    edges = [
        5e-324,
        -5e-324,
        709.78,
        709.79,
        -708.3,
        -745.1,
        -745.2,
        1e-310,
        20.0,
        20.00000001,
        -37.5,
        -38.4,
        19.1,
        5.9,
    ]
    return np.concatenate([
        random.uniform(-760, 760, n), random.uniform(-40, 40, n), random.normal(size=n), -random.uniform(0, 3, n),
        random.normal(size=n) * 1e-4, signs * 10 ** random.uniform(-320, 3, n), 1 + random.normal(size=n) * 1e-6, edges,
    ])  # fmt: skip


@cache
def _precise(name: str) -> tuple[list[int], list[mpmath.mpf]]:
    lowest = {"log": 0.0, "log1p": -1.0}.get(name, -math.inf)
    chosen = [i for i, x in enumerate(_doubles()) if x > lowest]
    with mpmath.workdps(40):
        return chosen, [PRECISE[name](mpmath.mpf(float(_doubles()[i]))) for i in chosen]


@pytest.mark.parametrize("name", sorted(PRECISE))
def test_double_precision(call: Calls, name: str) -> None:
    chosen, truth = _precise(name)
    x = _doubles()[chosen]
    with mpmath.workdps(40):
        for at, got, wanted in zip(x, call(name, x), truth, strict=True):
            if abs(wanted) > mpmath.mpf(1.7976931348623157e308):
                assert np.isinf(got), at
            else:
                error = abs(mpmath.mpf(float(got)) - wanted)
                assert error <= mpmath.mpf("1e-14") * abs(wanted) + mpmath.mpf("5e-324"), (at, got, wanted)


@pytest.mark.parametrize("name", sorted(set(IN_DOUBLE) - {"power"}))
def test_special_values_of_double_precision(call: Calls, name: str) -> None:
    x = np.array([0.0, -0.0, math.inf, -math.inf, math.nan, 1e300, -1e300])
    truth = IN_DOUBLE[name](torch.from_numpy(x)).numpy()
    truth[np.isnan(x)] = 0.0 if name == "sign" else math.nan
    if name == "gelu_tanh":
        truth[-2:] = 1e300, -0.0
    assert np.allclose(call(name, x), truth, rtol=1e-14, atol=0, equal_nan=True)


def test_the_process_keeps_its_denormals(library: ctypes.CDLL) -> None:
    library.control.restype = ctypes.c_uint
    assert library.control() & 0x8040 == 0  # flush to zero, denormals are zero
    assert np.float32(1e-40) * np.float32(0.5) > 0


def test_sums_of_lanes(library: ctypes.CDLL) -> None:
    library.total.restype = ctypes.c_double
    numbers = np.array([3.0, 5.0])
    assert library.total(pointer(numbers), 1) == 6.0
    assert library.total(pointer(numbers), 2) == 13.0


def test_whole_numbers_divide_as_in_torch(library: ctypes.CDLL) -> None:
    n = library.lanes()
    dividend = np.resize(np.array([7, -7, 7, -7, 3, -3, 0, 8]), n)
    divisor = np.resize(np.array([2, 2, -2, -2, 5]), n)
    quotient, rest = np.zeros(n, np.int64), np.zeros(n, np.int64)
    library.whole(pointer(np.concatenate([dividend, divisor])), pointer(quotient), pointer(rest))
    assert quotient.tolist() == (dividend // divisor).tolist()
    assert rest.tolist() == (dividend % divisor).tolist()
