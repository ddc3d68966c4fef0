/* Watches: what is told of names, bytes and attributes, and in which order. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int set;

/* One event is there next, of this watch and name; returns its cookie. */
static uint32_t next(int watch, uint32_t what, const char *name)
{
    static char bytes[4096];
    static size_t at, end;
    if (at == end) {
        ssize_t got = read(set, bytes, sizeof bytes);
        if (got <= 0)
            say("there is no event %x for %s", what, name);
        CHECK(got > 0);
        at = 0, end = (size_t)got;
    }
    struct inotify_event event;
    memcpy(&event, bytes + at, sizeof event);
    const char *told = event.len > 0 ? bytes + at + sizeof event : "";
    if (event.mask != what || event.wd != watch || strcmp(told, name) != 0)
        say("event %x of watch %d, name '%s'", event.mask, event.wd, told);
    CHECK_EQUAL(event.mask, what);
    CHECK_EQUAL(event.wd, watch);
    CHECK(strcmp(told, name) == 0);
    CHECK(event.len % sizeof event == 0 && (event.len == 0) == (*name == 0));
    at += sizeof event + event.len;
    return event.cookie;
}

/* Nothing is there that was not asked for. */
static void no_more(void)
{
    int there = -1;
    char byte[4096];
    CHECK(ioctl(set, FIONREAD, &there) == 0);
    CHECK_EQUAL(there, 0);
    CHECK_FAILS(read(set, byte, sizeof byte), EAGAIN);
}

static void names_are_told(void)
{
    CHECK(mkdir("watched", 0755) == 0 && mkdir("other", 0755) == 0);
    int dir = inotify_add_watch(set, "watched", IN_CREATE | IN_DELETE | IN_MOVE | IN_ONLYDIR);
    int other = inotify_add_watch(set, "other", IN_MOVE);
    CHECK(dir > 0 && other > 0 && dir != other);
    int file = open("watched/file", O_CREAT | O_WRONLY, 0644);
    CHECK(file >= 0 && close(file) == 0);
    next(dir, IN_CREATE, "file");
    CHECK(mkdir("watched/dir", 0755) == 0);
    next(dir, IN_CREATE | IN_ISDIR, "dir");
    CHECK(symlink("x", "watched/a link with a longer name") == 0);
    next(dir, IN_CREATE, "a link with a longer name");
    CHECK(rename("watched/file", "watched/moved") == 0);
    uint32_t cookie = next(dir, IN_MOVED_FROM, "file");
    CHECK(cookie != 0 && next(dir, IN_MOVED_TO, "moved") == cookie);
    CHECK(rename("watched/dir", "other/dir") == 0);
    uint32_t later = next(dir, IN_MOVED_FROM | IN_ISDIR, "dir");
    CHECK(later != cookie && next(other, IN_MOVED_TO | IN_ISDIR, "dir") == later);
    CHECK(unlink("watched/moved") == 0 && rmdir("other/dir") == 0);
    next(dir, IN_DELETE, "moved");
    CHECK(unlink("watched/a link with a longer name") == 0);
    next(dir, IN_DELETE, "a link with a longer name");
    CHECK_EQUAL(inotify_rm_watch(set, other), 0);
    next(other, IN_IGNORED, "");
    CHECK_FAILS(inotify_rm_watch(set, other), EINVAL);
    /* A watch goes with what it is on. */
    CHECK(rmdir("watched") == 0 && rmdir("other") == 0);
    next(dir, IN_IGNORED, "");
    no_more();
}

static void bytes_and_attributes_are_told(void)
{
    char text[8];
    CHECK(mkdir("dir", 0755) == 0);
    int dir = inotify_add_watch(set, "dir", IN_ALL_EVENTS);
    CHECK(dir > 0);
    int file = open("dir/file", O_CREAT | O_RDWR, 0600);
    CHECK(file >= 0);
    next(dir, IN_CREATE, "file");
    next(dir, IN_OPEN, "file");
    int own = inotify_add_watch(set, "dir/file", IN_ALL_EVENTS);
    CHECK(own > 0 && own != dir);
    CHECK_EQUAL(write(file, "abc", 3), 3);
    next(dir, IN_MODIFY, "file");
    next(own, IN_MODIFY, "");
    /* The same once more, while it was not read, is told once. */
    CHECK(pread(file, text, 3, 0) == 3 && ftruncate(file, 1) == 0);
    next(dir, IN_ACCESS, "file");
    next(own, IN_ACCESS, "");
    next(dir, IN_MODIFY, "file");
    next(own, IN_MODIFY, "");
    CHECK(close(file) == 0);
    next(dir, IN_CLOSE_WRITE, "file");
    next(own, IN_CLOSE_WRITE, "");
    CHECK(chmod("dir/file", 0644) == 0);
    next(dir, IN_ATTRIB, "file");
    next(own, IN_ATTRIB, "");
    file = open("dir/file", O_RDONLY);
    CHECK(file >= 0 && close(file) == 0);
    next(dir, IN_OPEN, "file");
    next(own, IN_OPEN, "");
    next(dir, IN_CLOSE_NOWRITE, "file");
    next(own, IN_CLOSE_NOWRITE, "");
    CHECK(rename("dir/file", "dir/name") == 0);
    next(dir, IN_MOVED_FROM, "file");
    next(dir, IN_MOVED_TO, "name");
    next(own, IN_MOVE_SELF, "");
    CHECK(unlink("dir/name") == 0);
    next(own, IN_ATTRIB, "");
    next(own, IN_DELETE_SELF, "");
    next(own, IN_IGNORED, "");
    next(dir, IN_DELETE, "name");
    CHECK(rmdir("dir") == 0);
    next(dir, IN_DELETE_SELF, "");
    next(dir, IN_IGNORED, "");
    no_more();
}

static void watches_can_be_changed(void)
{
    int file = open("file", O_CREAT | O_RDWR, 0644);
    CHECK(file >= 0);
    int watch = inotify_add_watch(set, "file", IN_ATTRIB);
    CHECK(watch > 0);
    CHECK_EQUAL(inotify_add_watch(set, "file", IN_MODIFY), watch);
    CHECK(fchmod(file, 0600) == 0 && write(file, "x", 1) == 1);
    next(watch, IN_MODIFY, "");
    CHECK_EQUAL(inotify_add_watch(set, "file", IN_ATTRIB | IN_MASK_ADD), watch);
    CHECK_FAILS(inotify_add_watch(set, "file", IN_ATTRIB | IN_MASK_CREATE), EEXIST);
    CHECK(fchmod(file, 0640) == 0 && write(file, "x", 1) == 1);
    next(watch, IN_ATTRIB, "");
    next(watch, IN_MODIFY, "");
    CHECK_EQUAL(inotify_add_watch(set, "file", IN_MODIFY | IN_ONESHOT), watch);
    CHECK(write(file, "x", 1) == 1 && write(file, "x", 1) == 1);
    next(watch, IN_MODIFY, "");
    next(watch, IN_IGNORED, "");
    no_more();
    CHECK_FAILS(inotify_add_watch(set, "file", 0), EINVAL);
    CHECK_FAILS(inotify_add_watch(set, "file", IN_MODIFY | IN_ONLYDIR), ENOTDIR);
    CHECK_FAILS(inotify_add_watch(set, "none", IN_MODIFY), ENOENT);
    CHECK_FAILS(inotify_add_watch(set, BAD, IN_MODIFY), EFAULT);
    CHECK_FAILS(inotify_add_watch(file, "file", IN_MODIFY), EINVAL);
    CHECK_FAILS(inotify_add_watch(999, "file", IN_MODIFY), EBADF);
    CHECK_FAILS(inotify_init1(1), EINVAL);
    CHECK(close(file) == 0 && unlink("file") == 0);
}

/* Who waits is woken, and what does not fit stays. */
static void events_are_waited_for(void)
{
    char bytes[64];
    int waits = inotify_init();
    CHECK(waits >= 0 && mkdir("dir", 0755) == 0);
    CHECK(inotify_add_watch(waits, "dir", IN_CREATE) == 1);
    struct pollfd one = {.fd = waits, .events = POLLIN | POLLOUT};
    CHECK_EQUAL(poll(&one, 1, 0), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pause_ms(20);
        CHECK(mkdir("dir/sub", 0755) == 0);
        _exit(0);
    }
    CHECK(poll(&one, 1, -1) == 1 && one.revents == POLLIN);
    CHECK_FAILS(read(waits, bytes, 20), EINVAL);
    CHECK_EQUAL(read(waits, bytes, sizeof bytes), 32);
    REAP_EXITED(child, 0);
    CHECK(rmdir("dir/sub") == 0 && rmdir("dir") == 0 && close(waits) == 0);
}

int main(void)
{
    set = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    CHECK(set >= 0 && fcntl(set, F_GETFD) == FD_CLOEXEC);
    RUN(names_are_told);
    RUN(bytes_and_attributes_are_told);
    RUN(watches_can_be_changed);
    RUN(events_are_waited_for);
    CHECK(close(set) == 0);
    return 0;
}
