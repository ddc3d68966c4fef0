/* select, pselect and eventfd, which programs use where poll and pipes would do. */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/select.h>

static int ends[2];

static void select_answers(void)
{
    fd_set readable, writable;
    struct timeval soon = {0, 20000};
    CHECK(pipe(ends) == 0);
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(ends[0], &readable);
    long long start = now_ms();
    CHECK_EQUAL(select(ends[1] + 1, &readable, NULL, NULL, &soon), 0);
    CHECK(now_ms() - start >= 19);
    CHECK(!FD_ISSET(ends[0], &readable));
    FD_SET(ends[0], &readable);
    FD_SET(ends[1], &writable);
    CHECK_EQUAL(select(ends[1] + 1, &readable, &writable, NULL, NULL), 1);
    CHECK(!FD_ISSET(ends[0], &readable) && FD_ISSET(ends[1], &writable));
    CHECK_EQUAL(write(ends[1], "x", 1), 1);
    FD_SET(ends[0], &readable);
    CHECK_EQUAL(select(ends[1] + 1, &readable, &writable, NULL, NULL), 2);
    FD_ZERO(&readable);
    FD_SET(20, &readable);
    CHECK_FAILS(select(21, &readable, NULL, NULL, NULL), EBADF);
    CHECK_FAILS(select(-1, NULL, NULL, NULL, NULL), EINVAL);
    close(ends[0]);
    close(ends[1]);
}

static volatile sig_atomic_t handled;

static void handler(int number)
{
    handled = number;
}

static void pselect_opens_the_mask(void)
{
    sigset_t blocked, none;
    struct timespec limit = {5, 0};
    signal(SIGUSR1, handler);
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
    CHECK(raise(SIGUSR1) == 0);
    CHECK_EQUAL(handled, 0);
    CHECK_FAILS(pselect(0, NULL, NULL, NULL, &limit, &none), EINTR);
    CHECK_EQUAL(handled, SIGUSR1);
    CHECK(sigprocmask(SIG_UNBLOCK, &blocked, NULL) == 0);
}

static void *post(void *event)
{
    pause_ms(10);
    CHECK(eventfd_write(*(int *)event, 5) == 0);
    return NULL;
}

static void eventfd_counts(void)
{
    eventfd_t value;
    pthread_t thread;
    int event = eventfd(3, 0);
    CHECK(event >= 0);
    CHECK(eventfd_write(event, 4) == 0);
    CHECK(eventfd_read(event, &value) == 0);
    CHECK_EQUAL(value, 7);
    CHECK(pthread_create(&thread, NULL, post, &event) == 0);
    CHECK(eventfd_read(event, &value) == 0);
    CHECK_EQUAL(value, 5);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(fcntl(event, F_SETFL, O_NONBLOCK) == 0);
    CHECK_FAILS(eventfd_read(event, &value), EAGAIN);
    close(event);
    event = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK(eventfd_read(event, &value) == 0 && value == 1);
    CHECK(eventfd_read(event, &value) == 0 && value == 1);
    CHECK_FAILS(eventfd_read(event, &value), EAGAIN);
    close(event);
}

int main(void)
{
    RUN(select_answers);
    RUN(pselect_opens_the_mask);
    RUN(eventfd_counts);
    return 0;
}
