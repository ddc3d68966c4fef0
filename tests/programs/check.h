/* What every test program includes: a check that ends the program with the place and reason, and a
 * runner that prints one line for each thing verified. Output is flushed at once, so that what a
 * program printed before it died is seen, and a fork never prints it twice. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* One formatted line on standard output in one write. */
__attribute__((format(printf, 1, 2), unused)) static void say(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length < 0)
        _exit(99);
    if ((size_t)length > sizeof line - 2)
        length = sizeof line - 2;
    line[length++] = '\n';
    for (int done = 0; done < length;) {
        ssize_t n = write(1, line + done, (size_t)(length - done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(98);
        done += (int)n;
    }
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            int check_errno = errno;                                                               \
            say("FAILED %s:%d: %s (errno %d %s)", __FILE_NAME__, __LINE__, #condition,             \
                check_errno, strerror(check_errno));                                               \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Both values are shown when they differ. */
#define CHECK_EQUAL(value, wanted)                                                                 \
    do {                                                                                           \
        long long check_value = (long long)(value), check_wanted = (long long)(wanted);            \
        if (check_value != check_wanted) {                                                         \
            int check_errno = errno;                                                               \
            say("FAILED %s:%d: %s is %lld, not %s = %lld (errno %d)", __FILE_NAME__, __LINE__,     \
                #value, check_value, #wanted, check_wanted, check_errno);                          \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* The call must give -1 with this errno. */
#define CHECK_FAILS(call, wanted)                                                                  \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long long check_result = (long long)(call);                                                \
        if (check_result != -1 || errno != (wanted)) {                                             \
            int check_errno = errno;                                                               \
            say("FAILED %s:%d: %s gave %lld with errno %d, not -1 with %s", __FILE_NAME__,         \
                __LINE__, #call, check_result, check_errno, #wanted);                              \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Runs `topic()`, which ends the program when something is wrong, and says that it held. */
#define RUN(topic)                                                                                 \
    do {                                                                                           \
        topic();                                                                                   \
        say("%s: ok", #topic);                                                                     \
    } while (0)

/* The same of what only the superuser can do: for anybody else the reference is what the line says. */
#define RUN_AS_ROOT(function)                                                                      \
    do {                                                                                           \
        if (getuid() == 0)                                                                         \
            function();                                                                            \
        say("%s: ok", #function);                                                                  \
    } while (0)

/* The wait status of a child. */
__attribute__((unused)) static int reap(pid_t child)
{
    int status = -1;
    pid_t got;
    do
        got = waitpid(child, &status, 0);
    while (got < 0 && errno == EINTR);
    CHECK_EQUAL(got, child);
    return status;
}

/* Waits for a child that must have ended by `exit(code)`. */
#define REAP_EXITED(child, code)                                                                   \
    do {                                                                                           \
        int reap_status = reap(child);                                                             \
        CHECK(WIFEXITED(reap_status));                                                             \
        CHECK_EQUAL(WEXITSTATUS(reap_status), code);                                               \
    } while (0)

/* Waits for a child that must have been killed by `signal`. */
#define REAP_KILLED(child, signal)                                                                 \
    do {                                                                                           \
        int reap_status = reap(child);                                                             \
        CHECK(WIFSIGNALED(reap_status));                                                           \
        CHECK_EQUAL(WTERMSIG(reap_status), signal);                                                \
    } while (0)

/* Runs `body` in a child and checks that it ends by exit(0). */
#define IN_CHILD(body)                                                                             \
    do {                                                                                           \
        pid_t in_child = fork();                                                                   \
        CHECK(in_child >= 0);                                                                      \
        if (in_child == 0) {                                                                       \
            body;                                                                                  \
            _exit(0);                                                                              \
        }                                                                                          \
        REAP_EXITED(in_child, 0);                                                                  \
    } while (0)

/* An address that is never mapped, hidden from the compiler, which would refuse to pass it. */
__attribute__((unused)) static void *volatile bad_address = (void *)16;
#define BAD ((void *)bad_address)

/* Sleeps at least `milliseconds`, whatever signals come. */
#include <time.h>
__attribute__((unused)) static void pause_ms(long milliseconds)
{
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) < 0)
        CHECK(errno == EINTR);
}

/* Waits until a thread sleeps in the kernel, by the kernel's own account, so that what this thread does next
 * meets it there however late it comes to run. Where a fabric's /proc cannot tell, since the thread is on
 * another CPU or its process lives there, this takes a second. */
#include <fcntl.h>
__attribute__((unused)) static void await_sleep(pid_t process, pid_t thread)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)process, (int)thread);
    for (int looks = 0; looks < 500; looks++) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t length = file >= 0 ? read(file, text, sizeof text - 1) : 0;
        if (file >= 0)
            close(file);
        text[length > 0 ? length : 0] = 0;
        const char *name_end = strrchr(text, ')');
        if (name_end != NULL && strncmp(name_end, ") S", 3) == 0)
            return;
        pause_ms(2);
    }
}

/* Monotonic time in milliseconds. */
__attribute__((unused)) static long long now_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

#endif
