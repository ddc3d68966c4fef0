/* Files that stand for a process: pidfd_open, pidfd_send_signal, pidfd_getfd, waitid, clone. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
enum { OPEN = 434, SEND_SIGNAL = 424, GET_FILE = 438, CLONE3 = 435 };

static int open_process(pid_t pid)
{
    int file = (int)syscall(OPEN, pid, 0);
    CHECK(file >= 0);
    CHECK_EQUAL(fcntl(file, F_GETFD), FD_CLOEXEC);
    return file;
}

static int ready(int file, int milliseconds)
{
    struct pollfd one = {.fd = file, .events = POLLIN};
    CHECK(poll(&one, 1, milliseconds) >= 0);
    return one.revents & POLLIN;
}

/* A child that ends when it is told to. */
static pid_t child_that_waits(int tell[2])
{
    CHECK(pipe(tell) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char byte;
        CHECK(close(tell[1]) == 0 && read(tell[0], &byte, 1) == 0);
        _exit(7);
    }
    CHECK(close(tell[0]) == 0);
    return child;
}

static void the_end_can_be_polled(void)
{
    int tell[2];
    pid_t child = child_that_waits(tell);
    int file = open_process(child), set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 5};
    CHECK(epoll_ctl(set, EPOLL_CTL_ADD, file, &event) == 0);
    CHECK_EQUAL(ready(file, 20), 0);
    CHECK(close(tell[1]) == 0);
    CHECK_EQUAL(ready(file, -1), POLLIN);
    CHECK(epoll_wait(set, &event, 1, -1) == 1 && event.events == EPOLLIN && event.data.u64 == 5);
    siginfo_t info = {0};
    CHECK(waitid(P_PIDFD, (id_t)file, &info, WEXITED | WNOWAIT) == 0);
    CHECK(info.si_pid == child && info.si_code == CLD_EXITED && info.si_status == 7);
    CHECK(syscall(SEND_SIGNAL, file, 0, NULL, 0) == 0);
    CHECK(waitid(P_PIDFD, (id_t)file, &info, WEXITED) == 0);
    CHECK_FAILS(waitid(P_PIDFD, (id_t)file, &info, WEXITED), ECHILD);
    CHECK_FAILS(syscall(SEND_SIGNAL, file, SIGTERM, NULL, 0), ESRCH);
    CHECK_EQUAL(ready(file, 0), POLLIN);
    CHECK_FAILS(syscall(OPEN, child, 0), ESRCH);
    CHECK(close(file) == 0 && close(set) == 0);
}

static void who_does_not_wait_is_told_so(void)
{
    int tell[2];
    pid_t child = child_that_waits(tell);
    int file = (int)syscall(OPEN, child, O_NONBLOCK);
    siginfo_t info = {0};
    CHECK_EQUAL(fcntl(file, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CHECK_FAILS(waitid(P_PIDFD, (id_t)file, &info, WEXITED), EAGAIN);
    CHECK(waitid(P_PIDFD, (id_t)file, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0);
    CHECK(close(tell[1]) == 0 && ready(file, -1) == POLLIN);
    CHECK(waitid(P_PIDFD, (id_t)file, &info, WEXITED) == 0 && info.si_pid == child);
    CHECK(close(file) == 0);
}

static volatile sig_atomic_t value;

static void keep(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    value = info->si_code == SI_QUEUE ? info->si_value.sival_int : -info->si_code - 1;
}

static void signals_are_sent(void)
{
    struct sigaction action = {.sa_sigaction = keep, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    int self = open_process(getpid());
    CHECK(syscall(SEND_SIGNAL, self, SIGUSR1, NULL, 0) == 0);
    CHECK_EQUAL(value, -SI_USER - 1);
    siginfo_t info = {0};
    info.si_signo = SIGUSR1;
    info.si_code = SI_QUEUE;
    info.si_value.sival_int = 1234;
    CHECK(syscall(SEND_SIGNAL, self, SIGUSR1, &info, 0) == 0);
    CHECK_EQUAL(value, 1234);
    CHECK_FAILS(syscall(SEND_SIGNAL, self, SIGUSR2, &info, 0), EINVAL);
    CHECK_FAILS(syscall(SEND_SIGNAL, self, 99, NULL, 0), EINVAL);
    CHECK_FAILS(syscall(SEND_SIGNAL, self, 0, NULL, 0x1000), EINVAL);
    CHECK_FAILS(syscall(SEND_SIGNAL, 0, 0, NULL, 0), EBADF);
    CHECK_FAILS(syscall(SEND_SIGNAL, self, SIGUSR1, BAD, 0), EFAULT);
    CHECK(close(self) == 0);
    int tell[2];
    pid_t child = child_that_waits(tell);
    int file = open_process(child);
    info.si_code = SI_USER;
    CHECK_FAILS(syscall(SEND_SIGNAL, file, SIGUSR1, &info, 0), EPERM);
    CHECK(syscall(SEND_SIGNAL, file, SIGKILL, NULL, 0) == 0);
    REAP_KILLED(child, SIGKILL);
    CHECK(close(file) == 0 && close(tell[1]) == 0);
}

static void files_of_others_are_had(void)
{
    int ends[2], ask[2];
    CHECK(pipe(ends) == 0 && pipe(ask) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int other[2];
        char byte;
        CHECK(pipe(other) == 0 && dup2(other[0], 100) == 100);
        CHECK(write(ends[1], "x", 1) == 1 && write(other[1], "child's", 7) == 7);
        CHECK(close(ask[1]) == 0 && read(ask[0], &byte, 1) == 0);
        _exit(0);
    }
    char text[8];
    CHECK(close(ask[0]) == 0 && read(ends[0], text, 1) == 1);
    int process = open_process(child), file = (int)syscall(GET_FILE, process, 100, 0);
    CHECK(file >= 0 && fcntl(file, F_GETFD) == FD_CLOEXEC);
    CHECK(read(file, text, 8) == 7 && memcmp(text, "child's", 7) == 0);
    CHECK_FAILS(syscall(GET_FILE, process, 101, 0), EBADF);
    CHECK_FAILS(syscall(GET_FILE, process, 100, 1), EINVAL);
    CHECK_FAILS(syscall(GET_FILE, file, 100, 0), EBADF);
    CHECK(close(ask[1]) == 0 && ready(process, -1) == POLLIN);
    CHECK_FAILS(syscall(GET_FILE, process, 100, 0), ESRCH);
    REAP_EXITED(child, 0);
    CHECK(close(file) == 0 && close(process) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
}

struct arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

static void clone_gives_one(void)
{
    int file = -1;
    struct arguments arguments = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&file,
                                  .exit_signal = SIGCHLD};
    pid_t child = (pid_t)syscall(CLONE3, &arguments, sizeof arguments);
    CHECK(child >= 0);
    if (child == 0)
        _exit(file == -1 && fcntl(3, F_GETFD) == -1 ? 9 : 1);
    CHECK_EQUAL(fcntl(file, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(ready(file, -1), POLLIN);
    siginfo_t info = {0};
    CHECK(waitid(P_PIDFD, (id_t)file, &info, WEXITED) == 0);
    CHECK(info.si_pid == child && info.si_status == 9);
    CHECK(close(file) == 0);
    arguments.pidfd = 16;
    CHECK_FAILS(syscall(CLONE3, &arguments, sizeof arguments), EFAULT);
    CHECK_FAILS(waitpid(-1, NULL, 0), ECHILD);
}

static void bad_arguments(void)
{
    siginfo_t info;
    int file = open_process(getpid());
    char byte;
    CHECK_FAILS(syscall(OPEN, 0, 0), EINVAL);
    CHECK_FAILS(syscall(OPEN, -1, 0), EINVAL);
    CHECK_FAILS(syscall(OPEN, getpid(), 1), EINVAL);
    CHECK_FAILS(syscall(OPEN, 4194303, 0), ESRCH);
    CHECK_FAILS(read(file, &byte, 1), EINVAL);
    CHECK_FAILS(waitid(P_PIDFD, 999, &info, WEXITED), EBADF);
    CHECK_FAILS(waitid(P_PIDFD, 0, &info, WEXITED), EBADF);
    CHECK_FAILS(waitid(P_PIDFD, (id_t)file, &info, WEXITED), ECHILD);
    CHECK(close(file) == 0);
}

int main(void)
{
    RUN(the_end_can_be_polled);
    RUN(who_does_not_wait_is_told_so);
    RUN(signals_are_sent);
    RUN(files_of_others_are_had);
    RUN(clone_gives_one);
    RUN(bad_arguments);
    return 0;
}
