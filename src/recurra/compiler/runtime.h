// What all generated code shares: vectors, vector mathematics, packed matrix products. One header, no dependencies.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#define ALWAYS static inline __attribute__((always_inline))

template <class T, int N> struct vector_of { typedef T type __attribute__((vector_size(N * sizeof(T)))); };
template <class T, int N> using vec = typename vector_of<T, N>::type;
template <int N, class F> ALWAYS void unrolled(F&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, I>{}), ...);
  }(std::make_integer_sequence<int, N>{});
}

// N lanes of real numbers R, with integers (int64) and masks (-1 or 0) of as many lanes.
template <class R, int N> struct Lanes {
  typedef std::conditional_t<sizeof(R) == 4, int32_t, int64_t> I;
  typedef vec<R, N> V;
  typedef vec<int64_t, N> W;
  typedef vec<I, N> M;
  typedef vec<uint8_t, N> Bytes;
  static constexpr bool single = sizeof(R) == 4;

  ALWAYS V one(R x) { return V{} + x; }
  ALWAYS W one(int64_t x) { return W{} + x; }
  ALWAYS M one(uint8_t x) { return M{} - I(x != 0); }
  template <int K> ALWAYS V load(const R* p) { V v{}; memcpy(&v, p, K * sizeof(R)); return v; }
  template <int K> ALWAYS W load(const int64_t* p) { W v{}; memcpy(&v, p, K * 8); return v; }
  template <int K> ALWAYS M load(const uint8_t* p) { Bytes v{}; memcpy(&v, p, K); return __builtin_convertvector(v, M) != 0; }
  template <int K> ALWAYS void store(R* p, V v) { memcpy(p, &v, K * sizeof(R)); }
  template <int K> ALWAYS void store(int64_t* p, W v) { memcpy(p, &v, K * 8); }
  template <int K> ALWAYS void store(uint8_t* p, M m) { Bytes v = __builtin_convertvector(m & 1, Bytes); memcpy(p, &v, K); }
  template <int K, class T> ALWAYS auto gather(const T* p, long stride) {
    T t[N] = {};
    for (int i = 0; i < K; i++) t[i] = p[i * stride];
    return load<N>(t);
  }
  template <int K, class T, class X> ALWAYS void scatter(T* p, long stride, X v) {
    T t[N];
    store<N>(t, v);
    for (int i = 0; i < K; i++) p[i * stride] = t[i];
  }
  template <int K> ALWAYS V keep(V v, R neutral) {
    if constexpr (K < N) for (int i = K; i < N; i++) v[i] = neutral;
    return v;
  }
  ALWAYS R total(V v) { R s = 0; for (int i = 0; i < N; i++) s += v[i]; return s; }
  ALWAYS R largest(V v) { R s = v[0]; for (int i = 1; i < N; i++) s = (v[i] > s || v[i] != v[i]) ? v[i] : s; return s; }

  ALWAYS M mask(M m) { return m; }
  ALWAYS M mask(W w) requires (!std::is_same_v<W, M>) { return __builtin_convertvector(w, M); }
  template <class X> ALWAYS M lt(X a, X b) { return mask(a < b); }
  template <class X> ALWAYS M le(X a, X b) { return mask(a <= b); }
  template <class X> ALWAYS M gt(X a, X b) { return mask(a > b); }
  template <class X> ALWAYS M ge(X a, X b) { return mask(a >= b); }
  template <class X> ALWAYS M eq(X a, X b) { return mask(a == b); }
  template <class X> ALWAYS M ne(X a, X b) { return mask(a != b); }
  ALWAYS V where(M m, V a, V b) { return m ? a : b; }
  ALWAYS W where(M m, W a, W b) { return __builtin_convertvector(m, W) ? a : b; }
  ALWAYS M where(M m, M a, M b) requires (!std::is_same_v<W, M>) { return (m & a) | (~m & b); }
  // NaN in either argument gives NaN, as in torch.
  ALWAYS V maximum(V a, V b) { return (a > b) | (a != a) ? a : b; }
  ALWAYS V minimum(V a, V b) { return (a < b) | (a != a) ? a : b; }
  ALWAYS W maximum(W a, W b) { return a > b ? a : b; }
  ALWAYS W minimum(W a, W b) { return a < b ? a : b; }
  ALWAYS V relu(V a) { return (a > 0) | (a != a) ? a : V{}; }
  ALWAYS W abs(W a) { return a < 0 ? -a : a; }
  ALWAYS V abs(V a) { return bits(bits(a) & (I)(~(std::make_unsigned_t<I>(1) << (sizeof(I) * 8 - 1)))); }
  ALWAYS V sign(V a) { return a > 0 ? one(R(1)) : (a < 0 ? one(R(-1)) : a - a); }
  ALWAYS V to_real(V a) { return a; }
  ALWAYS V to_real(W a) { return __builtin_convertvector(a, V); }
  ALWAYS V to_real(M a) requires (!std::is_same_v<W, M>) { return __builtin_convertvector(-a, V); }
  ALWAYS V truth(M a) { return __builtin_convertvector(-a, V); }
  ALWAYS W to_int(V a) { return __builtin_convertvector(a, W); }
  ALWAYS W to_int(W a) { return a; }
  ALWAYS W count(M a) { return __builtin_convertvector(-a, W); }
  ALWAYS M to_bool(V a) { return a != 0; }
  ALWAYS M to_bool(W a) { return mask(a != 0); }
  // Lanes beyond the end hold zeros, by which nothing may be divided.
  ALWAYS W remainder(W a, W b) { b = b == 0 ? one(int64_t(1)) : b; W r = a % b; return (r != 0) & ((r < 0) != (b < 0)) ? r + b : r; }
  ALWAYS W floor_divide(W a, W b) { b = b == 0 ? one(int64_t(1)) : b; return (a - remainder(a, b)) / b; }
  ALWAYS V floor_divide(V a, V b) { return floor((a - remainder(a, b)) / b); }
  ALWAYS V remainder(V a, V b) {
    return each2(a, b, [](R x, R y) { R r = std::fmod(x, y); return r != 0 && (r < 0) != (y < 0) ? r + y : r; });
  }

  ALWAYS M bits(V v) { M m; memcpy(&m, &v, sizeof v); return m; }
  ALWAYS V bits(M m) { V v; memcpy(&v, &m, sizeof m); return v; }
  template <class F> ALWAYS V each(V v, F f) { for (int i = 0; i < N; i++) v[i] = f(v[i]); return v; }
  template <class F> ALWAYS V each2(V a, V b, F f) { for (int i = 0; i < N; i++) a[i] = f(a[i], b[i]); return a; }
  ALWAYS V floor(V v) { return each(v, [](R x) { return std::floor(x); }); }
  ALWAYS V ceil(V v) { return each(v, [](R x) { return std::ceil(x); }); }
  ALWAYS V trunc(V v) { return each(v, [](R x) { return std::trunc(x); }); }
  ALWAYS V round(V v) { return each(v, [](R x) { return std::nearbyint(x); }); }
  ALWAYS V sqrt(V v) { return each(v, [](R x) { return std::sqrt(x); }); }
  ALWAYS V rsqrt(V v) { return R(1) / sqrt(v); }
  ALWAYS V log(V v) { return each(v, [](R x) { return std::log(x); }); }
  ALWAYS V log1p(V v) { return each(v, [](R x) { return std::log1p(x); }); }
  ALWAYS V sin(V v) { return each(v, [](R x) { return std::sin(x); }); }
  ALWAYS V cos(V v) { return each(v, [](R x) { return std::cos(x); }); }
  ALWAYS V erf(V v) { return each(v, [](R x) { return std::erf(x); }); }
  ALWAYS V pow(V a, V b) { return each2(a, b, [](R x, R y) { return std::pow(x, y); }); }
  ALWAYS V softplus(V v) { return maximum(v, V{}) + log1p(exp(-abs(v))); }

  // exp(r) - 1 for |r| <= log(2) / 2.
  ALWAYS V expm1_small(V r) {
    V p;
    if constexpr (single) {
      p = one(R(1.9841270e-4)); p = p * r + R(1.3888889e-3); p = p * r + R(8.3333333e-3); p = p * r + R(4.1666667e-2);
      p = p * r + R(1.6666667e-1); p = p * r + R(0.5);
    } else {
      p = one(R(1. / 6227020800.)); p = p * r + R(1. / 479001600.); p = p * r + R(1. / 39916800.);
      p = p * r + R(1. / 3628800.); p = p * r + R(1. / 362880.); p = p * r + R(1. / 40320.); p = p * r + R(1. / 5040.);
      p = p * r + R(1. / 720.); p = p * r + R(1. / 120.); p = p * r + R(1. / 24.); p = p * r + R(1. / 6.); p = p * r + R(.5);
    }
    return r + r * r * p;
  }
  // x = n log(2) + r; n as a real vector. Adding and subtracting 1.5 * 2^m rounds to an integer.
  static constexpr R magic = single ? R(12582912) : R(6755399441055744.0);
  ALWAYS V reduce(V x, V& r) {
    V n = (x * R(1.4426950408889634) + magic) - magic;
    if constexpr (single) r = (x - n * R(0.693359375)) - n * R(-2.12194440e-4);
    else r = (x - n * R(6.93147180369123816490e-01)) - n * R(1.90821492927058770002e-10);
    return n;
  }
  // 2^n for an integer n in the range of normal numbers.
  ALWAYS V power(V n) {
    constexpr int mantissa = single ? 23 : 52, bias = single ? 127 : 1023;
    M i = bits(n + magic) - bits(one(magic));
    return bits((i + bias) << mantissa);
  }
  ALWAYS V exp(V x) {
    constexpr R low = single ? R(-104) : R(-746), high = single ? R(89) : R(710);
    V c = x < low ? one(low) : x; c = c > high ? one(high) : c;
    V r, n = reduce(c, r), half = (n * R(0.5) + magic) - magic;
    // Twice a half power, so that the largest numbers and the denormal ones come out right.
    return (expm1_small(r) + R(1)) * power(half) * power(n - half);
  }
  ALWAYS V expm1(V x) {
    constexpr R low = single ? R(-20) : R(-40), high = single ? R(89) : R(710);
    V c = x < low ? one(low) : x; c = c > high ? one(high) : c;
    V r, n = reduce(c, r), half = (n * R(0.5) + magic) - magic;
    V s = power(half), t = power(n - half);
    V e = n == 0 ? expm1_small(r) : (s * expm1_small(r) + (s - R(1) / t)) * t;
    return x < low ? one(R(-1)) : e;
  }
  // exp(x) for -87 <= x <= 0, which cannot leave the normal numbers.
  ALWAYS V exp_plain(V x) { V r, n = reduce(x, r), s = power(n); return s * expm1_small(r) + s; }
  ALWAYS V sigmoid(V x) {
    constexpr R low = single ? R(-104) : R(-746);
    V a = -abs(x);
    a = a < low ? one(low) : a;
    V r, n = reduce(a, r), half = (n * R(0.5) + magic) - magic;
    V e = (expm1_small(r) + R(1)) * power(half) * power(n - half);
    return (x < 0 ? e : one(R(1))) / (R(1) + e);
  }
  ALWAYS V tanh(V x) {
    if constexpr (single) {
      V c = x > R(7.9988117) ? one(R(7.9988117)) : x; c = c < R(-7.9988117) ? one(R(-7.9988117)) : c;
      V s = c * c;
      V p = s * R(-2.76076847742355e-16) + R(2.00018790482477e-13);
      p = p * s + R(-8.60467152213735e-11); p = p * s + R(5.12229709037114e-08); p = p * s + R(1.48572235717979e-05);
      p = p * s + R(6.37261928875436e-04); p = p * s + R(4.89352455891786e-03);
      V q = s * R(1.19825839466702e-06) + R(1.18534705686654e-04);
      q = q * s + R(2.26843463243900e-03); q = q * s + R(4.89352518554385e-03);
      return c * p / q;
    } else {
      V a = -abs(x) * R(2);
      a = a < R(-44) ? one(R(-44)) : a;
      V r, n = reduce(a, r), s = power(n), e = s * expm1_small(r) + (s - R(1));
      V t = -e / (e + R(2));
      return x < 0 ? -t : t;
    }
  }
};

// One tile of C = A W: M rows times the accumulators `Index` (of `Slots` for each row), each of C vectors of N lanes.
// The panel holds, for each k, the vectors of all of these accumulators side by side. Bits of `Fresh` tell which start at 0.
template <class R, int N, int C, int Slots, int M, unsigned Fresh, int... Index>
ALWAYS void tile(const R* const* a, const R* panel, long low, long high, R* z) {
  typedef vec<R, N> V;
  constexpr int A = sizeof...(Index), E = A * C;
  constexpr int S = M * E >= 8 ? 1 : (M * E >= 4 ? 2 : 4);  // several sums in flight where there are few
  constexpr int index[A] = {Index...};
  V c[S][M][E];
  unrolled<S>([&](auto s) __attribute__((always_inline)) { unrolled<M>([&](auto m) __attribute__((always_inline)) { unrolled<E>([&](auto e) __attribute__((always_inline)) {
    c[s][m][e] = V{};
    if constexpr (s == 0 && !(Fresh >> (e / C) & 1)) memcpy(&c[s][m][e], z + ((m * Slots + index[e / C]) * C + e % C) * N, sizeof(V));
  }); }); });
  const R* row[M];
  unrolled<M>([&](auto m) __attribute__((always_inline)) { row[m] = a[m]; });
  const R* w = panel + low * E * N;
  long k = low;
  for (; k + S <= high; k += S, w += S * E * N)
    unrolled<S>([&](auto s) __attribute__((always_inline)) {
      V x[M];
      unrolled<M>([&](auto m) __attribute__((always_inline)) { x[m] = V{} + row[m][k + s]; });
      unrolled<E>([&](auto e) __attribute__((always_inline)) {
        V y; memcpy(&y, w + (s * E + e) * N, sizeof(V));
        unrolled<M>([&](auto m) __attribute__((always_inline)) { c[s][m][e] += x[m] * y; });
      });
    });
  for (; k < high; k++, w += E * N)
    unrolled<E>([&](auto e) __attribute__((always_inline)) {
      V y; memcpy(&y, w + e * N, sizeof(V));
      unrolled<M>([&](auto m) __attribute__((always_inline)) { c[0][m][e] += row[m][k] * y; });
    });
  unrolled<M>([&](auto m) __attribute__((always_inline)) { unrolled<E>([&](auto e) __attribute__((always_inline)) {
    V t = c[0][m][e];
    unrolled<S - 1>([&](auto s) __attribute__((always_inline)) { t += c[s + 1][m][e]; });
    memcpy(z + ((m * Slots + index[e / C]) * C + e % C) * N, &t, sizeof(V));
  }); });
}

template <class R, int N, int C, int Slots, int Most, unsigned Fresh, int... Index>
static inline void tiles(int rows, const R* const* a, const R* panel, long low, long high, R* z) {
  unrolled<Most>([&](auto m) __attribute__((always_inline)) {
    if (rows == m + 1) tile<R, N, C, Slots, m + 1, Fresh, Index...>(a, panel, low, high, z);
  });
}

// Pack columns of matrices: for each block of `width` columns, each k, each matrix. Writes the range of k that is not zero.
struct Columns { int source; long offset, down, right; };
template <class R>
static void pack(const void* const* p, const Columns* from, int count, long K, long columns, int width, R* to, int64_t* range) {
  for (long j = 0; j < columns; j += width, range += 2) {
    long low = K, high = 0;
    for (long k = 0; k < K; k++)
      for (int i = 0; i < count; i++) {
        const R* w = (const R*)p[from[i].source] + from[i].offset + k * from[i].down;
        bool any = false;
        for (long u = j; u < j + width; u++) {
          R x = u < columns ? w[u * from[i].right] : R(0);
          any |= !(x == 0);
          *to++ = x;
        }
        if (any) { if (k < low) low = k; high = k + 1; }
      }
    range[0] = low < high ? low : 0;
    range[1] = high;
  }
}
