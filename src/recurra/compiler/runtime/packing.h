// Weights laid out for the product: a matrix of K rows and G * units columns (G gates side by side, each of `units`
// columns; a plain matrix has one gate) is cut into panels. A panel holds, for every k in order, the same U vectors of
// units of all G gates, so that one tile of the product holds every gate of its units:
//
//   packed[panel][k][gate][lane], lane < U * LANES<R>, zero beyond the last unit
//
// and range[panel] = {first, last + 1} row k in which the panel is not zero: block-sparse weights cost what they hold.
#pragma once

#include "simd.h"

namespace recurra {

struct Range {
    int32_t low, high;
};

template <class R> struct Packed {
    const R* data;  // best aligned to 64 bytes
    const Range* range;
    int64_t rows;  // K
};

template <class R, int U> inline constexpr int PANEL = U * LANES<R>;  // units in a panel

template <class R, int U> constexpr int64_t panels(int64_t units) { return (units + PANEL<R, U> - 1) / PANEL<R, U>; }

// How many numbers, and how many ranges (`panels`), the packed form of a matrix takes.
template <class R, int G, int U> constexpr int64_t packed_size(int64_t K, int64_t units) {
    return panels<R, U>(units) * K * G * PANEL<R, U>;
}

// Element (k, n) of the matrix is weights[k * row_stride + n * column_stride], gate g's unit j being n = g * units + j.
template <class R, int G, int U>
void pack(int64_t K, int64_t units, const R* weights, int64_t row_stride, int64_t column_stride, R* packed,
          Range* range) {
    constexpr int P = PANEL<R, U>;
    for (int64_t p = 0; p < panels<R, U>(units); p++) {
        const int64_t first = p * P, width = units - first < P ? units - first : P;
        R* to = packed + p * K * G * P;
        for (int g = 0; g < G; g++)
            for (int64_t k0 = 0; k0 < K; k0 += 16)  // blocks, for torch's weights run along k
                for (int64_t j = 0; j < P; j++) {
                    const R* from = weights + (g * units + first + j) * column_stride;
                    for (int64_t k = k0; k < (k0 + 16 < K ? k0 + 16 : K); k++)
                        to[(k * G + g) * P + j] = j < width ? from[k * row_stride] : R(0);
                }
        const auto zero = [&](int64_t k) {
            bool nothing = true;
            for (int64_t i = 0; i < G * P; i++) nothing &= to[k * G * P + i] == R(0);  // NaN counts as something
            return nothing;
        };
        int64_t low = 0, high = K;
        while (low < high && zero(low)) low++;
        while (low < high && zero(high - 1)) high--;
        range[p] = {int32_t(low), int32_t(high)};
    }
}

}  // namespace recurra
