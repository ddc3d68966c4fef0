/* Waiting for signals: sigwait, sigtimedwait, and what SIGCHLD tells. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

static sigset_t set_of(int first, int second)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, first);
    if (second)
        sigaddset(&set, second);
    return set;
}

static void a_pending_signal_is_taken(void)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2), pending;
    siginfo_t info;
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    /* The lowest number first. */
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGUSR1);
    CHECK_EQUAL(info.si_signo, SIGUSR1);
    CHECK_EQUAL(info.si_code, SI_USER);
    CHECK_EQUAL(info.si_pid, getpid());
    CHECK_EQUAL(sigwaitinfo(&set, NULL), SIGUSR2);
    CHECK(sigpending(&pending) == 0);
    CHECK(!sigismember(&pending, SIGUSR1) && !sigismember(&pending, SIGUSR2));
}

static void time_outs(void)
{
    sigset_t set = set_of(SIGUSR1, 0);
    struct timespec none = {0, 0}, some = {0, 30000000}, bad = {0, 1000000000};
    long long start = now_ms();
    CHECK_FAILS(sigtimedwait(&set, NULL, &none), EAGAIN);
    CHECK_FAILS(sigtimedwait(&set, NULL, &some), EAGAIN);
    CHECK(now_ms() - start >= 29);
    CHECK_FAILS(sigtimedwait(&set, NULL, &bad), EINVAL);
}

static void a_waiter_is_woken(void)
{
    sigset_t set = set_of(SIGUSR1, 0);
    siginfo_t info;
    struct timespec limit = {10, 0};
    int number = 0;
    pid_t parent = getpid();
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            pause_ms(i % 3);
            kill(parent, SIGUSR1);
            _exit(0);
        }
        CHECK_EQUAL(sigtimedwait(&set, &info, &limit), SIGUSR1);
        CHECK_EQUAL(info.si_pid, child);
        REAP_EXITED(child, 0);
    }
    CHECK(raise(SIGUSR1) == 0);
    CHECK_EQUAL(sigwait(&set, &number), 0);
    CHECK_EQUAL(number, SIGUSR1);
}

static volatile sig_atomic_t handled;

static void handler(int number)
{
    handled = number;
}

static void another_signal_interrupts(void)
{
    sigset_t set = set_of(SIGUSR1, 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        await_sleep(parent, parent);
        kill(parent, SIGALRM);
        _exit(0);
    }
    /* By number: musl's function tries again. */
    CHECK_FAILS(syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, 8), EINTR);
    CHECK_EQUAL(handled, SIGALRM);
    REAP_EXITED(child, 0);
}

static void child_deaths_are_described(void)
{
    sigset_t set = set_of(SIGCHLD, 0);
    siginfo_t info;
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(33);
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGCHLD);
    CHECK_EQUAL(info.si_code, CLD_EXITED);
    CHECK_EQUAL(info.si_pid, child);
    CHECK_EQUAL(info.si_status, 33);
    CHECK_EQUAL(info.si_uid, getuid());
    REAP_EXITED(child, 33);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGCHLD);
    CHECK_EQUAL(info.si_code, CLD_KILLED);
    CHECK_EQUAL(info.si_status, SIGKILL);
    REAP_KILLED(child, SIGKILL);
}

static void stops_are_described(void)
{
    sigset_t set = set_of(SIGCHLD, 0);
    siginfo_t info;
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        for (;;)
            pause();
    CHECK(kill(child, SIGSTOP) == 0);
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGCHLD);
    CHECK_EQUAL(info.si_code, CLD_STOPPED);
    CHECK_EQUAL(info.si_status, SIGSTOP);
    CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
    CHECK(kill(child, SIGCONT) == 0);
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGCHLD);
    CHECK_EQUAL(info.si_code, CLD_CONTINUED);
    CHECK_EQUAL(info.si_status, SIGCONT);
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    CHECK(kill(child, SIGSTOP) == 0);
    CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
    struct timespec none = {0, 0};
    CHECK_FAILS(sigtimedwait(&set, NULL, &none), EAGAIN);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGCHLD);
    CHECK_EQUAL(info.si_code, CLD_KILLED);
    REAP_KILLED(child, SIGKILL);
}

/* SA_NOCLDWAIT: children are reaped by the kernel. */
static void nobody_needs_to_wait(void)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NOCLDWAIT};
    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(3);
    CHECK_FAILS(waitpid(-1, NULL, 0), ECHILD);
    /* It is no child any more, but Linux may be about to take its number back. */
    while (kill(child, 0) == 0)
        pause_ms(1);
    CHECK(errno == ESRCH);
}

int main(void)
{
    RUN(a_pending_signal_is_taken);
    RUN(time_outs);
    RUN(a_waiter_is_woken);
    RUN(another_signal_interrupts);
    RUN(child_deaths_are_described);
    RUN(stops_are_described);
    RUN(nobody_needs_to_wait);
    return 0;
}
