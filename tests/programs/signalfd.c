/* Signals that are read from a file. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/time.h>

static sigset_t set_of(int one, int other)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, one);
    if (other)
        sigaddset(&set, other);
    return set;
}

/* A file of two signals, which are blocked. */
static int file_of(int one, int other, int flags)
{
    sigset_t set = set_of(one, other);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    int file = signalfd(-1, &set, flags);
    CHECK(file >= 0);
    return file;
}

static struct signalfd_siginfo next(int file)
{
    struct signalfd_siginfo info;
    memset(&info, 0xff, sizeof info);
    CHECK_EQUAL(read(file, &info, sizeof info), sizeof info);
    return info;
}

static void told_by_whom(void)
{
    int file = file_of(SIGUSR1, SIGRTMIN, SFD_CLOEXEC);
    CHECK_EQUAL(fcntl(file, F_GETFD), FD_CLOEXEC);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    struct signalfd_siginfo info = next(file);
    CHECK(info.ssi_signo == SIGUSR1 && info.ssi_code == SI_USER);
    CHECK(info.ssi_pid == (uint32_t)getpid() && info.ssi_uid == getuid());
    union sigval value = {.sival_int = 77};
    CHECK(sigqueue(getpid(), SIGRTMIN, value) == 0);
    value.sival_int = 78;
    CHECK(sigqueue(getpid(), SIGRTMIN, value) == 0);
    /* Several at once. */
    struct signalfd_siginfo two[3];
    CHECK_EQUAL(read(file, two, sizeof two), 2 * sizeof *two);
    CHECK(two[0].ssi_signo == (uint32_t)SIGRTMIN && two[0].ssi_code == SI_QUEUE);
    CHECK(two[0].ssi_int == 77 && two[1].ssi_int == 78);
    CHECK(two[1].ssi_pid == (uint32_t)getpid());
    CHECK(close(file) == 0);
}

static void of_a_child(void)
{
    int file = file_of(SIGCHLD, 0, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(7);
    /* Waits until there is one. */
    struct signalfd_siginfo info = next(file);
    CHECK(info.ssi_signo == SIGCHLD && info.ssi_code == CLD_EXITED);
    CHECK(info.ssi_pid == (uint32_t)child && info.ssi_status == 7);
    REAP_EXITED(child, 7);
    CHECK(close(file) == 0);
}

static void polled(void)
{
    int file = file_of(SIGUSR1, SIGUSR2, SFD_NONBLOCK), set = epoll_create1(0);
    struct pollfd ready = {.fd = file, .events = POLLIN | POLLOUT};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = 9}, got;
    struct signalfd_siginfo info;
    CHECK(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, file, &event) == 0);
    CHECK_FAILS(read(file, &info, sizeof info), EAGAIN);
    CHECK_EQUAL(poll(&ready, 1, 0), 0);
    CHECK_EQUAL(epoll_wait(set, &got, 1, 0), 0);
    CHECK(raise(SIGUSR2) == 0);
    CHECK(poll(&ready, 1, -1) == 1 && ready.revents == POLLIN);
    CHECK(epoll_wait(set, &got, 1, -1) == 1 && got.data.fd == 9);
    CHECK_EQUAL(next(file).ssi_signo, SIGUSR2);
    CHECK_EQUAL(poll(&ready, 1, 0), 0);
    /* Another set for the same file. */
    sigset_t other = set_of(SIGHUP, 0);
    CHECK(sigprocmask(SIG_BLOCK, &other, NULL) == 0);
    CHECK_EQUAL(signalfd(file, &other, 0), file);
    CHECK(raise(SIGUSR2) == 0);
    CHECK_EQUAL(poll(&ready, 1, 0), 0);
    CHECK(raise(SIGHUP) == 0);
    CHECK_EQUAL(next(file).ssi_signo, SIGHUP);
    CHECK(close(file) == 0 && close(set) == 0);
    sigset_t left = set_of(SIGUSR2, 0);
    CHECK_EQUAL(sigtimedwait(&left, NULL, &(struct timespec){0}), SIGUSR2);
}

static void waited_for(void)
{
    int file = file_of(SIGALRM, 0, 0);
    struct epoll_event event = {.events = EPOLLIN}, got;
    int set = epoll_create1(0);
    CHECK(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, file, &event) == 0);
    struct itimerval soon = {.it_value.tv_usec = 20000};
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    CHECK_EQUAL(epoll_wait(set, &got, 1, 10000), 1);
    CHECK_EQUAL(next(file).ssi_signo, SIGALRM);
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    CHECK_EQUAL(next(file).ssi_signo, SIGALRM);
    CHECK(close(file) == 0 && close(set) == 0);
}

/* The child's own signals, by a file that it shares with its parent. */
static void shared_with_a_child(void)
{
    int file = file_of(SIGUSR1, 0, SFD_NONBLOCK);
    CHECK(raise(SIGUSR1) == 0);
    IN_CHILD({
        struct signalfd_siginfo info;
        CHECK_FAILS(read(file, &info, sizeof info), EAGAIN);
        CHECK(raise(SIGUSR1) == 0);
        CHECK_EQUAL(next(file).ssi_pid, getpid());
    });
    CHECK_EQUAL(next(file).ssi_pid, getpid());
    CHECK(close(file) == 0);
}

static int of_threads;

static void *reads(void *wanted)
{
    CHECK_EQUAL(next(of_threads).ssi_signo, (long)wanted);
    return NULL;
}

/* A signal for one thread is not another's. */
static void of_one_thread(void)
{
    pthread_t thread;
    of_threads = file_of(SIGUSR1, SIGUSR2, 0);
    CHECK(pthread_create(&thread, NULL, reads, (void *)SIGUSR2) == 0);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK(usleep(20000) == 0);
    CHECK(pthread_kill(thread, SIGUSR2) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQUAL(next(of_threads).ssi_signo, SIGUSR1);
    CHECK(close(of_threads) == 0);
}

static void bad_arguments(void)
{
    sigset_t set = set_of(SIGUSR1, 0);
    struct signalfd_siginfo info;
    int pipes[2], file = signalfd(-1, &set, SFD_NONBLOCK);
    CHECK(file >= 0 && pipe(pipes) == 0);
    CHECK_FAILS(signalfd(-1, &set, 1), EINVAL);
    CHECK_FAILS(signalfd(pipes[0], &set, 0), EINVAL);
    CHECK_FAILS(signalfd(9999, &set, 0), EBADF);
    CHECK_FAILS(read(file, &info, sizeof info - 1), EINVAL);
    CHECK_FAILS(write(file, &info, sizeof info), EINVAL);
    CHECK_FAILS(pread(file, &info, sizeof info, 0), ESPIPE);
    CHECK(close(file) == 0 && close(pipes[0]) == 0 && close(pipes[1]) == 0);
}

int main(void)
{
    RUN(told_by_whom);
    RUN(of_a_child);
    RUN(polled);
    RUN(waited_for);
    RUN(shared_with_a_child);
    RUN(of_one_thread);
    RUN(bad_arguments);
    return 0;
}
