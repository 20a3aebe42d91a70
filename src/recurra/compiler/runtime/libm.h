// The C library's functions, for both kinds of number. <cmath> has them too, among so much else that reading it would take a
// tenth of a kernel's time in the compiler.
#pragma once

namespace recurra::libm {
#define RECURRA_LIBM(name) \
    inline float name(float x) { return __builtin_##name##f(x); } \
    inline double name(double x) { return __builtin_##name(x); }
#define RECURRA_LIBM_2(name) \
    inline float name(float x, float y) { return __builtin_##name##f(x, y); } \
    inline double name(double x, double y) { return __builtin_##name(x, y); }
RECURRA_LIBM(sin)
RECURRA_LIBM(cos)
RECURRA_LIBM(floor)
RECURRA_LIBM(sqrt)
RECURRA_LIBM_2(pow)
RECURRA_LIBM_2(fmod)
RECURRA_LIBM_2(copysign)
#undef RECURRA_LIBM
#undef RECURRA_LIBM_2
}  // namespace recurra::libm
