// LSTM, GRU and Elman kernels written by hand: the speed that generated code has to reach.
//
// float32, one thread, AVX2 and FMA (vectors of 8), hidden sizes that are multiples of 16. Time is the outermost
// dimension of every array. All gates of a unit are accumulated in registers and the pointwise part is the epilogue of
// the matrix product's tile. What happens outside: packing is called once a change of the weights, the gradients of
// the input and of the weights are one matrix product each over all stacked steps.

#include <utility>

namespace {

typedef float V __attribute__((vector_size(32), aligned(4), may_alias));
typedef int VI __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int LANES = 8;

#define INLINE __attribute__((always_inline)) inline

INLINE V load(const float* p) { return *(const V*)p; }
INLINE void store(float* p, V v) { *(V*)p = v; }
INLINE V all(float x) { return x - V{}; }

// Loops over registers must be unrolled by the language: under a pragma, GCC keeps the accumulators on the stack.
template <class F, int... I> INLINE void repeat_(F&& f, std::integer_sequence<int, I...>) {
    (f(std::integral_constant<int, I>{}), ...);
}
template <int N, class F> INLINE void repeat(F&& f) { repeat_(f, std::make_integer_sequence<int, N>{}); }
#define EACH(i, N) repeat<N>([&](auto i) __attribute__((always_inline)) {
#define END });

INLINE V clamp(V x, float low, float high) {
    x = x < low ? all(low) : x;
    return x > high ? all(high) : x;
}

// Rational approximation 13/6; relative error below 3e-7.
INLINE V tanh_(V x) {
    x = clamp(x, -7.9988117f, 7.9988117f);
    V s = x * x;
    V p = s * -2.76076847742355e-16f + 2.00018790482477e-13f;
    p = s * p - 8.60467152213735e-11f;
    p = s * p + 5.12229709037114e-08f;
    p = s * p + 1.48572235717979e-05f;
    p = s * p + 6.37261928875436e-04f;
    p = s * p + 4.89352455891786e-03f;
    V q = s * 1.19825839466702e-06f + 1.18534705686654e-04f;
    q = s * q + 2.26843463243900e-03f;
    q = s * q + 4.89352518554385e-03f;
    return x * p / q;
}

// 1 / (1 + exp(-x)); unlike a sigmoid made from tanh it is right for very negative x too.
INLINE V sigmoid(V x) {
    x = clamp(-x, -87.0f, 88.0f);
    V n = x * 1.44269504088896341f;
    n = (n + 12582912.0f) - 12582912.0f;  // to the nearest integer
    V r = x - n * 0.693359375f + n * 2.12194440e-4f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    VI exponent = (__builtin_convertvector(n, VI) + 127) << 23;
    return 1.0f / (1.0f + p * (V)exponent);
}

// A tile of the batch: R rows times C vectors of units. sum += a (R, K) * w, w packed as (K, C, LANES).
template <int R, int C> INLINE void multiply(V (&sum)[R][C], const float* a, long stride, const float* w, int K) {
    // Few rows need several sets of accumulators, or every step waits for the one before.
    constexpr int small = R * C, sets = small >= 8 ? 1 : small >= 4 ? 2 : small >= 2 ? 4 : 8;
    V s[sets][R][C];
    EACH(q, sets) EACH(r, R) EACH(c, C) s[q][r][c] = q ? V{} : sum[r][c]; END END END
    int k = 0;
    for (; k + sets <= K; k += sets, w += sets * C * LANES) {
        EACH(q, sets)
            if constexpr (C <= 3) {  // the weights stay in registers, the rows are broadcast one by one
                V column[C];
                EACH(c, C) column[c] = load(w + (q * C + c) * LANES); END
                EACH(r, R)
                    V one = all(a[r * stride + k + q]);
                    EACH(c, C) s[q][r][c] += one * column[c]; END
                END
            } else {
                V one[R];
                EACH(r, R) one[r] = all(a[r * stride + k + q]); END
                EACH(c, C)
                    V column = load(w + (q * C + c) * LANES);
                    EACH(r, R) s[q][r][c] += one[r] * column; END
                END
            }
        END
    }
    for (; k < K; k++, w += C * LANES)
        EACH(r, R) EACH(c, C) s[0][r][c] += all(a[r * stride + k]) * load(w + c * LANES); END END
    EACH(r, R) EACH(c, C)
        sum[r][c] = s[0][r][c];
        EACH(q, sets) if constexpr (q > 0) sum[r][c] += s[q][r][c]; END
    END END
}

template <int R, int C> INLINE void clear(V (&sum)[R][C]) { EACH(r, R) EACH(c, C) sum[r][c] = V{}; END END }

// Calls f(rows as a constant, first row) over the batch in tiles of at most MOST rows of nearly equal height.
template <int MOST, class F> INLINE void tiles(int B, F&& f) {
    int count = (B + MOST - 1) / MOST, b = 0;
    for (int t = 0; t < count; t++) {
        int rows = B / count + (t < B % count);
        EACH(r, MOST) if (rows == r + 1) f(std::integral_constant<int, r + 1>{}, b); END
        b += rows;
    }
}

// out (B, H) += d (B, K) * w: what flows back to the first state.
INLINE void add_product(float* out, const float* d, long stride, const float* w, int K, int B, int H) {
    for (int j = 0; j < H; j += 16)
        tiles<6>(B, [&](auto R, int b) __attribute__((always_inline)) {
            V sum[R][2];
            clear(sum);
            multiply(sum, d + b * stride, stride, w + (long)j * K, K);
            EACH(r, R) EACH(c, 2)
                float* p = out + (long)(b + r) * H + j + c * LANES;
                store(p, load(p) + sum[r][c]);
            END END
        });
}

}  // namespace

extern "C" {

// Weights (gates * H, K) as panels (H / units, K, gates, units).
void pack_forward(const float* w, float* out, int gates, int units, int H, int K) {
    for (int j = 0; j < H; j += units)
        for (int k = 0; k < K; k++)
            for (int g = 0; g < gates; g++)
                for (int u = 0; u < units; u++) *out++ = w[(long)(g * H + j + u) * K + k];
}

// Weights (K, H) as panels (H / 16, K, 16), for products from the right.
void pack_backward(const float* w, float* out, int K, int H) {
    for (int j = 0; j < H; j += 16)
        for (int k = 0; k < K; k++)
            for (int u = 0; u < 16; u++) *out++ = w[(long)k * H + j + u];
}

// h (T + 1, B, H) with the first state in slot 0; c (T + 1, B, H) likewise; gates (T, B, 4H), activated, in the order
// i, f, g, o, or null in inference. The input is either x (T, B, I) or its finished projection (T, B, 4H).
void lstm_forward(int T, int B, int I, int H, const float* x, const float* projection, const float* bias,
                  const float* w_input, const float* w_state, float* h, float* c, float* gates) {
    const long S = (long)B * H;
    for (int t = 0; t < T; t++)
        for (int j = 0; j < H; j += LANES)
            tiles<3>(B, [&](auto R, int b) __attribute__((always_inline)) {
                V a[R][4];
                EACH(r, R) EACH(g, 4)
                    a[r][g] = projection ? load(projection + ((long)t * B + b + r) * 4 * H + g * H + j)
                                         : load(bias + g * H + j);
                END END
                if (!projection)
                    multiply(a, x + ((long)t * B + b) * I, I, w_input + (long)j * I * 4, I);
                multiply(a, h + t * S + (long)b * H, H, w_state + (long)j * H * 4, H);
                EACH(r, R)
                    const long at = (long)(b + r) * H + j;
                    V i = sigmoid(a[r][0]), f = sigmoid(a[r][1]), g = tanh_(a[r][2]), o = sigmoid(a[r][3]);
                    V now = f * load(c + t * S + at) + i * g;
                    store(c + (t + 1) * S + at, now);
                    store(h + (t + 1) * S + at, o * tanh_(now));
                    if (gates) {
                        float* p = gates + ((long)t * B + b + r) * 4 * H + j;
                        store(p, i), store(p + H, f), store(p + 2 * H, g), store(p + 3 * H, o);
                    }
                END
            });
}

// d_y (T, B, H); d_gates (T, B, 4H) is written, d_c (B, H) and d_bias (4H) are added to, d_h (B, H) too.
void lstm_backward(int T, int B, int H, const float* w, const float* d_y, const float* gates, const float* c,
                   float* d_c, float* d_gates, float* d_bias, float* d_h) {
    const long S = (long)B * H;
    for (int t = T - 1; t >= 0; t--)
        for (int j = 0; j < H; j += 16)
            tiles<6>(B, [&](auto R, int b) __attribute__((always_inline)) {
                V dh[R][2];
                EACH(r, R) EACH(v, 2) dh[r][v] = load(d_y + t * S + (long)(b + r) * H + j + v * LANES); END END
                if (t < T - 1) multiply(dh, d_gates + ((long)(t + 1) * B + b) * 4 * H, 4 * H, w + (long)j * 4 * H, 4 * H);
                EACH(v, 2)
                    float* total = d_bias + j + v * LANES;
                    V di = load(total), df = load(total + H), dg = load(total + 2 * H), d_o = load(total + 3 * H);
                    EACH(r, R)
                        const long at = (long)(b + r) * H + j + v * LANES;
                        const long quad = ((long)t * B + b + r) * 4 * H + j + v * LANES;
                        const float* p = gates + quad;
                        V i = load(p), f = load(p + H), g = load(p + 2 * H), o = load(p + 3 * H);
                        V y = tanh_(load(c + (t + 1) * S + at));
                        V dc = load(d_c + at) + dh[r][v] * o * (1.0f - y * y);
                        V a = dc * g * i * (1.0f - i), e = dc * load(c + t * S + at) * f * (1.0f - f);
                        V m = dc * i * (1.0f - g * g), n = dh[r][v] * y * o * (1.0f - o);
                        store(d_c + at, dc * f);
                        float* q = d_gates + quad;
                        store(q, a), store(q + H, e), store(q + 2 * H, m), store(q + 3 * H, n);
                        di += a, df += e, dg += m, d_o += n;
                    END
                    store(total, di), store(total + H, df), store(total + 2 * H, dg), store(total + 3 * H, d_o);
                END
            });
    add_product(d_h, d_gates, 4 * H, w, 4 * H, B, H);
}

// projection (T, B, 3H) in the order r, z, n with its bias; bias (H): the hidden bias of n, those of r and z being in
// the projection. saved (T, B, 4H): n, r, z, W_hn h + b_hn, or null.
void gru_forward(int T, int B, int I, int H, const float* x, const float* projection, const float* bias_input,
                 const float* bias, const float* w_input, const float* w_state, float* h, float* saved) {
    const long S = (long)B * H;
    for (int t = 0; t < T; t++)
        for (int j = 0; j < H; j += LANES)
            tiles<4>(B, [&](auto R, int b) __attribute__((always_inline)) {
                V in[R][3], a[R][3];
                EACH(r, R) EACH(g, 3)
                    in[r][g] = projection ? load(projection + ((long)t * B + b + r) * 3 * H + g * H + j)
                                          : load(bias_input + g * H + j);
                    a[r][g] = g == 2 ? load(bias + j) : V{};
                END END
                multiply(a, h + t * S + (long)b * H, H, w_state + (long)j * H * 3, H);
                if (!projection) multiply(in, x + ((long)t * B + b) * I, I, w_input + (long)j * I * 3, I);
                EACH(r, R)
                    const long at = (long)(b + r) * H + j;
                    V reset = sigmoid(a[r][0] + in[r][0]), z = sigmoid(a[r][1] + in[r][1]);
                    V n = tanh_(in[r][2] + reset * a[r][2]);
                    store(h + (t + 1) * S + at, n + z * (load(h + t * S + at) - n));
                    if (saved) {
                        float* p = saved + ((long)t * B + b + r) * 4 * H + j;
                        store(p, n), store(p + H, reset), store(p + 2 * H, z), store(p + 3 * H, a[r][2]);
                    }
                END
            });
}

// d_gates (T, B, 4H): n, r, z, and W_hn h + b_hn: the first three belong to the input's weights, the last three (as
// r, z, n) to the state's. d_h (B, H) comes in as the gradient of the last state, and leaves as that of the first.
void gru_backward(int T, int B, int H, const float* w, const float* d_y, const float* saved, const float* h,
                  float* d_h, float* d_gates, float* d_bias) {
    const long S = (long)B * H;
    for (int t = T - 1; t >= 0; t--)
        for (int j = 0; j < H; j += 16)
            tiles<6>(B, [&](auto R, int b) __attribute__((always_inline)) {
                V dh[R][2];
                EACH(r, R) EACH(v, 2) 
                    const long at = (long)(b + r) * H + j + v * LANES;
                    dh[r][v] = load(d_y + t * S + at) + load(d_h + at);
                END END
                if (t < T - 1)
                    multiply(dh, d_gates + ((long)(t + 1) * B + b) * 4 * H + H, 4 * H, w + (long)j * 3 * H, 3 * H);
                EACH(v, 2)
                    float* total = d_bias + j + v * LANES;
                    V tn = load(total), tr = load(total + H), tz = load(total + 2 * H), th = load(total + 3 * H);
                    EACH(r, R)
                        const long at = (long)(b + r) * H + j + v * LANES;
                        const long quad = ((long)t * B + b + r) * 4 * H + j + v * LANES;
                        const float* p = saved + quad;
                        V n = load(p), reset = load(p + H), z = load(p + 2 * H), hn = load(p + 3 * H), d = dh[r][v];
                        V dn = d * (1.0f - z) * (1.0f - n * n), dr = dn * hn * reset * (1.0f - reset);
                        V dz = d * (load(h + t * S + at) - n) * z * (1.0f - z), dhn = dn * reset;
                        store(d_h + at, d * z);
                        float* q = d_gates + quad;
                        store(q, dn), store(q + H, dr), store(q + 2 * H, dz), store(q + 3 * H, dhn);
                        tn += dn, tr += dr, tz += dz, th += dhn;
                    END
                    store(total, tn), store(total + H, tr), store(total + 2 * H, tz), store(total + 3 * H, th);
                END
            });
    add_product(d_h, d_gates + H, 4 * H, w, 3 * H, B, H);
}

// projection (T, B, H) with all biases, or x (T, B, I) and bias (H). Panels of 16 units.
void elman_forward(int T, int B, int I, int H, const float* x, const float* projection, const float* bias,
                   const float* w_input, const float* w_state, float* h) {
    const long S = (long)B * H;
    for (int t = 0; t < T; t++)
        for (int j = 0; j < H; j += 16)
            tiles<6>(B, [&](auto R, int b) __attribute__((always_inline)) {
                V a[R][2];
                EACH(r, R) EACH(v, 2)
                    const int unit = j + v * LANES;
                    a[r][v] = projection ? load(projection + t * S + (long)(b + r) * H + unit) : load(bias + unit);
                END END
                if (!projection) multiply(a, x + ((long)t * B + b) * I, I, w_input + (long)j * I, I);
                multiply(a, h + t * S + (long)b * H, H, w_state + (long)j * H, H);
                EACH(r, R) EACH(v, 2)
                    store(h + (t + 1) * S + (long)(b + r) * H + j + v * LANES, tanh_(a[r][v]));
                END END
            });
}

// d_a (T, B, H): the gradients before the tanh.
void elman_backward(int T, int B, int H, const float* w, const float* d_y, const float* h, float* d_a, float* d_bias,
                    float* d_h) {
    const long S = (long)B * H;
    for (int t = T - 1; t >= 0; t--)
        for (int j = 0; j < H; j += 16)
            tiles<6>(B, [&](auto R, int b) __attribute__((always_inline)) {
                V dh[R][2];
                EACH(r, R) EACH(v, 2) dh[r][v] = load(d_y + t * S + (long)(b + r) * H + j + v * LANES); END END
                if (t < T - 1) multiply(dh, d_a + (t + 1) * S + (long)b * H, H, w + (long)j * H, H);
                EACH(v, 2)
                    V total = load(d_bias + j + v * LANES);
                    EACH(r, R)
                        const long at = (long)(b + r) * H + j + v * LANES;
                        V y = load(h + (t + 1) * S + at), d = dh[r][v] * (1.0f - y * y);
                        store(d_a + t * S + at, d);
                        total += d;
                    END
                    store(d_bias + j + v * LANES, total);
                END
            });
    add_product(d_h, d_a, H, w, H, B, H);
}
}
