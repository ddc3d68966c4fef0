/* Descriptors: the lowest free one, duplicates and what they share, close-on-exec, fcntl, stat. */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

static int temporary(void)
{
    int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0);
    return file;
}

static void the_lowest_is_given(void)
{
    int a = temporary(), b = temporary(), c = temporary();
    CHECK_EQUAL(b, a + 1);
    CHECK_EQUAL(c, a + 2);
    close(a);
    CHECK_EQUAL(temporary(), a);
    close(b);
    CHECK_EQUAL(dup(c), b);
    CHECK_EQUAL(fcntl(c, F_DUPFD, 30), 30);
    CHECK_EQUAL(fcntl(c, F_DUPFD, 30), 31);
    CHECK_EQUAL(fcntl(c, F_DUPFD_CLOEXEC, 30), 32);
    CHECK_EQUAL(fcntl(32, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(fcntl(31, F_GETFD), 0);
    for (int fd = 30; fd <= 32; fd++)
        CHECK(close(fd) == 0);
    CHECK(close(a) == 0 && close(b) == 0 && close(c) == 0);
    CHECK_FAILS(close(c), EBADF);
    CHECK_FAILS(dup(c), EBADF);
    CHECK_FAILS(close(-1), EBADF);
}

static void duplicates_share_the_offset(void)
{
    int file = temporary(), copy = dup(file), own = open("file", O_RDWR);
    CHECK(copy >= 0 && own >= 0);
    CHECK_EQUAL(write(file, "abc", 3), 3);
    CHECK_EQUAL(lseek(copy, 0, SEEK_CUR), 3);
    CHECK_EQUAL(write(copy, "def", 3), 3);
    CHECK_EQUAL(lseek(file, 0, SEEK_CUR), 6);
    CHECK_EQUAL(lseek(own, 0, SEEK_CUR), 0);
    /* Status flags are of the open file, descriptor flags of the descriptor. */
    CHECK(fcntl(file, F_SETFL, O_APPEND | O_NONBLOCK) == 0);
    CHECK_EQUAL(fcntl(copy, F_GETFL) & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);
    CHECK_EQUAL(fcntl(own, F_GETFL) & (O_APPEND | O_NONBLOCK), 0);
    CHECK_EQUAL(fcntl(copy, F_GETFL) & O_ACCMODE, O_RDWR);
    CHECK(fcntl(file, F_SETFD, FD_CLOEXEC) == 0);
    CHECK_EQUAL(fcntl(copy, F_GETFD), 0);
    close(file);
    CHECK_EQUAL(write(copy, "ghi", 3), 3);
    close(copy);
    close(own);
}

static void dup2_and_dup3(void)
{
    int file = temporary(), ends[2];
    char byte;
    CHECK(pipe(ends) == 0);
    /* The target is closed first: its reader sees the end. */
    CHECK_EQUAL(dup2(file, ends[1]), ends[1]);
    CHECK_EQUAL(read(ends[0], &byte, 1), 0);
    CHECK_EQUAL(dup2(file, file), file);
    CHECK_FAILS(dup3(file, file, 0), EINVAL);
    CHECK_FAILS(dup2(99, 98), EBADF);
    CHECK_FAILS(dup2(file, -1), EBADF);
    CHECK_FAILS(dup2(file, 1 << 30), EBADF);
    CHECK_EQUAL(dup3(file, 50, O_CLOEXEC), 50);
    CHECK_EQUAL(fcntl(50, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(dup2(file, 50), 50);
    CHECK_EQUAL(fcntl(50, F_GETFD), 0);
    /* By number: musl looks at the flags it knows only. */
    CHECK_FAILS(syscall(SYS_dup3, file, 51, 0x1234), EINVAL);
    close(50);
    close(file);
    close(ends[0]);
    close(ends[1]);
}

static void stat_tells(void)
{
    struct stat status, again;
    int file = temporary();
    CHECK_EQUAL(write(file, "12345", 5), 5);
    CHECK(fstat(file, &status) == 0);
    CHECK(S_ISREG(status.st_mode));
    CHECK_EQUAL(status.st_mode & 07777, 0644);
    CHECK_EQUAL(status.st_size, 5);
    CHECK_EQUAL(status.st_nlink, 1);
    CHECK_EQUAL(status.st_uid, getuid());
    CHECK(status.st_blksize > 0 && status.st_ino != 0);
    CHECK(llabs(status.st_mtim.tv_sec - time(NULL)) <= 2);
    CHECK(stat("file", &again) == 0);
    CHECK(again.st_ino == status.st_ino && again.st_dev == status.st_dev);
    pause_ms(20);
    CHECK_EQUAL(write(file, "6", 1), 1);
    CHECK(fstat(file, &again) == 0);
    CHECK(again.st_mtim.tv_sec > status.st_mtim.tv_sec ||
          again.st_mtim.tv_nsec > status.st_mtim.tv_nsec);
    CHECK(stat(".", &status) == 0 && S_ISDIR(status.st_mode) && status.st_nlink >= 1);
    CHECK(stat("/dev/null", &status) == 0 && S_ISCHR(status.st_mode));
    CHECK(major(status.st_rdev) == 1 && minor(status.st_rdev) == 3);
    CHECK_FAILS(stat("none", &status), ENOENT);
    CHECK_FAILS(fstat(99, &status), EBADF);
    close(file);
}

/* By number and with its own structure: musl has neither before 1.2.5. */
struct statx_reply {
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t links, user, group;
    uint16_t mode, unused;
    uint64_t inode, size, blocks, attributes_mask;
    struct {
        int64_t seconds;
        uint32_t nanoseconds, unused;
    } access, birth, change, modification;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t spare[14];
};

enum { BASIC = 0x7ff, SIZE = 0x200, EMPTY_PATH = 0x1000 };

static long get(int directory, const char *path, int flags, unsigned mask,
                struct statx_reply *reply)
{
    return syscall(SYS_statx, directory, path, flags, mask, reply);
}

static void statx_tells(void)
{
    struct statx_reply status;
    int file = temporary();
    CHECK_EQUAL(write(file, "1234567", 7), 7);
    CHECK(get(AT_FDCWD, "file", 0, BASIC, &status) == 0);
    CHECK_EQUAL(status.mask & BASIC, BASIC);
    CHECK_EQUAL(status.size, 7);
    CHECK(S_ISREG(status.mode));
    CHECK_EQUAL(status.links, 1);
    struct stat same;
    CHECK(fstat(file, &same) == 0);
    CHECK_EQUAL(status.inode, same.st_ino);
    CHECK_EQUAL(makedev(status.dev_major, status.dev_minor), same.st_dev);
    CHECK(get(file, "", EMPTY_PATH, SIZE, &status) == 0);
    CHECK_EQUAL(status.size, 7);
    CHECK_FAILS(get(AT_FDCWD, "none", 0, SIZE, &status), ENOENT);
    CHECK_FAILS(get(AT_FDCWD, "", 0, SIZE, &status), ENOENT);
    CHECK_FAILS(get(AT_FDCWD, "file", 0x40000000, SIZE, &status), EINVAL);
    close(file);
}

static void fcntl_errors(void)
{
    CHECK_FAILS(fcntl(99, F_GETFD), EBADF);
    CHECK_FAILS(fcntl(1, 9999), EINVAL);
    CHECK_FAILS(fcntl(1, F_DUPFD, -1), EINVAL);
}

/* A descriptor opened in one thread is every thread's. */
static void *open_in_thread(void *unused)
{
    (void)unused;
    return (void *)(intptr_t)temporary();
}

static void threads_share_descriptors(void)
{
    pthread_t thread;
    void *file;
    CHECK(pthread_create(&thread, NULL, open_in_thread, NULL) == 0);
    CHECK(pthread_join(thread, &file) == 0);
    CHECK_EQUAL(write((int)(intptr_t)file, "t", 1), 1);
    CHECK(close((int)(intptr_t)file) == 0);
}

static void all_of_them(void)
{
    int first = temporary(), last = first, count = 1;
    for (int fd; (fd = dup(first)) >= 0; count++) {
        CHECK_EQUAL(fd, last + 1);
        last = fd;
    }
    CHECK_EQUAL(errno, EMFILE);
    CHECK_FAILS(open("file", O_RDONLY), EMFILE);
    int ends[2];
    CHECK_FAILS(pipe(ends), EMFILE);
    CHECK(close(first + 5) == 0);
    CHECK_FAILS(pipe(ends), EMFILE);
    /* The failed pipe gave back the one it had taken. */
    CHECK_EQUAL(dup(first), first + 5);
    for (int fd = first; fd <= last; fd++)
        CHECK(close(fd) == 0);
    CHECK_EQUAL(count, sysconf(_SC_OPEN_MAX) - first);
}

int main(void)
{
    RUN(the_lowest_is_given);
    RUN(duplicates_share_the_offset);
    RUN(dup2_and_dup3);
    RUN(stat_tells);
    RUN(statx_tells);
    RUN(fcntl_errors);
    RUN(threads_share_descriptors);
    RUN(all_of_them);
    CHECK(unlink("file") == 0);
    return 0;
}
