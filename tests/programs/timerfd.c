/* Timers that are files. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

static struct itimerspec spec(long value_ms, long interval_ms)
{
    return (struct itimerspec){
        .it_interval = {interval_ms / 1000, interval_ms % 1000 * 1000000},
        .it_value = {value_ms / 1000, value_ms % 1000 * 1000000},
    };
}

static uint64_t expiries(int timer)
{
    uint64_t count = 0;
    CHECK_EQUAL(read(timer, &count, sizeof count), sizeof count);
    return count;
}

static void one_shot(void)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec late = spec(900000, 0), once = spec(20, 0), old;
    CHECK(timer >= 0);
    CHECK_EQUAL(fcntl(timer, F_GETFD), FD_CLOEXEC);
    CHECK(timerfd_settime(timer, 0, &late, NULL) == 0);
    CHECK(timerfd_gettime(timer, &old) == 0);
    CHECK(old.it_value.tv_sec > 800 && old.it_value.tv_sec <= 900);
    CHECK(old.it_interval.tv_sec == 0 && old.it_interval.tv_nsec == 0);
    long long start = now_ms();
    CHECK(timerfd_settime(timer, 0, &once, &old) == 0);
    CHECK(old.it_value.tv_sec > 800);
    CHECK(timerfd_gettime(timer, &old) == 0);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec <= 20000000);
    CHECK_EQUAL(expiries(timer), 1);
    CHECK(now_ms() - start >= 19);
    CHECK(timerfd_gettime(timer, &old) == 0);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
    CHECK(close(timer) == 0);
}

static void periodic(void)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec often = spec(5, 5), off = spec(0, 0), old;
    CHECK(timer >= 0);
    long long start = now_ms();
    CHECK(timerfd_settime(timer, 0, &often, NULL) == 0);
    uint64_t seen = 0;
    while (seen < 10)
        seen += expiries(timer);
    CHECK(now_ms() - start >= 45);
    /* What was not read in time is counted. */
    CHECK(usleep(30000) == 0);
    CHECK(expiries(timer) >= 5);
    CHECK(timerfd_settime(timer, 0, &off, &old) == 0);
    CHECK_EQUAL(old.it_interval.tv_nsec, 5000000);
    CHECK(fcntl(timer, F_SETFL, O_NONBLOCK) == 0);
    uint64_t count;
    CHECK_FAILS(read(timer, &count, sizeof count), EAGAIN);
    CHECK(close(timer) == 0);
}

static void absolute(void)
{
    int clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
    for (int i = 0; i < 3; i++) {
        int timer = timerfd_create(clocks[i], TFD_NONBLOCK);
        struct itimerspec at = {0};
        CHECK(timer >= 0);
        CHECK(clock_gettime(clocks[i], &at.it_value) == 0);
        /* One that has passed expires at once, and as often as it would have. */
        at.it_value.tv_sec -= 1;
        at.it_interval.tv_nsec = 100000000;
        CHECK(timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) == 0);
        struct pollfd ready = {.fd = timer, .events = POLLIN | POLLOUT};
        CHECK_EQUAL(poll(&ready, 1, 10000), 1);
        CHECK_EQUAL(ready.revents, POLLIN);
        CHECK(expiries(timer) >= 10);
        CHECK(close(timer) == 0);
    }
}

static void watched(void)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = 42}, got;
    struct itimerspec soon = spec(10, 0), never = spec(1000000, 0);
    CHECK(timer >= 0 && set >= 0);
    CHECK(epoll_ctl(set, EPOLL_CTL_ADD, timer, &event) == 0);
    CHECK_EQUAL(epoll_wait(set, &got, 1, 0), 0);
    CHECK(timerfd_settime(timer, 0, &soon, NULL) == 0);
    CHECK_EQUAL(epoll_wait(set, &got, 1, 10000), 1);
    CHECK(got.data.fd == 42 && got.events == EPOLLIN);
    /* What it has counted is forgotten when it is set. */
    CHECK(timerfd_settime(timer, 0, &never, NULL) == 0);
    CHECK_EQUAL(epoll_wait(set, &got, 1, 0), 0);
    CHECK(close(timer) == 0 && close(set) == 0);
}

static void shared_with_a_child(void)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec soon = spec(10, 0);
    CHECK(timer >= 0);
    CHECK(timerfd_settime(timer, 0, &soon, NULL) == 0);
    IN_CHILD(CHECK_EQUAL(expiries(timer), 1));
    CHECK(fcntl(timer, F_SETFL, O_NONBLOCK) == 0);
    uint64_t count;
    CHECK_FAILS(read(timer, &count, sizeof count), EAGAIN);
    CHECK(close(timer) == 0);
}

static void bad_arguments(void)
{
    struct itimerspec bad = {.it_value = {0, 1000000000}}, good = spec(1, 0);
    uint64_t count = 1;
    CHECK_FAILS(timerfd_create(99, 0), EINVAL);
    CHECK_FAILS(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), pipes[2];
    CHECK(timer >= 0 && pipe(pipes) == 0);
    CHECK_FAILS(timerfd_settime(timer, 0, &bad, NULL), EINVAL);
    CHECK_FAILS(timerfd_settime(timer, 99, &good, NULL), EINVAL);
    CHECK_FAILS(timerfd_settime(pipes[0], 0, &good, NULL), EINVAL);
    CHECK_FAILS(timerfd_gettime(pipes[0], &good), EINVAL);
    CHECK_FAILS(timerfd_settime(-1, 0, &good, NULL), EBADF);
    CHECK_FAILS(write(timer, &count, sizeof count), EINVAL);
    CHECK_FAILS(read(timer, &count, 4), EINVAL);
    CHECK(close(timer) == 0 && close(pipes[0]) == 0 && close(pipes[1]) == 0);
}

int main(void)
{
    RUN(one_shot);
    RUN(periodic);
    RUN(absolute);
    RUN(watched);
    RUN(shared_with_a_child);
    RUN(bad_arguments);
    return 0;
}
