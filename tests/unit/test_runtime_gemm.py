"""The runtime's packed matrix products, against NumPy: odd sizes, sparse blocks, gates in one tile, several terms."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from runtime_library import WIDTHS, build, can_run, load, pointer, width_flags

SOURCE = """
#include "gemm.h"
#include "math.h"
using namespace recurra;
using L = int64_t;

// C = A1 W1 + A2 W2 (+ bias) in float, C += A1 W1 + A2 W2 in double; A2 may have no columns.
template <class R, int U> static void product(L M, L N, L K1, L K2, const R* a1, const R* a2, const R* w, L rs, L cs,
                                              const R* bias, R* c, Range* ranges, R* packed) {
    R* second = packed + packed_size<R, 1, U>(K1, N);
    Range* more = ranges + panels<R, U>(N);
    pack<R, 1, U>(K1, N, w, rs, cs, packed, ranges);
    pack<R, 1, U>(K2, N, w + K1 * rs, rs, cs, second, more);
    const Term<R> one{a1, K1, {packed, ranges, K1}}, two{a2, K2, {second, more, K2}};
    const L half = M / 2;  // as two threads would share the rows
    const auto run = [&](L first, L rows) {
        if constexpr (sizeof(R) == 8) gemm<R, U>(first, rows, N, RowsOf<R>{c, N}, c, N, one, two);
        else if (bias) gemm<R, U>(first, rows, N, RowOf<R>{bias}, c, N, one, two);
        else gemm<R, U>(first, rows, N, Nothing<R>{}, c, N, one, two);
    };
    run(0, half);
    run(half, M - half);
}
// One step of an LSTM: gates i, f, g, o over H units.
template <class R, int U, bool direct>
static void lstm(L M, L H, L K, const R* h, const R* w, const R* gates, const R* c, R* c_new, R* h_new, Range* ranges,
                 R* packed) {
    pack<R, 4, U>(K, H, w, 1, K, packed, ranges);
    const Term<R> term{h, K, {packed, ranges, K}};
    const auto unit = [&](L row, L j, auto lanes, const Vec<R>* pre) RECURRA_LAMBDA {
        const L at = row * H + j;
        const auto state = sigmoid(pre[1]) * load(c + at, lanes) + sigmoid(pre[0]) * recurra::tanh(pre[2]);
        store(c_new + at, state, lanes);
        store(h_new + at, sigmoid(pre[3]) * recurra::tanh(state), lanes);
    };
    const RowsOf<R> start{gates, 4 * H};
    if constexpr (!direct) {
        gemm_rows<R, 4, U>(0, M, H, start, each_unit<R, 4, U>(unit), term);
    } else {
        gemm_rows<R, 4, U>(0, M, H, start, [&](auto mr, L row, L j, auto count, auto& tile) RECURRA_LAMBDA {
            unroll<mr>([&](auto m) RECURRA_LAMBDA {
                unroll<U>([&](auto u) RECURRA_LAMBDA {
                    const Vec<R> pre[4] = {tile[m][u], tile[m][U + u], tile[m][2 * U + u], tile[m][3 * U + u]};
                    unit(row + m, j + u * LANES<R>, part<R>(count, u), pre);
                });
            });
        }, term);
    }
}
#define FOR(R, bytes) \\
    extern "C" L numbers_##bytes(L K, L N, L G) { return (N + PANEL<R, 2>) * K * G; } \\
    extern "C" void product_##bytes(L M, L N, L K1, L K2, const R* a1, const R* a2, const R* w, L rs, L cs, \\
            const R* bias, R* c, Range* ranges, R* packed) { \\
        product<R, bytes == 4 ? 2 : 1>(M, N, K1, K2, a1, a2, w, rs, cs, bias, c, ranges, packed); } \\
    extern "C" void lstm_##bytes(L M, L H, L K, const R* h, const R* w, const R* gates, const R* c, R* c_new, \\
            R* h_new, Range* ranges, R* packed) { \\
        lstm<R, bytes == 4 ? 2 : 1, bytes == 8>(M, H, K, h, w, gates, c, c_new, h_new, ranges, packed); }
FOR(float, 4)
FOR(double, 8)
"""

# Buffers of exactly the needed size, so that the sanitizer sees every step beyond their ends.
CHECKED = """
#include <cstdio>
#include <vector>
template <class R> using Numbers = std::vector<R>;
template <class R> static Numbers<R> filled(L n) {
    static unsigned seed = 1;
    Numbers<R> v(n);
    for (auto& x : v) x = R(int((seed = seed * 1664525u + 1013904223u) >> 16) % 7 - 3);
    return v;
}
template <class R, int U, bool direct> static int check() {
    int wrong = 0;
    for (L M : {1, 2, 3, 7, 13})
        for (L N : {1, 5, 16, 33})
            for (L K : {1, 2, 9, 31}) {
                const L K2 = K / 2;
                auto a1 = filled<R>(M * K), a2 = filled<R>(M * K2), w = filled<R>((K + K2) * N), c = filled<R>(M * N);
                const auto before = c;
                Numbers<R> packed(packed_size<R, 1, U>(K, N) + packed_size<R, 1, U>(K2, N));
                std::vector<Range> ranges(2 * panels<R, U>(N));
                product<R, U>(M, N, K, K2, a1.data(), a2.data(), w.data(), N, 1, nullptr, c.data(), ranges.data(),
                              packed.data());
                for (L i = 0; i < M; i++)
                    for (L j = 0; j < N; j++) {
                        R sum = sizeof(R) == 8 ? before[i * N + j] : R(0);
                        for (L k = 0; k < K; k++) sum += a1[i * K + k] * w[k * N + j];
                        for (L k = 0; k < K2; k++) sum += a2[i * K2 + k] * w[(K + k) * N + j];
                        wrong += sum != c[i * N + j];
                    }
                auto gates = filled<R>(M * 4 * N), v = filled<R>(4 * N * K), state = filled<R>(M * N);
                Numbers<R> panel(packed_size<R, 4, U>(K, N)), c_new(M * N), h_new(M * N);
                std::vector<Range> r(panels<R, U>(N));
                lstm<R, U, direct>(M, N, K, a1.data(), v.data(), gates.data(), state.data(), c_new.data(), h_new.data(),
                                   r.data(), panel.data());
            }
    return wrong;
}
int main() {
    const int wrong = check<float, 2, false>() + check<double, 1, true>();
    std::printf("%d wrong\\n", wrong);
    return wrong != 0;
}
"""

DTYPES = [np.float32, np.float64]


@pytest.fixture(scope="module", params=sorted(WIDTHS))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load(tmp_path_factory.mktemp("gemm"), SOURCE, request.param, "gemm")


def _space(library: ctypes.CDLL, dtype: type, K: int, N: int, gates: int) -> tuple[np.ndarray, np.ndarray]:
    count = getattr(library, f"numbers_{np.dtype(dtype).itemsize}")
    count.restype = ctypes.c_int64
    length = count(*map(ctypes.c_int64, (K + 1, N, gates))) * 2
    return np.full(4 * N + 8, -1, np.int32), np.full(length, np.nan, dtype)


def _product(
    library: ctypes.CDLL, a: np.ndarray, w: np.ndarray, split: int, start: np.ndarray | None = None
) -> np.ndarray:
    """a (M, K) times w (K, N of any strides), the first `split` columns of a as one term and the others as a second.

    `start`: a row to begin from in float32, a matrix to add to in float64.
    """
    (M, K), N = a.shape, w.shape[1]
    first, second = np.ascontiguousarray(a[:, :split]), np.ascontiguousarray(a[:, split:])
    out, bias = np.full((M, N), np.nan, a.dtype), None
    if a.dtype == np.float64:
        out = np.zeros_like(out) if start is None else start.copy()
    elif start is not None:
        bias = pointer(start)
    ranges, packed = _space(library, a.dtype.type, K, N, 1)
    sizes = map(ctypes.c_int64, (M, N, split, K - split))
    strides = [ctypes.c_int64(s // w.itemsize) for s in w.strides]
    getattr(library, f"product_{a.itemsize}")(
        *sizes, pointer(first), pointer(second), ctypes.c_void_p(w.ctypes.data), *strides, bias, pointer(out),
        pointer(ranges), pointer(packed),
    )  # fmt: skip
    return out


def _whole(random: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Small whole numbers: their products and sums are exact, so that results must be equal."""
    return random.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_odd_sizes(library: ctypes.CDLL, dtype: type) -> None:
    random = np.random.default_rng(0)
    sizes = list(
        itertools.product(range(1, 14), (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 70), (1, 2, 3, 8, 17, 70))
    )
    for M, N, K in sizes:
        a, w = _whole(random, (M, K), dtype), _whole(random, (K, N), dtype)
        w = w if (M + N) % 2 else np.asfortranarray(w)
        split = K if K % 2 else K // 2
        start = _whole(random, (N,) if dtype is np.float32 else (M, N), dtype)
        assert np.array_equal(_product(library, a, w, split), a @ w), (M, N, K)
        assert np.array_equal(_product(library, a, w, split, start), a @ w + start), (M, N, K)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_blocks_are_left_out(library: ctypes.CDLL, dtype: type) -> None:
    """Where a panel's weights are zero, the rows of the other matrix are not even read: NaN there does no harm."""
    random = np.random.default_rng(1)
    a, w = _whole(random, (5, 60), dtype), np.zeros((60, 64), dtype)
    w[20:40] = random.integers(1, 4, (20, 64))
    wanted = a @ w
    a[:, :20], a[:, 40:] = np.nan, np.nan
    assert np.array_equal(_product(library, a, w, 60), wanted)
    w[30] = 0.0  # a hole inside the range is multiplied as any number
    a[:, 30] = np.nan
    assert np.isnan(_product(library, a, w, 60)).all()
    assert np.array_equal(_product(library, a, np.zeros_like(w), 60), np.zeros((5, 64)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_come_through(library: ctypes.CDLL, dtype: type) -> None:
    a, w = np.ones((3, 4), dtype), np.ones((4, 9), dtype)
    a[1, 2], w[0, 3] = np.nan, np.inf
    out = _product(library, a, w, 4)
    assert np.isnan(out[1]).all()
    assert np.isinf(out[[0, 2], 3]).all()
    w[3, :] = np.nan
    assert np.isnan(_product(library, a, w, 4)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_gates_of_a_unit_reach_the_epilogue(library: ctypes.CDLL, dtype: type) -> None:
    """In float32 unit by unit, in float64 by an epilogue of whole tiles."""
    random = np.random.default_rng(2)
    for M, H, K in itertools.product((1, 2, 3, 4, 7, 13), (1, 7, 8, 17, 40), (1, 8, 33)):
        h, w = random.normal(size=(M, K)).astype(dtype), random.normal(size=(4 * H, K)).astype(dtype)
        gates, c = random.normal(size=(M, 4 * H)).astype(dtype), random.normal(size=(M, H)).astype(dtype)
        c_new, h_new = np.full_like(c, np.nan), np.full_like(c, np.nan)
        ranges, packed = _space(library, dtype, K, H, 4)
        getattr(library, f"lstm_{h.itemsize}")(
            *map(ctypes.c_int64, (M, H, K)), *map(pointer, (h, w, gates, c, c_new, h_new, ranges, packed))
        )
        i, f, g, o = np.split(gates.astype(float) + h.astype(float) @ w.astype(float).T, 4, axis=1)
        state = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        tolerance = 3e-5 if dtype is np.float32 else 1e-12
        assert np.allclose(c_new, state, atol=tolerance, rtol=tolerance), (M, H, K)
        assert np.allclose(h_new, np.tanh(state) / (1 + np.exp(-o)), atol=tolerance, rtol=tolerance), (M, H, K)


SANITIZE = [
    "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize-address-use-after-scope",
    "--param", "asan-stack=0", "-fno-sanitize=null,alignment,object-size,pointer-overflow",
]  # fmt: skip
"""Checks of every vector in a local variable would take the compiler minutes; the caller's buffers are on the heap."""


@pytest.mark.parametrize("width", [16, 32])
def test_no_step_beyond_the_buffers(tmp_path: Path, width: int) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ is installed, whose sanitizer flags these are")
    probe = tmp_path / "probe.cpp"
    probe.write_text("int main() {}")
    command = [compiler, *SANITIZE, str(probe), "-o", str(tmp_path / "probe")]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("the compiler has no address and undefined-behaviour sanitizers")
    program = build(tmp_path, SOURCE + CHECKED, [*width_flags(width), *SANITIZE], f"checked{width}")
    if not can_run(width):
        pytest.skip(f"compiled, but this processor cannot run vectors of {width} bytes")
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
