// The sums and the best sequence of a linear-chain CRF, row by row: crf_messages.py and crf_decoding.py say what they
// are, crf_native.py calls them. RECURRA_VECTOR_BYTES comes before this text.
//
//   B rows, T steps, K tags, P: K made up to whole vectors. Tables of doubles are P wide, zero beyond K.
#include "math.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

namespace recurra {

using D = Vec<double>;
constexpr int N = LANES<double>;

// f(0), f(1), ... f(COUNT - 1), without a loop: what they write stays in registers.
template <int COUNT, class F> RECURRA_INLINE void unroll(F f) {
    [&]<int... I>(Indices<I...>) RECURRA_LAMBDA { (f(I), ...); }(upto<COUNT>);
}

RECURRA_INLINE D widened(const double* p, int n) { return load(p, Some{n}); }
RECURRA_INLINE D widened(const float* p, int n) {
    typedef float Half __attribute__((vector_size(N * 4)));
    Half v{};
    if (n == N)
        __builtin_memcpy(&v, p, sizeof v);
    else
        for (int i = 0; i < n; i++) v[i] = p[i];
    return __builtin_convertvector(v, D);
}

RECURRA_INLINE double total_of(D v) {
    double s = 0;
    for (int i = 0; i < N; i++) s += v[i];
    return s;
}

// The least and the largest of n numbers.
template <class R> RECURRA_INLINE std::pair<double, double> range(const R* p, int n) {
    double least = double(p[0]), most = least;
    int k = 1;
    if (n >= N) {
        D low = widened(p, N), top = low;
        for (k = N; k + N <= n; k += N) {
            const D v = widened(p + k, N);
            low = v < low ? v : low, top = v > top ? v : top;
        }
        for (int i = 0; i < N; i++) least = std::min(least, low[i]), most = std::max(most, top[i]);
    }
    for (; k < n; k++) least = std::min(least, double(p[k])), most = std::max(most, double(p[k]));
    return {least, most};
}

// y = x M for x of K numbers and M of K rows, COUNT vectors wide, P numbers apart. Two sums for each vector of y, or the
// processor would wait for every sum to be ready for the next.
template <class R, int COUNT> RECURRA_INLINE void product(const R* x, const R* m, R* y, int K, int P) {
    Vec<R> even[COUNT]{}, odd[COUNT]{};
    int i = 0;
    for (; i + 1 < K; i += 2) {
        const R *one = m + int64_t(i) * P, *two = one + P;
        unroll<COUNT>([&](auto v) RECURRA_LAMBDA { even[v] = fma(splat<Vec<R>>(x[i]), load(one + v * LANES<R>), even[v]); });
        unroll<COUNT>([&](auto v) RECURRA_LAMBDA { odd[v] = fma(splat<Vec<R>>(x[i + 1]), load(two + v * LANES<R>), odd[v]); });
    }
    if (i < K)
        unroll<COUNT>([&](auto v) RECURRA_LAMBDA {
            even[v] = fma(splat<Vec<R>>(x[i]), load(m + int64_t(i) * P + v * LANES<R>), even[v]);
        });
    unroll<COUNT>([&](auto v) RECURRA_LAMBDA { store(y + v * LANES<R>, even[v] + odd[v]); });
}

// y[j] = max over i of x[i] + M[i][j], in the same way.
template <class R, int COUNT> RECURRA_INLINE void best_product(const R* x, const R* m, R* y, int K, int P) {
    Vec<R> even[COUNT], odd[COUNT];
    unroll<COUNT>([&](auto v) RECURRA_LAMBDA {
        even[v] = odd[v] = splat<Vec<R>>(-std::numeric_limits<R>::infinity());
    });
    const auto take = [&](Vec<R>* into, int i) RECURRA_LAMBDA {
        unroll<COUNT>([&](auto v) RECURRA_LAMBDA {
            const Vec<R> way = x[i] + load(m + int64_t(i) * P + v * LANES<R>);
            into[v] = way > into[v] ? way : into[v];
        });
    };
    int i = 0;
    for (; i + 1 < K; i += 2) take(even, i), take(odd, i + 1);
    if (i < K) take(even, i);
    unroll<COUNT>([&](auto v) RECURRA_LAMBDA { store(y + v * LANES<R>, even[v] > odd[v] ? even[v] : odd[v]); });
}

// Either over all P columns, in blocks whose sums stay in registers.
#define RECURRA_BY_BLOCKS(NAME, CALLED)                                                                    \
    template <class R> RECURRA_INLINE void NAME(const R* x, const R* m, R* y, int K, int P) {              \
        constexpr int L = LANES<R>, MOST = VECTOR_BYTES == 64 ? 6 : 3;                                     \
        int left = P / L;                                                                                  \
        for (; left >= MOST; left -= MOST, m += MOST * L, y += MOST * L) CALLED<R, MOST>(x, m, y, K, P);   \
        if constexpr (MOST > 3)                                                                            \
            for (; left >= 3; left -= 3, m += 3 * L, y += 3 * L) CALLED<R, 3>(x, m, y, K, P);              \
        if (left == 2) CALLED<R, 2>(x, m, y, K, P);                                                        \
        if (left == 1) CALLED<R, 1>(x, m, y, K, P);                                                        \
    }
RECURRA_BY_BLOCKS(multiply, product)
RECURRA_BY_BLOCKS(multiply_best, best_product)

// log Z of each row. messages, weights: (B, T, P), written; spread: the widest distance of two scores of one step.
template <class R>
void forward(const R* scores, const int64_t* lengths, const double* start, const double* links, const double* end,
             double link_top, double* messages, double* weights, double* totals, double* spreads, int64_t B, int64_t T,
             int K, int P, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t b = 0; b < B; b++) {
        double total = 0, spread = 0;
        const int64_t n = lengths[b];
        for (int64_t t = 0; t < n; t++) {
            const R* e = scores + (b * T + t) * K;
            double *a = messages + (b * T + t) * P, *w = weights + (b * T + t) * P;
            const auto [low, top] = range(e, K);
            // What is no number spreads without end: then the caller takes logarithms.
            const double wide = top - low;
            spread = wide <= std::numeric_limits<double>::max() ? std::max(spread, wide)
                                                                : std::numeric_limits<double>::infinity();
            for (int k = 0; k < P; k += N) {
                D v = exp(widened(e + k, std::min(K - k, N)) - top);
                for (int i = K - k; i < N; i++) v[i] = 0;
                store(w + k, v);
            }
            if (t) multiply(a - P, links, a, K, P);
            D sum{};
            for (int k = 0; k < P; k += N) {
                const D v = (t ? load(a + k) : load(start + k)) * load(w + k);
                store(a + k, v);
                sum += v;
            }
            const double s = total_of(sum);
            for (int k = 0; k < P; k += N) store(a + k, load(a + k) / s);
            total += std::log(s) + top;
        }
        if (n) {
            const double* a = messages + (b * T + n - 1) * P;
            D sum{};
            for (int k = 0; k < P; k += N) sum += load(a + k) * load(end + k);
            total += std::log(total_of(sum)) + link_top * double(n - 1);
        }
        totals[b] = total;
        spreads[b] = spread;
    }
}

// pairs += sum over some steps of left^T right: K rows, each read and written once for all these steps.
template <int COUNT>
RECURRA_INLINE void add_outer(double* pairs, const double* left, const double* right, int steps, int K, int P) {
    for (int i = 0; i < K; i++) {
        double* row = pairs + int64_t(i) * P;
        D sum[COUNT];
        unroll<COUNT>([&](auto v) RECURRA_LAMBDA { sum[v] = load(row + v * N); });
        for (int s = 0; s < steps; s++)
            unroll<COUNT>([&](auto v) RECURRA_LAMBDA {
                sum[v] = fma(splat<D>(left[s * P + i]), load(right + s * P + v * N), sum[v]);
            });
        unroll<COUNT>([&](auto v) RECURRA_LAMBDA { store(row + v * N, sum[v]); });
    }
}

RECURRA_INLINE void add_pairs(double* pairs, const double* left, const double* right, int steps, int K, int P) {
    int at = 0;
    for (; at + 6 * N <= P; at += 6 * N) add_outer<6>(pairs + at, left, right + at, steps, K, P);
    for (; at + 2 * N <= P; at += 2 * N) add_outer<2>(pairs + at, left, right + at, steps, K, P);
    if (at < P) add_outer<1>(pairs + at, left, right + at, steps, K, P);
}

constexpr int WAITING = 8;  // steps whose pairs are added together

// The gradient of sum_b upstream[b] log Z_b. across: the links, from column to row; gradient: (B, T, K); sums: for each
// thread K rows of pairs (without their factor, the links), a row for start and one for end, all P wide and zero.
template <class R>
void backward(const double* upstream, const int64_t* lengths, const double* across, const double* end,
              const double* messages, const double* weights, R* gradient, double* sums, double* scratch, int64_t B,
              int64_t T, int K, int P, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t strip = 0; strip < threads; strip++) {
        double *pairs = sums + strip * (K + 2) * P, *first = pairs + int64_t(K) * P, *last = first + P;
        double *after = scratch + strip * (2 * WAITING + 1) * P, *rights = after + P, *lefts = rights + WAITING * P;
        for (int64_t b = B * strip / threads; b < B * (strip + 1) / threads; b++) {
            const int64_t n = lengths[b];
            const double g = upstream[b];
            int waiting = 0;
            std::copy(end, end + P, after);
            for (int64_t t = n - 1; t >= 0; t--) {
                const double *a = messages + (b * T + t) * P, *w = weights + (b * T + t) * P;
                R* out = gradient + (b * T + t) * K;
                D sum{};
                for (int k = 0; k < P; k += N) sum += load(a + k) * load(after + k);
                const double scale = g / total_of(sum);
                double* edge = t == n - 1 ? last : nullptr;
                for (int k = 0; k < P; k += N) {
                    const D v = load(a + k) * load(after + k) * scale;
                    for (int i = 0; i < std::min(K - k, N); i++) out[k + i] = R(v[i]);
                    if (edge) store(edge + k, load(edge + k) + v);
                    if (!t) store(first + k, load(first + k) + v);
                }
                if (t < n - 1) {
                    for (int k = 0; k < P; k += N) store(lefts + waiting * P + k, load(a + k) * scale);
                    if (++waiting == WAITING) add_pairs(pairs, lefts, rights, waiting, K, P), waiting = 0;
                }
                if (!t) break;
                double* received = rights + waiting * P;
                sum = D{};
                for (int k = 0; k < P; k += N) {
                    const D v = load(w + k) * load(after + k);
                    store(received + k, v);
                    sum += v;
                }
                const double s = total_of(sum);
                for (int k = 0; k < P; k += N) store(received + k, load(received + k) / s);
                multiply(received, across, after, K, P);
            }
            add_pairs(pairs, lefts, rights, waiting, K, P);
            std::fill(gradient + (b * T + n) * K, gradient + (b + 1) * T * K, R(0));
        }
    }
}

// The best sequence of each row. links, across: P wide; start, end: K numbers; best: for each thread (T, P).
template <class R>
void decode(const R* scores, const int64_t* lengths, const R* start, const R* links, const R* across, const R* end,
            R* best, int64_t* path, int64_t B, int64_t T, int K, int P, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t strip = 0; strip < threads; strip++) {
        R* values = best + strip * T * P;
        for (int64_t b = B * strip / threads; b < B * (strip + 1) / threads; b++) {
            const int64_t n = lengths[b];
            for (int64_t t = 0; t < n; t++) {
                const R* e = scores + (b * T + t) * K;
                R* now = values + t * P;
                if (t) multiply_best(now - P, links, now, K, P);
                for (int k = 0; k < K; k++) now[k] = e[k] + (t ? now[k] : start[k]);
            }
            // Only values went forward. Where one came from is asked on the way back, of one tag instead of all.
            const R* on = end;
            for (int64_t t = n - 1; t >= 0; t--) {
                const R* now = values + t * P;
                int tag = 0;
                for (int k = 1; k < K; k++)
                    if (now[k] + on[k] > now[tag] + on[tag]) tag = k;
                path[b * T + t] = tag;
                on = across + int64_t(tag) * P;
            }
            std::fill(path + b * T + n, path + (b + 1) * T, int64_t(0));
        }
    }
}

}  // namespace recurra

#define RECURRA_EXPORT(R)                                                                                            \
    extern "C" void crf_forward_##R(const void* const* p, double link_top, int64_t B, int64_t T, int K, int P, int n) { \
        recurra::forward((const R*)p[0], (const int64_t*)p[1], (const double*)p[2], (const double*)p[3],             \
                         (const double*)p[4], link_top, (double*)p[5], (double*)p[6], (double*)p[7], (double*)p[8],  \
                         B, T, K, P, n);                                                                             \
    }                                                                                                                \
    extern "C" void crf_backward_##R(const void* const* p, int64_t B, int64_t T, int K, int P, int n) {              \
        recurra::backward((const double*)p[0], (const int64_t*)p[1], (const double*)p[2], (const double*)p[3],       \
                          (const double*)p[4], (const double*)p[5], (R*)p[6], (double*)p[7], (double*)p[8], B, T, K, \
                          P, n);                                                                                     \
    }                                                                                                                \
    extern "C" void crf_decode_##R(const void* const* p, int64_t B, int64_t T, int K, int P, int n) {                \
        recurra::decode((const R*)p[0], (const int64_t*)p[1], (const R*)p[2], (const R*)p[3], (const R*)p[4],        \
                        (const R*)p[5], (R*)p[6], (int64_t*)p[7], B, T, K, P, n);                                    \
    }
RECURRA_EXPORT(float)
RECURRA_EXPORT(double)
