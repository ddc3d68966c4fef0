/* Floating-point and vector registers over preemption: every thread and process fills all of them
 * with its own values and looks at them in a tight loop while others run; control registers too;
 * signal handlers that use them; fork and system calls that must keep them. */
#include "check.h"
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

enum { THREADS = 6, ROUNDS = 40, SPINS = 400000 };

/* All vector registers, loaded from `in`, held for `spins` turns of a loop in which nothing else
 * touches them, and stored to `out`. 16 registers of 32 bytes on x86_64 when it has AVX, else of
 * 16; 32 of 16 on aarch64. `call` makes a system call in between. */
typedef struct {
    unsigned char bytes[512] __attribute__((aligned(64)));
} registers;

#if defined __x86_64__
static int has_avx;

#define EACH(macro)                                                                                \
    macro(0) macro(1) macro(2) macro(3) macro(4) macro(5) macro(6) macro(7) macro(8) macro(9)      \
    macro(10) macro(11) macro(12) macro(13) macro(14) macro(15)
#define LOAD_SSE(n) "movaps 16*" #n "(%[in]), %%xmm" #n "\n\t"
#define STORE_SSE(n) "movaps %%xmm" #n ", 16*" #n "(%[out])\n\t"
#define LOAD_AVX(n) "vmovaps 32*" #n "(%[in]), %%ymm" #n "\n\t"
#define STORE_AVX(n) "vmovaps %%ymm" #n ", 32*" #n "(%[out])\n\t"
#define CLOBBERS                                                                                   \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc"
#define SPIN "1:\n\tdec %[spins]\n\tjnz 1b\n\t"
#define CALL "syscall\n\t"

static void hold(const registers *in, registers *out, long spins)
{
    memset(out, 0, sizeof *out);
    if (has_avx)
        __asm__ volatile(EACH(LOAD_AVX) SPIN EACH(STORE_AVX) "vzeroupper"
                         : [spins] "+r"(spins)
                         : [in] "r"(in), [out] "r"(out)
                         : CLOBBERS);
    else
        __asm__ volatile(EACH(LOAD_SSE) SPIN EACH(STORE_SSE)
                         : [spins] "+r"(spins)
                         : [in] "r"(in), [out] "r"(out)
                         : CLOBBERS);
}

static void hold_over_call(const registers *in, registers *out, long number)
{
    memset(out, 0, sizeof *out);
    if (has_avx)
        __asm__ volatile(EACH(LOAD_AVX) CALL EACH(STORE_AVX) "vzeroupper"
                         : "+a"(number)
                         : [in] "r"(in), [out] "r"(out)
                         : CLOBBERS, "rcx", "r11");
    else
        __asm__ volatile(EACH(LOAD_SSE) CALL EACH(STORE_SSE)
                         : "+a"(number)
                         : [in] "r"(in), [out] "r"(out)
                         : CLOBBERS, "rcx", "r11");
}

static size_t used(void)
{
    return has_avx ? 512 : 256;
}

static void find_features(void)
{
    has_avx = __builtin_cpu_supports("avx");
}

#elif defined __aarch64__

#define EACH_PAIR(macro)                                                                           \
    macro(0, 1) macro(2, 3) macro(4, 5) macro(6, 7) macro(8, 9) macro(10, 11) macro(12, 13)        \
    macro(14, 15) macro(16, 17) macro(18, 19) macro(20, 21) macro(22, 23) macro(24, 25)            \
    macro(26, 27) macro(28, 29) macro(30, 31)
#define LOAD(a, b) "ldp q" #a ", q" #b ", [%[in], #16*" #a "]\n\t"
#define STORE(a, b) "stp q" #a ", q" #b ", [%[out], #16*" #a "]\n\t"
#define CLOBBERS                                                                                   \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", \
        "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", \
        "v28", "v29", "v30", "v31", "memory", "cc"

static void hold(const registers *in, registers *out, long spins)
{
    memset(out, 0, sizeof *out);
    __asm__ volatile(EACH_PAIR(LOAD) "1:\n\tsubs %[spins], %[spins], #1\n\tb.ne 1b\n\t"
                         EACH_PAIR(STORE)
                     : [spins] "+r"(spins)
                     : [in] "r"(in), [out] "r"(out)
                     : CLOBBERS);
}

static void hold_over_call(const registers *in, registers *out, long number)
{
    memset(out, 0, sizeof *out);
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = 0;
    __asm__ volatile(EACH_PAIR(LOAD) "svc #0\n\t" EACH_PAIR(STORE)
                     : "+r"(x0)
                     : "r"(x8), [in] "r"(in), [out] "r"(out)
                     : CLOBBERS);
}

static size_t used(void)
{
    return 512;
}

static void find_features(void)
{
}
#endif

static void fill(registers *values, unsigned seed)
{
    for (size_t i = 0; i < sizeof values->bytes; i++)
        values->bytes[i] = (unsigned char)((i + 1) * (seed * 2 + 3) + seed);
}

static void check_held(const registers *in, const registers *out)
{
    CHECK(memcmp(in, out, used()) == 0);
}

static void hold_many_times(unsigned seed)
{
    registers in, out;
    for (int round = 0; round < ROUNDS; round++) {
        fill(&in, seed + (unsigned)round * 16);
        hold(&in, &out, SPINS);
        check_held(&in, &out);
    }
}

static void *hold_in_thread(void *seed)
{
    hold_many_times((unsigned)(uintptr_t)seed);
    return NULL;
}

static void vectors_in_threads(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, hold_in_thread, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void vectors_in_processes(void)
{
    pid_t children[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            hold_many_times(i + 100);
            _exit(0);
        }
    }
    for (int i = 0; i < THREADS; i++)
        REAP_EXITED(children[i], 0);
}

static void *yield_in_thread(void *seed)
{
    registers in, out;
    for (unsigned round = 0; round < 500; round++) {
        fill(&in, (unsigned)(uintptr_t)seed + round * 16);
        hold_over_call(&in, &out, round % 2 ? SYS_sched_yield : SYS_getppid);
        check_held(&in, &out);
    }
    return NULL;
}

static void vectors_over_system_calls(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, yield_in_thread, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static volatile sig_atomic_t handled;

static void destroy(int number)
{
    registers other, out;
    (void)number;
    fill(&other, 251);
    hold(&other, &out, 100);
    check_held(&other, &out);
    handled++;
}

/* A child sends signals whose handler fills the same registers. */
static void vectors_over_handlers(void)
{
    struct sigaction action = {.sa_handler = destroy, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0)
        for (;;) {
            if (getppid() != parent || kill(parent, SIGUSR1) < 0)
                _exit(0);
            sched_yield();
        }
    for (unsigned round = 0; handled < 50; round++) {
        registers in, out;
        fill(&in, round);
        hold(&in, &out, SPINS);
        check_held(&in, &out);
    }
    CHECK(kill(child, SIGKILL) == 0);
    REAP_KILLED(child, SIGKILL);
}

static void vectors_over_faults(void)
{
    /* Page faults in the middle of a computation in floating point. */
    size_t pages = 200;
    volatile double *area = aligned_alloc(4096, pages * 4096);
    CHECK(area != NULL);
    double sum = 0, expected = 0;
    for (size_t i = 0; i < pages; i++) {
        area[i * 512] = (double)i * 0.5;
        sum += area[i * 512] * 1.5 + sqrt((double)(i * i));
        expected += (double)i * 1.75;
    }
    CHECK(sum == expected);
    free((void *)area);
    say("sum %.2f", sum);
}

static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

static void *keep_mode(void *argument)
{
    int mode = (int)(uintptr_t)argument % 4;
    CHECK(fesetround(modes[mode]) == 0);
    CHECK(feclearexcept(FE_ALL_EXCEPT) == 0);
    volatile double one = 1, three = 3;
    static const double results[] = {0x1.5555555555555p-2, 0x1.5555555555556p-2,
                                     0x1.5555555555555p-2, 0x1.5555555555555p-2};
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 500; i++)
            CHECK(one / three == results[mode]);
        CHECK(-one / three == (mode == 2 ? -0x1.5555555555556p-2 : -0x1.5555555555555p-2));
        CHECK_EQUAL(fegetround(), modes[mode]);
        if (mode == 3) {
            CHECK(fetestexcept(FE_INEXACT) == FE_INEXACT);
            CHECK(fetestexcept(FE_DIVBYZERO) == 0);
        }
        sched_yield();
    }
    return NULL;
}

static void rounding_modes_are_private(void)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, keep_mode, (void *)i) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(fegetround(), FE_TONEAREST);
}

static void a_child_inherits_them(void)
{
    CHECK(fesetround(FE_UPWARD) == 0);
    IN_CHILD(CHECK_EQUAL(fegetround(), FE_UPWARD));
    CHECK_EQUAL(fegetround(), FE_UPWARD);
    CHECK(fesetround(FE_TONEAREST) == 0);
}

static void *series(void *argument)
{
    long double product = 1;
    double sum = 0;
    int n = 20000 + (int)(intptr_t)argument;
    for (int k = 1; k <= n; k++) {
        product *= 1 + 1.0L / ((long double)k * k * 4 - 1);
        sum += 1.0 / ((double)k * k);
    }
    CHECK(fabsl(2 * product - 3.14159265358979L) < 1e-4L);
    CHECK(fabs(sqrt(6 * sum) - 3.14159265358979) < 1e-4);
    return NULL;
}

/* Extended precision: the x87's own registers on x86_64. */
static void long_doubles(void)
{
    pthread_t threads[4];
    for (intptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, series, (void *)i) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void)
{
    find_features();
    RUN(vectors_in_threads);
    RUN(vectors_in_processes);
    RUN(vectors_over_system_calls);
    RUN(vectors_over_handlers);
    RUN(vectors_over_faults);
    RUN(rounding_modes_are_private);
    RUN(a_child_inherits_them);
    RUN(long_doubles);
    return 0;
}
