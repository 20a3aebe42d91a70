// erf and the two forms of gelu. gelu's relative error holds for very negative x too, where 1 + erf cancels: it is
// built on the complement e^(x^2) erfc(x), and the exponent's argument is carried to twice the working precision.
// gelu(inf) = inf and gelu(-inf) = -0, their limits; torch gives NaN.
#pragma once

#include "math.h"

namespace recurra {

template <Real V> struct Exact {  // the sum of both, unrounded
    V value, error;
};
template <Real V> RECURRA_INLINE Exact<V> exact_product(V a, V b) {
    using R = Element<V>;
    const V p = opaque(a * b);
    if constexpr (HAS_FMA) {
        return {p, fma(a, b, -p)};
    } else {  // Veltkamp and Dekker: halves of the digits multiply without rounding
        const auto mask = (Mask<V>)V{} - (Element<Mask<V>>(1) << (SINGLE<R> ? 12 : 27));
        const V ah = (V)((Mask<V>)a & mask), al = a - ah, bh = (V)((Mask<V>)b & mask), bl = b - bh;
        return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
    }
}
// e^(a^2 / 2) times the part of the normal distribution above a, for 0 <= a <= 14.5 (38.7), where that part reaches 0
template <Real V> RECURRA_INLINE V normal_tail_scaled(V a) {
    if constexpr (SINGLE<Element<V>>) {
        // Powers of a^2 in both: its rounding error then cancels in the quotient.
        const V s = a * a;
        const V p = fma(a, polynomial(s, {0.43843564253, 0.040668266378}),
                        polynomial(s, {0.5000000029, 0.18333925971, 0.0041214671181}));
        const V q = fma(a, polynomial(s, {1.6747562626, 0.46974536155, 0.010330867423}),
                        polynomial(s, {1.0, 1.2029358988, 0.10194662631}));
        return p / q;
    } else {
        const V p = polynomial(a, {0.49999999999999997564, 0.77459998417168949579, 0.59364854410487573077,
                                   0.28904802974931274604, 0.097571369600036874907, 0.023583245651273179377,
                                   0.0040809726394966799904, 0.00048920788876446823356, 0.000037143946518831009966,
                                   1.3807718085153843949e-6});
        const V q = polynomial(a, {1.0, 2.3470845291462346698, 2.5599995969151064857, 1.7130994692293472197,
                                   0.78123272795424348932, 0.25461841120288393493, 0.060333770953384779882,
                                   0.010322587461296318555, 0.0012297234080100809516, 0.000093106066573284182855,
                                   3.4610816560487132662e-6});
        return p / q;
    }
}

template <Real V> RECURRA_INLINE V erf(V x) {
    using R = Element<V>;
    const V a = limit(abs(x), R(0), SINGLE<R> ? R(4) : R(6)), s = a * a;
    V inner;
    if constexpr (SINGLE<R>) {
        inner = a * polynomial(s, {1.12837912313, -0.376123276225, 0.112801888891, -0.0267115265302, 0.00491777905659,
                                   -0.000563228812798});
    } else {
        const V p = polynomial(s, {1.1283791670955125747, 0.14350472727442636707, 0.045483356441884153235,
                                   0.0018773396881107120276, 0.00019688197094332097945, 7.7606897494989669307e-8});
        const V q = polynomial(s, {1.0, 0.4605110865736849364, 0.093812270663317023454, 0.010692921019876462523,
                                   0.00069248209372192854418, 0.000020809523564392987672});
        inner = a * p / q;
    }
    const V outer = R(1) - exp(-s) * (R(2) * normal_tail_scaled(a * R(1.41421356237309504880)));
    return copysign(a < splat<V>(R(1)) ? inner : outer, x);
}

// x times the normal distribution function
template <Real V> RECURRA_INLINE V gelu(V x) {
    using R = Element<V>;
    const V a = limit(abs(x), R(0), SINGLE<R> ? R(14.5) : R(38.7));
    const auto [square, error] = exact_product(a, a);
    const auto [shifted, r] = reduce(limit(square * R(-0.5), EXP_LOW<R>, R(0)));
    // The power of two goes in last: the product may be normal where the exponential alone is not.
    const V t = limit(x, R(-40), R(40)) * normal_tail_scaled(a);
    const V tail = scale_by(fma(t, expm1_fraction(fma(error, splat<V>(R(-0.5)), r)), t), shifted);
    return x > V{} ? x - tail : tail;
}

// x / (1 + e^-y) with y = 2 sqrt(2 / pi) (x + 0.044715 x^3)
template <Real V> RECURRA_INLINE V gelu_tanh(V x) {
    using R = Element<V>;
    // The coefficients are each the sum of two numbers too.
    constexpr R l = SINGLE<R> ? R(1.5957691669464111) : R(1.5957691216057308);
    constexpr R l_rest = SINGLE<R> ? R(-4.53406804211e-8) : R(-9.96930880911092031e-17);
    constexpr R c = SINGLE<R> ? R(0.07135481387376785) : R(0.07135481627260025);
    constexpr R c_rest = SINGLE<R> ? R(2.39883239249e-9) : R(-4.12185772174318277e-18);
    // Beyond these bounds the result is x or 0 to all digits.
    const V a = limit(abs(x), R(0), SINGLE<R> ? R(11) : R(22));
    const auto square = exact_product(a, a);
    const auto term = exact_product(square.value, splat<V>(c));
    const V term_rest = fma(square.value, splat<V>(c_rest), fma(square.error, splat<V>(c), term.error));
    // Knuth's exact sum, which need not know the larger of the two
    const V sum = opaque(term.value + l), back = sum - term.value;
    const V sum_rest = (term.value - (sum - back)) + (l - back) + (term_rest + l_rest);
    const auto y = exact_product(a, sum);
    // From here as `sigmoid`, with the sign of x back in y and its rounding error in r.
    constexpr int lift = SINGLE<R> ? -30 : -60;
    const V low = splat<V>(SINGLE<R> ? R(0x1p-30) : R(0x1p-60)), rest = fma(a, sum_rest, y.error);
    const auto [shifted, r] = reduce(limit(copysign(y.value, -x), SINGLE<R> ? R(-30) : R(-50),
                                          SINGLE<R> ? R(108) : R(750)));
    const V e = exp_fraction(r + (x < V{} ? rest : -rest));
    // A large x goes in before the division, whose quotient alone may be denormal; a tiny one after it.
    const V b = limit(x, SINGLE<R> ? R(-11) : R(-22), R(__builtin_inf())), one = splat<V>(1);
    const auto large = a > one;
    return (large ? b * low : low) / fma(e, power_of_two<lift>(shifted), low) * (large ? one : b);
}

}  // namespace recurra
