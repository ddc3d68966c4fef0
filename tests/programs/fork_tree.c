/* Trees of processes: exit statuses, every form of wait, orphans, and how deaths are reported. */
#include "check.h"
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

static void statuses_are_told_apart(void)
{
    static const int codes[] = {0, 1, 42, 127, 255};
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            _exit(codes[i]);
        REAP_EXITED(child, codes[i]);
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(0x1234);
    REAP_EXITED(child, 0x34);
    static const int signals[] = {SIGKILL, SIGTERM, SIGHUP, SIGUSR1, SIGALRM};
    for (int i = 0; i < 5; i++) {
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            kill(getpid(), signals[i]);
            for (;;)
                pause();
        }
        REAP_KILLED(child, signals[i]);
    }
}

/* Each node has two children; the status counts the nodes of its subtree. */
static int grow(int depth)
{
    int nodes = 1;
    if (depth == 0)
        return nodes;
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            _exit(grow(depth - 1));
    }
    for (int i = 0; i < 2; i++) {
        int status;
        CHECK(wait(&status) > 0);
        CHECK(WIFEXITED(status));
        nodes += WEXITSTATUS(status);
    }
    CHECK_FAILS(wait(NULL), ECHILD);
    return nodes;
}

static void a_binary_tree(void)
{
    int nodes = grow(5);
    CHECK_EQUAL(nodes, 63);
    say("nodes %d", nodes);
}

static int chain(int depth)
{
    if (depth == 0)
        return 0;
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(getppid(), parent);
        _exit(chain(depth - 1) + 1);
    }
    int status = reap(child);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_long_chain(void)
{
    CHECK_EQUAL(chain(30), 30);
}

static void many_children(void)
{
    enum { CHILDREN = 100 };
    pid_t children[CHILDREN];
    int sum = 0;
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0)
            _exit(i);
    }
    /* In the reverse order of their making. */
    for (int i = CHILDREN - 1; i >= 0; i--) {
        int status = reap(children[i]);
        CHECK(WIFEXITED(status));
        CHECK_EQUAL(WEXITSTATUS(status), i);
        sum += WEXITSTATUS(status);
    }
    CHECK_FAILS(waitpid(-1, NULL, 0), ECHILD);
    say("sum of %d children %d", CHILDREN, sum);
}

static void wnohang_does_not_wait(void)
{
    int gate[2], status;
    CHECK(pipe(gate) == 0);
    CHECK_FAILS(waitpid(-1, &status, WNOHANG), ECHILD);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char byte;
        close(gate[1]);
        CHECK(read(gate[0], &byte, 1) == 0);
        _exit(3);
    }
    CHECK_EQUAL(waitpid(child, &status, WNOHANG), 0);
    CHECK_EQUAL(waitpid(-1, &status, WNOHANG), 0);
    close(gate[1]);
    pid_t got;
    while ((got = waitpid(child, &status, WNOHANG)) == 0)
        sched_yield();
    CHECK_EQUAL(got, child);
    CHECK_EQUAL(WEXITSTATUS(status), 3);
    CHECK_FAILS(waitpid(child, &status, WNOHANG), ECHILD);
    close(gate[0]);
}

static void waits_choose_by_group(void)
{
    pid_t own = fork();
    CHECK(own >= 0);
    if (own == 0)
        _exit(1);
    pid_t other = fork();
    CHECK(other >= 0);
    if (other == 0) {
        setpgid(0, 0);
        _exit(2);
    }
    setpgid(other, other);
    int status;
    /* 0: any child of the caller's own group; -g: any of group g. */
    CHECK_EQUAL(waitpid(0, &status, 0), own);
    CHECK_EQUAL(WEXITSTATUS(status), 1);
    CHECK_EQUAL(waitpid(-other, &status, 0), other);
    CHECK_EQUAL(WEXITSTATUS(status), 2);
    CHECK_FAILS(waitpid(-other, &status, 0), ECHILD);
    CHECK_FAILS(waitpid(getppid(), &status, 0), ECHILD);
    CHECK_FAILS(waitpid(-1, &status, 0x10), EINVAL);
}

static void orphans_get_a_new_parent(void)
{
    int report[2], gate[2];
    CHECK(pipe(report) == 0 && pipe(gate) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pid_t middle = getpid(), orphan = fork();
        CHECK(orphan >= 0);
        if (orphan == 0) {
            char byte;
            close(gate[1]);
            CHECK(read(gate[0], &byte, 1) == 0);
            char changed = getppid() != middle && getppid() > 0;
            CHECK(write(report[1], &changed, 1) == 1);
            _exit(0);
        }
        _exit(0);
    }
    REAP_EXITED(child, 0);
    /* The grandchild is not a child of this process. */
    CHECK_FAILS(waitpid(-1, NULL, WNOHANG), ECHILD);
    close(gate[1]);
    char changed = 0;
    CHECK(read(report[0], &changed, 1) == 1);
    CHECK_EQUAL(changed, 1);
    close(report[0]);
    close(report[1]);
    close(gate[0]);
}

static void stops_and_continues_are_reported(void)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        raise(SIGSTOP);
        _exit(5);
    }
    CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
    CHECK(WIFSTOPPED(status));
    CHECK_EQUAL(WSTOPSIG(status), SIGSTOP);
    CHECK_EQUAL(waitpid(child, &status, WNOHANG | WUNTRACED), 0);
    CHECK(kill(child, SIGCONT) == 0);
    CHECK_EQUAL(waitpid(child, &status, WCONTINUED), child);
    CHECK(WIFCONTINUED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 5));
    if (!WIFEXITED(status))
        REAP_EXITED(child, 5);
}

static void a_stopped_child_can_be_killed(void)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        raise(SIGSTOP);
        _exit(5);
    }
    CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
    CHECK(kill(child, SIGKILL) == 0);
    REAP_KILLED(child, SIGKILL);
}

static void usage_is_filled(void)
{
    struct rusage usage;
    memset(&usage, 0xff, sizeof usage);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(6);
    int status;
    CHECK_EQUAL(wait4(child, &status, 0, &usage), child);
    CHECK_EQUAL(WEXITSTATUS(status), 6);
    CHECK(usage.ru_utime.tv_sec >= 0 && usage.ru_utime.tv_sec < 10);
    CHECK(usage.ru_utime.tv_usec >= 0 && usage.ru_utime.tv_usec < 1000000);
}

static void zombies_answer_signals(void)
{
    int gate[2];
    char byte;
    CHECK(pipe(gate) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(0);
    close(gate[1]);
    CHECK(read(gate[0], &byte, 1) == 0);
    /* Dead or dying, it has a process id until it is reaped. */
    CHECK(kill(child, 0) == 0);
    REAP_EXITED(child, 0);
    CHECK_FAILS(kill(child, 0), ESRCH);
    close(gate[0]);
}

static void ignored_children_leave_no_zombies(void)
{
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(1);
    /* Waits until every child has gone, then has nothing to report. */
    CHECK_FAILS(waitpid(child, NULL, 0), ECHILD);
    CHECK(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
}

int main(void)
{
    RUN(statuses_are_told_apart);
    RUN(a_binary_tree);
    RUN(a_long_chain);
    RUN(many_children);
    RUN(wnohang_does_not_wait);
    RUN(waits_choose_by_group);
    RUN(orphans_get_a_new_parent);
    RUN(stops_and_continues_are_reported);
    RUN(a_stopped_child_can_be_killed);
    RUN(usage_is_filled);
    RUN(zombies_answer_signals);
    RUN(ignored_children_leave_no_zombies);
    return 0;
}
