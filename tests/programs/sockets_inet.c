/* Sockets of the Internet's families on the loopback: connections, datagrams, ports, options. */
#include "check.h"
#include "cpus.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

static int ready(int file)
{
    struct pollfd one = {.fd = file, .events = POLLIN | POLLOUT | POLLRDHUP};
    CHECK(poll(&one, 1, 0) >= 0);
    return one.revents;
}

static int becomes_ready(int file, int events)
{
    struct pollfd one = {.fd = file, .events = (short)events};
    CHECK_EQUAL(poll(&one, 1, 20000), 1);
    return one.revents;
}

static struct sockaddr_in four(uint32_t host, int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(host)};
}

static struct sockaddr_in6 six(const char *host, int port)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    CHECK_EQUAL(inet_pton(AF_INET6, host, &at.sin6_addr), 1);
    return at;
}

#define LOCAL INADDR_LOOPBACK
#define AT(a) (struct sockaddr *)&(a), sizeof(a)

static int stream(int family)
{
    int made = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(made >= 0);
    return made;
}

static struct sockaddr_in name_of(int file, int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_in at = {0};
    socklen_t length = sizeof at;
    CHECK(get(file, (struct sockaddr *)&at, &length) == 0);
    CHECK(length == sizeof at && at.sin_family == AF_INET);
    return at;
}

/* A listener at a port that the system gives, which is told. */
static int listener(int backlog, struct sockaddr_in *at)
{
    int server = stream(AF_INET);
    *at = four(LOCAL, 0);
    CHECK(bind(server, AT(*at)) == 0 && listen(server, backlog) == 0);
    *at = name_of(server, getsockname);
    CHECK(at->sin_port != 0 && ntohl(at->sin_addr.s_addr) == LOCAL);
    return server;
}

static void pair_of_streams(int *client, int *accepted)
{
    struct sockaddr_in at;
    int server = listener(1, &at);
    *client = stream(AF_INET);
    CHECK(connect(*client, AT(at)) == 0);
    *accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    CHECK(*accepted >= 0 && close(server) == 0);
}

static int option(int file, int level, int number)
{
    int value = -1;
    socklen_t length = sizeof value;
    CHECK(getsockopt(file, level, number, &value, &length) == 0 && length == sizeof value);
    return value;
}

static int set(int file, int level, int number, int value)
{
    return setsockopt(file, level, number, &value, sizeof value);
}

static void connections(void)
{
    struct sockaddr_in at, from;
    socklen_t length = sizeof from;
    char text[16];
    int server = listener(5, &at), client = stream(AF_INET), there;
    CHECK_EQUAL(ready(client), POLLOUT | POLLHUP);
    CHECK_FAILS(recv(client, text, 1, 0), ENOTCONN);
    CHECK_FAILS(send(client, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_FAILS(getpeername(client, (struct sockaddr *)&from, &length), ENOTCONN);
    CHECK_EQUAL(name_of(client, getsockname).sin_port, 0);
    CHECK_EQUAL(ready(server), 0);
    CHECK(fcntl(server, F_SETFL, O_NONBLOCK) == 0);
    CHECK_FAILS(accept(server, NULL, NULL), EAGAIN);
    CHECK(connect(client, AT(at)) == 0);
    CHECK_FAILS(connect(client, AT(at)), EISCONN);
    CHECK_FAILS(connect(server, AT(at)), EISCONN);
    CHECK_EQUAL(name_of(client, getpeername).sin_port, at.sin_port);
    struct sockaddr_in own = name_of(client, getsockname);
    CHECK(own.sin_port != 0 && ntohl(own.sin_addr.s_addr) == LOCAL);
    CHECK_EQUAL(becomes_ready(server, POLLIN), POLLIN);
    int accepted = accept4(server, (struct sockaddr *)&from, &length, SOCK_NONBLOCK);
    CHECK(accepted >= 0 && length == sizeof from);
    CHECK(from.sin_port == own.sin_port && from.sin_addr.s_addr == own.sin_addr.s_addr);
    CHECK_EQUAL(name_of(accepted, getsockname).sin_port, at.sin_port);
    CHECK_EQUAL(fcntl(accepted, F_GETFL), O_RDWR | O_NONBLOCK);
    CHECK_EQUAL(ready(client), POLLOUT);
    CHECK(write(client, "one", 3) == 3 && send(client, "two", 3, MSG_MORE) == 3);
    CHECK(set(client, IPPROTO_TCP, TCP_NODELAY, 1) == 0);
    for (there = 0; there < 6;) {
        becomes_ready(accepted, POLLIN);
        CHECK(ioctl(accepted, FIONREAD, &there) == 0);
    }
    CHECK(recv(accepted, text, 4, MSG_PEEK) == 4 && memcmp(text, "onet", 4) == 0);
    CHECK(read(accepted, text, sizeof text) == 6 && memcmp(text, "onetwo", 6) == 0);
    CHECK_FAILS(recv(accepted, text, 1, 0), EAGAIN);
    length = sizeof from;
    CHECK_EQUAL(sendto(accepted, "back", 4, 0, AT(at)), 4);
    CHECK_EQUAL(recvfrom(client, text, 4, MSG_WAITALL, (struct sockaddr *)&from, &length), 4);
    struct stat status;
    CHECK(fstat(client, &status) == 0 && S_ISSOCK(status.st_mode));
    CHECK_FAILS(lseek(client, 0, SEEK_SET), ESPIPE);
    /* Half of it is closed, then the other half. */
    CHECK(shutdown(client, SHUT_WR) == 0);
    CHECK_EQUAL(becomes_ready(accepted, POLLRDHUP | POLLIN | POLLOUT), POLLRDHUP | POLLIN | POLLOUT);
    CHECK_EQUAL(read(accepted, text, 1), 0);
    CHECK_FAILS(send(client, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK(write(accepted, "rest", 4) == 4 && close(accepted) == 0);
    CHECK_EQUAL(recv(client, text, sizeof text, MSG_WAITALL), 4);
    CHECK_EQUAL(read(client, text, 1), 0);
    CHECK_EQUAL(ready(client), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    CHECK(close(client) == 0 && close(server) == 0);
    /* Without a connection half of it is closed all the same. */
    client = stream(AF_INET);
    CHECK_FAILS(shutdown(client, SHUT_RD), ENOTCONN);
    CHECK_EQUAL(ready(client), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
    CHECK(close(client) == 0);
}

static volatile sig_atomic_t broken;

static void count_broken(int number)
{
    (void)number;
    broken++;
}

static void ends_that_are_gone(void)
{
    int one, other;
    char text[8];
    CHECK(signal(SIGPIPE, count_broken) != SIG_ERR);
    pair_of_streams(&one, &other);
    CHECK(close(other) == 0);
    CHECK_EQUAL(becomes_ready(one, POLLRDHUP | POLLIN | POLLOUT), POLLRDHUP | POLLIN | POLLOUT);
    CHECK_EQUAL(read(one, text, 1), 0);
    CHECK(name_of(one, getpeername).sin_port != 0);
    /* The first bytes find out, the next are told. */
    CHECK_EQUAL(write(one, "x", 1), 1);
    becomes_ready(one, POLLHUP);
    CHECK_FAILS(write(one, "x", 1), EPIPE);
    CHECK_EQUAL(broken, 1);
    CHECK_EQUAL(read(one, text, 1), 0);
    CHECK(close(one) == 0);
    /* What was not read resets the connection. */
    pair_of_streams(&one, &other);
    CHECK_EQUAL(write(one, "lost", 4), 4);
    becomes_ready(other, POLLIN);
    CHECK(close(other) == 0);
    CHECK(becomes_ready(one, POLLIN) & POLLERR);
    CHECK_FAILS(read(one, text, 1), ECONNRESET);
    CHECK_EQUAL(read(one, text, 1), 0);
    CHECK(close(one) == 0);
    /* So does who asks for it. */
    struct linger linger = {.l_onoff = 1};
    pair_of_streams(&one, &other);
    CHECK(setsockopt(other, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    CHECK(close(other) == 0);
    becomes_ready(one, POLLHUP);
    CHECK_EQUAL(option(one, SOL_SOCKET, SO_ERROR), ECONNRESET);
    CHECK_EQUAL(option(one, SOL_SOCKET, SO_ERROR), 0);
    CHECK(close(one) == 0);
}

static void connections_without_waiting(void)
{
    struct sockaddr_in at;
    int server = listener(8, &at), client = stream(AF_INET);
    CHECK(fcntl(client, F_SETFL, O_NONBLOCK) == 0);
    CHECK_FAILS(connect(client, AT(at)), EINPROGRESS);
    CHECK_EQUAL(becomes_ready(client, POLLOUT), POLLOUT);
    CHECK_EQUAL(option(client, SOL_SOCKET, SO_ERROR), 0);
    CHECK(connect(client, AT(at)) == 0);
    CHECK_FAILS(connect(client, AT(at)), EISCONN);
    CHECK(close(client) == 0 && close(server) == 0);
    /* Nobody is there any more. */
    client = stream(AF_INET);
    CHECK_FAILS(connect(client, AT(at)), ECONNREFUSED);
    CHECK(fcntl(client, F_SETFL, O_NONBLOCK) == 0);
    CHECK_FAILS(connect(client, AT(at)), EINPROGRESS);
    CHECK_EQUAL(becomes_ready(client, POLLOUT), POLLOUT | POLLERR | POLLHUP);
    CHECK_EQUAL(option(client, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    CHECK_FAILS(connect(client, AT(at)), ECONNABORTED);
    CHECK_FAILS(connect(client, AT(at)), EINPROGRESS);
    becomes_ready(client, POLLHUP);
    CHECK_FAILS(connect(client, AT(at)), ECONNREFUSED);
    CHECK(close(client) == 0);
    /* Nor is a listener that is shut down. */
    server = listener(8, &at);
    CHECK(shutdown(server, SHUT_RD) == 0);
    CHECK_FAILS(accept(server, NULL, NULL), EINVAL);
    client = stream(AF_INET);
    CHECK_FAILS(connect(client, AT(at)), ECONNREFUSED);
    CHECK(close(client) == 0 && close(server) == 0);
    /* Connections that nobody has accepted are reset. */
    server = listener(8, &at);
    client = stream(AF_INET);
    CHECK(connect(client, AT(at)) == 0 && close(server) == 0);
    char byte;
    CHECK_FAILS(read(client, &byte, 1), ECONNRESET);
    CHECK(close(client) == 0);
}

static void version_six(void)
{
    struct sockaddr_in6 at = six("::", 0), from;
    socklen_t length = sizeof at;
    char text[8];
    int server = stream(AF_INET6), four_at = stream(AF_INET), six_at = stream(AF_INET6);
    CHECK_EQUAL(option(server, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    CHECK(bind(server, AT(at)) == 0 && listen(server, 5) == 0);
    CHECK_FAILS(set(server, IPPROTO_IPV6, IPV6_V6ONLY, 1), EINVAL);
    CHECK(getsockname(server, (struct sockaddr *)&at, &length) == 0);
    CHECK(length == sizeof at && at.sin6_family == AF_INET6 && at.sin6_port != 0);
    int port = ntohs(at.sin6_port);
    struct sockaddr_in by_four = four(LOCAL, port);
    CHECK(connect(four_at, AT(by_four)) == 0);
    length = sizeof from;
    int accepted = accept(server, (struct sockaddr *)&from, &length);
    CHECK(accepted >= 0 && length == sizeof from && IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
    CHECK_EQUAL(from.sin6_port, name_of(four_at, getsockname).sin_port);
    CHECK(write(four_at, "4", 1) == 1 && read(accepted, text, 8) == 1);
    CHECK(close(accepted) == 0 && close(four_at) == 0);
    at = six("::1", port);
    CHECK(connect(six_at, AT(at)) == 0);
    accepted = accept(server, (struct sockaddr *)&from, &length);
    CHECK(accepted >= 0 && IN6_IS_ADDR_LOOPBACK(&from.sin6_addr));
    CHECK(close(accepted) == 0 && close(six_at) == 0);
    six_at = stream(AF_INET6);
    at = six("::ffff:127.0.0.1", port);
    CHECK(connect(six_at, AT(at)) == 0);
    length = sizeof from;
    CHECK(getpeername(six_at, (struct sockaddr *)&from, &length) == 0);
    CHECK(memcmp(&from.sin6_addr, &at.sin6_addr, 16) == 0);
    CHECK(close(six_at) == 0);
    /* Both versions are one for who asks for a port. */
    four_at = stream(AF_INET);
    by_four = four(INADDR_ANY, port);
    CHECK_FAILS(bind(four_at, AT(by_four)), EADDRINUSE);
    CHECK(close(four_at) == 0 && close(server) == 0);
}

static void datagrams(void)
{
    struct sockaddr_in one_at = four(LOCAL, 0), two_at, from;
    socklen_t length = sizeof from;
    char text[16];
    int one = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP), two = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(one >= 0 && two >= 0);
    CHECK_FAILS(listen(one, 1), EOPNOTSUPP);
    CHECK_FAILS(accept(one, NULL, NULL), EOPNOTSUPP);
    CHECK_EQUAL(ready(one), POLLOUT);
    CHECK(bind(one, AT(one_at)) == 0);
    one_at = name_of(one, getsockname);
    CHECK_FAILS(send(two, "x", 1, 0), EDESTADDRREQ);
    CHECK_EQUAL(sendto(two, "hello", 5, 0, AT(one_at)), 5);
    two_at = name_of(two, getsockname);
    CHECK(two_at.sin_port != 0 && two_at.sin_addr.s_addr == INADDR_ANY);
    CHECK_EQUAL(becomes_ready(one, POLLIN), POLLIN);
    /* What does not fit is cut off. */
    CHECK_EQUAL(recvfrom(one, text, 2, MSG_TRUNC, (struct sockaddr *)&from, &length), 5);
    CHECK(length == sizeof from && from.sin_port == two_at.sin_port);
    CHECK_EQUAL(ntohl(from.sin_addr.s_addr), LOCAL);
    CHECK_EQUAL(sendto(one, "", 0, 0, AT(from)), 0);
    CHECK_EQUAL(recv(two, text, sizeof text, 0), 0);
    /* Who is connected hears nobody else. */
    CHECK(connect(two, AT(one_at)) == 0);
    CHECK_EQUAL(name_of(two, getpeername).sin_port, one_at.sin_port);
    int stranger = socket(AF_INET, SOCK_DGRAM, 0);
    two_at = name_of(two, getsockname);
    CHECK_EQUAL(ntohl(two_at.sin_addr.s_addr), LOCAL);
    CHECK_EQUAL(sendto(stranger, "no", 2, 0, AT(two_at)), 2);
    CHECK_FAILS(recv(two, text, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQUAL(sendto(one, "yes", 3, 0, AT(two_at)), 3);
    CHECK_EQUAL(recv(two, text, sizeof text, 0), 3);
    static char large[65508];
    CHECK_FAILS(send(two, large, 65508, 0), EMSGSIZE);
    CHECK_EQUAL(send(two, large, 65507, 0), 65507);
    CHECK_EQUAL(recv(one, large, sizeof large, 0), 65507);
    /* Many at once. */
    struct iovec pieces[2] = {{"ab", 2}, {"cd", 2}};
    struct mmsghdr many[2] = {{.msg_hdr = {.msg_iov = pieces, .msg_iovlen = 2}},
                              {.msg_hdr = {.msg_iov = pieces, .msg_iovlen = 1}}};
    CHECK_EQUAL(sendmmsg(two, many, 2, 0), 2);
    CHECK(many[0].msg_len == 4 && many[1].msg_len == 2);
    CHECK(recv(one, text, 8, 0) == 4 && memcmp(text, "abcd", 4) == 0);
    CHECK_EQUAL(recv(one, text, 8, 0), 2);
    /* The address is free again, and who sends there learns of it. */
    CHECK(close(one) == 0);
    CHECK_EQUAL(send(two, "x", 1, 0), 1);
    CHECK_FAILS(recv(two, text, 1, 0), ECONNREFUSED);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    CHECK(connect(two, &none, sizeof none) == 0);
    CHECK_FAILS(send(two, "x", 1, 0), EDESTADDRREQ);
    CHECK_EQUAL(sendto(two, "x", 1, 0, AT(one_at)), 1);
    CHECK_FAILS(shutdown(stranger, SHUT_RDWR), ENOTCONN);
    CHECK_FAILS(sendto(stranger, "x", 1, 0, AT(one_at)), EPIPE);
    CHECK(close(two) == 0 && close(stranger) == 0);
}

static void ports(void)
{
    struct sockaddr_in at, any;
    int server = listener(1, &at), other = stream(AF_INET);
    CHECK_FAILS(bind(other, AT(at)), EADDRINUSE);
    any = four(INADDR_ANY, ntohs(at.sin_port));
    CHECK_FAILS(bind(other, AT(any)), EADDRINUSE);
    any = four(LOCAL + 1, ntohs(at.sin_port));
    CHECK(bind(other, AT(any)) == 0);
    CHECK_FAILS(bind(other, AT(any)), EINVAL);
    CHECK(close(other) == 0);
    other = stream(AF_INET);
    CHECK(set(server, SOL_SOCKET, SO_REUSEADDR, 1) == 0);
    CHECK(set(other, SOL_SOCKET, SO_REUSEADDR, 1) == 0);
    CHECK_FAILS(bind(other, AT(at)), EADDRINUSE);
    any = four(0xc0000201, 80);
    CHECK_FAILS(bind(other, AT(any)), EADDRNOTAVAIL);
    CHECK(close(server) == 0);
    CHECK(bind(other, AT(at)) == 0 && close(other) == 0);
    /* Listening gives a port, too. */
    server = stream(AF_INET);
    CHECK(listen(server, 1) == 0);
    at = name_of(server, getsockname);
    CHECK(at.sin_port != 0 && at.sin_addr.s_addr == INADDR_ANY);
    int client = stream(AF_INET);
    /* That address is the machine's own. */
    CHECK(connect(client, AT(at)) == 0);
    CHECK_EQUAL(ntohl(name_of(client, getpeername).sin_addr.s_addr), LOCAL);
    CHECK(close(client) == 0 && close(server) == 0);
    /* A port of datagrams is another one. */
    server = listener(1, &at);
    other = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(other, AT(at)) == 0 && close(other) == 0 && close(server) == 0);
}

static void options(void)
{
    int file = stream(AF_INET), datagram = socket(AF_INET6, SOCK_DGRAM, 0);
    CHECK_EQUAL(option(file, SOL_SOCKET, SO_DOMAIN), AF_INET);
    CHECK_EQUAL(option(file, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    CHECK_EQUAL(option(file, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
    CHECK_EQUAL(option(datagram, SOL_SOCKET, SO_DOMAIN), AF_INET6);
    CHECK_EQUAL(option(datagram, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDP);
    static const struct {
        int level, number, first, value, told;
    } all[] = {
        {IPPROTO_TCP, TCP_NODELAY, 0, 5, 1},    {IPPROTO_TCP, TCP_KEEPIDLE, 7200, 60, 60},
        {IPPROTO_TCP, TCP_KEEPINTVL, 75, 5, 5}, {IPPROTO_TCP, TCP_KEEPCNT, 9, 3, 3},
        {IPPROTO_IP, IP_TTL, 64, 9, 9},         {SOL_SOCKET, SO_PRIORITY, 0, 6, 6},
        {SOL_SOCKET, SO_KEEPALIVE, 0, 1, 1},    {SOL_SOCKET, SO_REUSEADDR, 0, 1, 1},
        {SOL_SOCKET, SO_REUSEPORT, 0, 1, 1},    {SOL_SOCKET, SO_OOBINLINE, 0, 1, 1},
        {IPPROTO_IP, IP_TOS, 0, 16, 16},        {IPPROTO_TCP, TCP_USER_TIMEOUT, 0, 10, 10},
    };
    for (size_t n = 0; n < sizeof all / sizeof *all; n++) {
        CHECK_EQUAL(option(file, all[n].level, all[n].number), all[n].first);
        CHECK(set(file, all[n].level, all[n].number, all[n].value) == 0);
        CHECK_EQUAL(option(file, all[n].level, all[n].number), all[n].told);
    }
    CHECK_FAILS(set(file, IPPROTO_TCP, TCP_KEEPIDLE, 0), EINVAL);
    CHECK_FAILS(set(file, IPPROTO_IP, IP_TTL, 256), EINVAL);
    CHECK_FAILS(set(file, IPPROTO_TCP, 999, 1), ENOPROTOOPT);
    CHECK_FAILS(set(file, IPPROTO_IPV6, IPV6_V6ONLY, 1), ENOPROTOOPT);
    CHECK_FAILS(setsockopt(file, IPPROTO_TCP, TCP_NODELAY, BAD, 4), EFAULT);
    CHECK_FAILS(setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &all, 2), EINVAL);
    struct linger linger = {.l_onoff = 1, .l_linger = 7}, told;
    socklen_t length = sizeof told;
    CHECK(setsockopt(file, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    CHECK(getsockopt(file, SOL_SOCKET, SO_LINGER, &told, &length) == 0 && length == sizeof told);
    CHECK(told.l_onoff == 1 && told.l_linger == 7);
    CHECK(close(file) == 0 && close(datagram) == 0);
}

static void bad_arguments(void)
{
    struct sockaddr_in at = four(LOCAL, 1);
    struct sockaddr_in6 wide = six("::1", 1);
    int pair[2], file = stream(AF_INET), wide_file = stream(AF_INET6);
    CHECK_FAILS(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
    CHECK_FAILS(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
    CHECK_FAILS(socket(AF_INET, SOCK_STREAM, 1000), EINVAL);
    CHECK_FAILS(socket(AF_INET6, 12, 0), EINVAL);
    CHECK_FAILS(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP);
    CHECK_FAILS(bind(file, (struct sockaddr *)&at, 8), EINVAL);
    CHECK_FAILS(bind(file, AT(wide)), EAFNOSUPPORT);
    CHECK_FAILS(bind(wide_file, (struct sockaddr *)&wide, 20), EINVAL);
    CHECK_FAILS(connect(file, AT(wide)), EAFNOSUPPORT);
    CHECK_FAILS(connect(file, (struct sockaddr *)&at, 8), EINVAL);
    CHECK_FAILS(connect(file, BAD, sizeof at), EFAULT);
    CHECK_FAILS(accept(file, NULL, NULL), EINVAL);
    CHECK_FAILS(getsockname(file, BAD, NULL), EFAULT);
    CHECK(close(file) == 0 && close(wide_file) == 0);
}

enum { CLIENTS = 6, ROUNDS = 20, BULK = 300000 };

static struct sockaddr_in served_at;

/* Asks many small questions, then sends much and has it back. */
static void *client_of(void *argument)
{
    int number = (int)(intptr_t)argument, client = stream(AF_INET);
    go(cpus[number % count]);
    CHECK(connect(client, AT(served_at)) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        int question = number * 1000 + round, answer = 0;
        CHECK_EQUAL(send(client, &question, sizeof question, 0), sizeof question);
        CHECK_EQUAL(recv(client, &answer, sizeof answer, MSG_WAITALL), sizeof answer);
        CHECK_EQUAL(answer, question + 1);
    }
    CHECK(shutdown(client, SHUT_WR) == 0);
    char byte;
    CHECK_EQUAL(recv(client, &byte, 1, 0), 0);
    CHECK(close(client) == 0);
    return NULL;
}

/* One thread serves all others, wherever they are, and waits for all of them at once. */
static void a_server_has_clients_everywhere(void)
{
    pthread_t clients[CLIENTS];
    int server = listener(2, &served_at), left = CLIENTS, served = 0, all = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = server};
    CHECK(all >= 0 && epoll_ctl(all, EPOLL_CTL_ADD, server, &event) == 0);
    for (int n = 0; n < CLIENTS; n++)
        CHECK(pthread_create(&clients[n], NULL, client_of, (void *)(intptr_t)n) == 0);
    while (left > 0) {
        CHECK_EQUAL(epoll_wait(all, &event, 1, -1), 1);
        int file = event.data.fd, number;
        if (file == server) {
            file = accept4(server, NULL, NULL, SOCK_NONBLOCK);
            event = (struct epoll_event){.events = EPOLLIN | EPOLLRDHUP, .data.fd = file};
            CHECK(file >= 0 && epoll_ctl(all, EPOLL_CTL_ADD, file, &event) == 0);
            continue;
        }
        ssize_t got = recv(file, &number, sizeof number, 0);
        if (got == 0) {
            CHECK(close(file) == 0);
            left--;
            continue;
        }
        CHECK_EQUAL(got, sizeof number);
        number++;
        served++;
        CHECK_EQUAL(send(file, &number, sizeof number, 0), sizeof number);
    }
    CHECK_EQUAL(served, CLIENTS * ROUNDS);
    for (int n = 0; n < CLIENTS; n++)
        CHECK(pthread_join(clients[n], NULL) == 0);
    CHECK(close(all) == 0 && close(server) == 0);
}

static void *send_much(void *argument)
{
    static char bytes[BULK];
    int file = (int)(intptr_t)argument;
    go(cpus[count - 1]);
    for (size_t n = 0; n < sizeof bytes; n++)
        bytes[n] = (char)(n * 7 % 251);
    for (size_t sent = 0; sent < sizeof bytes;) {
        ssize_t n = send(file, bytes + sent, sizeof bytes - sent, 0);
        CHECK(n > 0);
        sent += (size_t)n;
    }
    CHECK(close(file) == 0);
    return NULL;
}

/* More than fits: the sender waits, and nothing is lost or out of order. */
static void much_goes_through(void)
{
    int one, other;
    pthread_t thread;
    char bytes[10000];
    size_t total = 0;
    pair_of_streams(&one, &other);
    CHECK(pthread_create(&thread, NULL, send_much, (void *)(intptr_t)one) == 0);
    for (ssize_t n; (n = recv(other, bytes, sizeof bytes, 0)) != 0; total += (size_t)n) {
        CHECK(n > 0);
        for (ssize_t k = 0; k < n; k++)
            CHECK(bytes[k] == (char)((total + (size_t)k) * 7 % 251));
    }
    CHECK_EQUAL(total, BULK);
    CHECK(pthread_join(thread, NULL) == 0 && close(other) == 0);
}

int main(void)
{
    find_cpus();
    RUN(connections);
    RUN(ends_that_are_gone);
    RUN(connections_without_waiting);
    RUN(version_six);
    RUN(datagrams);
    RUN(ports);
    RUN(options);
    RUN(bad_arguments);
    RUN(a_server_has_clients_everywhere);
    RUN(much_goes_through);
    return 0;
}
