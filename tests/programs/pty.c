/* Pseudo-terminals: both sides, names, sessions, sizes, job control, hang-ups, packets. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <utmp.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif

static int ready(int file)
{
    struct pollfd one = {.fd = file, .events = POLLIN | POLLOUT | POLLPRI};
    CHECK(poll(&one, 1, 0) >= 0);
    return one.revents;
}

static void type(int master, const char *keys)
{
    CHECK_EQUAL(write(master, keys, strlen(keys)), strlen(keys));
}

/* Reads until all of a text was read, and nothing else. */
static void expect(int file, const char *text)
{
    char bytes[256];
    size_t length = strlen(text), got = 0;
    CHECK(length < sizeof bytes);
    while (got < length) {
        ssize_t n = read(file, bytes + got, length - got);
        CHECK(n > 0);
        got += (size_t)n;
        CHECK(memcmp(bytes, text, got) == 0);
    }
}

static void open_pair(int *master, int *slave)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    CHECK(openpty(master, slave, NULL, NULL, &size) == 0);
}

static void close_both(int master, int slave)
{
    CHECK(close(slave) == 0 && close(master) == 0);
}

static void names_come_and_go(void)
{
    char name[64], again[64];
    unsigned number, locked;
    struct stat stats, slave_stats;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(master >= 0 && isatty(master));
    CHECK_EQUAL(fcntl(master, F_GETFD), FD_CLOEXEC);
    CHECK(ioctl(master, TIOCGPTN, &number) == 0);
    CHECK(ptsname_r(master, name, sizeof name) == 0);
    snprintf(again, sizeof again, "/dev/pts/%u", number);
    CHECK(strcmp(name, again) == 0);
    CHECK(stat(name, &stats) == 0 && S_ISCHR(stats.st_mode));
    CHECK(major(stats.st_rdev) == 136 && minor(stats.st_rdev) == number);
    /* It is locked at first. */
    CHECK(ioctl(master, TIOCGPTLCK, &locked) == 0 && locked == 1);
    CHECK_FAILS(open(name, O_RDWR | O_NOCTTY), EIO);
    CHECK_FAILS(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY), EIO);
    CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
    CHECK(ioctl(master, TIOCGPTLCK, &locked) == 0 && locked == 0);
    int slave = open(name, O_RDWR | O_NOCTTY);
    CHECK(slave >= 0 && isatty(slave));
    CHECK(ttyname_r(slave, again, sizeof again) == 0 && strcmp(name, again) == 0);
    CHECK(fstat(slave, &slave_stats) == 0 && slave_stats.st_ino == stats.st_ino);
    int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(peer >= 0 && fcntl(peer, F_GETFD) == FD_CLOEXEC);
    CHECK(ttyname_r(peer, again, sizeof again) == 0 && strcmp(name, again) == 0);
    CHECK_FAILS(ioctl(slave, TIOCGPTPEER, O_RDWR), EIO);
    CHECK_FAILS(ioctl(slave, TIOCGPTN, &number), ENOTTY);
    CHECK_FAILS(ioctl(master, TIOCSPTLCK, BAD), EFAULT);
    CHECK_FAILS(ioctl(master, TIOCGPTN, BAD), EFAULT);
    CHECK_FAILS(ioctl(master, 0x54ff, 0), ENOTTY);
    CHECK_FAILS(lseek(master, 0, SEEK_SET), ESPIPE);
    CHECK_FAILS(unlink(name), EPERM);
    CHECK(mkdir("/dev/pts/x", 0755) < 0);
    CHECK(close(peer) == 0 && close(slave) == 0);
    CHECK(close(master) == 0);
    CHECK_FAILS(stat(name, &stats), ENOENT);
}

static void lines_are_edited_and_shown(void)
{
    int master, slave;
    struct termios modes;
    open_pair(&master, &slave);
    CHECK(tcgetattr(master, &modes) == 0);
    CHECK(modes.c_lflag == (ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN));
    CHECK(modes.c_oflag == (OPOST | ONLCR) && modes.c_iflag == (ICRNL | IXON));
    CHECK_EQUAL(cfgetospeed(&modes), B38400);
    CHECK_EQUAL(ready(slave), POLLOUT);
    CHECK_EQUAL(ready(master), POLLOUT);
    type(master, "ax\177b\003c\n");
    expect(slave, "c\n");
    /* What was echoed before the interrupt is flushed with it. */
    expect(master, "^Cc\r\n");
    CHECK_EQUAL(write(slave, "out\n", 4), 4);
    CHECK_EQUAL(ready(master), POLLIN | POLLOUT);
    int there;
    CHECK(ioctl(master, FIONREAD, &there) == 0 && there == 5);
    expect(master, "out\r\n");
    type(master, "end\004\004");
    char text[8];
    CHECK_EQUAL(read(slave, text, sizeof text), 3);
    CHECK_EQUAL(read(slave, text, sizeof text), 0);
    expect(master, "end");
    /* Modes that are set on one side hold on the other. */
    cfmakeraw(&modes);
    CHECK(tcsetattr(master, TCSANOW, &modes) == 0);
    CHECK(tcgetattr(slave, &modes) == 0 && !(modes.c_lflag & (ICANON | ECHO)));
    type(master, "raw\003\r");
    expect(slave, "raw\003\r");
    CHECK_EQUAL(write(slave, "a\nb", 3), 3);
    expect(master, "a\nb");
    type(master, "gone");
    CHECK(tcflush(slave, TCIFLUSH) == 0);
    CHECK_EQUAL(ready(slave), POLLOUT);
    CHECK_EQUAL(write(slave, "x", 1), 1);
    CHECK(tcdrain(slave) == 0);
    expect(master, "x");
    CHECK(fcntl(master, F_SETFL, O_NONBLOCK) == 0);
    CHECK_FAILS(read(master, text, 1), EAGAIN);
    /* Neither side takes more than it has room for. */
    CHECK(fcntl(slave, F_SETFL, O_NONBLOCK) == 0);
    static char many[1 << 16];
    while (write(slave, many, sizeof many) > 0)
        ;
    CHECK_EQUAL(errno, EAGAIN);
    CHECK_EQUAL(ready(slave) & POLLOUT, 0);
    ssize_t got;
    while ((got = read(master, many, sizeof many)) > 0)
        ;
    CHECK(got == -1 && errno == EAGAIN);
    CHECK_EQUAL(ready(slave), POLLOUT);
    close_both(master, slave);
}

static void an_end_that_is_gone(void)
{
    int master, slave;
    char text[8], name[64];
    struct termios modes;
    open_pair(&master, &slave);
    CHECK(ptsname_r(master, name, sizeof name) == 0);
    CHECK_EQUAL(write(slave, "last", 4), 4);
    CHECK(close(slave) == 0);
    CHECK_EQUAL(ready(master), POLLIN | POLLOUT | POLLHUP);
    expect(master, "last");
    CHECK_FAILS(read(master, text, 1), EIO);
    CHECK_EQUAL(ready(master), POLLOUT | POLLHUP);
    /* It can be opened again. */
    slave = open(name, O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
    CHECK_EQUAL(ready(master), POLLOUT);
    type(master, "lost\n");
    CHECK(close(master) == 0);
    CHECK_EQUAL(read(slave, text, sizeof text), 0);
    CHECK_FAILS(write(slave, "x", 1), EIO);
    CHECK_FAILS(tcgetattr(slave, &modes), EIO);
    CHECK_EQUAL(ready(slave), POLLIN | POLLOUT | POLLERR | POLLHUP);
    CHECK_FAILS(open(name, O_RDWR), ENOENT);
    CHECK(close(slave) == 0);
}

static volatile sig_atomic_t hung_up, continued, resized, interrupted;

static void note(int number)
{
    if (number == SIGHUP)
        hung_up++;
    if (number == SIGCONT)
        continued++;
    if (number == SIGWINCH)
        resized++;
    if (number == SIGINT)
        interrupted++;
}

static void catch(int number)
{
    struct sigaction action = {.sa_handler = note};
    CHECK(sigaction(number, &action, NULL) == 0);
}

static void wait_for(volatile sig_atomic_t *count)
{
    for (int n = 0; n < 20000 && *count == 0; n++)
        pause_ms(1);
    CHECK_EQUAL(*count, 1);
}

static int tty_master, tty_slave;
static char tty_name[64];

static void by_the_call(void)
{
    CHECK_FAILS(ioctl(tty_slave, TIOCSCTTY, 0), EPERM);
    CHECK(setsid() == getpid());
    CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
    CHECK_FAILS(tcgetpgrp(tty_slave), ENOTTY);
    CHECK_FAILS(tcgetsid(tty_slave), ENOTTY);
    CHECK_FAILS(ioctl(tty_slave, TIOCNOTTY), ENOTTY);
    CHECK(ioctl(tty_slave, TIOCSCTTY, 0) == 0);
    CHECK(ioctl(tty_slave, TIOCSCTTY, 0) == 0);
    int tty = open("/dev/tty", O_RDWR);
    CHECK(tty >= 0);
    CHECK(tcgetpgrp(tty) == getpid() && tcgetsid(tty_slave) == getpid());
    CHECK(tcgetpgrp(tty_master) == getpid());
    CHECK_EQUAL(write(tty, "here", 4), 4);
    expect(tty_master, "here");
    /* One is enough. */
    int master, slave;
    open_pair(&master, &slave);
    CHECK_FAILS(ioctl(slave, TIOCSCTTY, 0), EPERM);
    close_both(master, slave);
    /* It can be given up. */
    catch(SIGHUP);
    catch(SIGCONT);
    CHECK(ioctl(tty, TIOCNOTTY) == 0);
    CHECK(hung_up == 1 && continued == 1);
    CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
}

static void what_others_have_is_not_to_be_had(void)
{
    CHECK_FAILS(ioctl(tty_slave, TIOCSCTTY, 0), EPERM);
    CHECK(open("/dev/tty", O_RDWR) >= 0);
    /* A session of one's own leaves the terminal behind. */
    CHECK(setsid() == getpid());
    CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
    CHECK_FAILS(tcgetpgrp(tty_slave), ENOTTY);
    CHECK_FAILS(ioctl(tty_slave, TIOCSCTTY, 0), EPERM);
}

static void by_opening(void)
{
    CHECK(setsid() == getpid());
    CHECK(open(tty_name, O_RDWR | O_NOCTTY) >= 0);
    CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
    CHECK(open(tty_name, O_RDWR) >= 0);
    int file = open("/dev/tty", O_RDWR | O_CLOEXEC);
    CHECK(file >= 0 && tcgetpgrp(file) == getpid());
    IN_CHILD(what_others_have_is_not_to_be_had());
}

static void by_login_tty(void)
{
    CHECK(login_tty(tty_slave) == 0);
    CHECK(ttyname(0) != NULL && strcmp(ttyname(0), tty_name) == 0);
    CHECK(tcgetpgrp(2) == getpid());
    CHECK_EQUAL(write(1, "shown\n", 6), 6);
}

/* A session gets its terminal in each of the ways there are. */
static void sessions_get_a_terminal(void)
{
    open_pair(&tty_master, &tty_slave);
    CHECK(ptsname_r(tty_master, tty_name, sizeof tty_name) == 0);
    IN_CHILD(by_the_call());
    IN_CHILD(by_opening());
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(tty_master);
        by_login_tty();
        _exit(0);
    }
    expect(tty_master, "shown\r\n");
    REAP_EXITED(child, 0);
    close_both(tty_master, tty_slave);
}

static void sizes_are_told(void)
{
    int master;
    struct winsize size = {.ws_row = 30, .ws_col = 100}, seen;
    pid_t child = forkpty(&master, NULL, NULL, &size);
    CHECK(child >= 0);
    if (child == 0) {
        catch(SIGWINCH);
        CHECK(ioctl(0, TIOCGWINSZ, &seen) == 0 && seen.ws_row == 30 && seen.ws_col == 100);
        CHECK_EQUAL(write(1, "go", 2), 2);
        wait_for(&resized);
        CHECK(ioctl(0, TIOCGWINSZ, &seen) == 0 && seen.ws_row == 31 && seen.ws_col == 90);
        _exit(7);
    }
    expect(master, "go");
    size.ws_row = 31, size.ws_col = 90;
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
    /* The same again is no change. */
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
    CHECK(ioctl(master, TIOCGWINSZ, &seen) == 0 && seen.ws_col == 90);
    REAP_EXITED(child, 7);
    CHECK(close(master) == 0);
}

static void keys_are_signals_for_the_foreground(void)
{
    int master;
    pid_t child = forkpty(&master, NULL, NULL, NULL);
    CHECK(child >= 0);
    if (child == 0) {
        catch(SIGINT);
        CHECK_EQUAL(write(1, "go", 2), 2);
        wait_for(&interrupted);
        interrupted = 0;
        CHECK_EQUAL(write(1, "on", 2), 2);
        wait_for(&interrupted);
        /* A group in the background may not read. */
        pid_t other = fork();
        CHECK(other >= 0);
        if (other == 0) {
            char byte;
            CHECK(setpgid(0, 0) == 0 && signal(SIGTTIN, SIG_DFL) != SIG_ERR);
            (void)!read(0, &byte, 1);
            CHECK_EQUAL(byte, 'x');
            _exit(0);
        }
        int status;
        CHECK(waitpid(other, &status, WUNTRACED) == other);
        CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
        /* Nor may it take the foreground, but it can be given that. */
        CHECK(signal(SIGTTOU, SIG_IGN) != SIG_ERR);
        CHECK(tcsetpgrp(0, other) == 0 && kill(other, SIGCONT) == 0);
        CHECK_EQUAL(write(1, "key", 3), 3);
        REAP_EXITED(other, 0);
        CHECK(tcgetpgrp(0) == other && tcsetpgrp(0, getpid()) == 0);
        _exit(0);
    }
    expect(master, "go");
    type(master, "\003");
    expect(master, "^Con");
    CHECK(ioctl(master, TIOCSIG, SIGINT) == 0);
    CHECK_FAILS(ioctl(master, TIOCSIG, SIGTERM), EINVAL);
    expect(master, "key");
    type(master, "x\n");
    REAP_EXITED(child, 0);
    CHECK(close(master) == 0);
}

/* Who holds the master hangs up by closing it: the leader is told, and when it ends the foreground. */
static void a_hang_up_ends_the_session(void)
{
    int master, ends[2];
    char text[8];
    CHECK(pipe(ends) == 0);
    pid_t child = forkpty(&master, NULL, NULL, NULL);
    CHECK(child >= 0);
    if (child == 0) {
        catch(SIGHUP);
        pid_t other = fork();
        CHECK(other >= 0);
        if (other == 0) {
            close(ends[0]);
            CHECK(setpgid(0, 0) == 0 && signal(SIGTTOU, SIG_IGN) != SIG_ERR);
            CHECK(tcsetpgrp(0, getpid()) == 0 && signal(SIGHUP, SIG_DFL) != SIG_ERR);
            CHECK_EQUAL(write(1, "go", 2), 2);
            pause_ms(60000);
            _exit(3);
        }
        close(ends[1]);
        close(ends[0]);
        wait_for(&hung_up);
        CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
        CHECK_EQUAL(read(0, text, 1), 0);
        CHECK_FAILS(write(1, "x", 1), EIO);
        CHECK_FAILS(tcsetpgrp(0, getpid()), ENOTTY);
        CHECK(kill(other, 0) == 0);
        _exit(5);
    }
    close(ends[1]);
    expect(master, "go");
    CHECK(close(master) == 0);
    REAP_EXITED(child, 5);
    /* The other ends by the signal, and with it the last writer of the pipe. */
    CHECK_EQUAL(read(ends[0], text, 1), 0);
    CHECK(close(ends[0]) == 0);
}

static void packets_tell_what_happens(void)
{
    int master, slave, on = 1;
    char text[64];
    struct termios modes;
    open_pair(&master, &slave);
    CHECK(ioctl(master, TIOCPKT, &on) == 0);
    CHECK_FAILS(ioctl(slave, TIOCPKT, &on), ENOTTY);
    CHECK_EQUAL(write(slave, "data", 4), 4);
    CHECK_EQUAL(read(master, text, sizeof text), 5);
    CHECK(text[0] == TIOCPKT_DATA && memcmp(text + 1, "data", 4) == 0);
    CHECK(tcflush(slave, TCIFLUSH) == 0);
    CHECK_EQUAL(ready(master), POLLIN | POLLOUT | POLLPRI);
    CHECK_EQUAL(read(master, text, sizeof text), 1);
    CHECK_EQUAL(text[0], TIOCPKT_FLUSHREAD);
    CHECK_EQUAL(ready(master), POLLOUT);
    CHECK(tcgetattr(slave, &modes) == 0);
    modes.c_iflag &= ~(unsigned)IXON;
    CHECK(tcsetattr(slave, TCSANOW, &modes) == 0);
    CHECK_EQUAL(read(master, text, sizeof text), 1);
    CHECK_EQUAL(text[0], TIOCPKT_NOSTOP);
    on = 0;
    CHECK(ioctl(master, TIOCPKT, &on) == 0);
    CHECK_EQUAL(write(slave, "data", 4), 4);
    expect(master, "data");
    close_both(master, slave);
}

static void each_has_a_number_of_its_own(void)
{
    enum { PAIRS = 20 };
    int masters[PAIRS], slaves[PAIRS];
    struct epoll_event event = {.events = EPOLLIN | EPOLLET}, happened;
    int set = epoll_create1(0);
    CHECK(set >= 0);
    for (int n = 0; n < PAIRS; n++) {
        open_pair(&masters[n], &slaves[n]);
        event.data.fd = n;
        CHECK(epoll_ctl(set, EPOLL_CTL_ADD, masters[n], &event) == 0);
    }
    for (int n = 0; n < PAIRS; n++) {
        char text[16];
        int from = n * 7 % PAIRS;
        CHECK(snprintf(text, sizeof text, "%d", from) > 0);
        CHECK(write(slaves[from], text, strlen(text)) > 0);
        CHECK_EQUAL(epoll_wait(set, &happened, 1, 30000), 1);
        CHECK(happened.data.fd == from && happened.events == EPOLLIN);
        expect(masters[from], text);
        CHECK_EQUAL(epoll_wait(set, &happened, 1, 0), 0);
    }
    for (int n = 0; n < PAIRS; n++)
        close_both(masters[n], slaves[n]);
    CHECK(close(set) == 0);
}

int main(void)
{
    RUN(names_come_and_go);
    RUN(lines_are_edited_and_shown);
    RUN(an_end_that_is_gone);
    RUN(sessions_get_a_terminal);
    RUN(sizes_are_told);
    RUN(keys_are_signals_for_the_foreground);
    RUN(a_hang_up_ends_the_session);
    RUN(packets_tell_what_happens);
    RUN(each_has_a_number_of_its_own);
    return 0;
}
