// Vectors of floats or doubles whose width is a compile-time parameter: RECURRA_VECTOR_BYTES = 16 (SSE2), 32 (AVX2)
// or 64 (AVX-512). Everything stands on the vector extensions of GCC and clang, so + - * / < == & | ~ are the
// language's own; intrinsics are used only where the extensions have no word for the instruction.
//
//   Vec<R>, Long<R>       LANES<R> numbers of type R; as many int64
//   Mask<Vec<R>>          what a comparison of vectors gives: integers of R's size, -1 for true and 0 for false
//   All, Some{n}          how many lanes of a load or store count: every one, or the first n
//
// A tail never reads or writes memory beyond its n lanes; lanes that are not loaded are zero.
#pragma once

#include <stdint.h>

#include <type_traits>
#include <utility>

#include "libm.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#ifndef RECURRA_VECTOR_BYTES
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define RECURRA_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define RECURRA_VECTOR_BYTES 32
#else
#define RECURRA_VECTOR_BYTES 16
#endif
#endif

#if RECURRA_VECTOR_BYTES == 64 && !(defined(__AVX512F__) && defined(__AVX512DQ__))
#error "vectors of 64 bytes need -mavx512f -mavx512dq (and -mavx512vl -mavx512bw -mfma)"
#elif RECURRA_VECTOR_BYTES == 32 && !defined(__AVX2__)
#error "vectors of 32 bytes need -mavx2 -mfma"
#endif

// Inlining is what keeps vectors in registers: a call would pass them through memory.
#define RECURRA_INLINE static inline __attribute__((always_inline))
#define RECURRA_MEMBER inline __attribute__((always_inline))
#define RECURRA_LAMBDA __attribute__((always_inline))

namespace recurra {

inline constexpr int VECTOR_BYTES = RECURRA_VECTOR_BYTES;

template <class R> inline constexpr int LANES = VECTOR_BYTES / int(sizeof(R));

template <class R> struct VectorOf {
    typedef R Real __attribute__((vector_size(VECTOR_BYTES)));
    typedef std::conditional_t<sizeof(R) == 4, uint32_t, uint64_t> Bits __attribute__((vector_size(VECTOR_BYTES)));
    typedef int64_t Long __attribute__((vector_size(VECTOR_BYTES / sizeof(R) * 8)));
};
template <class R> using Vec = typename VectorOf<R>::Real;
template <class R> using Long = typename VectorOf<R>::Long;

template <class V> using Element = std::remove_cvref_t<decltype(std::declval<V&>()[0])>;
template <class V> using Mask = decltype(std::declval<V>() < std::declval<V>());
template <class V> using Natural = std::conditional_t<sizeof(Element<V>) == 4, uint32_t, uint64_t>;
template <class V> using Unsigned = typename VectorOf<Element<V>>::Bits;  // a number's bits, for shifts without a sign
template <class V> inline constexpr int lanes_of = int(sizeof(V) / sizeof(Element<V>));

template <class V> concept Real = std::is_same_v<V, Vec<float>> || std::is_same_v<V, Vec<double>>;

// ---- unrolling -------------------------------------------------------------------------------------------------
// What is to be unrolled is a fold over the indices 0 .. N-1, which a lambda takes as one argument:
//     [&]<int... I>(Indices<I...>) RECURRA_LAMBDA { ((v[I] = ...), ...); }(upto<N>);
// A loop with "#pragma GCC unroll" is unrolled too late for arrays of vectors to be split into registers: accumulators
// then go through the stack on every turn. A function for every index doubles a kernel's time in the compiler.

template <int... I> using Indices = std::integer_sequence<int, I...>;
template <int N> inline constexpr std::make_integer_sequence<int, N> upto{};

// ---- making, loading, storing ----------------------------------------------------------------------------------

struct All {};
struct Some {
    int n;
};

template <class V> RECURRA_INLINE V splat(Element<V> x) { return x - V{}; }  // x - 0 is x, also for -0

template <class V> RECURRA_INLINE V iota() {
    V v{};
    for (int i = 0; i < lanes_of<V>; i++) v[i] = Element<V>(i);
    return v;
}

template <class V> RECURRA_INLINE V load_as(const Element<V>* p, All) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
template <class V> RECURRA_INLINE void store_as(Element<V>* p, V v, All) { __builtin_memcpy(p, &v, sizeof v); }

template <class V> RECURRA_INLINE V load_as(const Element<V>* p, Some s) {
#if RECURRA_VECTOR_BYTES == 64
    if constexpr (std::is_same_v<V, Vec<float>>) return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << s.n) - 1), p);
    if constexpr (std::is_same_v<V, Vec<double>>) return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << s.n) - 1), p);
#elif RECURRA_VECTOR_BYTES == 32
    if constexpr (std::is_same_v<V, Vec<float>>) {
        const auto in = iota<Mask<V>>() < int32_t(s.n);
        return (V)_mm256_maskload_ps(p, (__m256i)in);
    }
    if constexpr (std::is_same_v<V, Vec<double>>) {
        const auto in = iota<Mask<V>>() < int64_t(s.n);
        return (V)_mm256_maskload_pd(p, (__m256i)in);
    }
#endif
    V v{};
    for (int i = 0; i < lanes_of<V>; i++)
        if (i < s.n) v[i] = p[i];
    return v;
}
template <class V> RECURRA_INLINE void store_as(Element<V>* p, V v, Some s) {
#if RECURRA_VECTOR_BYTES == 64
    if constexpr (std::is_same_v<V, Vec<float>>) return _mm512_mask_storeu_ps(p, (__mmask16)((1u << s.n) - 1), (__m512)v);
    if constexpr (std::is_same_v<V, Vec<double>>) return _mm512_mask_storeu_pd(p, (__mmask8)((1u << s.n) - 1), (__m512d)v);
#endif
    // Masked stores of AVX2 take tens of cycles on some processors; a few scalar ones do not.
    for (int i = 0; i < lanes_of<V>; i++)
        if (i < s.n) p[i] = v[i];
}

template <class R, class N = All> RECURRA_INLINE Vec<R> load(const R* p, N n = {}) { return load_as<Vec<R>>(p, n); }
template <Real V, class N = All> RECURRA_INLINE void store(Element<V>* p, V v, N n = {}) { store_as<V>(p, v, n); }
template <class R, class N = All> RECURRA_INLINE Long<R> load_long(const int64_t* p, N n = {}) {
    return load_as<Long<R>>(p, n);
}
template <class R, class N = All> RECURRA_INLINE void store_long(int64_t* p, Long<R> v, N n = {}) {
    store_as<Long<R>>(p, v, n);
}

// Lane i from p[i * stride]; a stride of 0 broadcasts.
template <class R> RECURRA_INLINE Vec<R> load_strided(const R* p, int64_t stride, Some s = {LANES<R>}) {
    Vec<R> v{};
    for (int i = 0; i < LANES<R>; i++)
        if (i < s.n) v[i] = p[i * stride];
    return v;
}

// What of a run of vectors' valid numbers falls into the u-th of them.
template <class R> RECURRA_INLINE All part(All, int) { return {}; }
template <class R> RECURRA_INLINE Some part(Some s, int u) {
    const int n = s.n - u * LANES<R>;
    return {n < 0 ? 0 : n < LANES<R> ? n : LANES<R>};
}

// ---- kinds of number -------------------------------------------------------------------------------------------

template <class R> RECURRA_INLINE Vec<R> to_real(Long<R> x) { return __builtin_convertvector(x, Vec<R>); }
template <class R> RECURRA_INLINE Long<R> to_long(Vec<R> x) { return __builtin_convertvector(x, Long<R>); }
template <class R> RECURRA_INLINE Mask<Vec<R>> to_mask(Long<R> m) { return __builtin_convertvector(m, Mask<Vec<R>>); }
template <class R> RECURRA_INLINE Long<R> widen(Mask<Vec<R>> m) { return __builtin_convertvector(m, Long<R>); }

// ---- choosing --------------------------------------------------------------------------------------------------

template <Real V> RECURRA_INLINE V where(Mask<V> m, V yes, V no) { return m ? yes : no; }
template <Real V> RECURRA_INLINE Mask<V> is_nan(V x) { return x != x; }

// As torch.maximum and torch.minimum: NaN if either argument is NaN.
template <Real V> RECURRA_INLINE V maximum(V a, V b) {
    const V larger = a > b ? a : b;  // b where either is NaN
    return a != a ? a : larger;
}
template <Real V> RECURRA_INLINE V minimum(V a, V b) {
    const V smaller = a < b ? a : b;
    return a != a ? a : smaller;
}
// x limited to [low, high], NaN staying NaN; the limits are numbers.
template <Real V> RECURRA_INLINE V limit(V x, Element<V> low, Element<V> high) {
    const V l = splat<V>(low), h = splat<V>(high);
    x = l > x ? l : x;
    return h < x ? h : x;
}

template <Real V> RECURRA_INLINE V abs(V x) {
    return (V)((Mask<V>)x & ~(Mask<V>)splat<V>(Element<V>(-0.0)));
}
template <Real V> RECURRA_INLINE V copysign(V magnitude, V sign) {
    const auto bit = (Mask<V>)splat<V>(Element<V>(-0.0));
    return (V)(((Mask<V>)magnitude & ~bit) | ((Mask<V>)sign & bit));
}
template <Real V> RECURRA_INLINE V sign(V x) {  // as torch.sign: 0 for NaN
    return (V)((Mask<V>)splat<V>(1) & (x > V{})) - (V)((Mask<V>)splat<V>(1) & (x < V{}));
}

// ---- arithmetic without an operator ----------------------------------------------------------------------------

template <Real V> RECURRA_INLINE V fma(V a, V b, V c) {  // one rounding where the target has the instruction
#if RECURRA_VECTOR_BYTES == 64
    if constexpr (sizeof(Element<V>) == 4) return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
    else return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif RECURRA_VECTOR_BYTES == 32 && defined(__FMA__)
    if constexpr (sizeof(Element<V>) == 4) return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    else return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif RECURRA_VECTOR_BYTES == 16 && defined(__FMA__)
    if constexpr (sizeof(Element<V>) == 4) return (V)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
    else return (V)_mm_fmadd_pd((__m128d)a, (__m128d)b, (__m128d)c);
#else
    return a * b + c;
#endif
}
#if RECURRA_VECTOR_BYTES == 64 || defined(__FMA__)
inline constexpr bool HAS_FMA = true;
#else
inline constexpr bool HAS_FMA = false;
#endif

// The same value, of which the compiler knows nothing: it cannot fuse the product behind it into a later sum, which
// would spoil arithmetic that carries rounding errors along.
template <class V> RECURRA_INLINE V opaque(V x) {
#if defined(__SSE2__)
    asm("" : "+x"(x));
#elif defined(__aarch64__)
    asm("" : "+w"(x));
#else
    asm("" : "+m"(x));
#endif
    return x;
}

template <Real V> RECURRA_INLINE V sqrt(V x) {
#if RECURRA_VECTOR_BYTES == 64
    if constexpr (sizeof(Element<V>) == 4) return (V)_mm512_sqrt_ps((__m512)x);
    else return (V)_mm512_sqrt_pd((__m512d)x);
#elif RECURRA_VECTOR_BYTES == 32
    if constexpr (sizeof(Element<V>) == 4) return (V)_mm256_sqrt_ps((__m256)x);
    else return (V)_mm256_sqrt_pd((__m256d)x);
#elif defined(__SSE2__)
    if constexpr (sizeof(Element<V>) == 4) return (V)_mm_sqrt_ps((__m128)x);
    else return (V)_mm_sqrt_pd((__m128d)x);
#else
    V y{};
    for (int i = 0; i < lanes_of<V>; i++) y[i] = libm::sqrt(x[i]);
    return y;
#endif
}

// Rounding to whole numbers. Beyond 2^23 (2^52) every number is whole; below, adding and taking away that power
// rounds to nearest even on any target, and one comparison corrects the direction. -0 keeps its sign.
template <Real V> RECURRA_INLINE V round(V x) {
    using R = Element<V>;
    const V big = splat<V>(sizeof(R) == 4 ? R(8388608) : R(4503599627370496.0)), a = abs(x);
    return copysign(a < big ? (a + big) - big : a, x);
}
template <Real V> RECURRA_INLINE V floor(V x) {
    const V y = round(x), one = splat<V>(1);
    return copysign(y > x ? y - one : y, x);
}
template <Real V> RECURRA_INLINE V ceil(V x) { return -floor(-x); }
template <Real V> RECURRA_INLINE V trunc(V x) { return copysign(floor(abs(x)), x); }

// ---- across the lanes ------------------------------------------------------------------------------------------

template <class V, class F> RECURRA_INLINE Element<V> fold_lanes(V v, F f) {
    Element<V> r = v[0];
    [&]<int... I>(Indices<I...>) RECURRA_LAMBDA { ((r = f(r, v[I + 1])), ...); }(upto<lanes_of<V> - 1>);
    return r;
}
template <class V> RECURRA_INLINE bool any_bits(V v) {
    if constexpr (sizeof(V) > 16) {
        typedef Element<V> Half __attribute__((vector_size(sizeof(V) / 2)));
        Half low, high;
        __builtin_memcpy(&low, &v, sizeof low);
        __builtin_memcpy(&high, (const char*)&v + sizeof low, sizeof high);
        return any_bits<Half>(low | high);
    } else {
        uint64_t words[2];
        __builtin_memcpy(words, &v, sizeof words);
        return (words[0] | words[1]) != 0;
    }
}
template <class V> RECURRA_INLINE Element<V> sum_lanes(V v) {
    if constexpr (sizeof(V) > 16) {  // halves first: a chain of scalar additions is slow
        typedef Element<V> Half __attribute__((vector_size(sizeof(V) / 2)));
        Half low, high;
        __builtin_memcpy(&low, &v, sizeof low);
        __builtin_memcpy(&high, (const char*)&v + sizeof low, sizeof high);
        return sum_lanes<Half>(low + high);
    } else {
        return fold_lanes(v, [](auto a, auto b) RECURRA_LAMBDA { return a + b; });
    }
}
template <Real V> RECURRA_INLINE Element<V> max_lanes(V v) {  // NaN if any lane is NaN
    return fold_lanes(v, [](auto a, auto b) RECURRA_LAMBDA { return a > b || a != a ? a : b; });
}
template <Real V> RECURRA_INLINE Element<V> min_lanes(V v) {
    return fold_lanes(v, [](auto a, auto b) RECURRA_LAMBDA { return a < b || a != a ? a : b; });
}

}  // namespace recurra
