/* Pipes from one process: capacity, non-blocking ends, vectors, and poll's answers. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

static int ends[2];

static void open_pipe(int flags)
{
    CHECK(pipe2(ends, flags) == 0);
}

static void close_pipe(void)
{
    close(ends[0]);
    close(ends[1]);
}

static short events(int fd, short asked, int timeout)
{
    struct pollfd one = {.fd = fd, .events = asked, .revents = 0x7fff};
    int n = poll(&one, 1, timeout);
    CHECK(n >= 0);
    CHECK_EQUAL(n, one.revents != 0);
    return one.revents;
}

static void capacity(void)
{
    char page[4096] = {0};
    int written = 0;
    open_pipe(O_NONBLOCK);
    CHECK_FAILS(read(ends[0], page, 1), EAGAIN);
    for (ssize_t n; (n = write(ends[1], page, sizeof page)) > 0;)
        written += (int)n;
    CHECK_EQUAL(errno, EAGAIN);
    CHECK_EQUAL(written, 65536);
    CHECK_EQUAL(events(ends[1], POLLOUT, 0), 0);
    int waiting = 0;
    CHECK(ioctl(ends[0], FIONREAD, &waiting) == 0);
    CHECK_EQUAL(waiting, 65536);
    CHECK_EQUAL(read(ends[0], page, sizeof page), sizeof page);
    CHECK_EQUAL(events(ends[1], POLLOUT, 0), POLLOUT);
    CHECK_EQUAL(write(ends[1], page, sizeof page), sizeof page);
    close_pipe();
    say("capacity %d", written);
}

static void poll_answers(void)
{
    open_pipe(0);
    CHECK_EQUAL(events(ends[0], POLLIN, 0), 0);
    CHECK_EQUAL(events(ends[1], POLLOUT, 0), POLLOUT);
    CHECK_EQUAL(write(ends[1], "x", 1), 1);
    CHECK_EQUAL(events(ends[0], POLLIN | POLLRDNORM, -1), POLLIN | POLLRDNORM);
    close(ends[1]);
    CHECK_EQUAL(events(ends[0], POLLIN, 0), POLLIN | POLLHUP);
    char byte;
    CHECK_EQUAL(read(ends[0], &byte, 1), 1);
    CHECK_EQUAL(events(ends[0], POLLIN, 0), POLLHUP);
    CHECK_EQUAL(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    CHECK_EQUAL(events(ends[0], POLLIN, 0), POLLNVAL);
    open_pipe(0);
    close(ends[0]);
    CHECK_EQUAL(events(ends[1], POLLOUT, 0), POLLOUT | POLLERR);
    close(ends[1]);
}

static void poll_of_several(void)
{
    int null = open("/dev/null", O_RDWR);
    CHECK(null >= 0);
    open_pipe(0);
    struct pollfd all[] = {{.fd = -7, .events = POLLIN, .revents = 99},
                           {.fd = ends[0], .events = POLLIN},
                           {.fd = null, .events = POLLIN | POLLOUT},
                           {.fd = ends[1], .events = POLLIN}};
    CHECK_EQUAL(poll(all, 4, 30000), 1);
    CHECK_EQUAL(all[0].revents, 0);
    CHECK_EQUAL(all[1].revents, 0);
    CHECK_EQUAL(all[2].revents, POLLIN | POLLOUT);
    CHECK_EQUAL(write(ends[1], "x", 1), 1);
    CHECK_EQUAL(poll(all, 2, -1), 1);
    CHECK_EQUAL(all[1].revents, POLLIN);
    CHECK_FAILS(poll(BAD, 1, 0), EFAULT);
    close(null);
    close_pipe();
}

static void poll_times_out(void)
{
    open_pipe(0);
    long long start = now_ms();
    CHECK_EQUAL(events(ends[0], POLLIN, 30), 0);
    CHECK(now_ms() - start >= 29);
    start = now_ms();
    CHECK_EQUAL(poll(NULL, 0, 15), 0);
    CHECK(now_ms() - start >= 14);
    struct timespec limit = {0, 10000000};
    start = now_ms();
    CHECK_EQUAL(ppoll(NULL, 0, &limit, NULL), 0);
    CHECK(now_ms() - start >= 9);
    close_pipe();
}

static void *write_later(void *unused)
{
    pause_ms(15);
    CHECK_EQUAL(write(ends[1], "later", 5), 5);
    return unused;
}

static void poll_is_woken(void)
{
    pthread_t thread;
    char text[8];
    open_pipe(0);
    CHECK(pthread_create(&thread, NULL, write_later, NULL) == 0);
    CHECK_EQUAL(events(ends[0], POLLIN, 10000), POLLIN);
    CHECK_EQUAL(read(ends[0], text, sizeof text), 5);
    CHECK(pthread_join(thread, NULL) == 0);
    close_pipe();
}

static void vectors(void)
{
    char a[3], b[1], c[10];
    struct iovec out[] = {{"one", 3}, {"", 0}, {"twothree", 8}};
    struct iovec in[] = {{a, sizeof a}, {b, sizeof b}, {c, sizeof c}};
    open_pipe(0);
    CHECK_EQUAL(writev(ends[1], out, 3), 11);
    CHECK_EQUAL(readv(ends[0], in, 3), 11);
    CHECK(memcmp(a, "one", 3) == 0 && b[0] == 't' && memcmp(c, "wothree", 7) == 0);
    volatile int negative = -1, too_many = 2000;
    CHECK_FAILS(writev(ends[1], out, negative), EINVAL);
    CHECK_FAILS(writev(ends[1], out, too_many), EINVAL);
    CHECK_EQUAL(writev(ends[1], out, 0), 0);
    close_pipe();
}

static void descriptors_of_a_pipe(void)
{
    struct stat status;
    char byte;
    open_pipe(O_CLOEXEC);
    CHECK(fstat(ends[0], &status) == 0);
    CHECK(S_ISFIFO(status.st_mode));
    CHECK_EQUAL(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(fcntl(ends[0], F_GETFL) & O_ACCMODE, O_RDONLY);
    CHECK_EQUAL(fcntl(ends[1], F_GETFL) & O_ACCMODE, O_WRONLY);
    CHECK_FAILS(read(ends[1], &byte, 1), EBADF);
    CHECK_FAILS(write(ends[0], &byte, 1), EBADF);
    CHECK_FAILS(lseek(ends[0], 0, SEEK_CUR), ESPIPE);
    CHECK_FAILS(pread(ends[0], &byte, 1, 0), ESPIPE);
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK_FAILS(read(ends[0], &byte, 1), EAGAIN);
    CHECK(fcntl(ends[0], F_SETFL, 0) == 0);
    CHECK_EQUAL(write(ends[1], "", 0), 0);
    CHECK_FAILS(pipe2(ends, 0x40000000), EINVAL);
    CHECK_FAILS(pipe(BAD), EFAULT);
    close_pipe();
}

/* By its name in /proc, also when nobody has the other end. */
static void an_end_is_opened_again(void)
{
    char name[64], byte;
    open_pipe(0);
    CHECK_EQUAL(write(ends[1], "ab", 2), 2);
    CHECK(close(ends[1]) == 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", ends[0]);
    int again = open(name, O_RDONLY);
    CHECK(again >= 0);
    CHECK(read(again, &byte, 1) == 1 && byte == 'a');
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'b');
    CHECK_EQUAL(read(again, &byte, 1), 0);
    int writer = open(name, O_WRONLY | O_NONBLOCK);
    CHECK(writer >= 0);
    CHECK(close(ends[0]) == 0);
    CHECK_EQUAL(write(writer, "c", 1), 1);
    CHECK(read(again, &byte, 1) == 1 && byte == 'c');
    CHECK(close(again) == 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", writer);
    int last = open(name, O_WRONLY);
    CHECK(last >= 0);
    CHECK(close(writer) == 0 && close(last) == 0);
}

/* Two blocking ends in two threads, far more data than fits. */
static void *send_all(void *unused)
{
    static char data[300000];
    for (int i = 0; i < (int)sizeof data; i++)
        data[i] = (char)(i % 251);
    CHECK_EQUAL(write(ends[1], data, sizeof data), sizeof data);
    close(ends[1]);
    return unused;
}

static void a_large_write_goes_through(void)
{
    pthread_t thread;
    char buffer[1234];
    int total = 0;
    open_pipe(0);
    CHECK(pthread_create(&thread, NULL, send_all, NULL) == 0);
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        for (ssize_t i = 0; i < n; i++, total++)
            CHECK_EQUAL(buffer[i], (char)(total % 251));
    CHECK_EQUAL(total, 300000);
    CHECK(pthread_join(thread, NULL) == 0);
    close(ends[0]);
}

int main(void)
{
    RUN(capacity);
    RUN(poll_answers);
    RUN(poll_of_several);
    RUN(poll_times_out);
    RUN(poll_is_woken);
    RUN(vectors);
    RUN(descriptors_of_a_pipe);
    RUN(an_end_is_opened_again);
    RUN(a_large_write_goes_through);
    return 0;
}
