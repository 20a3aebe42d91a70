"""The runtime's packed products in register tiles, against NumPy: odd sizes, zero blocks, several in one tile."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest
from runtime_library import WIDTHS, load, pointer

SOURCE = """
#include "tiles.h"
using namespace recurra;
using L = int64_t;

// c (M, 2, N): c[:, 0] = a1 w1[:, :N] and c[:, 1] = a1 w1[:, N:] + a2 w2, in tiles of up to 5 rows by C vectors.
template <class R, int C>
static void product(L M, L N, L K1, L K2, const R* a1, const R* a2, const R* w1, L down, L right, const R* w2, R* c,
                    R* packed, L* ranges) {
    constexpr int width = C * LANES<R>;
    const L blocks = (N + width - 1) / width;
    const R *first[] = {w1, w1}, *second[] = {w2};
    const Columns both[] = {{0, 0, down, right}, {0, N * right, down, right}}, one[] = {{0, 0, N, 1}};
    pack<R>(first, both, 2, K1, N, width, packed, ranges);
    pack<R>(second, one, 1, K2, N, width, packed + blocks * K1 * 2 * width, ranges + 2 * blocks);
    for (L block = 0; block < blocks; block++)
        for (L m = 0, r; m < M; m += r) {
            r = M - m < 5 ? M - m : 5;
            alignas(64) R z[5 * 2 * width];
            const R* left[5];
            for (L q = 0; q < r; q++) left[q] = a1 + (m + q) * K1;
            tiles<R, C, 2, 5, 3u, 0, 1>(r, left, packed + block * K1 * 2 * width, ranges + 2 * block, z);
            for (L q = 0; q < r; q++) left[q] = a2 + (m + q) * K2;
            tiles<R, C, 2, 5, 0u, 1>(r, left, packed + (blocks * K1 * 2 + block * K2) * width,
                                     ranges + 2 * blocks + 2 * block, z);
            for (L q = 0; q < r; q++)
                for (L g = 0; g < 2; g++)
                    for (L j = block * width; j < N && j < (block + 1) * width; j++)
                        c[((m + q) * 2 + g) * N + j] = z[(q * 2 + g) * width + j - block * width];
        }
}
#define FOR(R, bytes, C) extern "C" void product_##bytes(L M, L N, L K1, L K2, const R* a1, const R* a2, const R* w1, \\
    L down, L right, const R* w2, R* c, R* packed, L* ranges) { \\
    product<R, C>(M, N, K1, K2, a1, a2, w1, down, right, w2, c, packed, ranges); }
FOR(float, 4, 2)
FOR(double, 8, 1)
"""

DTYPES = [np.float32, np.float64]


@pytest.fixture(scope="module", params=sorted(WIDTHS))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load(tmp_path_factory.mktemp("tiles"), SOURCE, request.param, "tiles")


def _product(library: ctypes.CDLL, a1: np.ndarray, a2: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> np.ndarray:
    """Return [a1 @ w1[:, :N], a1 @ w1[:, N:] + a2 @ w2] for N columns of w2; w1 may have any strides."""
    (M, K1), (K2, N) = a1.shape, w2.shape
    out = np.full((M, 2, N), np.nan, a1.dtype)
    packed = np.full((N + 32) * (2 * K1 + K2), np.nan, a1.dtype)
    ranges = np.full(8 * N + 8, -1, np.int64)
    strides = [ctypes.c_int64(s // w1.itemsize) for s in w1.strides]
    getattr(library, f"product_{a1.itemsize}")(
        *map(ctypes.c_int64, (M, N, K1, K2)), pointer(a1), pointer(a2), ctypes.c_void_p(w1.ctypes.data), *strides,
        pointer(w2), pointer(out), pointer(packed), pointer(ranges),
    )  # fmt: skip
    return out


def _wanted(a1: np.ndarray, a2: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> np.ndarray:
    N = w2.shape[1]
    return np.stack([a1 @ w1[:, :N], a1 @ w1[:, N:] + a2 @ w2], 1)


def _whole(random: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Small whole numbers: their products and sums are exact, so that results must be equal."""
    return random.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_odd_sizes(library: ctypes.CDLL, dtype: type) -> None:
    random = np.random.default_rng(0)
    for M, N, K in itertools.product(range(1, 12), (1, 3, 4, 7, 8, 15, 16, 17, 33, 64, 70), (1, 2, 3, 8, 17, 70)):
        a1, a2 = _whole(random, (M, K), dtype), _whole(random, (M, 5), dtype)
        w1, w2 = _whole(random, (K, 2 * N), dtype), _whole(random, (5, N), dtype)
        w1 = w1 if (M + N) % 2 else np.asfortranarray(w1)
        assert np.array_equal(_product(library, a1, a2, w1, w2), _wanted(a1, a2, w1, w2)), (M, N, K)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_blocks_are_left_out(library: ctypes.CDLL, dtype: type) -> None:
    """Where a panel's weights are zero, the other side is not even read: NaN there does no harm."""
    random = np.random.default_rng(1)
    a1, a2 = _whole(random, (5, 60), dtype), _whole(random, (5, 3), dtype)
    w1, w2 = np.zeros((60, 64), dtype), _whole(random, (3, 32), dtype)
    w1[20:40] = random.integers(1, 4, (20, 64))
    wanted = _wanted(a1, a2, w1, w2)
    a1[:, :20], a1[:, 40:] = np.nan, np.nan
    assert np.array_equal(_product(library, a1, a2, w1, w2), wanted)
    w1[30] = 0.0  # a hole inside the range is multiplied as any number
    a1[:, 30] = np.nan
    assert np.isnan(_product(library, a1, a2, w1, w2)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_come_through(library: ctypes.CDLL, dtype: type) -> None:
    a1, a2 = np.ones((3, 4), dtype), np.ones((3, 2), dtype)
    w1, w2 = np.ones((4, 18), dtype), np.ones((2, 9), dtype)
    a1[1, 2], w1[0, 3] = np.nan, np.inf
    out = _product(library, a1, a2, w1, w2)
    assert np.isnan(out[1]).all()
    assert np.isinf(out[[0, 2], 0, 3]).all()
    w2[1, :] = np.nan
    assert np.isnan(_product(library, a1, a2, w1, w2)[:, 1]).all()
