// What emitted expressions are made of: the three kinds of values side by side, with PyTorch's meaning of every operation.
//
//   V real numbers R, W int64, M bool as masks of R's size (-1 or 0): as many lanes of each
//
// In memory a bool is a byte. Loads and stores take the number of lanes that count; the others are zero and not touched.
#pragma once

#include "error_function.h"

namespace recurra {

template <class R> struct Lanes {
    typedef Vec<R> V;
    typedef Long<R> W;
    typedef Mask<V> M;
    static constexpr int N = LANES<R>;
    typedef uint8_t Bytes __attribute__((vector_size(N)));
    static constexpr bool distinct = !std::is_same_v<W, M>;

    RECURRA_INLINE V one(R x) { return splat<V>(x); }
    RECURRA_INLINE W one(int64_t x) { return W{} + x; }
    RECURRA_INLINE M one(uint8_t x) { return M{} - Element<M>(x != 0); }

    template <int K> RECURRA_INLINE V load(const R* p) { V v{}; __builtin_memcpy(&v, p, K * sizeof(R)); return v; }
    template <int K> RECURRA_INLINE W load(const int64_t* p) { W v{}; __builtin_memcpy(&v, p, K * 8); return v; }
    template <int K> RECURRA_INLINE M load(const uint8_t* p) {
        Bytes v{};
        __builtin_memcpy(&v, p, K);
        return __builtin_convertvector(v, M) != 0;
    }
    template <int K> RECURRA_INLINE void store(R* p, V v) { __builtin_memcpy(p, &v, K * sizeof(R)); }
    template <int K> RECURRA_INLINE void store(int64_t* p, W v) { __builtin_memcpy(p, &v, K * 8); }
    template <int K> RECURRA_INLINE void store(uint8_t* p, M m) {
        Bytes v = __builtin_convertvector(m & 1, Bytes);
        __builtin_memcpy(p, &v, K);
    }
    template <int K, class T> RECURRA_INLINE auto gather(const T* p, long stride) {
        T t[N] = {};
        for (int i = 0; i < K; i++) t[i] = p[i * stride];
        return load<N>(t);
    }
    template <int K, class T, class X> RECURRA_INLINE void scatter(T* p, long stride, X v) {
        T t[N];
        store<N>(t, v);
        for (int i = 0; i < K; i++) p[i * stride] = t[i];
    }
    template <int K> RECURRA_INLINE V keep(V v, R neutral) {
        if constexpr (K < N)
            for (int i = K; i < N; i++) v[i] = neutral;
        return v;
    }
    // The same for a number of lanes that is known at run time only.
    RECURRA_INLINE V load(const R* p, int n) { return load_as<V>(p, Some{n}); }
    template <class T> RECURRA_INLINE auto load(const T* p, int n) { return gather(p, 1, n); }
    RECURRA_INLINE void store(R* p, V v, int n) { store_as(p, v, Some{n}); }
    template <class T, class X> RECURRA_INLINE void store(T* p, X v, int n) { scatter(p, 1, v, n); }
    template <class T> RECURRA_INLINE auto gather(const T* p, long stride, int n) {
        T t[N] = {};
        for (int i = 0; i < n; i++) t[i] = p[i * stride];
        return load<N>(t);
    }
    template <class T, class X> RECURRA_INLINE void scatter(T* p, long stride, X v, int n) {
        T t[N];
        store<N>(t, v);
        for (int i = 0; i < n; i++) p[i * stride] = t[i];
    }
    RECURRA_INLINE V keep(V v, R neutral, int n) {
        for (int i = 0; i < N; i++) v[i] = i < n ? v[i] : neutral;
        return v;
    }
    RECURRA_INLINE R total(V v) { return sum_lanes(v); }
    RECURRA_INLINE R largest(V v) { return max_lanes(v); }

    // W may be wider than a register. The compiler then compares and divides number by number, so that is done by parts.
    typedef int64_t Part __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int PARTS = sizeof(W) / VECTOR_BYTES;
    template <class F> RECURRA_INLINE W by_parts(W a, W b, F f) {
        Part x[PARTS], y[PARTS];
        __builtin_memcpy(x, &a, sizeof a);
        __builtin_memcpy(y, &b, sizeof b);
        [&]<int... I>(Indices<I...>) RECURRA_LAMBDA { ((x[I] = f(x[I], y[I])), ...); }(upto<PARTS>);
        __builtin_memcpy(&a, x, sizeof a);
        return a;
    }
    template <class F> RECURRA_INLINE M compared(W a, W b, F f) {
        typedef Element<M> Share __attribute__((vector_size(sizeof(M) / PARTS)));
        Part x[PARTS], y[PARTS];
        Share z[PARTS];
        __builtin_memcpy(x, &a, sizeof a);
        __builtin_memcpy(y, &b, sizeof b);
        [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {
            ((z[I] = __builtin_convertvector((Part)f(x[I], y[I]), Share)), ...);
        }(upto<PARTS>);
        M m;
        __builtin_memcpy(&m, z, sizeof m);
        return m;
    }
    template <class X, class F> RECURRA_INLINE M compared(X a, X b, F f) requires (!std::is_same_v<X, W>) { return f(a, b); }
#define RECURRA_COMPARE(name, sign) \
    template <class X> RECURRA_INLINE M name(X a, X b) { \
        return compared(a, b, [](auto x, auto y) RECURRA_LAMBDA { return x sign y; }); \
    }
    RECURRA_COMPARE(lt, <)
    RECURRA_COMPARE(le, <=)
    RECURRA_COMPARE(gt, >)
    RECURRA_COMPARE(ge, >=)
    RECURRA_COMPARE(eq, ==)
    RECURRA_COMPARE(ne, !=)
#undef RECURRA_COMPARE
    RECURRA_INLINE V where(M m, V a, V b) { return m ? a : b; }
    RECURRA_INLINE W where(M m, W a, W b) { return __builtin_convertvector(m, W) ? a : b; }
    RECURRA_INLINE M where(M m, M a, M b) requires distinct { return (m & a) | (~m & b); }

    RECURRA_INLINE V to_real(V a) { return a; }
    RECURRA_INLINE V to_real(W a) { return __builtin_convertvector(a, V); }
    RECURRA_INLINE V truth(M a) { return __builtin_convertvector(-a, V); }
    RECURRA_INLINE W to_int(V a) { return __builtin_convertvector(a, W); }
    RECURRA_INLINE W to_int(W a) { return a; }
    RECURRA_INLINE W count(M a) { return __builtin_convertvector(-a, W); }
    RECURRA_INLINE M to_bool(V a) { return a != 0; }
    RECURRA_INLINE M to_bool(W a) { return ne(a, W{}); }

    RECURRA_INLINE V maximum(V a, V b) { return recurra::maximum(a, b); }
    RECURRA_INLINE V minimum(V a, V b) { return recurra::minimum(a, b); }
    RECURRA_INLINE W maximum(W a, W b) { return a > b ? a : b; }
    RECURRA_INLINE W minimum(W a, W b) { return a < b ? a : b; }
    RECURRA_INLINE V abs(V a) { return recurra::abs(a); }
    RECURRA_INLINE W abs(W a) { return a < 0 ? -a : a; }
    RECURRA_INLINE V remainder(V a, V b) { return recurra::remainder(a, b); }
    RECURRA_INLINE V floor_divide(V a, V b) { return recurra::floor_divide(a, b); }
    // Processors divide integers one by one, but real numbers many at a time: below 2^51 the quotient of doubles, rounded
    // towards zero, is exact. Lanes that do not count hold zeros, by which no integer may be divided.
    RECURRA_INLINE Part divided(Part a, Part b) {
        typedef double Doubles __attribute__((vector_size(VECTOR_BYTES)));
        constexpr int64_t most = int64_t(1) << 51;
        b -= b == 0;
        if (any_bits((a > most) | (a < -most) | (b > most) | (b < -most))) {
            const Part whole = a / b, r = a - whole * b;
            return whole + ((r != 0) & ((r < 0) != (b < 0)));
        }
        const Part whole = __builtin_convertvector(__builtin_convertvector(a, Doubles) / __builtin_convertvector(b, Doubles), Part);
        const Part r = a - whole * b;
        return whole + ((r != 0) & ((r < 0) != (b < 0)));
    }
    RECURRA_INLINE W floor_divide(W a, W b) {
        return by_parts(a, b, [](Part x, Part y) RECURRA_LAMBDA { return divided(x, y); });
    }
    RECURRA_INLINE W remainder(W a, W b) {
        return by_parts(a, b, [](Part x, Part y) RECURRA_LAMBDA { return x - divided(x, y) * y; });
    }
    RECURRA_INLINE V pow(V a, V b) {
        for (int i = 0; i < N; i++) a[i] = libm::pow(a[i], b[i]);
        return a;
    }

    RECURRA_INLINE V relu(V a) { return recurra::relu(a); }
    RECURRA_INLINE V sign(V a) { return recurra::sign(a); }
    RECURRA_INLINE V floor(V a) { return recurra::floor(a); }
    RECURRA_INLINE V ceil(V a) { return recurra::ceil(a); }
    RECURRA_INLINE V trunc(V a) { return recurra::trunc(a); }
    RECURRA_INLINE V round(V a) { return recurra::round(a); }
    RECURRA_INLINE V sqrt(V a) { return recurra::sqrt(a); }
    RECURRA_INLINE V rsqrt(V a) { return recurra::rsqrt(a); }
    RECURRA_INLINE V exp(V a) { return recurra::exp(a); }
    RECURRA_INLINE V expm1(V a) { return recurra::expm1(a); }
    RECURRA_INLINE V log(V a) { return recurra::log(a); }
    RECURRA_INLINE V log1p(V a) { return recurra::log1p(a); }
    RECURRA_INLINE V sin(V a) { return recurra::sin(a); }
    RECURRA_INLINE V cos(V a) { return recurra::cos(a); }
    RECURRA_INLINE V tanh(V a) { return recurra::tanh(a); }
    RECURRA_INLINE V sigmoid(V a) { return recurra::sigmoid(a); }
    RECURRA_INLINE V erf(V a) { return recurra::erf(a); }
    RECURRA_INLINE V softplus(V a) { return recurra::softplus(a); }
};

}  // namespace recurra
