// Several threads on the same rows: each has a share of the units of every matrix product, and all meet after each; or
// each has a loop that reads what another one makes, and follows it step by step.
#pragma once

#include <sched.h>
#include <stdint.h>

extern "C" int omp_get_thread_num(void);
extern "C" int omp_get_num_threads(void);

// A copy of a loop for one thread alone would cost the compiler's time again, and round its sums in another way.
#if defined(__clang__)
#define RECURRA_ONCE __attribute__((noinline))
#else
#define RECURRA_ONCE __attribute__((noinline, noclone))
#endif

namespace recurra {

// Returns once `made` is as many, and with it all that was written before it.
__attribute__((noinline)) static void wait_for(const int64_t* made, int64_t many) {
    for (long turn = 0; __atomic_load_n(made, __ATOMIC_ACQUIRE) < many; turn++)
        if (turn > 2000) sched_yield();  // another process may have the processor of the one that is waited for
#if defined(__SSE2__)
        else __builtin_ia32_pause();
#endif
}

static inline void await(const int64_t* made, long steps) {
    if (__atomic_load_n(made, __ATOMIC_ACQUIRE) < steps) wait_for(made, steps);
}
static inline void tell(int64_t* made, long steps) { __atomic_store_n(made, steps, __ATOMIC_RELEASE); }

// Runs loops of which each waits for the one before. Words: threads, loops, and for each its function and its words. A
// thread runs its loops in order, so that whatever one waits for has begun, however few threads there are.
static inline void wave(const int64_t* w) {
#pragma omp parallel for num_threads(w[0]) schedule(static, 1)
    for (long k = 0; k < w[1]; k++) ((void (*)(const int64_t*))w[2 + 2 * k])((const int64_t*)w[3 + 2 * k]);
}

struct Share {
    long part, parts;
    int64_t* arrived;  // how often threads have come to a meeting, all together
    int64_t met = 0;

    bool first() const { return part == 0; }
    bool last() const { return part == parts - 1; }
    long from(long blocks) const { return blocks * part / parts; }
    long to(long blocks) const { return blocks * (part + 1) / parts; }

    // Returns once all have come: what each has written before, all see from here on.
    void meet() {
        if (parts > 1) wait();
    }
    void wait() {
        met += parts;
        __atomic_fetch_add(arrived, 1, __ATOMIC_ACQ_REL);
        wait_for(arrived, met);
    }
};

}  // namespace recurra
