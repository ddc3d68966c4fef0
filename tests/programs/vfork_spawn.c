/* vfork and posix_spawn: children that exec or exit at once, and spawn's actions and attributes,
 * which are applied in the child only. That vfork shares memory is not checked here: musl's does not
 * on aarch64. `clone_raw` checks the system call. */
#include "check.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

static char *environment[] = {"SPAWNED=yes", NULL};

static void vfork_ends_at_exit(void)
{
    for (int status = 0; status < 50; status++) {
        pid_t child = vfork();
        CHECK(child >= 0);
        if (child == 0)
            _exit(status);
        REAP_EXITED(child, status);
    }
}

static void vfork_ends_at_exec(void)
{
    char *arguments[] = {"spawn", "wait", NULL};
    int status, hold[2];
    CHECK(pipe(hold) == 0 && fcntl(hold[1], F_SETFD, FD_CLOEXEC) == 0);
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(hold[0], 0);
        execve("/proc/self/exe", arguments, environment);
        _exit(1);
    }
    /* It waits now to be let go: the parent did not wait for its end. */
    CHECK_EQUAL(waitpid(child, &status, WNOHANG), 0);
    CHECK(close(hold[1]) == 0);
    REAP_EXITED(child, 21);
    CHECK(close(hold[0]) == 0);
}

static void vfork_survives_a_failed_exec(void)
{
    char *arguments[] = {"x", NULL};
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        execve("./missing", arguments, environment);
        _exit(errno == ENOENT ? 7 : 8);
    }
    REAP_EXITED(child, 7);
}

static void vfork_in_a_killed_child(void)
{
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        kill(getpid(), SIGKILL);
        _exit(1);
    }
    REAP_KILLED(child, SIGKILL);
}

static void spawn_redirects(void)
{
    posix_spawn_file_actions_t actions;
    char *arguments[] = {"spawn", "copy", NULL};
    int file = open("input", O_WRONLY | O_CREAT | O_TRUNC, 0644), ends[2];
    pid_t child;
    CHECK(file >= 0 && write(file, "hello", 5) == 5 && close(file) == 0);
    CHECK(pipe(ends) == 0);
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 0, "input", O_RDONLY, 0) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, ends[1], 1) == 0);
    CHECK(posix_spawn_file_actions_addclose(&actions, ends[0]) == 0);
    CHECK(posix_spawn_file_actions_addclose(&actions, ends[1]) == 0);
    CHECK_EQUAL(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environment), 0);
    close(ends[1]);
    char text[16];
    size_t length = 0;
    ssize_t n;
    while ((n = read(ends[0], text + length, sizeof text - length)) > 0)
        length += (size_t)n;
    CHECK_EQUAL(length, 5);
    CHECK(memcmp(text, "HELLO", 5) == 0);
    REAP_EXITED(child, 0);
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
    close(ends[0]);
    CHECK(unlink("input") == 0);
}

static void spawn_sets_attributes(void)
{
    posix_spawnattr_t attributes;
    sigset_t set;
    pid_t child;
    char *arguments[] = {"spawn", "attributes", NULL};
    CHECK(posix_spawnattr_init(&attributes) == 0);
    CHECK(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF) == 0);
    CHECK(posix_spawnattr_setpgroup(&attributes, 0) == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(posix_spawnattr_setsigmask(&attributes, &set) == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(posix_spawnattr_setsigdefault(&attributes, &set) == 0);
    CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
    CHECK_EQUAL(posix_spawn(&child, "/proc/self/exe", NULL, &attributes, arguments, environment), 0);
    REAP_EXITED(child, 0);
    CHECK(signal(SIGUSR2, SIG_DFL) == SIG_IGN);
    CHECK(posix_spawnattr_destroy(&attributes) == 0);
}

static void spawn_reports_failure(void)
{
    char *arguments[] = {"x", NULL};
    pid_t child;
    CHECK_EQUAL(posix_spawn(&child, "./missing", NULL, NULL, arguments, environment), ENOENT);
    CHECK_EQUAL(posix_spawnp(&child, "no-such-program", NULL, NULL, arguments, environment), ENOENT);
    CHECK_FAILS(waitpid(-1, NULL, WNOHANG), ECHILD);
}

static int spawned(const char *what)
{
    CHECK(strcmp(getenv("SPAWNED"), "yes") == 0);
    if (strcmp(what, "wait") == 0) {
        char byte;
        CHECK_EQUAL(read(0, &byte, 1), 0);
        return 21;
    }
    if (strcmp(what, "copy") == 0) {
        char byte;
        while (read(0, &byte, 1) == 1) {
            byte ^= 0x20;
            CHECK(write(1, &byte, 1) == 1);
        }
        return 0;
    }
    if (strcmp(what, "attributes") == 0) {
        sigset_t set;
        struct sigaction action;
        CHECK_EQUAL(getpgid(0), getpid());
        CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
        CHECK_EQUAL(sigismember(&set, SIGUSR1), 1);
        CHECK_EQUAL(sigismember(&set, SIGUSR2), 0);
        CHECK(sigaction(SIGUSR2, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
        return 0;
    }
    return 77;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return spawned(argv[1]);
    RUN(vfork_ends_at_exit);
    RUN(vfork_ends_at_exec);
    RUN(vfork_survives_a_failed_exec);
    RUN(vfork_in_a_killed_child);
    RUN(spawn_redirects);
    RUN(spawn_sets_attributes);
    RUN(spawn_reports_failure);
    return 0;
}
