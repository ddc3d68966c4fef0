/* Users and groups: who may become whom, what files and signals are kept from whom, what a program inherits. */
#include "check.h"
#include "cpus.h"
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ONE = 1234, OTHER = 1235, GROUP = 4321, MORE = 4322 };

/* By number: glibc and musl tell all threads by signals, and libc's own wrappers differ in what they check. */
static int set_three(int call, int real, int effective, int saved)
{
    return syscall(call, real, effective, saved);
}

static const gid_t two_groups[] = {GROUP, MORE};
static gid_t got[3];

static void expect_users(unsigned real, unsigned effective, unsigned saved)
{
    unsigned ids[3];
    CHECK(syscall(SYS_getresuid, &ids[0], &ids[1], &ids[2]) == 0);
    CHECK(ids[0] == real && ids[1] == effective && ids[2] == saved);
    CHECK(getuid() == real && geteuid() == effective);
}

static void become(unsigned user, unsigned group)
{
    CHECK(setgroups(0, NULL) == 0);
    CHECK(set_three(SYS_setresgid, group, group, group) == 0);
    CHECK(set_three(SYS_setresuid, user, user, user) == 0);
}

static void root_becomes_anybody(void)
{
    expect_users(0, 0, 0);
    IN_CHILD({
        CHECK(setgroups(2, two_groups) == 0);
        CHECK(getgroups(0, NULL) == 2 && getgroups(3, got) == 2 && got[0] == GROUP && got[1] == MORE);
        CHECK_FAILS(getgroups(1, got), EINVAL);
        CHECK(setgid(GROUP) == 0 && getgid() == GROUP && getegid() == GROUP);
        CHECK(setuid(ONE) == 0);
        expect_users(ONE, ONE, ONE);
        CHECK_FAILS(setuid(0), EPERM);
        CHECK_FAILS(setgid(0), EPERM);
        CHECK_FAILS(setgroups(0, NULL), EPERM);
        CHECK(setuid(ONE) == 0 && setgid(GROUP) == 0);
        IN_CHILD({ expect_users(ONE, ONE, ONE); });
    });
    expect_users(0, 0, 0);
}

static void ids_are_put_aside_and_taken_back(void)
{
    IN_CHILD({
        CHECK(seteuid(ONE) == 0);
        expect_users(0, ONE, 0);
        CHECK_FAILS(set_three(SYS_setresuid, OTHER, -1, -1), EPERM);
        CHECK(seteuid(0) == 0);
        CHECK(setreuid(ONE, OTHER) == 0);
        expect_users(ONE, OTHER, OTHER);
        CHECK(setreuid(OTHER, ONE) == 0);
        expect_users(OTHER, ONE, ONE);
        CHECK_FAILS(setreuid(0, -1), EPERM);
        CHECK(set_three(SYS_setresuid, -1, OTHER, -1) == 0);
        expect_users(OTHER, OTHER, ONE);
        CHECK_EQUAL(setfsuid(ONE), OTHER);
        CHECK_EQUAL(setfsuid(0), ONE);
        CHECK_EQUAL(setfsuid(-1), ONE);
    });
}

static void files_are_kept_from_others(void)
{
    int file = open("secret", O_RDWR | O_CREAT, 0600);
    CHECK(file >= 0 && chmod(".", 0777) == 0);
    CHECK(close(open("shared", O_RDWR | O_CREAT, 0640)) == 0 && chown("shared", 0, GROUP) == 0);
    IN_CHILD({
        struct stat facts;
        become(ONE, GROUP);
        CHECK_FAILS(open("secret", O_RDONLY), EACCES);
        CHECK_FAILS(chmod("secret", 0666), EPERM);
        CHECK_FAILS(chown("shared", ONE, GROUP), EPERM);
        CHECK(close(open("shared", O_RDONLY)) == 0);
        CHECK_FAILS(open("shared", O_WRONLY), EACCES);
        /* What is open stays open. */
        CHECK(write(file, "x", 1) == 1);
        CHECK(close(open("own", O_RDWR | O_CREAT, 0600)) == 0 && stat("own", &facts) == 0);
        CHECK(facts.st_uid == ONE && facts.st_gid == GROUP);
        CHECK(stat("/proc/self", &facts) == 0 && facts.st_uid == ONE);
    });
    CHECK(unlink("secret") == 0 && unlink("shared") == 0 && unlink("own") == 0 && close(file) == 0);
}

static void signals_are_kept_from_others(void)
{
    int ready[2];
    char byte;
    CHECK(pipe(ready) == 0);
    pid_t other = fork();
    CHECK(other >= 0);
    if (other == 0) {
        go(cpus[count - 1]);
        become(OTHER, GROUP);
        CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    IN_CHILD({
        become(ONE, GROUP);
        CHECK_FAILS(kill(other, 0), EPERM);
        CHECK_FAILS(kill(other, SIGKILL), EPERM);
        CHECK(kill(other, SIGCONT) == 0 && kill(getpid(), 0) == 0);
        /* Of its group some can be sent to. */
        CHECK(kill(0, 0) == 0);
    });
    IN_CHILD({
        become(OTHER, MORE);
        CHECK(kill(other, SIGKILL) == 0);
    });
    REAP_KILLED(other, SIGKILL);
    CHECK(close(ready[0]) == 0 && close(ready[1]) == 0);
}

/* Waits for SIGUSR1, which the child of user ONE sends. */
static void expect_sender(pid_t child, int code)
{
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    /* By number: glibc says SI_USER for SI_TKILL. */
    CHECK(syscall(SYS_rt_sigtimedwait, &set, &info, NULL, 8) == SIGUSR1);
    CHECK_EQUAL(info.si_code, code);
    CHECK_EQUAL(info.si_pid, child);
    CHECK_EQUAL(info.si_uid, ONE);
}

static void receivers_are_told_the_user(void)
{
    sigset_t set;
    siginfo_t info;
    int back[2];
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && pipe(back) == 0);
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char byte;
        go(cpus[count - 1]);
        /* It is the real user that counts; the saved one lets it send to its parent. */
        CHECK(setresuid(ONE, 0, 0) == 0);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        expect_sender(getpid(), SI_USER);
        CHECK(raise(SIGUSR1) == 0);
        expect_sender(getpid(), SI_TKILL);
        CHECK(kill(parent, SIGUSR1) == 0 && read(back[0], &byte, 1) == 1);
        CHECK(syscall(SYS_tgkill, parent, parent, SIGUSR1) == 0 && read(back[0], &byte, 1) == 1);
        CHECK(sigqueue(parent, SIGUSR1, (union sigval){.sival_int = 5}) == 0);
        _exit(0);
    }
    expect_sender(child, SI_USER);
    CHECK(write(back[1], "x", 1) == 1);
    expect_sender(child, SI_TKILL);
    CHECK(write(back[1], "x", 1) == 1);
    expect_sender(child, SI_QUEUE);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    CHECK(sigwaitinfo(&set, &info) == SIGCHLD && info.si_pid == child && info.si_uid == ONE);
    CHECK(waitid(P_PID, child, &info, WEXITED) == 0 && info.si_pid == child && info.si_uid == ONE);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
    CHECK(close(back[0]) == 0 && close(back[1]) == 0);
}

int main(void)
{
    find_cpus();
    RUN_AS_ROOT(root_becomes_anybody);
    RUN_AS_ROOT(ids_are_put_aside_and_taken_back);
    RUN_AS_ROOT(files_are_kept_from_others);
    RUN_AS_ROOT(signals_are_kept_from_others);
    RUN_AS_ROOT(receivers_are_told_the_user);
    return 0;
}
