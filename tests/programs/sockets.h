/* What programs about sockets have in common. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include "check.h"
#include <sys/socket.h>
#include <sys/un.h>

__attribute__((unused)) static struct sockaddr_un address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    return address;
}

#define ADDRESS(a) (struct sockaddr *)&(a), sizeof(a)

static void pair_of(int type, int pair[2])
{
    CHECK(socketpair(AF_UNIX, type, 0, pair) == 0);
}

static void close_pair(int pair[2])
{
    CHECK(close(pair[0]) == 0 && close(pair[1]) == 0);
}

/* Sends a text and a file that goes along. */
__attribute__((unused)) static ssize_t send_file(int socket, int file, const char *text)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec piece = {(void *)text, strlen(text)};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control,
                            .msg_controllen = sizeof control};
    struct cmsghdr *first = CMSG_FIRSTHDR(&header);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(first), &file, sizeof file);
    return sendmsg(socket, &header, 0);
}

/* Receives a text and the file that comes along, if there is room for it: with flags below 0 there is
 * none. Returns it, or -1, and what the call tells. */
__attribute__((unused)) static int receive_file(int socket, int flags, int *told)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char text[16];
    struct iovec piece = {text, sizeof text};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control,
                            .msg_controllen = flags < 0 ? 0 : sizeof control};
    CHECK(recvmsg(socket, &header, flags < 0 ? 0 : flags) > 0);
    *told = header.msg_flags;
    struct cmsghdr *first = CMSG_FIRSTHDR(&header);
    if (first == NULL)
        return -1;
    int file;
    CHECK(first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS);
    CHECK_EQUAL(first->cmsg_len, CMSG_LEN(sizeof(int)));
    memcpy(&file, CMSG_DATA(first), sizeof file);
    return file;
}

#endif
