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
//   epilogue   called once a tile: f(mr, row, unit, count, tile), with mr an integral constant, `count` the valid units of
//              the panel (an int, known to be full or not by its type) and tile[m][g * U + u] the vectors.
//              Index `tile` by constants only (`unroll<mr>`): otherwise it goes to the stack, in the product's loop too.
//              `each_unit<G, U>(f)` makes one of f(row, unit, lanes, pre): one vector of units of one row, lanes being
//              All or Some, pre[g] the gates. The pointwise part is then compiled once, not once for every tile size.
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
// before(row, column, lanes) is loaded before the product, after(...) added behind it; ahead(row, column) may prefetch.

struct Nothing {
    template <class V, class N> RECURRA_INLINE V before(int64_t, int64_t, N) { return V{}; }
    template <class V, class N> RECURRA_INLINE V after(V v, int64_t, int64_t, N) { return v; }
    RECURRA_INLINE void ahead(int64_t, int64_t) {}
};
template <class R> struct RowOf {
    const R* bias;
    template <class V, class N> RECURRA_MEMBER V before(int64_t, int64_t column, N n) const {
        return load(bias + column, n);
    }
    template <class V, class N> RECURRA_MEMBER V after(V v, int64_t, int64_t, N) const { return v; }
    RECURRA_MEMBER void ahead(int64_t, int64_t) const {}
};
template <class R> struct RowsOf {  // read once and from afar: fetched during the product
    const R* matrix;
    int64_t stride;
    template <class V, class N> RECURRA_MEMBER V before(int64_t, int64_t, N) const { return V{}; }
    template <class V, class N> RECURRA_MEMBER V after(V v, int64_t row, int64_t column, N n) const {
        return v + load(matrix + row * stride + column, n);
    }
    RECURRA_MEMBER void ahead(int64_t row, int64_t column) const {
        __builtin_prefetch(matrix + row * stride + column);
    }
};

// ---- the driver ------------------------------------------------------------------------------------------------

struct Full {};
struct Partial {
    int count;
};
// The valid lanes of the u-th vector of a panel.
RECURRA_INLINE All lanes(Full, int) { return {}; }

}  // namespace recurra
