/* clone and clone3 by number: each thing that can be shared, and where the ids are written. */
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { STACK = 65536 };

static char *stack;
static volatile int seen;
static int parent_tid, child_tid;

static int set_seen(void *value)
{
    seen = (int)(intptr_t)value;
    return 11;
}

static void memory_is_shared_or_not(void)
{
    seen = 0;
    pid_t child = clone(set_seen, stack + STACK, SIGCHLD, (void *)1);
    CHECK(child > 0);
    REAP_EXITED(child, 11);
    CHECK_EQUAL(seen, 0);
    child = clone(set_seen, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)2);
    CHECK(child > 0);
    CHECK_EQUAL(seen, 2);
    REAP_EXITED(child, 11);
}

static int change_files(void *unused)
{
    (void)unused;
    CHECK(close(40) == 0);
    CHECK(chdir("/") == 0);
    return 12;
}

static void tables_are_shared_or_not(void)
{
    char before[4096], after[4096];
    CHECK(getcwd(before, sizeof before) != NULL);
    CHECK_EQUAL(dup2(1, 40), 40);
    pid_t child = clone(change_files, stack + STACK, SIGCHLD, NULL);
    REAP_EXITED(child, 12);
    CHECK_EQUAL(fcntl(40, F_GETFD), 0);
    CHECK(getcwd(after, sizeof after) != NULL && strcmp(before, after) == 0);
    child = clone(change_files, stack + STACK, CLONE_FILES | CLONE_FS | SIGCHLD, NULL);
    REAP_EXITED(child, 12);
    CHECK_FAILS(fcntl(40, F_GETFD), EBADF);
    CHECK(getcwd(after, sizeof after) != NULL && strcmp(after, "/") == 0);
    CHECK(chdir(before) == 0);
}

static int check_tid(void *unused)
{
    (void)unused;
    CHECK_EQUAL(child_tid, syscall(SYS_gettid));
    return 13;
}

static void ids_are_written(void)
{
    parent_tid = child_tid = 0;
    pid_t child = clone(check_tid, stack + STACK,
                        CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, NULL, &parent_tid,
                        NULL, &child_tid);
    CHECK(child > 0);
    CHECK_EQUAL(parent_tid, child);
    CHECK_EQUAL(child_tid, 0);
    REAP_EXITED(child, 13);
}

static int wait_a_little(void *unused)
{
    (void)unused;
    struct timespec little = {0, 20000000};
    nanosleep(&little, NULL);
    return 0;
}

/* The word that pthread_join waits on. */
static void the_end_is_signalled(void)
{
    child_tid = 77;
    pid_t child = clone(wait_a_little, stack + STACK,
                        CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_CHILD_CLEARTID | SIGCHLD, NULL,
                        NULL, NULL, &child_tid);
    CHECK(child > 0);
    while (__atomic_load_n(&child_tid, __ATOMIC_SEQ_CST) == 77)
        syscall(SYS_futex, &child_tid, 0, 77, NULL, NULL, 0);
    CHECK_EQUAL(child_tid, 0);
    REAP_EXITED(child, 0);
}

static void another_exit_signal(void)
{
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    pid_t child = clone(set_seen, stack + STACK, SIGUSR1, NULL);
    CHECK(child > 0);
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGUSR1);
    CHECK_EQUAL(info.si_pid, child);
    /* Not a child for a plain wait. */
    CHECK_FAILS(waitpid(child, NULL, 0), ECHILD);
    CHECK_EQUAL(waitpid(child, NULL, 0x40000000 /* __WALL */), child);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
}

struct arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

static void clone3_forks(void)
{
    struct arguments arguments = {.flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID,
                                  .exit_signal = SIGCHLD,
                                  .parent_tid = (uintptr_t)&parent_tid,
                                  .child_tid = (uintptr_t)&child_tid};
    parent_tid = child_tid = 0;
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    CHECK(child >= 0);
    if (child == 0)
        _exit(child_tid == syscall(SYS_gettid) ? 14 : 1);
    CHECK_EQUAL(parent_tid, child);
    REAP_EXITED((pid_t)child, 14);
    CHECK_FAILS(syscall(SYS_clone3, &arguments, 8), EINVAL);
    CHECK_FAILS(syscall(SYS_clone3, BAD, sizeof arguments), EFAULT);
    arguments.exit_signal = 300;
    CHECK_FAILS(syscall(SYS_clone3, &arguments, sizeof arguments), EINVAL);
    arguments.exit_signal = SIGCHLD;
    arguments.stack_size = 4096;
    CHECK_FAILS(syscall(SYS_clone3, &arguments, sizeof arguments), EINVAL);
    arguments.stack_size = 0;
    arguments.flags = CLONE_THREAD;
    CHECK_FAILS(syscall(SYS_clone3, &arguments, sizeof arguments), EINVAL);
    struct {
        struct arguments known;
        uint64_t more[4];
    } longer = {.known = {.exit_signal = SIGCHLD}};
    child = syscall(SYS_clone3, &longer, sizeof longer);
    CHECK(child >= 0);
    if (child == 0)
        _exit(15);
    REAP_EXITED((pid_t)child, 15);
    longer.more[3] = 1;
    CHECK_FAILS(syscall(SYS_clone3, &longer, sizeof longer), E2BIG);
}

static void tid_address(void)
{
    CHECK_EQUAL(syscall(SYS_set_tid_address, &child_tid), getpid());
}

int main(void)
{
    stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    RUN(memory_is_shared_or_not);
    RUN(tables_are_shared_or_not);
    RUN(ids_are_written);
    RUN(the_end_is_signalled);
    RUN(another_exit_signal);
    RUN(clone3_forks);
    RUN(tid_address);
    return 0;
}
