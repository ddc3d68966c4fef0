/* Bad arguments: every system call here gets a pointer, a descriptor or a number that is wrong and
 * must answer with the right error, by number so that no C library looks first. Nothing may crash,
 * and the process goes on afterwards. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CALL(number, ...) syscall(SYS_##number, __VA_ARGS__)

/* Never mapped; the kernel's half; the last byte; an address that no table can hold. */
static void *bad[5];
enum { BADS = 5 };

static void pointers(void)
{
    struct timespec now = {0, 0};
    int ends[2], file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0 && write(file, "contents", 8) == 8);
    CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    for (int i = 0; i < BADS; i++) {
        CHECK_FAILS(CALL(read, ends[0], bad[i], 10), EFAULT);
        CHECK_FAILS(CALL(write, ends[1], bad[i], 10), EFAULT);
        CHECK_FAILS(CALL(pread64, file, bad[i], 4, 0), EFAULT);
        CHECK_FAILS(CALL(pwrite64, file, bad[i], 4, 0), EFAULT);
        CHECK_FAILS(CALL(readv, file, bad[i], 1), EFAULT);
        CHECK_FAILS(CALL(writev, file, bad[i], 1), EFAULT);
        CHECK_FAILS(CALL(openat, AT_FDCWD, bad[i], O_RDONLY), EFAULT);
        CHECK_FAILS(CALL(fstat, file, bad[i]), EFAULT);
        CHECK_FAILS(CALL(newfstatat, AT_FDCWD, ".", bad[i], 0), EFAULT);
        CHECK_FAILS(CALL(newfstatat, AT_FDCWD, bad[i], &now, 0), EFAULT);
        CHECK_FAILS(CALL(statx, AT_FDCWD, ".", 0, 0x7ff, bad[i]), EFAULT);
        CHECK_FAILS(CALL(getcwd, bad[i], 4096), EFAULT);
        CHECK_FAILS(CALL(chdir, bad[i]), EFAULT);
        CHECK_FAILS(CALL(mkdirat, AT_FDCWD, bad[i], 0755), EFAULT);
        CHECK_FAILS(CALL(unlinkat, AT_FDCWD, bad[i], 0), EFAULT);
        CHECK_FAILS(CALL(readlinkat, AT_FDCWD, bad[i], &now, 10), EFAULT);
        CHECK_FAILS(CALL(readlinkat, AT_FDCWD, "/proc/self", bad[i], 10), EFAULT);
        CHECK_FAILS(CALL(pipe2, bad[i], 0), EFAULT);
        CHECK_FAILS(CALL(clock_gettime, CLOCK_MONOTONIC, bad[i]), EFAULT);
        CHECK_FAILS(CALL(gettimeofday, bad[i], NULL), EFAULT);
        CHECK_FAILS(CALL(nanosleep, bad[i], NULL), EFAULT);
        CHECK_FAILS(CALL(clock_nanosleep, CLOCK_MONOTONIC, 0, bad[i], NULL), EFAULT);
        CHECK_FAILS(CALL(uname, bad[i]), EFAULT);
        CHECK_FAILS(CALL(sysinfo, bad[i]), EFAULT);
        CHECK_FAILS(CALL(getrandom, bad[i], 16, 0), EFAULT);
        CHECK_FAILS(CALL(prlimit64, 0, RLIMIT_STACK, NULL, bad[i]), EFAULT);
        CHECK_FAILS(CALL(prlimit64, 0, RLIMIT_STACK, bad[i], NULL), EFAULT);
        CHECK_FAILS(CALL(rt_sigaction, SIGUSR1, bad[i], NULL, 8), EFAULT);
        CHECK_FAILS(CALL(rt_sigaction, SIGUSR1, NULL, bad[i], 8), EFAULT);
        CHECK_FAILS(CALL(rt_sigprocmask, SIG_BLOCK, bad[i], NULL, 8), EFAULT);
        CHECK_FAILS(CALL(rt_sigprocmask, SIG_BLOCK, NULL, bad[i], 8), EFAULT);
        CHECK_FAILS(CALL(rt_sigpending, bad[i], 8), EFAULT);
        CHECK_FAILS(CALL(rt_sigsuspend, bad[i], 8), EFAULT);
        CHECK_FAILS(CALL(rt_sigtimedwait, bad[i], NULL, NULL, 8), EFAULT);
        CHECK_FAILS(CALL(sigaltstack, bad[i], NULL), EFAULT);
        CHECK_FAILS(CALL(futex, bad[i], 0, 0, NULL, NULL, 0),
                    (uintptr_t)bad[i] % 4 ? EINVAL : EFAULT);
        CHECK_FAILS(CALL(sched_getaffinity, 0, 128, bad[i]), EFAULT);
        CHECK_FAILS(CALL(ppoll, bad[i], 1, &now, NULL, 8), EFAULT);
        CHECK_FAILS(CALL(execve, bad[i], NULL, NULL), EFAULT);
        CHECK_FAILS(CALL(sendfile, ends[1], file, bad[i], 1), EFAULT);
        CHECK_FAILS(CALL(wait4, -1, bad[i], WNOHANG, NULL), ECHILD);
    }
    close(file);
    close(ends[0]);
    close(ends[1]);
    CHECK(unlink("file") == 0);
}

/* A buffer of which only the beginning is mapped. */
static void half_a_buffer(void)
{
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int ends[2];
    CHECK(pages != MAP_FAILED && munmap(pages + 4096, 4096) == 0);
    CHECK(pipe(ends) == 0);
    memset(pages, 'h', 4096);
    /* A name that runs into the hole. */
    CHECK_FAILS(CALL(openat, AT_FDCWD, pages + 4000, O_RDONLY), EFAULT);
    strcpy(pages + 4090, ".");
    int file = open(pages + 4090, O_RDONLY);
    CHECK(file >= 0);
    /* A structure across the edge. */
    CHECK_FAILS(CALL(fstat, file, pages + 4090), EFAULT);
    CHECK_FAILS(CALL(clock_gettime, CLOCK_MONOTONIC, pages + 4088), EFAULT);
    close(file);
    file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0);
    /* What is there is written, then the count or the error. */
    ssize_t n = write(file, pages + 3996, 200);
    CHECK(n == 100 || (n < 0 && errno == EFAULT));
    close(file);
    close(ends[0]);
    close(ends[1]);
    CHECK(munmap(pages, 4096) == 0);
    CHECK(unlink("file") == 0);
}

static void descriptors(void)
{
    static const int wrong[] = {-1, 900, 0x7fffffff, -0x7fffffff - 1};
    struct stat status;
    struct iovec vector = {&status, 1};
    for (int i = 0; i < 4; i++) {
        int fd = wrong[i];
        CHECK_FAILS(CALL(read, fd, &status, 1), EBADF);
        CHECK_FAILS(CALL(write, fd, &status, 1), EBADF);
        CHECK_FAILS(CALL(pread64, fd, &status, 1, 0), EBADF);
        CHECK_FAILS(CALL(pwrite64, fd, &status, 1, 0), EBADF);
        CHECK_FAILS(CALL(readv, fd, &vector, 1), EBADF);
        CHECK_FAILS(CALL(writev, fd, &vector, 1), EBADF);
        CHECK_FAILS(CALL(lseek, fd, 0, SEEK_SET), EBADF);
        CHECK_FAILS(CALL(fstat, fd, &status), EBADF);
        CHECK_FAILS(CALL(close, fd), EBADF);
        CHECK_FAILS(CALL(dup, fd), EBADF);
        CHECK_FAILS(CALL(fcntl, fd, F_GETFL), EBADF);
        CHECK_FAILS(CALL(ioctl, fd, 0x5401, &status), EBADF);
        CHECK_FAILS(CALL(getdents64, fd, &status, sizeof status), EBADF);
        CHECK_FAILS(CALL(ftruncate, fd, 0), EBADF);
        CHECK_FAILS(CALL(sendfile, fd, 1, NULL, 1), EBADF);
        CHECK_FAILS(CALL(fchdir, fd), EBADF);
        CHECK_FAILS(CALL(mmap, NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0), EBADF);
        CHECK_FAILS(CALL(openat, fd == -1 ? -2 : fd, "x", O_RDONLY), EBADF);
    }
}

static void numbers(void)
{
    sigset_t set;
    struct timespec soon = {0, 0};
    sigemptyset(&set);
    CHECK_FAILS(CALL(rt_sigprocmask, SIG_BLOCK, &set, NULL, 4), EINVAL);
    CHECK_FAILS(CALL(rt_sigprocmask, 7, &set, NULL, 8), EINVAL);
    CHECK_FAILS(CALL(rt_sigaction, SIGUSR1, NULL, NULL, 16), EINVAL);
    CHECK_FAILS(CALL(rt_sigsuspend, &set, 9), EINVAL);
    CHECK_FAILS(CALL(rt_sigtimedwait, &set, NULL, &soon, 1), EINVAL);
    CHECK_FAILS(CALL(kill, getpid(), 65), EINVAL);
    CHECK_FAILS(CALL(kill, 0x3fffffff, SIGTERM), ESRCH);
    CHECK_FAILS(CALL(wait4, -1, NULL, 0xff00, NULL), EINVAL);
    CHECK_FAILS(CALL(lseek, 1, 0, 1000), EINVAL);
    CHECK_FAILS(CALL(mmap, NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
    CHECK_FAILS(CALL(munmap, 4097, 4096), EINVAL);
    CHECK_FAILS(CALL(mprotect, 4097, 4096, PROT_READ), EINVAL);
    CHECK_FAILS(CALL(madvise, 4097, 4096, MADV_DONTNEED), EINVAL);
    CHECK_FAILS(CALL(clock_gettime, 1000, &soon), EINVAL);
    CHECK_FAILS(CALL(prlimit64, 0, 1000, NULL, NULL), EINVAL);
    CHECK_FAILS(CALL(getpgid, 0x3fffffff), ESRCH);
    CHECK_FAILS(CALL(setpgid, -1, 0), EINVAL);
    CHECK_FAILS(CALL(prctl, 12345, 0, 0, 0, 0), EINVAL);
    CHECK_FAILS(CALL(set_robust_list, NULL, 3), EINVAL);
    CHECK_FAILS(CALL(ppoll, NULL, 5000000, &soon, NULL, 8), EINVAL);
    CHECK_FAILS(CALL(sched_getaffinity, 0, 7, &set), EINVAL);
    CHECK_FAILS(CALL(clone, CLONE_THREAD, NULL, NULL, NULL, NULL), EINVAL);
    CHECK_FAILS(CALL(clone, CLONE_SIGHAND, NULL, NULL, NULL, NULL), EINVAL);
    struct iovec vector[2] = {{&set, (size_t)-1}, {&set, 1}};
    CHECK_FAILS(CALL(writev, 1, vector, 2), EINVAL);
    CHECK_FAILS(CALL(readv, 0, vector, 1025), EINVAL);
}

static void unknown_system_calls(void)
{
    static const long numbers[] = {1000, 5000, 0x7fffffff, -1, -100, 0x40000000};
    for (int i = 0; i < 6; i++)
        CHECK_FAILS(syscall(numbers[i], 0, 0, 0, 0, 0, 0), ENOSYS);
}

/* A count of more than what may be moved at once; the pointer is checked first. */
static void huge_counts(void)
{
    int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
    char buffer[16];
    CHECK(zero >= 0 && null >= 0);
    CHECK_FAILS(CALL(read, zero, buffer, (size_t)-1), EFAULT);
    CHECK_FAILS(CALL(write, null, buffer, (size_t)1 << 63), EFAULT);
    close(zero);
    close(null);
}

int main(void)
{
    bad[0] = BAD;
    bad[1] = (void *)0xffffffff80000000;
    bad[2] = (void *)-1;
    bad[3] = (void *)0x7fffffffffffff00;
    bad[4] = (void *)0xffff000000001000;
    RUN(pointers);
    RUN(half_a_buffer);
    RUN(descriptors);
    RUN(numbers);
    RUN(unknown_system_calls);
    RUN(huge_counts);
    return 0;
}
