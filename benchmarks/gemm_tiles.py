"""The runtime's register tiles against torch.mm, and its tanh, sigmoid and exp against torch's, on one thread.

    python benchmarks/gemm_tiles.py [--width 32]

Contestants take turns; a figure is the median of its turns. GFLOP/s count 2 M K N a product. The weights are packed
once, as in inference. `gates` is the product with all four gates of a unit in one tile, `lstm` the same with the cell's
pointwise part as the tile's epilogue, and its rate counts the product's operations only.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import recurra.compiler

FLAGS = ["-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
SHAPES = [(32, 128, 512), (32, 512, 2048), (1, 64, 256), (8, 32, 128)]

SOURCE = """
#include "error_function.h"
#include "tiles.h"
using namespace recurra;
using L = int64_t;
constexpr int MOST = VECTOR_BYTES == 64 ? 6 : 3;
#define TURNS for (L turn = 0; turn < turns; turn++)
// Four vectors of one product, and one vector of each of four gates, packed so that both are the same tile.
extern "C" void pack_plain(L K, L N, const float* w, float* p, L* r) {
    const float* from[] = {w};
    const Columns columns[] = {{0, 0, N, 1}};
    pack<float>(from, columns, 1, K, N, 4 * LANES<float>, p, r);
}
extern "C" void pack_gates(L K, L N, const float* w, float* p, L* r) {
    const float* from[] = {w, w, w, w};
    const L H = N / 4;
    const Columns columns[] = {{0, 0, N, 1}, {0, H, N, 1}, {0, 2 * H, N, 1}, {0, 3 * H, N, 1}};
    pack<float>(from, columns, 4, K, H, LANES<float>, p, r);
}
template <int C, int G, class F>
static void all(L M, L K, L N, const float* a, const float* p, const L* r, F epilogue) {
    constexpr int width = C * LANES<float>;
    for (L block = 0; block < N / G / width; block++) {
        const L pieces = (M + MOST - 1) / MOST;
        for (L piece = 0, m = 0, rows; piece < pieces; piece++, m += rows) {
            rows = M / pieces + (piece < M % pieces);
            alignas(64) float z[MOST * G * width];
            const float* left[MOST];
            for (L q = 0; q < rows; q++) left[q] = a + (m + q) * K;
            if constexpr (G == 1) tiles<float, C, 1, MOST, 1u, 0>(rows, left, p + block * K * width, r + 2 * block, z);
            else tiles<float, C, 4, MOST, 15u, 0, 1, 2, 3>(rows, left, p + block * K * 4 * width, r + 2 * block, z);
            for (L q = 0; q < rows; q++) epilogue(m + q, block * width, z + q * G * width);
        }
    }
}
extern "C" void plain(L turns, L M, L K, L N, const float* a, const float* p, const L* r, float* c) {
    TURNS all<4, 1>(M, K, N, a, p, r, [&](L row, L j, const float* z) {
        for (int u = 0; u < 4 * LANES<float>; u += LANES<float>) store(c + row * N + j + u, load(z + u));
    });
}
extern "C" void gates(L turns, L M, L K, L N, const float* a, const float* p, const L* r, float* c) {
    TURNS all<1, 4>(M, K, N, a, p, r, [&](L row, L j, const float* z) {
        for (int g = 0; g < 4; g++) store(c + row * N + g * (N / 4) + j, load(z + g * LANES<float>));
    });
}
extern "C" void lstm(L turns, L M, L K, L N, const float* a, const float* p, const L* r, float* c) {
    const L H = N / 4;  // the new states go into c, whose first row serves as bias and old state
    TURNS all<1, 4>(M, K, N, a, p, r, [&](L row, L j, const float* z) {
        const auto pre = [&](int g) { return load(z + g * LANES<float>) + load(c + g * H + j); };
        const auto s = sigmoid(pre(1)) * load(c + j) + sigmoid(pre(0)) * recurra::tanh(pre(2));
        store(c + (row + 1) * N + j, s);
        store(c + (row + 1) * N + H + j, sigmoid(pre(3)) * recurra::tanh(s));
    });
}
#define POINTWISE(name, value) extern "C" void name##_all(L turns, L n, const float* x, float* y) { \\
    TURNS for (L i = 0; i < n; i += LANES<float>) { const auto v = load(x + i); store(y + i, value); } }
POINTWISE(tanh, recurra::tanh(v))
POINTWISE(sigmoid, recurra::sigmoid(v))
POINTWISE(exp, recurra::exp(v))
"""


def main() -> None:
    """Build, measure, print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--width", type=int, choices=[16, 32, 64], help="bytes of a vector; default: the widest")
    width = arguments.parse_args().width
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        library = _build(Path(folder), width)
    big = torch.randn(1024, 1024)
    (seconds,) = _medians({"mm": lambda turns: [torch.mm(big, big) for _ in range(turns)]}).values()
    print(f"torch.mm of 1024 x 1024 x 1024: {2 * 1024**3 / seconds / 1e9:.0f} GFLOP/s")
    print("| M, K, N | torch.mm | tiles | gates | lstm |  (GFLOP/s)\n|---|---|---|---|---|")
    for M, K, N in SHAPES:
        seconds_of = _medians(_products(library, M, K, N))
        rates = [f"{2 * M * K * N / s / 1e9:.1f}" for s in seconds_of.values()]
        print(f"| {M}, {K}, {N} | " + " | ".join(rates) + " |")
    print("| function | torch | ours |  (1e9 elements a second)\n|---|---|---|")
    for name in ("tanh", "sigmoid", "exp"):
        theirs, ours = _medians(_pointwise(library, name)).values()
        print(f"| {name} | {4096 / theirs / 1e9:.2f} | {4096 / ours / 1e9:.2f} |")


def _build(folder: Path, width: int | None) -> ctypes.CDLL:
    headers = Path(recurra.compiler.__file__).parent / "runtime"
    (folder / "tiles.cpp").write_text(SOURCE)
    chosen = [f"-DRECURRA_VECTOR_BYTES={width}"] if width else []
    made = folder / "tiles.so"
    source = str(folder / "tiles.cpp")
    command = ["g++", *FLAGS, "-shared", "-fPIC", *chosen, f"-I{headers}", source, "-o", str(made)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(made))


def _products(library: ctypes.CDLL, M: int, K: int, N: int) -> dict[str, Callable[[int], object]]:
    a, w, out = torch.randn(M, K), torch.randn(K, N), torch.empty(M, N)
    room = torch.zeros(M + 1, N)
    sizes = [ctypes.c_int64(n) for n in (M, K, N)]

    def tiles(name: str, packing: str) -> Callable[[int], object]:
        packed, ranges = _aligned(K * (N + 512)), torch.zeros(2 * N, dtype=torch.int64)
        keep = (packed, ranges, room)  # only addresses go into the call
        library[packing](*sizes[1:], _address(w), _address(packed), _address(ranges))
        rest = [_address(t) for t in (a, packed, ranges, room)]
        return lambda turns: (library[name](ctypes.c_int64(turns), *sizes, *rest), keep)

    contestants: dict[str, Callable[[int], object]] = {
        "torch.mm": lambda turns: [torch.mm(a, w, out=out) for _ in range(turns)],
        "tiles": tiles("plain", "pack_plain"),
        "gates": tiles("gates", "pack_gates"),
        "lstm": tiles("lstm", "pack_gates"),
    }
    for name in ("tiles", "gates"):
        contestants[name](1)
        torch.testing.assert_close(room[:M], a @ w, atol=1e-3, rtol=1e-4)
    return contestants


def _pointwise(library: ctypes.CDLL, name: str) -> dict[str, Callable[[int], object]]:
    x, y = torch.randn(4096), torch.empty(4096)
    theirs, ours = getattr(torch, name), library[f"{name}_all"]
    return {
        "torch": lambda turns: [theirs(x, out=y) for _ in range(turns)],
        "ours": lambda turns: ours(ctypes.c_int64(turns), ctypes.c_int64(4096), _address(x), _address(y)),
    }


def _medians(contestants: dict[str, Callable[[int], object]], repeats: int = 25) -> dict[str, float]:
    """Seconds of one turn of each, the contestants interleaved, about 5 ms a measurement."""
    turns: dict[str, int] = {}
    for name, run in contestants.items():
        run(2)
        start = time.perf_counter()
        run(2)
        turns[name] = max(1, int(0.005 / max((time.perf_counter() - start) / 2, 1e-8)))
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            start = time.perf_counter()
            run(turns[name])
            measured[name].append((time.perf_counter() - start) / turns[name])
    return {name: statistics.median(values) for name, values in measured.items()}


def _aligned(numbers: int) -> torch.Tensor:
    whole = torch.zeros(numbers + 16)
    skip = (-whole.data_ptr() // 4) % 16
    return whole[skip : skip + numbers]


def _address(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


if __name__ == "__main__":
    main()
