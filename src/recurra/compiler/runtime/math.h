// Elementary functions of vectors: relative error at most 4e-7 in float and 1e-14 in double over the whole range, with
// denormal arguments and results, infinities, NaN and the sign of zero right. Polynomials and rational functions are
// minimax fits of the relative error. No table, no branch.
//
// Costs, in vector instructions, of the two that bound a small recurrent cell in float: tanh 14 and a division (a
// rational function), sigmoid 14 and a division (by exp: through tanh it would lose its relative accuracy below -8).
#pragma once

#include "simd.h"

namespace recurra {

template <class R> inline constexpr bool SINGLE = sizeof(R) == 4;

// c[0] + c[1] x + c[2] x^2 + ...
template <Real V, int N> RECURRA_INLINE V polynomial(V x, const double (&c)[N]) {
    V p = splat<V>(Element<V>(c[N - 1]));
    [&]<int... I>(Indices<I...>) RECURRA_LAMBDA {
        ((p = fma(p, x, splat<V>(Element<V>(c[N - 2 - I])))), ...);
    }(upto<N - 1>);
    return p;
}

// ---- the exponential's family ----------------------------------------------------------------------------------

// y = n ln 2 + r with n whole and |r| <= ln 2 / 2. `shifted` is n + 1.5 * 2^23 (2^52): its low bits are n itself, in
// two's complement, ready to be moved into the exponent, with no conversion between kinds of number.
template <Real V> struct Reduced {
    V shifted, r;
};
template <class R> inline constexpr R SHIFT = SINGLE<R> ? R(12582912.0) : R(6755399441055744.0);
template <class R> inline constexpr int FRACTION_BITS = SINGLE<R> ? 23 : 52;
template <class R> inline constexpr int BIAS = SINGLE<R> ? 127 : 1023;

template <Real V> RECURRA_INLINE Reduced<V> reduce(V y) {
    using R = Element<V>;
    // The high part of ln 2 has so few bits that its product with n is exact, with and without fma.
    constexpr R high = SINGLE<R> ? R(0.693359375) : R(6.93147180369123816490e-01);
    constexpr R low = SINGLE<R> ? R(-2.12194440e-4) : R(1.90821492927058770002e-10);
    const V shifted = fma(y, splat<V>(R(1.4426950408889634)), splat<V>(SHIFT<R>));
    const V n = shifted - SHIFT<R>;
    return {shifted, fma(n, splat<V>(-low), fma(n, splat<V>(-high), y))};
}
// 2^(n + more), where that is a normal number
template <int more, Real V> RECURRA_INLINE V power_of_two(V shifted) {
    constexpr int bits = FRACTION_BITS<Element<V>>;
    return (V)(((Unsigned<V>)shifted << bits) + (Natural<V>(BIAS<Element<V>> + more) << bits));
}
// 2^n x for any n that an exponential meets: in two steps, for 2^n itself may be above or below what a number can hold
template <Real V> RECURRA_INLINE V scale_by(V x, V shifted) {
    constexpr int bits = FRACTION_BITS<Element<V>>;
    // n + twice the exponent's bias is positive, so half of it needs no arithmetic shift (AVX2 has none of 64 bits).
    const auto twice = ((Unsigned<V>)shifted + Natural<V>(2 * BIAS<Element<V>>)) & Natural<V>(0xffff);
    const auto half = twice >> 1;
    return x * (V)(half << bits) * (V)((twice - half) << bits);
}
// (e^r - 1 - r) / r^2
template <Real V> RECURRA_INLINE V exp_tail(V r) {
    if constexpr (SINGLE<Element<V>>)
        return polynomial(r, {0.4999999952, 0.166665737, 0.04166686213, 0.008363739741, 0.001390143659});
    else
        return polynomial(r, {0.49999999999999932195, 0.16666666666646883997, 0.0416666666668269789,
                              0.0083333333549048617135, 0.0013888888834693591438, 0.00019841206384222968833,
                              0.000024801628712179325291, 2.7626414921462396517e-6, 2.7576401547368582745e-7});
}
template <Real V> RECURRA_INLINE V expm1_fraction(V r) { return fma(r * r, exp_tail(r), r); }
template <Real V> RECURRA_INLINE V exp_fraction(V r) { return expm1_fraction(r) + Element<V>(1); }

// Where the exponential has reached 0 and infinity.
template <class R> inline constexpr R EXP_LOW = SINGLE<R> ? R(-105) : R(-746);
template <class R> inline constexpr R EXP_HIGH = SINGLE<R> ? R(89) : R(710);

template <Real V> RECURRA_INLINE V exp(V x) {
    using R = Element<V>;
    const auto [shifted, r] = reduce(limit(x, EXP_LOW<R>, EXP_HIGH<R>));
    return scale_by(exp_fraction(r), shifted);
}

template <Real V> RECURRA_INLINE V expm1(V x) {
    using R = Element<V>;
    const auto [shifted, r] = reduce(limit(x, SINGLE<R> ? R(-20) : R(-40), EXP_HIGH<R>));
    // Half of the result, for 2^n may overflow where the result does not.
    const V s = power_of_two<-1>(shifted), p = expm1_fraction(r);
    const V y = fma(s, p, s - R(0.5)) * R(2);
    return abs(x) < splat<V>(SINGLE<R> ? R(1e-8) : R(1e-17)) ? x : y;  // keeps -0, and the last bit of a denormal
}

// c / (c + c e^-x): with c = 2^-30 (2^-60) the denominator never overflows, so that the quotient comes out right down
// to the smallest denormal.
template <Real V> RECURRA_INLINE V sigmoid(V x) {
    using R = Element<V>;
    constexpr int lift = SINGLE<R> ? -30 : -60;
    constexpr R c = SINGLE<R> ? R(0x1p-30) : R(0x1p-60);
    const auto [shifted, r] = reduce(-limit(x, EXP_LOW<R>, SINGLE<R> ? R(30) : R(50)));
    V e;
    if constexpr (SINGLE<R>)
        e = polynomial(r, {1.0, 0.9999996893, 0.4999911529, 0.1666767507, 0.04190255412, 0.008289484402});
    else
        e = exp_fraction(r);
    return splat<V>(c) / fma(e, power_of_two<lift>(shifted), splat<V>(c));
}

template <Real V> RECURRA_INLINE V tanh(V x) {
    using R = Element<V>;
    if constexpr (SINGLE<R>) {
        // x P(x^2) / Q(x^2). P and Q are 1 at 0, so tiny and denormal x come through unharmed.
        const V c = limit(x, R(-9.02), R(9.02)), s = c * c;
        const V p = polynomial(
            s, {1.0, 0.133826908943, 0.00349745876591, 2.06357187553e-5, 1.33839325212e-8});
        const V q = polynomial(
            s, {1.0, 0.467160122528, 0.0258843733528, 0.000328851377887, 7.79014726985e-7});
        return limit(c * p / q, R(-1), R(1));  // rounding may lead 1e-7 beyond 1, where sqrt(1 - y^2) is NaN
    } else {
        const V a = abs(x);
        const auto [shifted, r] = reduce(limit(a + a, R(0), R(44)));
        const V s = power_of_two<0>(shifted), p = expm1_fraction(r);
        const V e = fma(s, p, s - R(1));  // e^2|x| - 1
        return copysign(e / (e + R(2)), x);
    }
}

// ---- logarithms ------------------------------------------------------------------------------------------------

// log(u) + c for positive normal u; c is small against u
template <Real V> RECURRA_INLINE V log_normal(V u, V c, V more_exponent) {
    using R = Element<V>;
    constexpr int bits = FRACTION_BITS<R>;
    constexpr auto bias = Natural<V>(BIAS<R>) << bits;
    // u = 2^k m with m in [sqrt(1/2), sqrt(2)): k is what the exponent holds above that of sqrt(1/2). It is carried
    // with the bias added, hence positive, and becomes a real number by the low bits of `SHIFT`.
    const auto root = (Unsigned<V>)splat<V>(R(0.70710678118654752440));
    const auto biased = ((Unsigned<V>)u - root + bias) >> bits;
    const V f = (V)((Unsigned<V>)u - (biased << bits) + bias) - R(1);
    const V k = (V)(biased + (Unsigned<V>)splat<V>(SHIFT<R>)) - (SHIFT<R> + R(BIAS<R>)) + more_exponent;
    const V s = f / (f + R(2)), z = s * s, half_square = f * f * R(0.5);
    V tail;
    if constexpr (SINGLE<R>)
        tail = polynomial(z, {0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841});
    else
        tail = polynomial(z, {6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
                              2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
                              1.479819860511658591e-01});
    constexpr R high = SINGLE<R> ? R(0.693359375) : R(6.93147180369123816490e-01);
    constexpr R low = SINGLE<R> ? R(-2.12194440e-4) : R(1.90821492927058770002e-10);
    const V small = fma(k, splat<V>(low), c) + s * fma(tail, z, half_square);
    return fma(k, splat<V>(high), f - (half_square - small));
}
// What a logarithm of x is where x is not a positive finite number.
template <Real V> RECURRA_INLINE V log_special(V x, V y) {
    using R = Element<V>;
    const V inf = splat<V>(R(__builtin_inf())), nan = splat<V>(R(__builtin_nan("")));
    y = x < inf ? y : x;
    y = x == V{} ? -inf : y;
    return x < V{} ? nan : y;
}
template <Real V> RECURRA_INLINE V log(V x) {
    using R = Element<V>;
    constexpr R smallest = SINGLE<R> ? R(0x1p-126) : R(0x1p-1022), up = SINGLE<R> ? R(0x1p32) : R(0x1p64);
    const auto tiny = x < splat<V>(smallest);
    const V u = tiny ? x * up : x, k = tiny ? splat<V>(SINGLE<R> ? R(-32) : R(-64)) : V{};
    return log_special(x, log_normal(u, V{}, k));
}
template <Real V> RECURRA_INLINE V log1p(V x) {
    const V u = x + Element<V>(1), lost = x - (u - Element<V>(1));
    const V y = log_special(u, log_normal(u, lost / u, V{}));
    return x == V{} ? x : y;  // keeps -0
}
// As torch, beyond the threshold 20 it is x itself.
template <Real V> RECURRA_INLINE V softplus(V x) {
    const V y = log1p(exp(-abs(x))) + (x > V{} ? x : V{});
    return x > splat<V>(20) ? x : y;
}

// ---- simple ones -----------------------------------------------------------------------------------------------

template <Real V> RECURRA_INLINE V relu(V x) { return x < V{} ? V{} : x; }  // NaN stays
template <Real V> RECURRA_INLINE V reciprocal(V x) { return Element<V>(1) / x; }
template <Real V> RECURRA_INLINE V rsqrt(V x) { return Element<V>(1) / sqrt(x); }

// Lane by lane through the C library: right, and slow. For functions that no recurrent step lives on.
template <Real V, class F> RECURRA_INLINE V each_lane(V x, F f) {
    for (int i = 0; i < lanes_of<V>; i++) x[i] = f(x[i]);
    return x;
}
template <Real V> RECURRA_INLINE V sin(V x) { return each_lane(x, [](auto a) { return libm::sin(a); }); }
template <Real V> RECURRA_INLINE V cos(V x) { return each_lane(x, [](auto a) { return libm::cos(a); }); }

// x to a power that is the same for all lanes; small whole powers and roots take a few instructions
template <Real V> RECURRA_INLINE V pow(V x, double power) {
    using R = Element<V>;
    if (power == 0) return splat<V>(1);
    if (power == 1) return x;
    if (power == 2) return x * x;
    if (power == 3) return x * x * x;
    if (power == 4) return (x * x) * (x * x);
    if (power == 0.5) return sqrt(x + R(0));  // + 0: the power of -0 is +0
    if (power == -0.5) return rsqrt(x + R(0));
    if (power == -1) return reciprocal(x);
    return each_lane(x, [=](auto a) { return R(libm::pow(a, R(power))); });
}

// As torch's, the remainder has the divisor's sign and the quotient is rounded down.
template <class R> RECURRA_INLINE R remainder_of(R a, R b) {
    R r;
    if constexpr (std::is_integral_v<R>) r = a % b;
    else r = libm::fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
template <class V> RECURRA_INLINE V remainder(V a, V b) {
    for (int i = 0; i < lanes_of<V>; i++) a[i] = remainder_of(a[i], b[i]);
    return a;
}
template <class V> RECURRA_INLINE V floor_divide(V a, V b) {
    using R = Element<V>;
    for (int i = 0; i < lanes_of<V>; i++) {
        if constexpr (std::is_integral_v<R>) {
            a[i] = (a[i] - remainder_of(a[i], b[i])) / b[i];
        } else if (b[i] == 0) {
            a[i] = a[i] / b[i];
        } else {  // the quotient of what is left is whole but for rounding
            const R q = (a[i] - remainder_of(a[i], b[i])) / b[i], whole = libm::floor(q);
            a[i] = q == 0 ? libm::copysign(R(0), a[i] / b[i]) : q - whole > R(0.5) ? whole + 1 : whole;
        }
    }
    return a;
}

}  // namespace recurra
