// Several threads on the same rows: each has a share of the units of every matrix product, and all meet after each.
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
    __attribute__((noinline)) void wait() {
        met += parts;
        __atomic_fetch_add(arrived, 1, __ATOMIC_ACQ_REL);
        for (long turn = 0; __atomic_load_n(arrived, __ATOMIC_ACQUIRE) < met; turn++)
            if (turn > 2000) sched_yield();  // another process may have the processor of the one that is waited for
#if defined(__SSE2__)
            else __builtin_ia32_pause();
#endif
    }
};

}  // namespace recurra
