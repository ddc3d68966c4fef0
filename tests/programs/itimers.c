/* alarm and interval timers. */
#include "check.h"
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;

static void tick(int number)
{
    (void)number;
    ticks++;
}

static void one_shot(void)
{
    struct itimerval timer = {.it_value = {0, 20000}}, old;
    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    CHECK(sigprocmask(SIG_BLOCK, &block, NULL) == 0);
    long long start = now_ms();
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    CHECK(getitimer(ITIMER_REAL, &old) == 0);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec <= 20000 && old.it_interval.tv_usec == 0);
    ticks = 0;
    CHECK_FAILS(sigsuspend(&none), EINTR);
    CHECK_EQUAL(ticks, 1);
    CHECK(now_ms() - start >= 19);
    CHECK(getitimer(ITIMER_REAL, &old) == 0);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
}

static void periodic(void)
{
    struct itimerval timer = {.it_value = {0, 5000}, .it_interval = {0, 5000}}, off = {0};
    sigset_t none;
    sigemptyset(&none);
    ticks = 0;
    long long start = now_ms();
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    while (ticks < 10)
        CHECK_FAILS(sigsuspend(&none), EINTR);
    CHECK(now_ms() - start >= 45);
    CHECK(setitimer(ITIMER_REAL, &off, &timer) == 0);
    CHECK_EQUAL(timer.it_interval.tv_usec, 5000);
}

static void a_loop_is_interrupted(void)
{
    struct itimerval timer = {.it_value = {0, 10000}, .it_interval = {0, 10000}}, off = {0};
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    ticks = 0;
    CHECK(sigprocmask(SIG_UNBLOCK, &block, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    while (ticks < 5)
        __asm__ volatile("" ::: "memory");
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
}

static void alarms(void)
{
    CHECK_EQUAL(alarm(100), 0);
    unsigned left = alarm(200);
    CHECK(left <= 100 && left > 50);
    /* A child has none. */
    IN_CHILD(CHECK_EQUAL(alarm(0), 0));
    left = alarm(0);
    CHECK(left <= 200 && left > 150);
    CHECK_EQUAL(alarm(0), 0);
}

static void an_alarm_kills(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct itimerval timer = {.it_value = {0, 10000}};
        signal(SIGALRM, SIG_DFL);
        CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
        for (;;)
            __asm__ volatile("" ::: "memory");
    }
    REAP_KILLED(child, SIGALRM);
}

static void bad_arguments(void)
{
    struct itimerval bad = {.it_value = {0, 1000000}};
    CHECK_FAILS(setitimer(ITIMER_REAL, &bad, NULL), EINVAL);
    CHECK_FAILS(getitimer(9, &bad), EINVAL);
}

int main(void)
{
    signal(SIGALRM, tick);
    RUN(one_shot);
    RUN(periodic);
    RUN(a_loop_is_interrupted);
    RUN(alarms);
    RUN(an_alarm_kills);
    RUN(bad_arguments);
    return 0;
}
