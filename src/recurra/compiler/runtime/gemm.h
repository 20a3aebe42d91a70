// Matrix products of a few rows with packed weights, in register tiles. A tile is MR rows by one panel: its MR * G * U
// accumulators stay in registers over all of k, and the caller's epilogue gets them there. That is where a recurrent
// cell's pointwise part belongs: all gates of a unit are at hand, and no pre-activation goes through memory.
//
//   gemm_rows<R, G, U>(first_row, rows, units, start, epilogue, term...)
//       for every row in [first_row, first_row + rows) and every unit, with
//       pre[g] = start(row, g * units + unit) + sum over the terms of sum_k term.a(row, k) * term.weights(k, g, unit)
//
//   term       Term<R>{a, stride, packed}: a's row r begins at a + r * stride; several are one product over the
//              concatenated k (the step's input and the carried state, say)
//   start      Nothing, RowOf<R>{bias}, RowsOf<R>{matrix, stride}, or any struct like them
//   epilogue   called once a tile: f(mr, row, unit, count, tile): mr is an integral constant, count says how many of the
//              panel's units are valid (All{} or Some{n}; `part<R>(count, u)` is the share of vector u), and
//              tile[m][g * U + u] are the vectors. Index `tile` by constants only (`unroll<mr>`).
//              `each_unit<R, G, U>(f)` makes such an epilogue of f(row, unit, lanes, pre): one vector of units of one row,
//              lanes All or Some, pre[g] its gates. The pointwise part is then compiled once and not for every tile
//              size, at the price of a trip of the tile through the first-level cache: the better choice mostly.
//
// Rows are split into near-equal tiles. Distinct calls on distinct rows are independent: threads take rows.
#pragma once

#include "packing.h"

namespace recurra {

inline constexpr int REGISTERS = VECTOR_BYTES == 64 ? 32 : 16;
inline constexpr int SPARE = HAS_FMA ? 1 : 2;  // without fma the product needs a register of its own

// Rows of a tile with NV vectors of columns: as many as leave room for the smaller operand and one of the larger.
constexpr int tile_rows(int NV) {
    int mr = 1;
    while (mr < 8 && (mr + 1) * NV + (mr + 1 < NV ? mr + 1 : NV) + SPARE <= REGISTERS) mr++;
    return mr;
}
// Few accumulators would leave the multipliers waiting for their own results (4 cycles, 2 a cycle): k is then dealt
// out to several sets of them.
constexpr int split(int accumulators) {
    return accumulators >= 8 ? 1 : accumulators >= 4 ? 2 : accumulators >= 2 ? 4 : 8;
}

template <class R, int MR, int NV> using Tile = Vec<R>[MR][NV];

// tile += A[:, low:high] * panel[low:high]; `a` is the first row's element 0 and `panel` the panel's row 0
template <class R, int MR, int NV>
RECURRA_INLINE void multiply(Tile<R, MR, NV>& tile, const R* a, int64_t stride, const R* panel, int64_t low,
                             int64_t high) {
    using V = Vec<R>;
    constexpr int KS = split(MR * NV);
    // A copy, so that whatever the caller does with `tile` cannot force these into memory.
    V acc[KS][MR][NV];
    unroll<KS>([&](auto s) RECURRA_LAMBDA {
        unroll<MR>([&](auto m) RECURRA_LAMBDA {
            unroll<NV>([&](auto v) RECURRA_LAMBDA { acc[s][m][v] = s == 0 ? tile[m][v] : V{}; });
        });
    });
    const R* row[MR];
    unroll<MR>([&](auto m) RECURRA_LAMBDA { row[m] = a + m * stride; });
    const R* w = panel + low * NV * LANES<R>;
    const auto step = [&](auto s, int64_t k) RECURRA_LAMBDA {
        if constexpr (MR > NV) {
            V b[NV];
            unroll<NV>([&](auto v) RECURRA_LAMBDA { b[v] = load(w + v * LANES<R>); });
            unroll<MR>([&](auto m) RECURRA_LAMBDA {
                const V x = splat<V>(row[m][k]);
                unroll<NV>([&](auto v) RECURRA_LAMBDA { acc[s][m][v] = fma(x, b[v], acc[s][m][v]); });
            });
        } else {
            V x[MR];
            unroll<MR>([&](auto m) RECURRA_LAMBDA { x[m] = splat<V>(row[m][k]); });
            unroll<NV>([&](auto v) RECURRA_LAMBDA {
                const V b = load(w + v * LANES<R>);
                unroll<MR>([&](auto m) RECURRA_LAMBDA { acc[s][m][v] = fma(x[m], b, acc[s][m][v]); });
            });
        }
        w += NV * LANES<R>;
    };
    constexpr int TURN = KS < 2 ? 2 : KS;
    int64_t k = low;
    for (; k + TURN <= high; k += TURN)
        unroll<TURN>([&](auto t) RECURRA_LAMBDA { step(std::integral_constant<int, t % KS>{}, k + t); });
    for (; k < high; k++) step(std::integral_constant<int, 0>{}, k);
    unroll<MR>([&](auto m) RECURRA_LAMBDA {
        unroll<NV>([&](auto v) RECURRA_LAMBDA {
            V sum = acc[0][m][v];
            unroll<KS - 1>([&](auto s) RECURRA_LAMBDA { sum += acc[s + 1][m][v]; });
            tile[m][v] = sum;
        });
    });
}

template <class R> struct Term {
    const R* a;
    int64_t stride;
    Packed<R> weights;
};

// ---- what the sums start from ----------------------------------------------------------------------------------
// `before` gives the accumulators' first value, `after` is added when the product is done; `ahead` may prefetch.

template <class R> struct Nothing {
    template <class N> RECURRA_MEMBER Vec<R> before(int64_t, int64_t, N) const { return Vec<R>{}; }
    template <class N> RECURRA_MEMBER Vec<R> after(Vec<R> sum, int64_t, int64_t, N) const { return sum; }
    RECURRA_MEMBER void ahead(int64_t, int64_t) const {}
};
template <class R> struct RowOf {
    const R* bias;
    template <class N> RECURRA_MEMBER Vec<R> before(int64_t, int64_t column, N n) const {
        return load(bias + column, n);
    }
    template <class N> RECURRA_MEMBER Vec<R> after(Vec<R> sum, int64_t, int64_t, N) const { return sum; }
    RECURRA_MEMBER void ahead(int64_t, int64_t) const {}
};
template <class R> struct RowsOf {  // each number is read once and comes from afar: it travels during the product
    const R* matrix;
    int64_t stride;
    template <class N> RECURRA_MEMBER Vec<R> before(int64_t, int64_t, N) const { return Vec<R>{}; }
    template <class N> RECURRA_MEMBER Vec<R> after(Vec<R> sum, int64_t row, int64_t column, N n) const {
        return sum + load(matrix + row * stride + column, n);
    }
    RECURRA_MEMBER void ahead(int64_t row, int64_t column) const {
        __builtin_prefetch(matrix + row * stride + column);
    }
};

// ---- the driver ------------------------------------------------------------------------------------------------

template <class R, int MR, int G, int U, class Count, class Start, class Epilogue>
RECURRA_INLINE void run_tile(int64_t row, int64_t panel, int64_t units, Count count, const Start& start,
                             Epilogue& epilogue, const auto&... term) {
    const int64_t unit = panel * PANEL<R, U>;
    Tile<R, MR, G * U> tile;
    const auto everywhere = [&](auto f) RECURRA_LAMBDA {
        unroll<MR>([&](auto m) RECURRA_LAMBDA {
            unroll<G>([&](auto g) RECURRA_LAMBDA {
                unroll<U>([&](auto u) RECURRA_LAMBDA {
                    f(tile[m][g * U + u], row + m, g * units + unit + u * LANES<R>, part<R>(count, u));
                });
            });
        });
    };
    everywhere([&](Vec<R>& v, int64_t r, int64_t column, auto lanes) RECURRA_LAMBDA {
        start.ahead(r, column);
        v = start.before(r, column, lanes);
    });
    (multiply<R, MR, G * U>(tile, term.a + row * term.stride, term.stride,
                            term.weights.data + panel * term.weights.rows * G * PANEL<R, U>,
                            term.weights.range[panel].low, term.weights.range[panel].high),
     ...);
    everywhere([&](Vec<R>& v, int64_t r, int64_t column, auto lanes) RECURRA_LAMBDA {
        v = start.after(v, r, column, lanes);
    });
    epilogue(std::integral_constant<int, MR>{}, row, unit, count, tile);
}

template <class R, int G, int U, class Start, class Epilogue>
RECURRA_INLINE void gemm_rows(int64_t first_row, int64_t rows, int64_t units, const Start& start, Epilogue&& epilogue,
                              const auto&... term) {
    constexpr int MOST = tile_rows(G * U), P = PANEL<R, U>;
    const int64_t tiles = (rows + MOST - 1) / MOST, size = tiles ? rows / tiles : 0, larger = tiles ? rows % tiles : 0;
    const auto panel_rows = [&](int64_t panel, auto count) RECURRA_LAMBDA {
        int64_t row = first_row;
        for (int64_t t = 0; t < tiles; t++) {
            const int64_t mr = size + (t < larger);
            unroll<MOST>([&](auto m) RECURRA_LAMBDA {
                if (mr == m + 1) run_tile<R, m + 1, G, U>(row, panel, units, count, start, epilogue, term...);
            });
            row += mr;
        }
    };
    for (int64_t panel = 0; panel < units / P; panel++) panel_rows(panel, All{});
    if (units % P) panel_rows(units / P, Some{int(units % P)});
}

template <class R, int G, int U, class F> struct EachUnit {
    F f;

    template <class Count>
    __attribute__((noinline)) void rows(int mr, int64_t row, int64_t unit, Count count, const Vec<R>* tile) {
        for (int m = 0; m < mr; m++)
            for (int u = 0; u < U; u++) {
                const auto lanes = part<R>(count, u);
                if constexpr (std::is_same_v<Count, Some>)
                    if (lanes.n == 0) break;
                Vec<R> pre[G];
                unroll<G>([&](auto g) RECURRA_LAMBDA { pre[g] = tile[m * G * U + g * U + u]; });
                f(row + m, unit + u * LANES<R>, lanes, pre);
            }
    }
    template <class MR, class Count>
    RECURRA_MEMBER void operator()(MR mr, int64_t row, int64_t unit, Count count, Tile<R, MR::value, G * U>& tile) {
        Vec<R> copy[MR::value * G * U];
        unroll<mr * G * U>([&](auto i) RECURRA_LAMBDA { copy[i] = tile[i / (G * U)][i % (G * U)]; });
        rows(mr, row, unit, count, copy);
    }
};
template <class R, int G, int U, class F> RECURRA_INLINE EachUnit<R, G, U, F> each_unit(F f) { return {f}; }

// C = start + A * B, into rows [first_row, first_row + rows) of C; with start = RowsOf{C, stride} it adds to C.
template <class R, int U, class Start>
void gemm(int64_t first_row, int64_t rows, int64_t columns, const Start& start, R* c, int64_t stride,
          const auto&... term) {
    gemm_rows<R, 1, U>(
        first_row, rows, columns, start,
        [&](auto mr, int64_t row, int64_t column, auto count, auto& tile) RECURRA_LAMBDA {
            unroll<mr>([&](auto m) RECURRA_LAMBDA {
                unroll<U>([&](auto u) RECURRA_LAMBDA {
                    store(c + (row + m) * stride + column + u * LANES<R>, tile[m][u], part<R>(count, u));
                });
            });
        },
        term...);
}

}  // namespace recurra
