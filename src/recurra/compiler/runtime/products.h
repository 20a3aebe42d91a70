// Matrix products over many rows, for what follows a loop: gradients of weights, of biases and of inputs.
//
// Products that share their right side are computed together: a stretch of it is packed into panels once, and meets
// every left side in register tiles. Sums over rows are products whose left side is a row of ones. Where many rows of a
// right side are zero, as where units of a cell sleep, they are left out of sums over rows: they add nothing, and a left
// side that is infinite or NaN there makes no NaN of it, as 0 times it would.
#pragma once

#include <algorithm>
#include <vector>

#include "tiles.h"

namespace recurra {

// Where a matrix lies: its first number, and the steps from row to row and from column to column.
template <class R> struct Matrix {
    R* at;
    long down, right;

    RECURRA_MEMBER R* of(long row, long column) const { return at + row * down + column * right; }
};

// One left side (null: ones), its number of rows, and where the product goes.
template <class R> struct Left {
    Matrix<const R> a;
    long rows;
    Matrix<R> c;
};

namespace product {
inline constexpr int TALL = VECTOR_BYTES == 64 ? 12 : 6;  // rows of a tile; its width is two vectors
inline constexpr long DEEP = 512;                          // so many steps of the sum at once: a panel stays in the cache
inline constexpr long BROAD = 512;                         // columns that are packed at once
template <class R> inline constexpr int WIDE = 2 * LANES<R>;
}  // namespace product

// M rows by two vectors of columns. The left side lies k by k (`Packed`) or row by row, `stride` numbers apart.
template <class R, int M, bool Packed>
static inline void multiply(const R* a, long stride, const R* panel, long K, R* z) {
    constexpr int N = LANES<R>, SUMS = M * 2;
    constexpr int S = M >= 4 ? 1 : M >= 2 ? 2 : 4;  // sums in several sets hide how long an addition takes
    Vec<R> c[S * SUMS] = {};
    const auto at = [&](int m, long k) RECURRA_LAMBDA { return Packed ? a[k * stride + m] : a[m * stride + k]; };
    const auto step = [&]<int... I>(Indices<I...>, long k) RECURRA_LAMBDA {
        ((c[I] = fma(splat<Vec<R>>(at(I % SUMS / 2, k + I / SUMS)), load(panel + ((k + I / SUMS) * 2 + I % 2) * N), c[I])),
         ...);
    };
    long k = 0;
    for (; k + S <= K; k += S) step(upto<S * SUMS>, k);
    for (; k < K; k++) step(upto<SUMS>, k);
    [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {
        if constexpr (S > 1) ((c[I] += c[I + SUMS]), ...);
        if constexpr (S > 2) ((c[I] += c[I + 2 * SUMS], c[I] += c[I + 3 * SUMS]), ...);
        (store(z + I * N, c[I]), ...);
    }(upto<SUMS>);
}

// The same for any number of rows, by tiles of a few heights: each height takes the compiler's time.
template <class R, bool Packed>
static inline void multiply(long rows, const R* a, long down, const R* panel, long K, R* z) {
    const long stride = Packed ? rows : down;
    const auto tiles = [&]<int M>(Indices<M>) RECURRA_LAMBDA {
        for (; rows >= M; rows -= M, a += M * (Packed ? 1 : down), z += M * product::WIDE<R>)
            multiply<R, M, Packed>(a, stride, panel, K, z);
    };
    tiles(Indices<product::TALL>{});
    if constexpr (product::TALL > 8) tiles(Indices<8>{});
    tiles(Indices<4>{});
    tiles(Indices<2>{});
    tiles(Indices<1>{});
}

// Brings rows of a left side together k by k; `awake` says which k, if not all from k0 on.
template <class R>
static inline void gather(Matrix<const R> a, long m, long rows, const long* awake, long k0, long deep, R* to) {
    constexpr long TALL = product::TALL;
    const auto at = [&](long k) RECURRA_LAMBDA { return awake ? awake[k0 + k] : k0 + k; };
    if (rows == TALL && a.down == 1)
        for (long k = 0; k < deep; k++) __builtin_memcpy(to + k * TALL, a.of(m, at(k)), TALL * sizeof(R));
    else
        for (long k = 0; k < deep; k++)
            for (long i = 0; i < rows; i++) *to++ = *a.of(m + i, at(k));
}

// The rows of a right side that are not zero, in order; none if at least seven of eight are not: then all may be taken.
template <class R> static std::vector<long> few_awake(Matrix<const R> b, long K, long columns) {
    const auto zero = [&](long k) {
        long j = 0;
        while (j < columns && *b.of(k, j) == R(0)) j++;  // NaN counts as something
        return j == columns;
    };
    long asleep = 0;
    for (long k = 0; k < K; k++) asleep += zero(k);
    std::vector<long> awake;
    if (asleep * 8 <= K) return awake;
    for (long k = 0; k < K; k++)
        if (!zero(k)) awake.push_back(k);
    return awake;
}

// Puts a tile's sums where they belong, beside what earlier stretches have left there unless this is the first.
template <class R>
static inline void place(const R* z, Matrix<R> c, long m, long n, long rows, long columns, bool first) {
    constexpr long N = LANES<R>, W = product::WIDE<R>;
    if (c.right == 1 && columns == W)
        for (long i = 0; i < rows; i++)
            for (long e = 0; e < 2; e++) {
                R* to = c.of(m + i, n + e * N);
                const auto sum = load(z + i * W + e * N);
                store(to, first ? sum : sum + load(to));
            }
    else
        for (long j = 0; j < columns; j++)
            for (long i = 0; i < rows; i++) {
                R* to = c.of(m + i, n + j);
                *to = first ? z[i * W + j] : *to + z[i * W + j];
            }
}

// Columns n0 to n1 of the products of several left sides, rows m0 to m1 of each, with one right side: with K rows of it,
// the first ones or those that `awake` names.
template <class R>
static void products(const Left<R>* lefts, long count, Matrix<const R> b, long K, const long* awake, long m0, long m1, long n0,
                     long n1, bool fresh) {
    constexpr long W = product::WIDE<R>, TALL = product::TALL;
    static thread_local std::vector<R> panels, block;
    panels.resize(product::DEEP * (product::BROAD + W));
    block.resize(product::DEEP * TALL);
    R z[TALL * W];
    for (long from = n0; from < n1; from += product::BROAD) {
        const long columns = std::min(product::BROAD, n1 - from);
        for (long k0 = 0; k0 < K || k0 == 0; k0 += product::DEEP) {
            const long deep = std::min(product::DEEP, K - k0);
            const bool first = fresh && k0 == 0;
            for (long j = 0; j < columns; j += W)
                if (!awake) pack_columns<R>(b.of(k0, from + j), b.down, b.right, deep, W, columns - j, &panels[j * deep], W);
                else
                    for (long k = 0; k < deep; k++)
                        pack_columns<R>(b.of(awake[k0 + k], from + j), b.down, b.right, 1, W, columns - j,
                                        &panels[j * deep + k * W], W);
            for (const Left<R>* left = lefts; left < lefts + count; left++)
                for (long m = m0; m < std::min(left->rows, m1); m += TALL) {
                    const long rows = std::min(TALL, std::min(left->rows, m1) - m);
                    const bool direct = left->a.at && left->a.right == 1 && !awake;
                    if (!left->a.at) std::fill_n(block.data(), deep * rows, R(1));
                    else if (!direct) gather(left->a, m, rows, awake, k0, deep, block.data());
                    for (long j = 0; j < columns; j += W) {
                        if (direct) multiply<R, false>(rows, left->a.of(m, k0), left->a.down, &panels[j * deep], deep, z);
                        else multiply<R, true>(rows, block.data(), 0, &panels[j * deep], deep, z);
                        place(z, left->c, m, from + j, rows, std::min(W, columns - j), first);
                    }
                }
        }
    }
}

// Several groups of products, one after another, each dealt out over threads by rows or by columns. Words:
//   threads, groups, then for each group
//   K, columns, right side (pointer, down, right), fresh, number of left sides, then for each of them
//   pointer (null: ones), down, right, rows, result (pointer, down, right)
template <class R> static void run_products(const int64_t* w) {
    const long threads = w[0], groups = w[1];
    w += 2;
    for (long g = 0; g < groups; g++) {
        const long K = w[0], N = w[1], count = w[6];
        const Matrix<const R> b{(const R*)w[2], w[3], w[4]};
        const bool fresh = w[5];
        w += 7;
        std::vector<Left<R>> lefts;
        long most = 0;
        for (long i = 0; i < count; i++, w += 7) {
            lefts.push_back({{(const R*)w[0], w[1], w[2]}, w[3], {(R*)w[4], w[5], w[6]}});
            most = std::max(most, lefts.back().rows);
        }
        // Found for all columns at once, so that the order of sums does not depend on how threads share them.
        const bool sums = std::all_of(lefts.begin(), lefts.end(), [](const Left<R>& l) { return !l.a.at || l.a.down == 1; });
        const std::vector<long> few = sums ? few_awake(b, K, N) : std::vector<long>();
        const long* awake = few.empty() ? nullptr : few.data();
        const long deep = awake ? (long)few.size() : K;
        const bool by_rows = most > N;
        const long unit = by_rows ? product::TALL : product::WIDE<R>, size = by_rows ? most : N;
        const long units = (size + unit - 1) / unit, share = (units + threads - 1) / threads * unit;
        const auto run = [&](long t) {
            const long from = t * share, to = std::min(size, from + share);
            if (by_rows) products(lefts.data(), count, b, deep, awake, from, to, 0, N, fresh);
            else products(lefts.data(), count, b, deep, awake, 0, most, from, to, fresh);
        };
        if (threads == 1) {
            run(0);
            continue;
        }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (long t = 0; t < threads; t++) run(t);
    }
}

}  // namespace recurra
