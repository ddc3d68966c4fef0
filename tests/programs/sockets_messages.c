/* What comes along with messages of sockets: other sockets, who sends, many messages at once. */
#include "sockets.h"
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/syscall.h>

enum { ROOM = 256 };

struct message {
    char text[32];
    struct iovec piece;
    struct msghdr header;
    union {
        struct cmsghdr header;
        char bytes[ROOM];
    } control;
};

static void prepare(struct message *message, const char *text, size_t room)
{
    memset(message, 0, sizeof *message);
    strcpy(message->text, text);
    message->piece = (struct iovec){message->text, *text ? strlen(text) : sizeof message->text};
    message->header = (struct msghdr){.msg_iov = &message->piece, .msg_iovlen = 1,
                                      .msg_control = room ? &message->control : NULL,
                                      .msg_controllen = room};
}

/* One control message after those that are there. */
static void add(struct message *message, int type, const void *data, size_t length)
{
    struct cmsghdr *next = (struct cmsghdr *)(message->control.bytes + message->header.msg_controllen);
    message->header.msg_control = &message->control;
    message->header.msg_controllen += CMSG_SPACE(length);
    CHECK(message->header.msg_controllen <= ROOM);
    next->cmsg_level = SOL_SOCKET;
    next->cmsg_type = type;
    next->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(next), data, length);
}

static void send_files(int socket, const char *text, const int *files, int many)
{
    struct message message;
    prepare(&message, text, 0);
    add(&message, SCM_RIGHTS, files, sizeof(int) * (size_t)many);
    CHECK_EQUAL(sendmsg(socket, &message.header, 0), strlen(text));
}

/* The descriptors that come with a message. */
static int receive_files(int socket, int *files)
{
    struct message message;
    prepare(&message, "", ROOM);
    CHECK(recvmsg(socket, &message.header, 0) >= 0);
    struct cmsghdr *first = CMSG_FIRSTHDR(&message.header);
    if (!first)
        return 0;
    CHECK(first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS);
    size_t length = first->cmsg_len - CMSG_LEN(0);
    memcpy(files, CMSG_DATA(first), length);
    return (int)(length / sizeof(int));
}

/* A server gives the connections that it accepts to its child. */
static void connections_are_given_to_others(void)
{
    struct sockaddr_un at = address("server");
    int pair[2], file, server = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(server, ADDRESS(at)) == 0 && listen(server, 1) == 0);
    pair_of(SOCK_SEQPACKET, pair);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(close(server) == 0 && close(pair[0]) == 0);
        char text[8];
        for (;;) {
            if (receive_files(pair[1], &file) == 0)
                _exit(0);
            CHECK_EQUAL(read(file, text, sizeof text), 4);
            text[0]++;
            CHECK(write(file, text, 4) == 4 && close(file) == 0);
        }
    }
    CHECK(close(pair[1]) == 0);
    for (int n = 0; n < 3; n++) {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(client, ADDRESS(at)) == 0);
        file = accept(server, NULL, NULL);
        CHECK(file >= 0);
        send_files(pair[0], "next", &file, 1);
        CHECK(close(file) == 0 && write(client, "abcd", 4) == 4);
        char text[8];
        CHECK(read(client, text, 8) == 4 && memcmp(text, "bbcd", 4) == 0);
        CHECK_EQUAL(read(client, text, 8), 0);
        CHECK(close(client) == 0);
    }
    CHECK(close(pair[0]) == 0);
    REAP_EXITED(child, 0);
    CHECK(close(server) == 0 && unlink("server") == 0);
}

/* Sockets that nobody can receive any more are closed, and what they hold is. */
static void rings_are_closed(void)
{
    int ring[2], other[2], ends[2], files[2], none;
    struct pollfd reader;
    CHECK(pipe(ends) == 0);
    reader = (struct pollfd){.fd = ends[0], .events = POLLIN};
    pair_of(SOCK_STREAM, ring);
    pair_of(SOCK_DGRAM, other);
    files[0] = ring[0], files[1] = ends[1];
    send_files(ring[0], "to itself", &ring[1], 1);
    send_files(ring[1], "and its peer", files, 2);
    send_files(other[0], "more", ring, 2);
    CHECK(close(ends[1]) == 0 && close(ring[0]) == 0 && close(ring[1]) == 0);
    CHECK_EQUAL(poll(&reader, 1, 50), 0);
    CHECK_EQUAL(receive_files(other[1], ring), 2);
    CHECK_EQUAL(receive_files(ring[0], files), 2);
    CHECK(close(files[1]) == 0 && close(files[0]) == 0);
    CHECK(poll(&reader, 1, 0) == 1 && reader.revents == POLLHUP);
    close_pair(other);
    CHECK(close(ends[0]) == 0);
    /* One is still under way to itself, and so is the pipe to it. */
    CHECK(pipe(ends) == 0);
    reader.fd = ends[0];
    send_files(ring[0], "pipe", &ends[1], 1);
    CHECK(close(ends[1]) == 0 && close(ring[0]) == 0 && close(ring[1]) == 0);
    /* Linux looks for such sockets now and then, when others are closed. */
    for (int tries = 0; tries < 500 && poll(&reader, 1, 20) == 0; tries++) {
        pair_of(SOCK_STREAM, other);
        close_pair(other);
    }
    CHECK_EQUAL(reader.revents, POLLHUP);
    CHECK(close(ends[0]) == 0);
    CHECK_FAILS(fcntl(ring[0], F_GETFD), EBADF);
    pair_of(SOCK_STREAM, ring);
    CHECK(write(ring[0], "x", 1) == 1 && receive_files(ring[1], &none) == 0);
    close_pair(ring);
}

static void wants_credentials(int socket)
{
    int on = 1;
    CHECK(setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    socklen_t length = sizeof on;
    CHECK(getsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, &length) == 0 && on == 1);
}

static struct ucred sender_of(struct message *message)
{
    struct ucred who;
    struct cmsghdr *first = CMSG_FIRSTHDR(&message->header);
    CHECK(first && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_CREDENTIALS);
    CHECK_EQUAL(first->cmsg_len, CMSG_LEN(sizeof who));
    memcpy(&who, CMSG_DATA(first), sizeof who);
    return who;
}

static void senders_are_told(void)
{
    int pair[2], ends[2];
    struct message message;
    pair_of(SOCK_STREAM, pair);
    wants_credentials(pair[1]);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(write(pair[0], "child", 5) == 5);
        _exit(0);
    }
    REAP_EXITED(child, 0);
    CHECK(write(pair[0], "parent", 6) == 6);
    /* Bytes of two senders are not mixed. */
    prepare(&message, "", ROOM);
    CHECK_EQUAL(recvmsg(pair[1], &message.header, 0), 5);
    struct ucred who = sender_of(&message);
    CHECK(who.pid == child && who.uid == getuid() && who.gid == getgid());
    prepare(&message, "", ROOM);
    CHECK_EQUAL(recvmsg(pair[1], &message.header, 0), 6);
    CHECK(sender_of(&message).pid == getpid() && message.header.msg_flags == 0);
    /* It comes before descriptors; without room there is none of either. */
    CHECK(pipe(ends) == 0);
    send_files(pair[0], "both", ends, 2);
    prepare(&message, "", ROOM);
    CHECK_EQUAL(recvmsg(pair[1], &message.header, 0), 4);
    CHECK_EQUAL(sender_of(&message).pid, getpid());
    struct cmsghdr *second = CMSG_NXTHDR(&message.header, CMSG_FIRSTHDR(&message.header));
    int files[2];
    CHECK(second && second->cmsg_type == SCM_RIGHTS && second->cmsg_len == CMSG_LEN(sizeof files));
    CHECK_EQUAL(message.header.msg_controllen, CMSG_SPACE(sizeof who) + CMSG_SPACE(sizeof files));
    memcpy(files, CMSG_DATA(second), sizeof files);
    close_pair(files);
    send_files(pair[0], "both", ends, 2);
    prepare(&message, "", CMSG_LEN(sizeof who));
    CHECK_EQUAL(recvmsg(pair[1], &message.header, 0), 4);
    CHECK(sender_of(&message).pid == getpid() && message.header.msg_flags == MSG_CTRUNC);
    close_pair(ends);
    close_pair(pair);
}

static void who_sends_may_say_so(void)
{
    int pair[2];
    struct message message;
    struct ucred who = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
    pair_of(SOCK_DGRAM, pair);
    wants_credentials(pair[1]);
    prepare(&message, "said", 0);
    add(&message, SCM_CREDENTIALS, &who, sizeof who);
    CHECK_EQUAL(sendmsg(pair[0], &message.header, 0), 4);
    prepare(&message, "", ROOM);
    CHECK_EQUAL(recvmsg(pair[1], &message.header, 0), 4);
    CHECK_EQUAL(sender_of(&message).pid, getpid());
    prepare(&message, "said", 0);
    who.uid = (uid_t)-1;
    add(&message, SCM_CREDENTIALS, &who, sizeof who);
    CHECK_FAILS(sendmsg(pair[0], &message.header, 0), EINVAL);
    prepare(&message, "short", 0);
    add(&message, SCM_CREDENTIALS, &who, 8);
    CHECK_FAILS(sendmsg(pair[0], &message.header, 0), EINVAL);
    prepare(&message, "unknown", 0);
    add(&message, 99, &who, 8);
    CHECK_FAILS(sendmsg(pair[0], &message.header, 0), EINVAL);
    close_pair(pair);
}

enum { MANY = 5 };

/* By number: musl makes several calls of one. */
static int send_all(int socket, struct mmsghdr *headers, unsigned many, int flags)
{
    return (int)syscall(SYS_sendmmsg, socket, headers, many, flags);
}

static int receive_all(int socket, struct mmsghdr *headers, unsigned many, int flags,
                       struct timespec *limit)
{
    return (int)syscall(SYS_recvmmsg, socket, headers, many, flags, limit);
}

static void many_messages_at_once(void)
{
    int pair[2];
    struct message all[MANY];
    struct mmsghdr headers[MANY];
    static const char *texts[MANY] = {"a", "bc", "def", "ghij", "klmno"};
    pair_of(SOCK_SEQPACKET, pair);
    for (int n = 0; n < MANY; n++) {
        prepare(&all[n], texts[n], 0);
        headers[n] = (struct mmsghdr){.msg_hdr = all[n].header, .msg_len = 99};
    }
    CHECK_EQUAL(send_all(pair[0], headers, 4, 0), 4);
    for (int n = 0; n < MANY; n++)
        CHECK_EQUAL(headers[n].msg_len, n < 4 ? n + 1 : 99);
    for (int n = 0; n < MANY; n++) {
        prepare(&all[n], "", 0);
        headers[n] = (struct mmsghdr){.msg_hdr = all[n].header, .msg_len = 99};
    }
    CHECK_EQUAL(receive_all(pair[1], headers, 2, 0, NULL), 2);
    CHECK(headers[1].msg_len == 2 && headers[2].msg_len == 99);
    CHECK(memcmp(all[0].text, "a", 1) == 0 && memcmp(all[1].text, "bc", 2) == 0);
    /* One is waited for, and no more. */
    CHECK_EQUAL(receive_all(pair[1], headers, MANY, MSG_WAITFORONE, NULL), 2);
    CHECK(headers[0].msg_len == 3 && memcmp(all[1].text, "ghij", 4) == 0);
    CHECK_FAILS(receive_all(pair[1], headers, MANY, MSG_DONTWAIT, NULL), EAGAIN);
    CHECK_EQUAL(write(pair[0], "x", 1), 1);
    struct timespec none = {0};
    CHECK_EQUAL(receive_all(pair[1], headers, MANY, 0, &none), 1);
    struct timespec bad = {.tv_nsec = -1};
    CHECK_FAILS(receive_all(pair[1], headers, MANY, 0, &bad), EINVAL);
    CHECK_FAILS(send_all(pair[0], BAD, 1, 0), EFAULT);
    CHECK_EQUAL(send_all(pair[0], headers, 0, 0), 0);
    CHECK_FAILS(send_all(9999, headers, 1, 0), EBADF);
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK_FAILS(send_all(ends[1], headers, 1, 0), ENOTSOCK);
    CHECK_FAILS(receive_all(ends[0], headers, 1, 0, NULL), ENOTSOCK);
    close_pair(ends);
    close_pair(pair);
}

int main(void)
{
    RUN(connections_are_given_to_others);
    RUN(rings_are_closed);
    RUN(senders_are_told);
    RUN(who_sends_may_say_so);
    RUN(many_messages_at_once);
    return 0;
}
