/* Capabilities: who has which, how they are given up, kept and inherited, and what they are asked for. */
#include "check.h"
#include "cpus.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { ONE = 1234 };

/* The kernel's own headers are not there with musl. */
enum {
    CAP_CHOWN = 0,
    CAP_DAC_READ_SEARCH = 2,
    CAP_FOWNER = 3,
    CAP_KILL = 5,
    CAP_SETUID = 7,
};

enum {
    SECBIT_NOROOT = 1 << 0,
    SECBIT_NO_SETUID_FIXUP = 1 << 2,
    SECBIT_NO_SETUID_FIXUP_LOCKED = 1 << 3,
    SECBIT_KEEP_CAPS = 1 << 4,
};

enum { VERSION_1 = 0x19980330, VERSION_3 = 0x20080522 };

struct header {
    unsigned version;
    int thread;
};

struct data {
    unsigned effective, permitted, inheritable;
};

struct sets {
    unsigned long effective, permitted, inheritable;
};

static long get(int thread, unsigned version, struct data *data)
{
    struct header header = {version, thread};
    return syscall(SYS_capget, &header, data);
}

static struct sets mine(void)
{
    struct data data[2];
    CHECK(get(0, VERSION_3, data) == 0);
    return (struct sets){
        data[0].effective | (unsigned long)data[1].effective << 32,
        data[0].permitted | (unsigned long)data[1].permitted << 32,
        data[0].inheritable | (unsigned long)data[1].inheritable << 32,
    };
}

static long set(unsigned long effective, unsigned long permitted, unsigned long inheritable)
{
    struct header header = {VERSION_3, 0};
    struct data data[] = {
        {effective, permitted, inheritable},
        {effective >> 32, permitted >> 32, inheritable >> 32},
    };
    return syscall(SYS_capset, &header, data);
}

#define BIT(capability) (1ul << (capability))

static void headers_name_versions_and_threads(void)
{
    struct data data[2];
    struct header header = {1, 0};
    CHECK(syscall(SYS_capget, &header, NULL) == 0 && header.version == VERSION_3);
    header.version = 1;
    CHECK_FAILS(syscall(SYS_capget, &header, data), EINVAL);
    header.version = 1;
    CHECK_FAILS(syscall(SYS_capset, &header, data), EINVAL);
    CHECK(header.version == VERSION_3);
    CHECK(get(getpid(), VERSION_1, data) == 0);
    CHECK_FAILS(get(-1, VERSION_3, data), EINVAL);
    CHECK_FAILS(get(4000000, VERSION_3, data), ESRCH);
    CHECK_FAILS(syscall(SYS_capget, NULL, data), EFAULT);
    header.thread = getppid();
    CHECK_FAILS(syscall(SYS_capset, &header, data), EPERM);
    CHECK(get(getppid(), VERSION_3, data) == 0);
}

static void they_are_given_up(void)
{
    struct sets all = mine();
    CHECK(all.permitted & BIT(CAP_SETUID) && all.effective == all.permitted);
    IN_CHILD({
        CHECK(set(all.permitted & ~BIT(CAP_SETUID), all.permitted, 0) == 0);
        CHECK_FAILS(setuid(ONE), EPERM);
        CHECK(set(all.permitted, all.permitted, BIT(CAP_KILL)) == 0);
        CHECK_EQUAL(mine().inheritable, BIT(CAP_KILL));
        CHECK(set(0, BIT(CAP_KILL), 0) == 0 && mine().effective == 0);
        CHECK_FAILS(set(BIT(CAP_SETUID), BIT(CAP_KILL), 0), EPERM);
        CHECK_FAILS(set(0, BIT(CAP_SETUID), 0), EPERM);
        CHECK_FAILS(set(0, 0, BIT(CAP_SETUID)), EPERM);
        IN_CHILD({ CHECK_EQUAL(mine().permitted, BIT(CAP_KILL)); });
        CHECK_FAILS(setuid(ONE), EPERM);
        CHECK_FAILS(setgid(ONE), EPERM);
    });
    IN_CHILD({
        int file = open("secret", O_CREAT | O_RDWR, 0600);
        CHECK(file >= 0 && close(file) == 0);
        CHECK(chown("secret", ONE, ONE) == 0);
        CHECK(set(BIT(CAP_DAC_READ_SEARCH), BIT(CAP_DAC_READ_SEARCH), 0) == 0);
        file = open("secret", O_RDONLY);
        CHECK(file >= 0 && close(file) == 0);
        CHECK_FAILS(open("secret", O_RDWR), EACCES);
        CHECK_FAILS(chmod("secret", 0666), EPERM);
        CHECK_FAILS(chown("secret", 0, 0), EPERM);
        CHECK(set(0, 0, 0) == 0);
        CHECK_FAILS(open("secret", O_RDONLY), EACCES);
        CHECK(unlink("secret") == 0);
    });
}

static void users_lose_them(void)
{
    struct sets all = mine();
    IN_CHILD({
        CHECK(syscall(SYS_setresuid, -1, ONE, -1) == 0);
        CHECK(mine().effective == 0 && mine().permitted == all.permitted);
        CHECK(syscall(SYS_setresuid, -1, 0, -1) == 0 && mine().effective == all.permitted);
        setfsuid(ONE);
        CHECK((mine().effective & (BIT(CAP_CHOWN) | BIT(CAP_FOWNER))) == 0);
        CHECK(mine().effective & BIT(CAP_SETUID));
        setfsuid(0);
        CHECK(mine().effective == all.permitted);
        CHECK(syscall(SYS_setresuid, ONE, ONE, ONE) == 0);
        CHECK(mine().effective == 0 && mine().permitted == 0);
    });
    IN_CHILD({
        CHECK(prctl(PR_GET_KEEPCAPS) == 0 && prctl(PR_SET_KEEPCAPS, 1) == 0);
        CHECK_FAILS(prctl(PR_SET_KEEPCAPS, 2), EINVAL);
        CHECK(prctl(PR_GET_KEEPCAPS) == 1 && prctl(PR_GET_SECUREBITS) == SECBIT_KEEP_CAPS);
        CHECK(syscall(SYS_setresuid, ONE, ONE, ONE) == 0);
        CHECK(mine().effective == 0 && mine().permitted == all.permitted);
        CHECK(set(BIT(CAP_KILL), BIT(CAP_KILL), 0) == 0);
        CHECK(kill(getppid(), 0) == 0);
        CHECK(set(0, 0, 0) == 0);
        CHECK_FAILS(kill(getppid(), 0), EPERM);
        CHECK_FAILS(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT), EPERM);
    });
    IN_CHILD({
        CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED) == 0);
        CHECK_FAILS(prctl(PR_SET_SECUREBITS, 0), EPERM);
        CHECK_FAILS(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP), EPERM);
        CHECK(syscall(SYS_setresuid, ONE, ONE, ONE) == 0 && mine().effective == all.effective);
    });
}

static void bounds_and_ambient_ones(void)
{
    IN_CHILD({
        CHECK_FAILS(prctl(PR_CAPBSET_READ, 41), EINVAL);
        CHECK_FAILS(prctl(PR_CAPBSET_DROP, 64), EINVAL);
        CHECK(prctl(PR_CAPBSET_READ, CAP_CHOWN) == 1 && prctl(PR_CAPBSET_DROP, CAP_CHOWN) == 0);
        CHECK(prctl(PR_CAPBSET_READ, CAP_CHOWN) == 0 && prctl(PR_CAPBSET_READ, CAP_KILL) == 1);
        CHECK_FAILS(set(BIT(CAP_KILL), BIT(CAP_KILL) | BIT(CAP_CHOWN), BIT(CAP_CHOWN)), EPERM);
        CHECK_FAILS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), EPERM);
        CHECK(set(BIT(CAP_KILL), BIT(CAP_KILL), BIT(CAP_KILL)) == 0);
        CHECK_FAILS(prctl(PR_CAPBSET_DROP, CAP_KILL), EPERM);
        CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0);
        CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0) == 1);
        CHECK_FAILS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0), EPERM);
        CHECK_FAILS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 41, 0, 0), EINVAL);
        CHECK_FAILS(prctl(PR_CAP_AMBIENT, 9, CAP_KILL, 0, 0), EINVAL);
        CHECK_FAILS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0), EINVAL);
        CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0);
        CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0) == 0);
    });
}

static char *const check_inherited[] = {"capabilities", "inherited", NULL};
static char *const check_none[] = {"capabilities", "none", NULL};
static char *const check_bounded[] = {"capabilities", "bounded", NULL};

/* Ends with status 0 if its sets are what the argument says. */
static int expect(const char *what)
{
    struct sets now = mine();
    if (strcmp(what, "none") == 0)
        return now.effective || now.permitted || prctl(PR_GET_KEEPCAPS);
    if (strcmp(what, "bounded") == 0)
        return now.effective != now.permitted || (now.permitted & (BIT(CAP_CHOWN) | BIT(CAP_KILL))) != BIT(CAP_KILL);
    return now.effective != BIT(CAP_KILL) || now.permitted != BIT(CAP_KILL);
}

static void programs_get_what_is_left(void)
{
    IN_CHILD({
        CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && syscall(SYS_setresuid, ONE, ONE, ONE) == 0);
        CHECK(mine().permitted != 0);
        execv("/proc/self/exe", check_none);
        _exit(99);
    });
    IN_CHILD({
        CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && syscall(SYS_setresuid, ONE, ONE, ONE) == 0);
        CHECK(set(BIT(CAP_KILL), BIT(CAP_KILL), BIT(CAP_KILL)) == 0);
        CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0);
        execv("/proc/self/exe", check_inherited);
        _exit(99);
    });
    IN_CHILD({
        CHECK(prctl(PR_CAPBSET_DROP, CAP_CHOWN) == 0 && set(0, 0, 0) == 0);
        execv("/proc/self/exe", check_bounded);
        _exit(99);
    });
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return expect(argv[1]);
    find_cpus();
    go(cpus[count - 1]);
    RUN_AS_ROOT(headers_name_versions_and_threads);
    RUN_AS_ROOT(they_are_given_up);
    RUN_AS_ROOT(users_lose_them);
    RUN_AS_ROOT(bounds_and_ambient_ones);
    RUN_AS_ROOT(programs_get_what_is_left);
    return 0;
}
