/* What wait tells when a signal arrives with it: a child that has ended counts first. */
#include "check.h"
#include <signal.h>
#include <sys/wait.h>

static volatile sig_atomic_t handled;

static void handler(int number)
{
    (void)number;
    handled++;
}

static void handle(int number, int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    CHECK(sigaction(number, &action, NULL) == 0);
    handled = 0;
}

static pid_t child_that_exits(int code)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pause_ms(code % 4 * 5);
        _exit(code);
    }
    return child;
}

static void a_child_counts_before_its_signal(void)
{
    handle(SIGCHLD, 0);
    for (int i = 0; i < 12; i++) {
        pid_t child = child_that_exits(i);
        int status = -1;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == i);
    }
    CHECK_EQUAL(handled, 12);
}

static void so_it_does_for_waitid(void)
{
    handle(SIGCHLD, 0);
    pid_t child = child_that_exits(3);
    siginfo_t info;
    CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
    CHECK(info.si_pid == child && info.si_status == 3);
    CHECK_EQUAL(waitpid(child, NULL, 0), child);
    CHECK_EQUAL(handled, 1);
}

static void unwanted_children_are_none(void)
{
    handle(SIGCHLD, SA_NOCLDWAIT);
    child_that_exits(2);
    CHECK_FAILS(wait(NULL), ECHILD);
    CHECK_EQUAL(handled, 1);
    CHECK(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
}

static void another_signal_interrupts(void)
{
    handle(SIGUSR1, 0);
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        await_sleep(parent, parent);
        kill(parent, SIGUSR1);
        pause();
    }
    CHECK_FAILS(wait(NULL), EINTR);
    CHECK_EQUAL(handled, 1);
    CHECK(kill(child, SIGKILL) == 0);
    REAP_KILLED(child, SIGKILL);
}

int main(void)
{
    RUN(a_child_counts_before_its_signal);
    RUN(so_it_does_for_waitid);
    RUN(unwanted_children_are_none);
    RUN(another_signal_interrupts);
    return 0;
}
