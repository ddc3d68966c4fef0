/* Bytes that go by way of pipes: splice, tee, vmsplice. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void close_both(int ends[2])
{
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static int scratch(const char *text)
{
    int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(lseek(file, 0, SEEK_SET) == 0 && unlink("file") == 0);
    return file;
}

static void reads(int file, const char *text)
{
    char bytes[64] = "";
    CHECK_EQUAL(read(file, bytes, sizeof bytes), strlen(text));
    CHECK(memcmp(bytes, text, strlen(text)) == 0);
}

static void files_go_into_pipes_and_back(void)
{
    int ends[2], file = scratch("0123456789"), other = scratch("");
    CHECK(pipe(ends) == 0);
    CHECK_EQUAL(splice(file, NULL, ends[1], NULL, 4, 0), 4);
    CHECK_EQUAL(lseek(file, 0, SEEK_CUR), 4);
    loff_t at = 7;
    CHECK_EQUAL(splice(file, &at, ends[1], NULL, 100, SPLICE_F_MOVE | SPLICE_F_MORE), 3);
    CHECK_EQUAL(at, 10);
    CHECK_EQUAL(lseek(file, 0, SEEK_CUR), 4);
    CHECK_EQUAL(splice(file, &at, ends[1], NULL, 100, 0), 0);
    CHECK_EQUAL(splice(ends[0], NULL, other, NULL, 3, 0), 3);
    CHECK_EQUAL(lseek(other, 0, SEEK_CUR), 3);
    at = 20;
    CHECK_EQUAL(splice(ends[0], NULL, other, &at, 100, 0), 4);
    CHECK_EQUAL(at, 24);
    CHECK_EQUAL(lseek(other, 0, SEEK_CUR), 3);
    struct stat stat;
    CHECK(fstat(other, &stat) == 0 && stat.st_size == 24);
    char bytes[24], wanted[24] = "012";
    memcpy(wanted + 20, "3789", 4);
    CHECK(pread(other, bytes, 24, 0) == 24 && memcmp(bytes, wanted, 24) == 0);
    CHECK_FAILS(splice(ends[0], NULL, other, NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK(close(ends[1]) == 0);
    CHECK_EQUAL(splice(ends[0], NULL, other, NULL, 1, 0), 0);
    CHECK(close(ends[0]) == 0 && close(file) == 0 && close(other) == 0);
}

static void pipes_go_into_pipes(void)
{
    int one[2], two[2];
    CHECK(pipe(one) == 0 && pipe(two) == 0);
    CHECK_EQUAL(write(one[1], "hello world", 11), 11);
    CHECK_EQUAL(tee(one[0], two[1], 5, 0), 5);
    CHECK_EQUAL(splice(one[0], NULL, two[1], NULL, 6, 0), 6);
    reads(two[0], "hellohello ");
    reads(one[0], "world");
    CHECK_FAILS(tee(one[0], two[1], 5, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK(fcntl(one[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK_FAILS(tee(one[0], two[1], 5, 0), EAGAIN);
    CHECK_FAILS(splice(one[0], NULL, two[1], NULL, 5, 0), EAGAIN);
    CHECK(close(one[1]) == 0);
    CHECK_EQUAL(tee(one[0], two[1], 5, 0), 0);
    CHECK_EQUAL(splice(one[0], NULL, two[1], NULL, 5, 0), 0);
    CHECK(close(one[0]) == 0);
    close_both(two);
}

static volatile sig_atomic_t broken;

static void count_broken(int number)
{
    (void)number;
    broken++;
}

static void nobody_reads(void)
{
    int ends[2], others[2], file = scratch("text");
    CHECK(signal(SIGPIPE, count_broken) != SIG_ERR);
    CHECK(pipe(ends) == 0 && pipe(others) == 0 && close(ends[0]) == 0);
    CHECK_FAILS(splice(file, NULL, ends[1], NULL, 4, 0), EPIPE);
    CHECK_EQUAL(broken, 1);
    CHECK_EQUAL(write(others[1], "x", 1), 1);
    CHECK_FAILS(tee(others[0], ends[1], 4, 0), EPIPE);
    CHECK_EQUAL(broken, 2);
    struct iovec piece = {"abc", 3};
    CHECK_FAILS(vmsplice(ends[1], &piece, 1, 0), EPIPE);
    CHECK_EQUAL(broken, 3);
    reads(others[0], "x");
    CHECK(close(ends[1]) == 0 && close(file) == 0);
    close_both(others);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
}

static void sockets_and_devices(void)
{
    int ends[2], pair[2], null = open("/dev/null", O_WRONLY);
    CHECK(pipe(ends) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && null >= 0);
    CHECK_EQUAL(write(ends[1], "to a socket", 11), 11);
    CHECK_EQUAL(splice(ends[0], NULL, pair[0], NULL, 100, 0), 11);
    CHECK_EQUAL(splice(pair[1], NULL, ends[1], NULL, 4, 0), 4);
    reads(ends[0], "to a");
    reads(pair[1], " socket");
    CHECK_EQUAL(write(ends[1], "nowhere", 7), 7);
    CHECK_EQUAL(splice(ends[0], NULL, null, NULL, 100, 0), 7);
    close_both(ends);
    close_both(pair);
    CHECK(close(null) == 0);
}

static void memory_goes_into_pipes(void)
{
    int ends[2];
    char one[4] = "abc", two[8] = "defg", back[8] = "";
    struct iovec pieces[2] = {{one, 3}, {two, 4}};
    CHECK(pipe(ends) == 0);
    CHECK_EQUAL(vmsplice(ends[1], pieces, 2, SPLICE_F_GIFT), 7);
    pieces[0] = (struct iovec){back, 2};
    pieces[1] = (struct iovec){back + 2, 5};
    CHECK_EQUAL(vmsplice(ends[0], pieces, 2, 0), 7);
    CHECK(memcmp(back, "abcdefg", 7) == 0);
    CHECK_FAILS(vmsplice(ends[0], pieces, 2, SPLICE_F_NONBLOCK), EAGAIN);
    /* As much as there is room for. */
    static char large[300000];
    struct iovec much = {large, sizeof large};
    ssize_t taken = vmsplice(ends[1], &much, 1, 0);
    CHECK(taken >= 60000 && taken <= 65536);
    CHECK_FAILS(vmsplice(ends[1], &much, 1, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_EQUAL(vmsplice(ends[1], &much, 0, 0), 0);
    close_both(ends);
}

static int waiting[2];

static void *writes_late(void *unused)
{
    pause_ms(20);
    CHECK_EQUAL(write(waiting[1], "late", 4), 4);
    pause_ms(20);
    CHECK(close(waiting[1]) == 0);
    return unused;
}

static void who_splices_waits(void)
{
    pthread_t thread;
    int file = scratch("");
    CHECK(pipe(waiting) == 0 && pthread_create(&thread, NULL, writes_late, NULL) == 0);
    CHECK_EQUAL(splice(waiting[0], NULL, file, NULL, 100, 0), 4);
    CHECK_EQUAL(splice(waiting[0], NULL, file, NULL, 100, 0), 0);
    CHECK(pthread_join(thread, NULL) == 0 && close(waiting[0]) == 0 && close(file) == 0);
}

static void much_is_moved_whole(void)
{
    int ends[2], file = scratch(""), other = scratch("");
    static char bytes[500000], back[sizeof bytes];
    for (size_t n = 0; n < sizeof bytes; n++)
        bytes[n] = (char)(n * 11 % 253);
    CHECK_EQUAL(pwrite(file, bytes, sizeof bytes, 0), sizeof bytes);
    CHECK(pipe(ends) == 0);
    size_t total = 0;
    for (;;) {
        ssize_t in = splice(file, NULL, ends[1], NULL, sizeof bytes, 0);
        CHECK(in >= 0 && in <= 65536);
        if (in == 0)
            break;
        while (in > 0) {
            ssize_t out = splice(ends[0], NULL, other, NULL, (size_t)in, 0);
            CHECK(out > 0);
            in -= out;
            total += (size_t)out;
        }
    }
    CHECK_EQUAL(total, sizeof bytes);
    CHECK_EQUAL(pread(other, back, sizeof back, 0), sizeof back);
    CHECK(memcmp(bytes, back, sizeof bytes) == 0);
    close_both(ends);
    CHECK(close(file) == 0 && close(other) == 0);
}

static void bad_arguments(void)
{
    int ends[2], other[2], file = scratch("text"), directory = open(".", O_RDONLY | O_DIRECTORY);
    int appending = open("appended", O_WRONLY | O_CREAT | O_APPEND, 0600);
    loff_t at = 0, before = -1;
    CHECK(pipe(ends) == 0 && pipe(other) == 0 && directory >= 0 && appending >= 0);
    CHECK_FAILS(splice(file, NULL, file, NULL, 1, 0), EINVAL);
    CHECK_FAILS(splice(ends[0], NULL, ends[1], NULL, 1, 0), EINVAL);
    CHECK_FAILS(splice(ends[1], NULL, file, NULL, 1, 0), EBADF);
    CHECK_FAILS(splice(file, NULL, ends[0], NULL, 1, 0), EBADF);
    CHECK_FAILS(splice(9999, NULL, ends[1], NULL, 1, 0), EBADF);
    CHECK_FAILS(splice(ends[0], &at, file, NULL, 1, 0), ESPIPE);
    CHECK_FAILS(splice(file, NULL, ends[1], &at, 1, 0), ESPIPE);
    CHECK_FAILS(splice(file, &before, ends[1], NULL, 1, 0), EINVAL);
    CHECK_FAILS(splice(file, BAD, ends[1], NULL, 1, 0), EFAULT);
    CHECK_FAILS(splice(file, NULL, ends[1], NULL, 1, 0x100), EINVAL);
    CHECK_FAILS(splice(directory, NULL, ends[1], NULL, 1, 0), EINVAL);
    CHECK_EQUAL(write(ends[1], "x", 1), 1);
    CHECK_FAILS(splice(ends[0], NULL, appending, NULL, 1, 0), EINVAL);
    CHECK_EQUAL(splice(file, NULL, ends[1], NULL, 0, 0), 0);
    CHECK_FAILS(tee(ends[0], file, 1, 0), EINVAL);
    CHECK_FAILS(tee(ends[0], ends[1], 1, 0), EINVAL);
    CHECK_FAILS(tee(ends[0], other[1], 1, 0x100), EINVAL);
    CHECK_EQUAL(tee(ends[0], other[1], 0, 0), 0);
    struct iovec piece = {"abc", 3};
    CHECK_FAILS(vmsplice(file, &piece, 1, 0), EBADF);
    CHECK_FAILS(vmsplice(ends[1], &piece, 1, 0x100), EINVAL);
    CHECK_FAILS(vmsplice(ends[1], BAD, 1, 0), EFAULT);
    reads(ends[0], "x");
    close_both(ends);
    close_both(other);
    CHECK(close(file) == 0 && close(directory) == 0 && close(appending) == 0);
    CHECK(unlink("appended") == 0);
}

int main(void)
{
    RUN(files_go_into_pipes_and_back);
    RUN(pipes_go_into_pipes);
    RUN(nobody_reads);
    RUN(sockets_and_devices);
    RUN(memory_goes_into_pipes);
    RUN(who_splices_waits);
    RUN(much_is_moved_whole);
    RUN(bad_arguments);
    return 0;
}
