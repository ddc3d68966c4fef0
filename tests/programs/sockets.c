/* Sockets of the machine itself: pairs, streams, messages, datagrams, names, files that come along. */
#include "sockets.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* What a file is ready for, of everything. */
static int ready(int file)
{
    struct pollfd one = {.fd = file, .events = POLLIN | POLLOUT | POLLRDHUP};
    CHECK(poll(&one, 1, 0) >= 0);
    return one.revents;
}

static void stream_pair(void)
{
    int pair[2], length;
    char text[16];
    pair_of(SOCK_STREAM | SOCK_CLOEXEC, pair);
    CHECK_EQUAL(fcntl(pair[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(fcntl(pair[0], F_GETFL), O_RDWR);
    struct stat stat;
    CHECK(fstat(pair[0], &stat) == 0 && S_ISSOCK(stat.st_mode));
    CHECK_EQUAL(ready(pair[0]), POLLOUT);
    CHECK(write(pair[0], "one", 3) == 3 && send(pair[0], "two", 3, 0) == 3);
    CHECK_EQUAL(ready(pair[1]), POLLIN | POLLOUT);
    CHECK(ioctl(pair[1], FIONREAD, &length) == 0 && length == 6);
    CHECK(recv(pair[1], text, 2, MSG_PEEK) == 2 && memcmp(text, "on", 2) == 0);
    CHECK(read(pair[1], text, 4) == 4 && memcmp(text, "onet", 4) == 0);
    CHECK(recv(pair[1], text, sizeof text, 0) == 2 && memcmp(text, "wo", 2) == 0);
    CHECK_FAILS(recv(pair[1], text, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_FAILS(pread(pair[1], text, 1, 0), ESPIPE);
    CHECK_FAILS(lseek(pair[1], 0, SEEK_SET), ESPIPE);
    struct iovec pieces[2] = {{"ab", 2}, {"cde", 3}};
    CHECK_EQUAL(writev(pair[1], pieces, 2), 5);
    CHECK_EQUAL(recv(pair[0], text, 5, MSG_WAITALL), 5);
    CHECK(memcmp(text, "abcde", 5) == 0);
    close_pair(pair);
}

static volatile sig_atomic_t broken;

static void count_broken(int signal_number)
{
    (void)signal_number;
    broken++;
}

static void ends(void)
{
    int pair[2];
    char text[8];
    CHECK(signal(SIGPIPE, count_broken) != SIG_ERR);
    pair_of(SOCK_STREAM, pair);
    CHECK(shutdown(pair[0], SHUT_WR) == 0);
    CHECK_EQUAL(ready(pair[1]), POLLIN | POLLOUT | POLLRDHUP);
    CHECK_EQUAL(read(pair[1], text, 1), 0);
    CHECK_FAILS(write(pair[0], "x", 1), EPIPE);
    CHECK_EQUAL(broken, 1);
    CHECK_FAILS(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQUAL(broken, 1);
    CHECK(write(pair[1], "back", 4) == 4 && read(pair[0], text, 8) == 4);
    CHECK(close(pair[1]) == 0);
    CHECK_EQUAL(ready(pair[0]), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
    CHECK_EQUAL(read(pair[0], text, 1), 0);
    CHECK(close(pair[0]) == 0);
    /* What was not read resets the connection. */
    pair_of(SOCK_STREAM, pair);
    CHECK(write(pair[0], "x", 1) == 1 && close(pair[1]) == 0);
    CHECK(ready(pair[0]) & POLLERR);
    CHECK_FAILS(read(pair[0], text, 1), ECONNRESET);
    CHECK_EQUAL(read(pair[0], text, 1), 0);
    CHECK(close(pair[0]) == 0);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
}

static void messages(void)
{
    static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    for (size_t n = 0; n < 2; n++) {
        int pair[2];
        char text[8] = "";
        pair_of(types[n] | SOCK_NONBLOCK, pair);
        CHECK(send(pair[0], "first", 5, 0) == 5 && send(pair[0], "", 0, 0) == 0);
        CHECK(write(pair[0], "third", 5) == 5);
        CHECK_EQUAL(recv(pair[1], text, 2, MSG_PEEK | MSG_TRUNC), 5);
        struct iovec piece = {text, 3};
        struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
        CHECK_EQUAL(recvmsg(pair[1], &header, 0), 3);
        CHECK(memcmp(text, "fir", 3) == 0 && header.msg_flags == MSG_TRUNC);
        CHECK_EQUAL(recv(pair[1], text, 8, 0), 0);
        CHECK_EQUAL(read(pair[1], text, 8), 5);
        CHECK_FAILS(recv(pair[1], text, 8, 0), EAGAIN);
        static char large[300000];
        CHECK_FAILS(send(pair[0], large, sizeof large, 0), EMSGSIZE);
        CHECK_EQUAL(send(pair[0], large, 100000, 0), 100000);
        static char got[200000];
        CHECK_EQUAL(recv(pair[1], got, sizeof got, 0), 100000);
        close_pair(pair);
    }
}

static void *sends_much(void *socket)
{
    static char bytes[1 << 20];
    for (size_t n = 0; n < sizeof bytes; n++)
        bytes[n] = (char)(n * 7 % 251);
    CHECK_EQUAL(send((int)(long)socket, bytes, sizeof bytes, 0), sizeof bytes);
    CHECK(shutdown((int)(long)socket, SHUT_WR) == 0);
    return NULL;
}

/* More than fits: the sender waits, and nothing is lost or out of order. */
static void much(void)
{
    int pair[2];
    pthread_t thread;
    pair_of(SOCK_STREAM, pair);
    CHECK(pthread_create(&thread, NULL, sends_much, (void *)(long)pair[0]) == 0);
    size_t total = 0;
    char bytes[10000];
    for (ssize_t n; (n = read(pair[1], bytes, sizeof bytes)) != 0; total += (size_t)n) {
        CHECK(n > 0);
        for (ssize_t k = 0; k < n; k++)
            CHECK(bytes[k] == (char)((total + (size_t)k) * 7 % 251));
    }
    CHECK_EQUAL(total, 1 << 20);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
    close_pair(pair);
    /* One that does not wait takes a part. */
    pair_of(SOCK_STREAM | SOCK_NONBLOCK, pair);
    while (send(pair[0], bytes, sizeof bytes, 0) > 0)
        ;
    CHECK(errno == EAGAIN && (ready(pair[0]) & POLLOUT) == 0);
    while (read(pair[1], bytes, sizeof bytes) > 0)
        ;
    CHECK(ready(pair[0]) == POLLOUT);
    close_pair(pair);
}

static int listener(const struct sockaddr_un *at, socklen_t length, int backlog)
{
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(server >= 0 && bind(server, (const struct sockaddr *)at, length) == 0);
    CHECK(listen(server, backlog) == 0);
    return server;
}

static void connections(void)
{
    struct sockaddr_un server_at = address("server"), name;
    socklen_t length = sizeof name;
    char text[16];
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_FAILS(connect(client, ADDRESS(server_at)), ENOENT);
    CHECK_FAILS(write(client, "x", 1), ENOTCONN);
    CHECK_FAILS(read(client, text, 1), EINVAL);
    CHECK_EQUAL(ready(client), POLLOUT | POLLHUP);
    int server = listener(&server_at, sizeof server_at, 5);
    struct stat stat;
    CHECK(lstat("server", &stat) == 0 && S_ISSOCK(stat.st_mode));
    CHECK_EQUAL(stat.st_mode & 0777, 0755);
    CHECK_FAILS(open("server", O_RDWR), ENXIO);
    CHECK(getsockname(server, (struct sockaddr *)&name, &length) == 0);
    CHECK_EQUAL(length, offsetof(struct sockaddr_un, sun_path) + sizeof "server");
    CHECK(strcmp(name.sun_path, "server") == 0);
    CHECK_EQUAL(ready(server), 0);
    CHECK(connect(client, ADDRESS(server_at)) == 0);
    CHECK_FAILS(connect(client, ADDRESS(server_at)), EISCONN);
    CHECK_EQUAL(ready(server), POLLIN);
    CHECK(write(client, "early", 5) == 5);
    length = sizeof name;
    int accepted = accept4(server, (struct sockaddr *)&name, &length, SOCK_CLOEXEC);
    CHECK(accepted >= 0 && length == sizeof(sa_family_t) && name.sun_family == AF_UNIX);
    CHECK_EQUAL(fcntl(accepted, F_GETFD), FD_CLOEXEC);
    CHECK(read(accepted, text, sizeof text) == 5 && memcmp(text, "early", 5) == 0);
    length = sizeof name;
    CHECK(getpeername(client, (struct sockaddr *)&name, &length) == 0);
    CHECK(strcmp(name.sun_path, "server") == 0);
    struct ucred who;
    length = sizeof who;
    CHECK(getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0);
    CHECK(who.pid == getpid() && who.uid == getuid() && who.gid == getgid());
    /* A C library may try again without the flags. */
    CHECK_FAILS(syscall(SYS_accept4, server, NULL, NULL, SOCK_SEQPACKET), EINVAL);
    CHECK(fcntl(server, F_SETFL, O_NONBLOCK) == 0);
    CHECK_FAILS(accept(server, NULL, NULL), EAGAIN);
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_FAILS(bind(other, ADDRESS(server_at)), EADDRINUSE);
    CHECK_FAILS(listen(other, 1), EINVAL);
    CHECK(connect(other, ADDRESS(server_at)) == 0 && close(server) == 0);
    CHECK_FAILS(read(other, text, 1), ECONNRESET);
    CHECK(close(other) == 0 && close(accepted) == 0);
    CHECK_EQUAL(read(client, text, 1), 0);
    other = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_FAILS(connect(other, ADDRESS(server_at)), ECONNREFUSED);
    CHECK(unlink("server") == 0 && close(other) == 0 && close(client) == 0);
}

/* Children of a server that waits with epoll. */
static void served(void)
{
    enum { CLIENTS = 4, ROUNDS = 5 };
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t length = (socklen_t)snprintf(at.sun_path + 1, 100, "maize-%d", getpid());
    length += offsetof(struct sockaddr_un, sun_path) + 1;
    int server = listener(&at, length, 1), set = epoll_create1(0), open = 0, sum = 0, served = 0;
    for (int n = 0; n < CLIENTS; n++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child > 0)
            continue;
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(client, (struct sockaddr *)&at, length) == 0);
        for (int round = 0; round < ROUNDS; round++) {
            int number = n * 100 + round, answer = 0;
            CHECK(write(client, &number, sizeof number) == sizeof number);
            CHECK(recv(client, &answer, sizeof answer, MSG_WAITALL) == sizeof answer);
            CHECK_EQUAL(answer, number + 1);
        }
        _exit(0);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = server};
    CHECK(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, server, &event) == 0);
    while (served < CLIENTS) {
        CHECK(epoll_wait(set, &event, 1, 10000) == 1);
        int file = event.data.fd, number;
        if (file == server) {
            file = accept(server, NULL, NULL);
            event = (struct epoll_event){.events = EPOLLIN | EPOLLRDHUP, .data.fd = file};
            CHECK(file >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, file, &event) == 0);
            open++;
            continue;
        }
        ssize_t got = read(file, &number, sizeof number);
        if (got == 0) {
            CHECK(close(file) == 0);
            served++;
            open--;
            continue;
        }
        CHECK(got == sizeof number);
        sum += number++;
        CHECK(write(file, &number, sizeof number) == sizeof number);
    }
    CHECK(open == 0);
    CHECK_EQUAL(sum, ROUNDS * 600 + CLIENTS * 10);
    while (wait(&open) > 0)
        CHECK_EQUAL(open, 0);
    CHECK(close(server) == 0 && close(set) == 0);
}

static void datagrams(void)
{
    struct sockaddr_un one_at = address("one"), two_at = address("two"), from;
    socklen_t length = sizeof from;
    char text[8];
    int one = socket(AF_UNIX, SOCK_DGRAM, 0), two = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(bind(one, ADDRESS(one_at)) == 0 && bind(two, ADDRESS(two_at)) == 0);
    CHECK_FAILS(send(one, "x", 1, 0), ENOTCONN);
    CHECK_EQUAL(sendto(one, "hello", 5, 0, ADDRESS(two_at)), 5);
    CHECK_EQUAL(recvfrom(two, text, 8, 0, (struct sockaddr *)&from, &length), 5);
    CHECK(strcmp(from.sun_path, "one") == 0);
    CHECK_EQUAL(sendto(two, "back", 4, 0, (struct sockaddr *)&from, length), 4);
    CHECK_EQUAL(read(one, text, 8), 4);
    CHECK(connect(two, ADDRESS(one_at)) == 0);
    CHECK_EQUAL(send(two, "x", 1, 0), 1);
    int stranger = socket(AF_UNIX, SOCK_DGRAM, 0), stream = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_FAILS(sendto(stranger, "x", 1, 0, ADDRESS(two_at)), EPERM);
    CHECK_FAILS(connect(stream, ADDRESS(one_at)), EPROTOTYPE);
    CHECK_FAILS(listen(one, 1), EOPNOTSUPP);
    CHECK_FAILS(accept(one, NULL, NULL), EOPNOTSUPP);
    /* One without a name. */
    CHECK_EQUAL(sendto(stranger, "y", 1, 0, ADDRESS(one_at)), 1);
    CHECK_EQUAL(read(one, text, 8), 1);
    length = sizeof from;
    CHECK_EQUAL(recvfrom(one, text, 8, 0, (struct sockaddr *)&from, &length), 1);
    CHECK(text[0] == 'y' && length == 0);
    CHECK(close(one) == 0);
    CHECK_FAILS(send(two, "x", 1, 0), ECONNREFUSED);
    CHECK_FAILS(send(two, "x", 1, 0), ENOTCONN);
    /* A name that the system gives. */
    sa_family_t family = AF_UNIX;
    CHECK(bind(stranger, (struct sockaddr *)&family, sizeof family) == 0);
    length = sizeof from;
    CHECK(getsockname(stranger, (struct sockaddr *)&from, &length) == 0);
    CHECK(length == sizeof family + 6 && from.sun_path[0] == 0);
    CHECK(close(two) == 0 && close(stranger) == 0 && close(stream) == 0);
}

static void files_along(void)
{
    int pair[2], pipes[2], told;
    char text[8];
    pair_of(SOCK_STREAM, pair);
    CHECK(pipe(pipes) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(close(pair[0]) == 0 && close(pipes[0]) == 0);
        CHECK_EQUAL(send_file(pair[1], pipes[1], "take"), 4);
        _exit(0);
    }
    CHECK(close(pipes[1]) == 0);
    REAP_EXITED(child, 0);
    int file = receive_file(pair[0], MSG_CMSG_CLOEXEC, &told);
    CHECK(file >= 0 && fcntl(file, F_GETFD) == FD_CLOEXEC);
    CHECK(write(file, "through", 7) == 7 && read(pipes[0], text, 8) == 7);
    /* Without room for it, it is closed. */
    CHECK_EQUAL(send_file(pair[1], file, "lost"), 4);
    CHECK(receive_file(pair[0], -1, &told) == -1 && told == MSG_CTRUNC);
    CHECK_EQUAL(send_file(pair[1], file, "left"), 4);
    CHECK(close(file) == 0);
    CHECK_EQUAL(ready(pipes[0]), 0);
    CHECK_FAILS(send_file(pair[1], 9999, "x"), EBADF);
    /* What nobody received goes with the socket. */
    close_pair(pair);
    CHECK_EQUAL(read(pipes[0], text, 1), 0);
    CHECK(close(pipes[0]) == 0);
}

static void options(void)
{
    int pair[2], value;
    socklen_t length = sizeof value;
    pair_of(SOCK_SEQPACKET, pair);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &value, &length) == 0);
    CHECK_EQUAL(value, SOCK_SEQPACKET);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_DOMAIN, &value, &length) == 0 && value == AF_UNIX);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_ERROR, &value, &length) == 0 && value == 0);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value == 0);
    value = 50000;
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, sizeof value) == 0);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, &length) == 0 && value == 100000);
    value = 1;
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value) == 0);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &value, &length) == 0 && value == 1);
    CHECK_FAILS(setsockopt(pair[0], SOL_SOCKET, SO_TYPE, &value, sizeof value), ENOPROTOOPT);
    CHECK_FAILS(setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &value, 3), EINVAL);
    struct timeval soon = {.tv_usec = 20000}, told;
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
    length = sizeof told;
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &told, &length) == 0);
    CHECK(length == sizeof told && told.tv_sec == 0 && told.tv_usec == 20000);
    long long before = now_ms();
    CHECK_FAILS(recv(pair[0], &value, sizeof value, 0), EAGAIN);
    CHECK(now_ms() - before >= 19);
    close_pair(pair);
}

static void bad_arguments(void)
{
    struct sockaddr_un at = address("nowhere");
    int pair[2], pipes[2];
    char text[4];
    CHECK_FAILS(socket(AF_UNIX, 4, 0), ESOCKTNOSUPPORT);
    CHECK_FAILS(socket(AF_UNIX, SOCK_STREAM, 7), EPROTONOSUPPORT);
    CHECK_FAILS(socket(AF_UNIX, SOCK_STREAM | 0x100, 0), EINVAL);
    CHECK_FAILS(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, BAD), EFAULT);
    pair_of(SOCK_STREAM, pair);
    CHECK(pipe(pipes) == 0);
    CHECK_FAILS(send(pipes[1], "x", 1, 0), ENOTSOCK);
    CHECK_FAILS(recv(pipes[0], text, 1, 0), ENOTSOCK);
    CHECK_FAILS(bind(pipes[0], ADDRESS(at)), ENOTSOCK);
    CHECK_FAILS(connect(9999, ADDRESS(at)), EBADF);
    CHECK_FAILS(bind(pair[0], (struct sockaddr *)&at, 200), EINVAL);
    CHECK_FAILS(sendto(pair[0], "x", 1, 0, ADDRESS(at)), EISCONN);
    CHECK_FAILS(shutdown(pair[0], 3), EINVAL);
    CHECK_FAILS(accept(pair[0], NULL, NULL), EINVAL);
    CHECK(write(pair[0], "x", 1) == 1);
    CHECK_FAILS(read(pair[1], BAD, 4), EFAULT);
    /* Nothing was lost by that. */
    CHECK(read(pair[1], text, 4) == 1 && text[0] == 'x');
    at.sun_family = 99;
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_FAILS(connect(client, ADDRESS(at)), EINVAL);
    close_pair(pair);
    close_pair(pipes);
    CHECK(close(client) == 0);
}

int main(void)
{
    RUN(stream_pair);
    RUN(ends);
    RUN(messages);
    RUN(much);
    RUN(connections);
    RUN(served);
    RUN(datagrams);
    RUN(files_along);
    RUN(options);
    RUN(bad_arguments);
    return 0;
}
