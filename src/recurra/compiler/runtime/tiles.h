// Matrix products of a few rows with packed weights in register tiles, and the ends of a loop.
//
// Weights are cut into panels of `width` columns. A panel holds, for every k in order, the vectors of all the products
// that share a left side, side by side, and the range of k in which it is not zero: block-sparse weights cost what they
// hold. A tile is some rows by one panel; its sums stay in registers over all of k.
#pragma once

#include "simd.h"

namespace recurra {

// Rows `a` times the accumulators `Index` (of `Slots` for each row in z), each of C vectors. Bits of `Fresh` tell which
// of the accumulators start at 0; the others go on from what z holds.
template <class R, int C, int Slots, int M, unsigned Fresh, int... Index>
RECURRA_INLINE void tile(const R* const* a, const R* panel, long low, long high, R* z) {
    using V = Vec<R>;
    constexpr int N = LANES<R>, A = sizeof...(Index), E = A * C;
    // Few accumulators would leave the multipliers waiting for their own results: k is then dealt out to several sets.
    constexpr int S = M * E >= 8 ? 1 : (M * E >= 4 ? 2 : 4);
    constexpr int index[A] = {Index...};
    constexpr int ME = M * E;
    const auto at = [](int i) constexpr { return ((i / E % M * Slots + index[i % E / C]) * C + i % C) * N; };
    V c[S * ME];
    const R* row[M];
    [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {
        ((c[I] = I < ME && !(Fresh >> (I % E / C) & 1) ? load(z + at(I)) : V{}), ...);
    }(upto<S * ME>);
    [&]<int... I>(Indices<I...>) RECURRA_LAMBDA { ((row[I] = a[I]), ...); }(upto<M>);
    const R* w = panel + low * E * N;
    long k = low;
    for (; k + S <= high; k += S, w += S * E * N) {
        V x[S * M];
        [&]<int... I>(Indices<I...>) RECURRA_LAMBDA { ((x[I] = splat<V>(row[I % M][k + I / M])), ...); }(upto<S * M>);
        [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {  // all rows by one vector of the panel, then by the next
            ((c[I / ME * ME + I % M * E + I % ME / M] =
                  fma(x[I / ME * M + I % M], load(w + I / M * N), c[I / ME * ME + I % M * E + I % ME / M])), ...);
        }(upto<S * ME>);
    }
    for (; k < high; k++, w += E * N)
        [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {
            ((c[I % M * E + I / M] = fma(splat<V>(row[I % M][k]), load(w + I / M * N), c[I % M * E + I / M])), ...);
        }(upto<ME>);
    [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {
        if constexpr (S > 1) ((c[I] += c[I + ME]), ...);
        if constexpr (S > 2) ((c[I] += c[I + 2 * ME], c[I] += c[I + 3 * ME]), ...);
        (store(z + at(I), c[I]), ...);
    }(upto<ME>);
}

// The same for a number of rows that is known at run time only: at most Most.
template <class R, int C, int Slots, int Most, unsigned Fresh, int... Index>
static inline void tiles(int rows, const R* const* a, const R* panel, const int64_t* range, R* z) {
    [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {
        ((rows == I + 1 ? tile<R, C, Slots, I + 1, Fresh, Index...>(a, panel, range[0], range[1], z) : void()), ...);
    }(upto<Most>);
}

// Lanes of a and b in turn, the lower halves of both or the upper ones.
template <bool upper, class V, int... I> RECURRA_INLINE V zip(V a, V b, Indices<I...>) {
    constexpr int N = sizeof...(I), from = upper ? N / 2 : 0;
#if defined(__clang__)
    return __builtin_shufflevector(a, b, (from + I / 2 + (I % 2) * N)...);
#else
    return __builtin_shuffle(a, b, Mask<V>{(from + I / 2 + (I % 2) * N)...});
#endif
}
// Columns become rows: as many rounds of zipping a vector with the one half the square away as the width has digits.
template <int Rounds, class V, int N = lanes_of<V>> RECURRA_INLINE void transpose(V (&v)[N]) {
    if constexpr (Rounds > 1) {
        V next[N];
        [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {
            ((next[I] = zip<I % 2>(v[I / 2], v[I / 2 + N / 2], upto<N>)), ...);
            ((v[I] = next[I]), ...);
        }(upto<N>);
        transpose<Rounds / 2>(v);
    }
}

// Where a matrix of K rows lies: which of the ports, the first number, the steps from row to row and column to column.
struct Columns {
    long source, offset, down, right;
};

// Copies `width` columns, of which `inside` are there and the others zero, to lines `line` numbers apart.
template <class R>
static void pack_columns(const R* w, long down, long right, long K, long width, long inside, R* to, long line) {
    constexpr int N = LANES<R>;
    for (long u0 = 0; u0 < width; u0 += N) {
        const long columns = inside - u0 < 0 ? 0 : inside - u0 < N ? inside - u0 : N;
        long k = 0;
        if (columns == N && right == 1)
            for (; k < K; k++) store(to + k * line + u0, load(w + k * down + u0));
        else if (columns == N && down == 1)
            for (; k + N <= K; k += N) {
                Vec<R> v[N];
                [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {
                    ((v[I] = load(w + (u0 + I) * right + k)), ...);
                    transpose<N>(v);
                    (store(to + (k + I) * line + u0, v[I]), ...);
                }(upto<N>);
            }
        for (; k < K; k++)
            for (long u = 0; u < N; u++) to[k * line + u0 + u] = u < columns ? w[k * down + (u0 + u) * right] : R(0);
    }
}

// Packs matrices side by side, `width` columns a panel from each of them, and writes each panel's range.
template <class R>
static void pack(const R* const* p, const Columns* from, int count, long K, long columns, int width, R* to, int64_t* range) {
    const long line = (long)count * width;
    for (long j = 0; j < columns; j += width, to += K * line, range += 2) {
        for (int i = 0; i < count; i++)
            pack_columns(p[i] + from[i].offset + j * from[i].right, from[i].down, from[i].right, K, width, columns - j,
                         to + i * width, line);
        const auto zero = [&](long k) {
            bool nothing = true;
            for (long u = 0; u < line; u++) nothing &= to[k * line + u] == R(0);  // NaN counts as something
            return nothing;
        };
        long low = 0, high = K;
        while (low < high && zero(low)) low++;
        while (low < high && zero(high - 1)) high--;
        range[0] = low;
        range[1] = high;
    }
}
// The same for a loop's words `a`: its ports begin at `ports` and have four words each.
template <class R, int Count>
static void pack_ports(const int64_t* a, int ports, const Columns (&from)[Count], long K, long columns, int width, int panel) {
    const R* p[Count];
    for (int i = 0; i < Count; i++) p[i] = (const R*)a[ports + 4 * from[i].source];
    pack<R>(p, from, Count, K, columns, width, (R*)a[panel], (int64_t*)a[panel + 1]);
}

// What is carried from step to step lies in slots: slot t is before step t, slot t + 1 after it (under a mask, where only
// two are kept). These bring a row to where it begins, and take away what it ends with; a null `from` means zeros.
struct Slots {
    long time, row, mask, T, descend;
    const int64_t* lengths;

    RECURRA_MEMBER long begin(long b) const { return ((descend ? steps(b) : 0) & mask) * time + b * row; }
    RECURRA_MEMBER long end(long b) const { return ((descend ? 0 : steps(b)) & mask) * time + b * row; }
    RECURRA_MEMBER long steps(long b) const { return lengths ? lengths[b] : T; }
};
template <class X>
static inline void begin(X* memory, const Slots& slots, const X* from, long size, const int64_t* rows, long count) {
    for (long m = 0; m < count; m++) {
        X* to = memory + slots.begin(rows[m]);
        if (to == from + rows[m] * size) continue;
        if (from) __builtin_memcpy(to, from + rows[m] * size, size * sizeof(X));
        else __builtin_memset(to, 0, size * sizeof(X));
    }
}
template <class X>
static inline void end(const X* memory, const Slots& slots, X* to, long size, const int64_t* rows, long count) {
    if (to)
        for (long m = 0; m < count; m++)
            __builtin_memcpy(to + rows[m] * size, memory + slots.end(rows[m]), size * sizeof(X));
}

}  // namespace recurra
