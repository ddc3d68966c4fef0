/* Terminals when there is none, and the devices every system has. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>

static void files_and_pipes_are_not_terminals(void)
{
    struct termios settings;
    struct winsize size;
    int ends[2], file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    int null = open("/dev/null", O_RDWR);
    CHECK(pipe(ends) == 0 && file >= 0 && null >= 0);
    int all[] = {file, ends[0], ends[1], null};
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(isatty(all[i]), 0);
        CHECK_EQUAL(errno, ENOTTY);
        CHECK_FAILS(tcgetattr(all[i], &settings), ENOTTY);
        CHECK_FAILS(ioctl(all[i], TIOCGWINSZ, &size), ENOTTY);
        CHECK_FAILS(tcgetpgrp(all[i]), ENOTTY);
        close(all[i]);
    }
    CHECK_EQUAL(isatty(99), 0);
    CHECK_EQUAL(errno, EBADF);
    CHECK(unlink("file") == 0);
}

static void the_null_device(void)
{
    char buffer[64];
    int null = open("/dev/null", O_RDWR);
    CHECK(null >= 0);
    CHECK_EQUAL(read(null, buffer, sizeof buffer), 0);
    CHECK_EQUAL(write(null, buffer, sizeof buffer), sizeof buffer);
    CHECK_EQUAL(write(null, NULL, 0), 0);
    CHECK(lseek(null, 100, SEEK_SET) >= 0);
    CHECK_EQUAL(read(null, buffer, 1), 0);
    struct pollfd one = {.fd = null, .events = POLLIN | POLLOUT};
    CHECK_EQUAL(poll(&one, 1, 0), 1);
    close(null);
    null = open("/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(null >= 0);
    close(null);
}

static void the_zero_device(void)
{
    char buffer[10000];
    int zero = open("/dev/zero", O_RDWR);
    CHECK(zero >= 0);
    memset(buffer, 'x', sizeof buffer);
    CHECK_EQUAL(read(zero, buffer, sizeof buffer), sizeof buffer);
    for (size_t i = 0; i < sizeof buffer; i++)
        CHECK_EQUAL(buffer[i], 0);
    CHECK_EQUAL(write(zero, "x", 1), 1);
    char *area = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    CHECK(area != MAP_FAILED);
    CHECK(area[5000] == 0);
    area[5000] = 1;
    CHECK(munmap(area, 8192) == 0);
    close(zero);
}

static void random_devices(void)
{
    static const char *const names[] = {"/dev/urandom", "/dev/random"};
    for (int n = 0; n < 2; n++) {
        unsigned char first[256], second[256];
        int seen[256] = {0}, kinds = 0, device = open(names[n], O_RDONLY);
        CHECK(device >= 0);
        CHECK_EQUAL(read(device, first, sizeof first), sizeof first);
        CHECK_EQUAL(read(device, second, sizeof second), sizeof second);
        CHECK(memcmp(first, second, sizeof first) != 0);
        for (int i = 0; i < 256; i++)
            kinds += !seen[first[i]]++;
        CHECK(kinds > 64);
        close(device);
    }
}

static void devices_by_their_looks(void)
{
    static const char *const names[] = {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
                                        "/dev/tty"};
    for (int i = 0; i < 5; i++) {
        struct stat status;
        CHECK(stat(names[i], &status) == 0);
        CHECK(S_ISCHR(status.st_mode));
        CHECK_FAILS(open(names[i], O_RDONLY | O_DIRECTORY), ENOTDIR);
    }
}

int main(void)
{
    RUN(files_and_pipes_are_not_terminals);
    RUN(the_null_device);
    RUN(the_zero_device);
    RUN(random_devices);
    RUN(devices_by_their_looks);
    return 0;
}
