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
    RECURRA_INLINE R total(V v) { return sum_lanes(v); }
    RECURRA_INLINE R largest(V v) { return max_lanes(v); }

    RECURRA_INLINE M mask(M m) { return m; }
    RECURRA_INLINE M mask(W w) requires distinct { return __builtin_convertvector(w, M); }
    template <class X> RECURRA_INLINE M lt(X a, X b) { return mask(a < b); }
    template <class X> RECURRA_INLINE M le(X a, X b) { return mask(a <= b); }
    template <class X> RECURRA_INLINE M gt(X a, X b) { return mask(a > b); }
    template <class X> RECURRA_INLINE M ge(X a, X b) { return mask(a >= b); }
    template <class X> RECURRA_INLINE M eq(X a, X b) { return mask(a == b); }
    template <class X> RECURRA_INLINE M ne(X a, X b) { return mask(a != b); }
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
    RECURRA_INLINE M to_bool(W a) { return mask(a != 0); }

    RECURRA_INLINE V maximum(V a, V b) { return recurra::maximum(a, b); }
    RECURRA_INLINE V minimum(V a, V b) { return recurra::minimum(a, b); }
    RECURRA_INLINE W maximum(W a, W b) { return a > b ? a : b; }
    RECURRA_INLINE W minimum(W a, W b) { return a < b ? a : b; }
    RECURRA_INLINE V abs(V a) { return recurra::abs(a); }
    RECURRA_INLINE W abs(W a) { return a < 0 ? -a : a; }
    RECURRA_INLINE V remainder(V a, V b) { return recurra::remainder(a, b); }
    RECURRA_INLINE V floor_divide(V a, V b) { return recurra::floor_divide(a, b); }
    // Lanes that do not count hold zeros, by which no integer may be divided.
    RECURRA_INLINE W divisor(W b) { return b == 0 ? one(int64_t(1)) : b; }
    RECURRA_INLINE W remainder(W a, W b) {
        b = divisor(b);
        W r = a % b;
        return (r != 0) & ((r < 0) != (b < 0)) ? r + b : r;
    }
    RECURRA_INLINE W floor_divide(W a, W b) { b = divisor(b); return (a - remainder(a, b)) / b; }
    // Processors divide one integer at a time, so that a number of each row is not divided in all lanes.
    RECURRA_INLINE W first_remainder(W a, W b) {
        const int64_t d = b[0] == 0 ? 1 : b[0], r = a[0] % d;
        return one(r != 0 && (r < 0) != (d < 0) ? r + d : r);
    }
    RECURRA_INLINE W first_floor_divide(W a, W b) {
        const int64_t d = b[0] == 0 ? 1 : b[0];
        return one((a[0] - first_remainder(a, b)[0]) / d);
    }
    RECURRA_INLINE V pow(V a, V b) {
        for (int i = 0; i < N; i++) a[i] = std::pow(a[i], b[i]);
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
