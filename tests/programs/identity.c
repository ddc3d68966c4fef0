/* Who a process is: ids, groups, sessions, its limits, its name, the system's name and size. */
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

static void process_ids(void)
{
    pid_t parent = getpid();
    CHECK(parent > 0 && getppid() > 0 && parent != getppid());
    CHECK_EQUAL(syscall(SYS_gettid), parent);
    IN_CHILD({
        CHECK_EQUAL(getppid(), parent);
        CHECK(getpid() != parent);
    });
}

static void groups_and_sessions(void)
{
    CHECK_EQUAL(getpgid(0), getpgrp());
    CHECK_EQUAL(getpgid(getpid()), getpgrp());
    CHECK_FAILS(getpgid(-5), ESRCH);
    CHECK_FAILS(getpgid(0x3fffffff), ESRCH);
    CHECK_FAILS(setpgid(0, -1), EINVAL);
    CHECK_FAILS(setpgid(0x3fffffff, 0), ESRCH);
    pid_t group = getpgrp();
    IN_CHILD({
        CHECK_EQUAL(getpgrp(), group);
        CHECK(setpgid(0, 0) == 0);
        CHECK_EQUAL(getpgrp(), getpid());
        /* A group leader cannot start a session. */
        CHECK_FAILS(setsid(), EPERM);
    });
    IN_CHILD({
        CHECK_EQUAL(setsid(), getpid());
        CHECK_EQUAL(getsid(0), getpid());
        CHECK_EQUAL(getpgrp(), getpid());
        CHECK_FAILS(setpgid(0, 0), EPERM);
        CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
    });
}

static void capabilities_are_told(void)
{
    struct {
        uint32_t version;
        int pid;
    } header = {0, 0};
    uint32_t sets[2][3];
    memset(sets, 0xff, sizeof sets);
    /* An unknown version is answered by the one that is preferred. */
    CHECK_FAILS(syscall(SYS_capget, &header, sets), EINVAL);
    CHECK_EQUAL(header.version, 0x20080522);
    header.version = 1;
    CHECK(syscall(SYS_capget, &header, NULL) == 0);
    CHECK_EQUAL(header.version, 0x20080522);
    CHECK(syscall(SYS_capget, &header, sets) == 0);
    /* What is effective is permitted. */
    CHECK(!(sets[0][0] & ~sets[0][1]) && !(sets[1][0] & ~sets[1][1]) && sets[1][1] >> 9 == 0);
    header.pid = -1;
    CHECK_FAILS(syscall(SYS_capget, &header, sets), EINVAL);
    header.pid = 0x3fffffff;
    CHECK_FAILS(syscall(SYS_capget, &header, sets), ESRCH);
}

static void signals_reach_a_group(void)
{
    int ready[2];
    char byte;
    pid_t children[3];
    CHECK(pipe(ready) == 0);
    for (int i = 0; i < 3; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            setpgid(0, children[0]);
            CHECK(write(ready[1], "r", 1) == 1);
            for (;;)
                pause();
        }
        setpgid(children[i], children[0]);
    }
    for (int i = 0; i < 3; i++)
        CHECK(read(ready[0], &byte, 1) == 1);
    CHECK(kill(-children[0], SIGUSR2) == 0);
    for (int i = 0; i < 3; i++)
        REAP_KILLED(children[i], SIGUSR2);
    CHECK_FAILS(kill(-children[0], 0), ESRCH);
    CHECK_FAILS(kill(getpid(), 65), EINVAL);
    CHECK_FAILS(kill(getpid(), -1), EINVAL);
    CHECK_FAILS(kill(0x3fffffff, 0), ESRCH);
    close(ready[0]);
    close(ready[1]);
}

static void limits_are_kept(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
    CHECK_EQUAL(limit.rlim_cur, 8 << 20);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(limit.rlim_cur >= 256 && limit.rlim_cur <= limit.rlim_max);
    limit.rlim_cur = 40;
    IN_CHILD({
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        int last = -1;
        for (int fd; (fd = dup(1)) >= 0;)
            last = fd;
        CHECK_EQUAL(errno, EMFILE);
        CHECK_EQUAL(last, 39);
        CHECK_FAILS(fcntl(1, F_DUPFD, 40), EINVAL);
    });
    limit.rlim_cur = 2;
    limit.rlim_max = 1;
    CHECK_FAILS(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
    CHECK_FAILS(getrlimit(100, &limit), EINVAL);
}

/* Who may raises a hard limit, but not that of descriptors beyond what the system has. */
static void limits_are_raised(void)
{
    enum { MANY = 10032, CAP_SYS_RESOURCE = 24 };
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0};
    uint32_t sets[2][3];
    CHECK(syscall(SYS_capget, &header, sets) == 0);
    int may = sets[0][0] >> CAP_SYS_RESOURCE & 1;
    struct rlimit limit;
    limit.rlim_cur = limit.rlim_max = 64;
    IN_CHILD({
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        limit.rlim_cur = limit.rlim_max = MANY;
        if (!may) {
            CHECK_FAILS(setrlimit(RLIMIT_NOFILE, &limit), EPERM);
            _exit(0);
        }
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        CHECK_EQUAL(dup2(1, MANY - 1), MANY - 1);
        CHECK_FAILS(dup2(1, MANY), EBADF);
        limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
        CHECK_FAILS(setrlimit(RLIMIT_NOFILE, &limit), EPERM);
    });
}

static void names(void)
{
    char name[17] = "";
    struct utsname system;
    CHECK(prctl(PR_SET_NAME, "a-name-of-more-than-fifteen") == 0);
    CHECK(prctl(PR_GET_NAME, name) == 0);
    CHECK(strcmp(name, "a-name-of-more-") == 0);
    CHECK(uname(&system) == 0);
    CHECK(strcmp(system.sysname, "Linux") == 0);
    CHECK(system.nodename[0] && system.release[0] && system.version[0]);
    CHECK(system.release[0] >= '3' && system.release[0] <= '9');
#if defined __x86_64__
    CHECK(strcmp(system.machine, "x86_64") == 0);
#elif defined __aarch64__
    CHECK(strcmp(system.machine, "aarch64") == 0);
#endif
}

static void parent_death_signal(void)
{
    int value = -1;
    CHECK(prctl(PR_GET_DUMPABLE) >= 0);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
    CHECK(prctl(PR_GET_PDEATHSIG, &value) == 0);
    CHECK_EQUAL(value, SIGUSR1);
    CHECK(prctl(PR_SET_PDEATHSIG, 0) == 0);
    CHECK_FAILS(prctl(0x7fff, 0), EINVAL);
    CHECK_FAILS(prctl(PR_SET_PDEATHSIG, 65), EINVAL);
    /* A grandchild that is told when its parent goes, and its own child that is not. */
    int report[2], ready[2];
    char text[8];
    CHECK(pipe(report) == 0 && pipe(ready) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pid_t orphan = fork();
        CHECK(orphan >= 0);
        if (orphan == 0) {
            sigset_t set;
            siginfo_t info;
            sigemptyset(&set);
            sigaddset(&set, SIGUSR1);
            CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
            CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
            IN_CHILD({
                CHECK(prctl(PR_GET_PDEATHSIG, &value) == 0);
                CHECK_EQUAL(value, 0);
            });
            CHECK(write(ready[1], "r", 1) == 1);
            CHECK_EQUAL(sigwaitinfo(&set, &info), SIGUSR1);
            CHECK(write(report[1], "told", 4) == 4);
            _exit(0);
        }
        CHECK(read(ready[0], text, 1) == 1);
        _exit(0);
    }
    REAP_EXITED(child, 0);
    CHECK_EQUAL(read(report[0], text, sizeof text), 4);
    for (int i = 0; i < 2; i++) {
        close(report[i]);
        close(ready[i]);
    }
}

static void system_size(void)
{
    struct sysinfo info;
    CHECK(sysinfo(&info) == 0);
    CHECK(info.uptime >= 0 && info.procs > 0 && info.mem_unit > 0);
    CHECK(info.totalram > 0 && info.freeram <= info.totalram);
    cpu_set_t cpus;
    CHECK(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    CHECK(CPU_COUNT(&cpus) >= 1);
    CHECK_FAILS(sched_getaffinity(0x3fffffff, sizeof cpus, &cpus), ESRCH);
    CHECK_FAILS(syscall(SYS_sched_getaffinity, 0, 1, &cpus), EINVAL);
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    CHECK_EQUAL(sysconf(_SC_PAGESIZE), 4096);
    unsigned cpu = ~0u;
    CHECK(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0);
    CHECK(cpu < 1024);
}

static void read_id(const char *name, char text[38])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/sys/kernel/random/%s", name);
    int file = open(path, O_RDONLY);
    CHECK(file >= 0 && read(file, text, 38) == 37 && text[36] == '\n');
    CHECK(text[8] == '-' && text[14] == '4' && text[23] == '-');
    text[36] = 0;
    CHECK(close(file) == 0);
}

static void random_ids(void)
{
    char boot[2][38], fresh[2][38];
    for (int n = 0; n < 2; n++) {
        read_id("boot_id", boot[n]);
        read_id("uuid", fresh[n]);
    }
    CHECK(strcmp(boot[0], boot[1]) == 0 && strcmp(fresh[0], fresh[1]) != 0);
}

static void personalities(void)
{
    CHECK_EQUAL(syscall(SYS_personality, 0xffffffffu), 0);
    CHECK_EQUAL(syscall(SYS_personality, 0), 0);
}

static void random_bytes(void)
{
    unsigned char first[64] = {0}, second[64] = {0};
    CHECK_EQUAL(getrandom(first, sizeof first, 0), sizeof first);
    CHECK_EQUAL(getrandom(second, sizeof second, GRND_NONBLOCK), sizeof second);
    CHECK(memcmp(first, second, sizeof first) != 0);
    CHECK_FAILS(getrandom(first, sizeof first, 0x1000), EINVAL);
}

int main(void)
{
    RUN(process_ids);
    RUN(groups_and_sessions);
    RUN(capabilities_are_told);
    RUN(signals_reach_a_group);
    RUN(limits_are_kept);
    RUN(limits_are_raised);
    RUN(names);
    RUN(parent_death_signal);
    RUN(system_size);
    RUN(random_bytes);
    RUN(random_ids);
    RUN(personalities);
    return 0;
}
