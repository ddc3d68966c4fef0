/* epoll: levels, edges, one shots, sets in sets, waiting threads, signal masks, and what is refused. */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

static int set, pipe_ends[2];

static void open_all(void)
{
    set = epoll_create1(EPOLL_CLOEXEC);
    CHECK(set >= 0);
    CHECK(pipe2(pipe_ends, O_NONBLOCK) == 0);
}

static void close_all(void)
{
    close(set);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void add(int to, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    CHECK(epoll_ctl(to, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* What one event is told with `data`; 0 if none is. */
static uint32_t told(int from, uint64_t data, int timeout)
{
    struct epoll_event events[4];
    memset(events, 0xff, sizeof events);
    int n = epoll_wait(from, events, 4, timeout);
    CHECK(n >= 0);
    if (n == 0)
        return 0;
    CHECK_EQUAL(n, 1);
    CHECK_EQUAL(events[0].data.u64, data);
    return events[0].events;
}

static void level(void)
{
    open_all();
    add(set, pipe_ends[0], EPOLLIN, 0x1122334455667788);
    CHECK_EQUAL(told(set, 0, 0), 0);
    CHECK(write(pipe_ends[1], "ab", 2) == 2);
    CHECK_EQUAL(told(set, 0x1122334455667788, -1), EPOLLIN);
    CHECK_EQUAL(told(set, 0x1122334455667788, 0), EPOLLIN);
    char both[2];
    CHECK(read(pipe_ends[0], both, 2) == 2);
    CHECK_EQUAL(told(set, 0, 0), 0);
    close(pipe_ends[1]);
    CHECK_EQUAL(told(set, 0x1122334455667788, 0), EPOLLHUP);
    close(set);
    close(pipe_ends[0]);
}

static void edge(void)
{
    open_all();
    CHECK(write(pipe_ends[1], "a", 1) == 1);
    add(set, pipe_ends[0], EPOLLIN | EPOLLET, 7);
    CHECK_EQUAL(told(set, 7, 0), EPOLLIN);
    CHECK_EQUAL(told(set, 7, 0), 0);
    CHECK(write(pipe_ends[1], "b", 1) == 1);
    CHECK_EQUAL(told(set, 7, 0), EPOLLIN);
    CHECK_EQUAL(told(set, 7, 0), 0);
    close_all();
}

static void one_shot(void)
{
    open_all();
    CHECK(write(pipe_ends[1], "a", 1) == 1);
    add(set, pipe_ends[0], EPOLLIN | EPOLLONESHOT, 7);
    CHECK_EQUAL(told(set, 7, 0), EPOLLIN);
    CHECK_EQUAL(told(set, 7, 0), 0);
    struct epoll_event again = {.events = EPOLLIN, .data.u64 = 8};
    CHECK(epoll_ctl(set, EPOLL_CTL_MOD, pipe_ends[0], &again) == 0);
    CHECK_EQUAL(told(set, 8, 0), EPOLLIN);
    CHECK(epoll_ctl(set, EPOLL_CTL_DEL, pipe_ends[0], NULL) == 0);
    CHECK_EQUAL(told(set, 8, 0), 0);
    close_all();
}

static void many(void)
{
    enum { COUNT = 40 };
    int counters[COUNT], seen[COUNT] = {0};
    open_all();
    for (int i = 0; i < COUNT; i++) {
        counters[i] = eventfd(1, EFD_NONBLOCK);
        CHECK(counters[i] >= 0);
        add(set, counters[i], EPOLLIN, (uint64_t)i);
    }
    /* Few at a time: everyone gets a turn. */
    for (int i = 0; i < COUNT; i++) {
        struct epoll_event few[3];
        CHECK_EQUAL(epoll_wait(set, few, 3, 0), 3);
        for (int j = 0; j < 3; j++)
            seen[few[j].data.u64]++;
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK(seen[i] > 0);
        close(counters[i]);
    }
    CHECK_EQUAL(told(set, 0, 0), 0);
    close_all();
}

static void nested(void)
{
    open_all();
    int outer = epoll_create(1);
    CHECK(outer >= 0);
    add(set, pipe_ends[0], EPOLLIN, 1);
    add(outer, set, EPOLLIN, 2);
    CHECK_EQUAL(told(outer, 2, 0), 0);
    CHECK(write(pipe_ends[1], "a", 1) == 1);
    CHECK_EQUAL(told(outer, 2, -1), EPOLLIN);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_ADD, outer, &event), ELOOP);
    close(outer);
    close_all();
}

static void *write_later(void *fd)
{
    pause_ms(30);
    CHECK(write(*(int *)fd, "x", 1) == 1);
    return NULL;
}

static void waiting(void)
{
    open_all();
    add(set, pipe_ends[0], EPOLLIN, 3);
    pthread_t writer;
    CHECK(pthread_create(&writer, NULL, write_later, &pipe_ends[1]) == 0);
    CHECK_EQUAL(told(set, 3, 10000), EPOLLIN);
    CHECK(pthread_join(writer, NULL) == 0);
    /* A file that is added while another thread waits. */
    char byte;
    CHECK(read(pipe_ends[0], &byte, 1) == 1);
    long long before = now_ms();
    CHECK_EQUAL(told(set, 0, 40), 0);
    CHECK(now_ms() - before >= 40);
    close_all();
}

static volatile sig_atomic_t signals;

static void count(int signal)
{
    (void)signal;
    signals++;
}

static void masks(void)
{
    open_all();
    add(set, pipe_ends[0], EPOLLIN, 3);
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    sigset_t blocked, none;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
    CHECK(raise(SIGUSR1) == 0);
    CHECK_EQUAL(told(set, 0, 20), 0);
    CHECK_EQUAL(signals, 0);
    struct epoll_event event;
    CHECK_FAILS(epoll_pwait(set, &event, 1, -1, &none), EINTR);
    CHECK_EQUAL(signals, 1);
    CHECK(sigprocmask(SIG_UNBLOCK, &blocked, NULL) == 0);
    close_all();
}

/* A file that is told to one of those who wait is asked about once, and its entry never changes. */
static void exclusive(void)
{
    int set = epoll_create1(0), inner = epoll_create1(0), counter = eventfd(1, 0);
    CHECK(set >= 0 && inner >= 0 && counter >= 0);
    struct epoll_event event = {.events = EPOLLEXCLUSIVE};
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_ADD, inner, &event), EINVAL);
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_MOD, counter, &event), EINVAL);
    event.events = EPOLLEXCLUSIVE | EPOLLIN | EPOLLONESHOT;
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_ADD, counter, &event), EINVAL);
    event.events = EPOLLEXCLUSIVE | EPOLLPRI;
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_ADD, counter, &event), EINVAL);
    event.events = EPOLLEXCLUSIVE | EPOLLIN | EPOLLET;
    CHECK(epoll_ctl(set, EPOLL_CTL_ADD, counter, &event) == 0);
    CHECK_EQUAL(epoll_wait(set, &event, 1, 0), 1);
    CHECK_EQUAL(event.events, EPOLLIN);
    event.events = EPOLLIN;
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_MOD, counter, &event), EINVAL);
    CHECK(epoll_ctl(set, EPOLL_CTL_DEL, counter, NULL) == 0);
    close(set);
    close(inner);
    close(counter);
}

static void refused(void)
{
    open_all();
    struct epoll_event event = {.events = EPOLLIN};
    int file = open("/proc/self/exe", O_RDONLY);
    CHECK(file >= 0);
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_ADD, file, &event), EPERM);
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_ADD, set, &event), EINVAL);
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_ADD, 1000, &event), EBADF);
    CHECK_FAILS(epoll_ctl(1000, EPOLL_CTL_ADD, file, &event), EBADF);
    CHECK_FAILS(epoll_ctl(pipe_ends[0], EPOLL_CTL_ADD, pipe_ends[1], &event), EINVAL);
    CHECK_FAILS(epoll_ctl(set, 9, pipe_ends[0], &event), EINVAL);
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_DEL, pipe_ends[0], &event), ENOENT);
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_MOD, pipe_ends[0], &event), ENOENT);
    add(set, pipe_ends[0], EPOLLIN, 1);
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_ADD, pipe_ends[0], &event), EEXIST);
    CHECK_FAILS(epoll_ctl(set, EPOLL_CTL_MOD, pipe_ends[0], BAD), EFAULT);
    CHECK_FAILS(epoll_wait(set, &event, 0, 0), EINVAL);
    CHECK_FAILS(epoll_wait(file, &event, 1, 0), EINVAL);
    CHECK(write(pipe_ends[1], "a", 1) == 1);
    CHECK_FAILS(epoll_wait(set, BAD, 1, 0), EFAULT);
    /* What could not be told is told later. */
    CHECK_EQUAL(told(set, 1, 0), EPOLLIN);
    CHECK_FAILS(epoll_create1(12345), EINVAL);
#ifdef SYS_epoll_create
    /* Itself: musl before 1.2.4 does not hand its argument on. */
    CHECK_FAILS(syscall(SYS_epoll_create, 0), EINVAL);
#endif
    CHECK_FAILS(read(set, &event, sizeof event), EINVAL);
    close(file);
    close_all();
}

int main(void)
{
    RUN(level);
    RUN(edge);
    RUN(one_shot);
    RUN(many);
    RUN(nested);
    RUN(waiting);
    RUN(masks);
    RUN(exclusive);
    RUN(refused);
    return 0;
}
