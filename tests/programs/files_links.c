/* What a file system may offer beyond the least: hard links, modes, times, statfs. */
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

static void hard_links(void)
{
    struct stat first, second;
    int file = open("one", O_RDWR | O_CREAT | O_EXCL, 0644);
    CHECK(file >= 0 && write(file, "linked", 6) == 6);
    CHECK(link("one", "two") == 0);
    CHECK(stat("one", &first) == 0 && stat("two", &second) == 0);
    CHECK(first.st_ino == second.st_ino && first.st_dev == second.st_dev);
    CHECK_EQUAL(second.st_nlink, 2);
    CHECK(unlink("one") == 0);
    CHECK(stat("two", &second) == 0);
    CHECK_EQUAL(second.st_nlink, 1);
    CHECK_EQUAL(second.st_size, 6);
    CHECK_FAILS(link("none", "three"), ENOENT);
    CHECK(unlink("two") == 0);
    close(file);
}

static void modes(void)
{
    struct stat status;
    int file = open("file", O_RDWR | O_CREAT | O_EXCL, 0644);
    CHECK(file >= 0);
    CHECK(chmod("file", 0751) == 0);
    CHECK(stat("file", &status) == 0);
    CHECK_EQUAL(status.st_mode & 07777, 0751);
    CHECK(fchmod(file, 0600) == 0 && fstat(file, &status) == 0);
    CHECK_EQUAL(status.st_mode & 07777, 0600);
    CHECK(fchmodat(AT_FDCWD, "file", 0711, 0) == 0);
    CHECK(access("file", X_OK) == 0);
    CHECK_FAILS(chmod("none", 0600), ENOENT);
    CHECK(unlink("file") == 0);
    close(file);
}

static void times(void)
{
    struct stat status;
    struct timespec set[2] = {{1000000000, 5}, {1234567890, 7}};
    struct timespec partly[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    int file = open("file", O_RDWR | O_CREAT | O_EXCL, 0644);
    CHECK(file >= 0);
    CHECK(utimensat(AT_FDCWD, "file", set, 0) == 0);
    CHECK(fstat(file, &status) == 0);
    CHECK_EQUAL(status.st_atim.tv_sec, 1000000000);
    CHECK_EQUAL(status.st_mtim.tv_sec, 1234567890);
    CHECK(futimens(file, partly) == 0);
    CHECK(fstat(file, &status) == 0);
    CHECK_EQUAL(status.st_atim.tv_sec, 1000000000);
    CHECK(llabs(status.st_mtim.tv_sec - time(NULL)) <= 2);
    CHECK(unlink("file") == 0);
    close(file);
}

static void file_systems(void)
{
    struct statfs system;
    CHECK(statfs(".", &system) == 0);
    CHECK(system.f_bsize > 0 && system.f_namelen >= 255);
    CHECK_FAILS(statfs("none", &system), ENOENT);
}

/* Reading one that a file does not have fails in one of two ways, neither of which is ENOSYS. */
static void extended_attributes(void)
{
    char value[16];
    int file = open("attributed", O_CREAT | O_RDWR, 0644);
    CHECK(file >= 0);
    CHECK(getxattr("attributed", "user.none", value, sizeof value) == -1);
    CHECK(errno == ENODATA || errno == EOPNOTSUPP);
    CHECK(fgetxattr(file, "user.none", value, sizeof value) == -1);
    CHECK(errno == ENODATA || errno == EOPNOTSUPP);
    CHECK(listxattr("attributed", NULL, 0) >= 0 && flistxattr(file, NULL, 0) >= 0);
    CHECK_FAILS(lgetxattr("nowhere", "user.none", value, sizeof value), ENOENT);
    CHECK_FAILS(llistxattr("nowhere", NULL, 0), ENOENT);
    CHECK_FAILS(fgetxattr(9999, "user.none", value, sizeof value), EBADF);
    CHECK(close(file) == 0 && unlink("attributed") == 0);
}

int main(void)
{
    RUN(hard_links);
    RUN(modes);
    RUN(times);
    RUN(file_systems);
    RUN(extended_attributes);
    return 0;
}
