/* POSIX timers, timers of processor time, and a few calls that only answer. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/klog.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static struct itimerspec spec(long value_ms, long interval_ms)
{
    return (struct itimerspec){
        .it_interval = {interval_ms / 1000, interval_ms % 1000 * 1000000},
        .it_value = {value_ms / 1000, value_ms % 1000 * 1000000},
    };
}

static long long now_ms_of(clockid_t clock)
{
    struct timespec now;
    CHECK(clock_gettime(clock, &now) == 0);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static sigset_t blocked(int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    return set;
}

static timer_t timer_of(clockid_t clock, int notify, int signal, int value)
{
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = signal};
    event.sigev_value.sival_int = value;
    timer_t timer;
    CHECK(timer_create(clock, &event, &timer) == 0);
    return timer;
}

static void once(void)
{
    sigset_t set = blocked(SIGRTMIN + 1);
    clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
    for (int i = 0; i < 3; i++) {
        timer_t timer = timer_of(clocks[i], SIGEV_SIGNAL, SIGRTMIN + 1, 40 + i);
        struct itimerspec late = spec(900000, 0), soon = spec(20, 0), left;
        siginfo_t info;
        CHECK(timer_settime(timer, 0, &late, NULL) == 0);
        CHECK(timer_gettime(timer, &left) == 0);
        CHECK(left.it_value.tv_sec > 800 && left.it_value.tv_sec <= 900);
        CHECK(left.it_interval.tv_sec == 0 && left.it_interval.tv_nsec == 0);
        long long start = now_ms_of(CLOCK_MONOTONIC);
        CHECK(timer_settime(timer, 0, &soon, &left) == 0);
        CHECK(left.it_value.tv_sec > 800);
        CHECK_EQUAL(sigwaitinfo(&set, &info), SIGRTMIN + 1);
        CHECK(now_ms_of(CLOCK_MONOTONIC) - start >= 19);
        CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 40 + i);
        CHECK(info.si_overrun == 0 && timer_getoverrun(timer) == 0);
        CHECK(timer_gettime(timer, &left) == 0);
        CHECK(left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
        /* One that has passed. */
        struct itimerspec past = {.it_value.tv_nsec = 1};
        CHECK(timer_settime(timer, TIMER_ABSTIME, &past, NULL) == 0);
        CHECK_EQUAL(sigwaitinfo(&set, &info), SIGRTMIN + 1);
        CHECK(timer_delete(timer) == 0);
        /* A C library may give the kernel's own error. */
        CHECK(timer_delete(timer) != 0);
    }
}

static void overruns(void)
{
    sigset_t set = blocked(SIGRTMIN + 2);
    timer_t timer = timer_of(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 2, 5);
    struct itimerspec often = spec(5, 5), off = spec(0, 0), old;
    siginfo_t info;
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    CHECK(usleep(52000) == 0);
    /* Many expiries, one signal. */
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGRTMIN + 2);
    CHECK(info.si_overrun >= 8);
    CHECK_EQUAL(timer_getoverrun(timer), info.si_overrun);
    /* It goes on. */
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGRTMIN + 2);
    CHECK(timer_settime(timer, 0, &off, &old) == 0);
    CHECK_EQUAL(old.it_interval.tv_nsec, 5000000);
    /* One that was pending already may still come. */
    sigtimedwait(&set, NULL, &(struct timespec){0});
    CHECK_FAILS(sigtimedwait(&set, NULL, &(struct timespec){0, 30000000}), EAGAIN);
    CHECK(timer_delete(timer) == 0);
}

static volatile sig_atomic_t handled;

static void count(int signal)
{
    (void)signal;
    handled++;
}

static void handler_of(int signal)
{
    struct sigaction action = {.sa_handler = count};
    CHECK(sigaction(signal, &action, NULL) == 0);
    handled = 0;
}

static void handled_often(void)
{
    handler_of(SIGUSR1);
    timer_t timer = timer_of(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 0);
    struct itimerspec often = spec(4, 4);
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    while (handled < 10)
        pause();
    /* Ignored meanwhile, it does not stop. */
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    CHECK(usleep(20000) == 0);
    handler_of(SIGUSR1);
    while (handled < 3)
        pause();
    CHECK(timer_delete(timer) == 0);
}

static void only_looked_at(void)
{
    timer_t timer = timer_of(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0);
    struct itimerspec often = spec(10, 1000000), left;
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    CHECK(usleep(20000) == 0);
    CHECK(timer_gettime(timer, &left) == 0);
    CHECK(left.it_value.tv_sec > 900 && left.it_value.tv_sec < 1000);
    CHECK(timer_delete(timer) == 0);
}

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static void *waits_for_its_own(void *unused)
{
    sigset_t set = blocked(SIGRTMIN + 3);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3};
    event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
    struct itimerspec soon = spec(10, 0);
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
    CHECK_EQUAL(sigwaitinfo(&set, NULL), SIGRTMIN + 3);
    CHECK(timer_delete(timer) == 0);
    return unused;
}

static void for_one_thread(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, waits_for_its_own, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event.sigev_notify_thread_id = 1;
    timer_t timer;
    CHECK_FAILS(timer_create(CLOCK_MONOTONIC, &event, &timer), EINVAL);
}

static int pipes[2];

static void in_a_thread(union sigval value)
{
    char byte = (char)value.sival_int;
    CHECK_EQUAL(write(pipes[1], &byte, 1), 1);
}

static void by_a_function(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = in_a_thread};
    event.sigev_value.sival_int = 'x';
    struct itimerspec soon = spec(10, 0);
    timer_t timer;
    char byte = 0;
    CHECK(pipe(pipes) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
    CHECK(read(pipes[0], &byte, 1) == 1 && byte == 'x');
    CHECK(timer_delete(timer) == 0);
}

static void spin_until(int times)
{
    for (volatile unsigned long n = 0; handled < times; n++)
        ;
}

/* Who sleeps uses no time of the processor: a timer of so many milliseconds of it that was set after `start`
 * does not expire. A busy host's time is the guest's, so that it may have used them all the same. */
static void sleeps_without(long milliseconds, long long start)
{
    CHECK(usleep(milliseconds * 1250) == 0);
    CHECK(handled == 0 || now_ms_of(CLOCK_PROCESS_CPUTIME_ID) - start >= milliseconds - 1);
}

static void processor_time(void)
{
    struct {
        int which, signal;
    } timers[] = {{ITIMER_VIRTUAL, SIGVTALRM}, {ITIMER_PROF, SIGPROF}};
    for (int i = 0; i < 2; i++) {
        handler_of(timers[i].signal);
        /* Much, since a busy host's time is the guest's. */
        struct itimerval often = {{0, 10000}, {0, 200000}}, off = {0}, left;
        long long start = now_ms_of(CLOCK_PROCESS_CPUTIME_ID);
        CHECK(setitimer(timers[i].which, &often, NULL) == 0);
        CHECK(getitimer(timers[i].which, &left) == 0);
        CHECK(left.it_value.tv_sec == 0 && left.it_value.tv_usec > 0);
        CHECK_EQUAL(left.it_interval.tv_usec, 10000);
        sleeps_without(200, start);
        spin_until(3);
        /* Linux counts user time by its ticks. */
        CHECK(now_ms_of(CLOCK_PROCESS_CPUTIME_ID) - start >= 50);
        CHECK(setitimer(timers[i].which, &off, &left) == 0);
        CHECK_EQUAL(left.it_interval.tv_usec, 10000);
        CHECK(getitimer(timers[i].which, &left) == 0);
        CHECK(left.it_value.tv_sec == 0 && left.it_value.tv_usec == 0);
    }
    clockid_t clocks[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    for (int i = 0; i < 2; i++) {
        handler_of(SIGUSR2);
        timer_t timer = timer_of(clocks[i], SIGEV_SIGNAL, SIGUSR2, 0);
        struct itimerspec soon = spec(200, 0);
        long long start = now_ms_of(clocks[i]);
        CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
        sleeps_without(200, start);
        spin_until(1);
        CHECK(timer_delete(timer) == 0);
    }
    struct itimerval value = {0};
    CHECK_FAILS(setitimer(3, &value, NULL), EINVAL);
    CHECK_FAILS(getitimer(-1, &value), EINVAL);
}

static void of_threads(void)
{
    /* All threads of the process use it up together. */
    handler_of(SIGPROF);
    struct itimerval soon = {.it_value.tv_usec = 60000}, off = {0};
    CHECK(setitimer(ITIMER_PROF, &soon, NULL) == 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, (void *(*)(void *))(void (*)(void))spin_until,
                             (void *)1) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(handled >= 1);
    CHECK(setitimer(ITIMER_PROF, &off, NULL) == 0);
}

static void not_inherited(void)
{
    timer_t timer = timer_of(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 0);
    struct itimerspec late = spec(1000000, 0), left;
    CHECK(timer_settime(timer, 0, &late, NULL) == 0);
    IN_CHILD(CHECK_FAILS(timer_gettime(timer, &left), EINVAL));
    CHECK(timer_gettime(timer, &left) == 0 && left.it_value.tv_sec > 900);
    CHECK(timer_delete(timer) == 0);
}

static void bad_arguments(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 0};
    struct itimerspec bad = {.it_value = {0, 1000000000}}, good = spec(1, 0);
    timer_t timer;
    CHECK_FAILS(timer_create(CLOCK_MONOTONIC, &event, &timer), EINVAL);
    event.sigev_signo = 65;
    CHECK_FAILS(timer_create(CLOCK_MONOTONIC, &event, &timer), EINVAL);
    CHECK_FAILS(timer_create(99, NULL, &timer), EINVAL);
    timer = timer_of(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0);
    CHECK_FAILS(timer_settime(timer, 0, &bad, NULL), EINVAL);
    CHECK(timer_delete(timer) == 0);
    CHECK_FAILS(timer_settime(timer, 0, &good, NULL), EINVAL);
    CHECK_FAILS(timer_gettime(timer, &good), EINVAL);
    CHECK_FAILS(timer_getoverrun(timer), EINVAL);
}

enum { WHO_PROCESS = 1, BEST_EFFORT = 2 << 13, IDLE = 3 << 13 };

static void io_priorities(void)
{
    CHECK(syscall(SYS_ioprio_set, WHO_PROCESS, 0, BEST_EFFORT | 6) == 0);
    CHECK_EQUAL(syscall(SYS_ioprio_get, WHO_PROCESS, 0), BEST_EFFORT | 6);
    IN_CHILD({
        CHECK_EQUAL(syscall(SYS_ioprio_get, WHO_PROCESS, 0), BEST_EFFORT | 6);
        CHECK(syscall(SYS_ioprio_set, WHO_PROCESS, 0, IDLE) == 0);
        CHECK_EQUAL(syscall(SYS_ioprio_get, WHO_PROCESS, 0), IDLE);
    });
    CHECK_EQUAL(syscall(SYS_ioprio_get, WHO_PROCESS, 0), BEST_EFFORT | 6);
    CHECK_FAILS(syscall(SYS_ioprio_set, WHO_PROCESS, 0, 7 << 13), EINVAL);
    CHECK_FAILS(syscall(SYS_ioprio_get, 9, 0), EINVAL);
    CHECK_FAILS(syscall(SYS_ioprio_get, WHO_PROCESS, 999999), ESRCH);
}

static void kernel_log(void)
{
    CHECK_FAILS(klogctl(99, NULL, 0), EINVAL);
    CHECK_FAILS(klogctl(3, NULL, 10), EINVAL);
    CHECK(klogctl(10, NULL, 0) >= 0);
}

int main(void)
{
    RUN(once);
    RUN(overruns);
    RUN(handled_often);
    RUN(only_looked_at);
    RUN(for_one_thread);
    RUN(by_a_function);
    RUN(processor_time);
    RUN(of_threads);
    RUN(not_inherited);
    RUN(bad_arguments);
    RUN(io_priorities);
    RUN(kernel_log);
    return 0;
}
