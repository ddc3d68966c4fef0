/* Clocks and sleeps: they go forward, agree with each other, sleep at least as long as asked, and
 * refuse what makes no sense. */
#include "check.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

static long long ns(clockid_t clock)
{
    struct timespec now;
    CHECK(clock_gettime(clock, &now) == 0);
    CHECK(now.tv_nsec >= 0 && now.tv_nsec < 1000000000);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void never_backwards(void)
{
    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW,
                                       CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_REALTIME};
    for (int c = 0; c < 5; c++) {
        long long last = ns(clocks[c]);
        for (int i = 0; i < 2000; i++) {
            long long now = ns(clocks[c]);
            CHECK(now >= last);
            last = now;
        }
    }
}

static void they_move(void)
{
    long long start = ns(CLOCK_MONOTONIC);
    while (ns(CLOCK_MONOTONIC) - start < 30000000)
        ;
}

/* How far two clocks may drift apart in what is measured here. */
enum { DRIFT = 5000000 };

/* As much time passes by a clock as by the monotonic one. That is read on both sides of the other, since any
 * time may pass between two looks. */
static void agrees(clockid_t clock)
{
    long long before[2], after[2], told[2];
    for (int i = 0; i < 2; i++) {
        before[i] = ns(CLOCK_MONOTONIC);
        told[i] = ns(clock);
        after[i] = ns(CLOCK_MONOTONIC);
        if (i == 0)
            pause_ms(50);
    }
    CHECK(before[1] - after[0] >= 49000000);
    CHECK(told[1] - told[0] >= before[1] - after[0] - DRIFT);
    CHECK(told[1] - told[0] <= after[1] - before[0] + DRIFT);
}

static void they_agree(void)
{
    agrees(CLOCK_REALTIME);
    agrees(CLOCK_BOOTTIME);
    struct timeval day;
    long long before = ns(CLOCK_REALTIME);
    CHECK(gettimeofday(&day, NULL) == 0);
    CHECK(day.tv_usec >= 0 && day.tv_usec < 1000000);
    CHECK(day.tv_sec >= before / 1000000000 && day.tv_sec <= ns(CLOCK_REALTIME) / 1000000000);
    /* This one may be of the last tick. */
    long long seconds = time(NULL);
    CHECK(seconds >= day.tv_sec - 1 && seconds <= ns(CLOCK_REALTIME) / 1000000000);
    /* A real date: after 2020. */
    CHECK(day.tv_sec > 1577836800);
}

static void sleeps_are_long_enough(void)
{
    static const long lengths[] = {0, 1, 1000, 500000, 1000000, 3000000, 20000000};
    for (int i = 0; i < 7; i++) {
        struct timespec asked = {0, lengths[i]};
        long long start = ns(CLOCK_MONOTONIC);
        CHECK(nanosleep(&asked, NULL) == 0);
        CHECK(ns(CLOCK_MONOTONIC) - start >= lengths[i]);
        start = ns(CLOCK_MONOTONIC);
        CHECK_EQUAL(clock_nanosleep(CLOCK_REALTIME, 0, &asked, NULL), 0);
        CHECK(ns(CLOCK_MONOTONIC) - start >= lengths[i] - 1000000);
    }
}

static void absolute_sleeps(void)
{
    struct timespec until;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    long long target = until.tv_sec * 1000000000LL + until.tv_nsec;
    for (int i = 0; i < 5; i++) {
        target += 7000000;
        until.tv_sec = target / 1000000000;
        until.tv_nsec = target % 1000000000;
        CHECK_EQUAL(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), 0);
        CHECK(ns(CLOCK_MONOTONIC) >= target);
    }
    /* In the past: at once, where as much time from now would be long. */
    until.tv_sec = 1000000;
    CHECK_EQUAL(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL), 0);
}

static void *sleeper(void *milliseconds)
{
    long long start = now_ms();
    pause_ms((intptr_t)milliseconds);
    return (void *)(intptr_t)(now_ms() - start);
}

static void sleepers_wake_in_order(void)
{
    pthread_t threads[8];
    for (intptr_t i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, sleeper, (void *)((8 - i) * 10)) == 0);
    for (int i = 0; i < 8; i++) {
        void *slept;
        CHECK(pthread_join(threads[i], &slept) == 0);
        CHECK((intptr_t)slept >= (8 - i) * 10 - 1);
    }
}

static void cpu_time_is_used_time(void)
{
    /* Sleeping costs nothing. A busy host may keep the guest from going on in the middle of it, which counts as
     * its work, but not each time. */
    long long least = 1000000000;
    for (int i = 0; i < 20 && least >= 30000000; i++) {
        long long before = ns(CLOCK_PROCESS_CPUTIME_ID);
        pause_ms(40);
        long long used = ns(CLOCK_PROCESS_CPUTIME_ID) - before;
        least = used < least ? used : least;
    }
    CHECK(least < 30000000);
    /* Working does. */
    long long process = ns(CLOCK_PROCESS_CPUTIME_ID), thread = ns(CLOCK_THREAD_CPUTIME_ID);
    volatile unsigned work = 0;
    while (ns(CLOCK_THREAD_CPUTIME_ID) - thread < 20000000)
        for (int i = 0; i < 10000; i++)
            work += (unsigned)i;
    CHECK(ns(CLOCK_PROCESS_CPUTIME_ID) - process >= 19000000);
}

static void resolutions(void)
{
    struct timespec resolution;
    CHECK(clock_getres(CLOCK_MONOTONIC, &resolution) == 0);
    CHECK_EQUAL(resolution.tv_sec, 0);
    CHECK(resolution.tv_nsec >= 1 && resolution.tv_nsec <= 20000000);
    CHECK(clock_getres(CLOCK_REALTIME, NULL) == 0);
}

static void bad_arguments(void)
{
    struct timespec bad = {0, 1000000000}, negative = {-1, 0}, under = {0, -1}, now;
    CHECK_FAILS(nanosleep(&bad, NULL), EINVAL);
    CHECK_FAILS(nanosleep(&negative, NULL), EINVAL);
    CHECK_FAILS(nanosleep(&under, NULL), EINVAL);
    CHECK_EQUAL(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL), EINVAL);
    CHECK_EQUAL(clock_nanosleep(77, 0, &now, NULL), EINVAL);
    CHECK_FAILS(clock_gettime(77, &now), EINVAL);
    CHECK_FAILS(clock_getres(77, &now), EINVAL);
    /* By number: the C libraries may answer from the vDSO, where a bad address is fatal. */
    CHECK_FAILS(syscall(SYS_nanosleep, BAD, NULL), EFAULT);
    CHECK_FAILS(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, BAD), EFAULT);
}

int main(void)
{
    RUN(never_backwards);
    RUN(they_move);
    RUN(they_agree);
    RUN(sleeps_are_long_enough);
    RUN(absolute_sleeps);
    RUN(sleepers_wake_in_order);
    RUN(cpu_time_is_used_time);
    RUN(resolutions);
    RUN(bad_arguments);
    return 0;
}
