/* Interrupted system calls: which restart under SA_RESTART, which give EINTR whatever is asked,
 * what is left of a sleep, and partial transfers. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

static volatile sig_atomic_t count;

static void note(int number)
{
    (void)number;
    count++;
}

static void install(int flags)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = flags};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    count = 0;
}

/* A child that signals this process as soon as it sleeps, then does `more`. */
#define MEANWHILE(more)                                                                            \
    ({                                                                                             \
        pid_t meanwhile_parent = getpid(), meanwhile = fork();                                     \
        CHECK(meanwhile >= 0);                                                                     \
        if (meanwhile == 0) {                                                                      \
            await_sleep(meanwhile_parent, meanwhile_parent);                                       \
            kill(meanwhile_parent, SIGUSR1);                                                       \
            more;                                                                                  \
            _exit(0);                                                                              \
        }                                                                                          \
        meanwhile;                                                                                 \
    })

static void read_gives_eintr(void)
{
    int ends[2];
    char byte;
    CHECK(pipe(ends) == 0);
    install(0);
    pid_t child = MEANWHILE(;);
    CHECK_FAILS(read(ends[0], &byte, 1), EINTR);
    CHECK_EQUAL(count, 1);
    REAP_EXITED(child, 0);
    close(ends[0]);
    close(ends[1]);
}

static void read_restarts(void)
{
    int ends[2];
    char byte = 0;
    CHECK(pipe(ends) == 0);
    install(SA_RESTART);
    pid_t child = MEANWHILE({
        pause_ms(20);
        CHECK(write(ends[1], "r", 1) == 1);
    });
    CHECK_EQUAL(read(ends[0], &byte, 1), 1);
    CHECK_EQUAL(count, 1);
    CHECK_EQUAL(byte, 'r');
    REAP_EXITED(child, 0);
    close(ends[0]);
    close(ends[1]);
}

static void wait_gives_eintr_or_restarts(void)
{
    int status, hold[2];
    char byte;
    CHECK(pipe(hold) == 0);
    install(0);
    /* It lives until the wait has been interrupted: its end would be told instead. */
    pid_t child = MEANWHILE({
        close(hold[1]);
        CHECK_EQUAL(read(hold[0], &byte, 1), 0);
    });
    CHECK_FAILS(waitpid(child, &status, 0), EINTR);
    close(hold[1]);
    REAP_EXITED(child, 0);
    close(hold[0]);
    install(SA_RESTART);
    child = MEANWHILE(pause_ms(30));
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(count, 1);
}

/* A write that has moved some bytes returns their count. */
static void a_partial_write_returns_its_count(void)
{
    static char data[1 << 18];
    int ends[2];
    CHECK(pipe(ends) == 0);
    install(SA_RESTART);
    pid_t child = MEANWHILE(;);
    ssize_t n = write(ends[1], data, sizeof data);
    CHECK(n > 0 && n < (ssize_t)sizeof data);
    CHECK_EQUAL(n % 4096, 0);
    CHECK_EQUAL(count, 1);
    REAP_EXITED(child, 0);
    close(ends[0]);
    close(ends[1]);
}

static void sleeps_tell_what_is_left(void)
{
    struct timespec asked = {1000, 0}, left = {0, 0};
    install(SA_RESTART);
    pid_t child = MEANWHILE(;);
    CHECK_FAILS(nanosleep(&asked, &left), EINTR);
    CHECK_EQUAL(count, 1);
    CHECK(left.tv_sec > 900 && left.tv_sec <= 1000);
    REAP_EXITED(child, 0);
    child = MEANWHILE(;);
    left.tv_sec = left.tv_nsec = 0;
    CHECK_EQUAL(clock_nanosleep(CLOCK_MONOTONIC, 0, &asked, &left), EINTR);
    CHECK(left.tv_sec > 900 && left.tv_sec <= 1000);
    REAP_EXITED(child, 0);
    /* An absolute sleep has no remainder. */
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1000;
    left.tv_sec = 77;
    child = MEANWHILE(;);
    CHECK_EQUAL(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &left), EINTR);
    CHECK_EQUAL(left.tv_sec, 77);
    REAP_EXITED(child, 0);
}

static void poll_always_gives_eintr(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    struct pollfd one = {.fd = ends[0], .events = POLLIN};
    install(SA_RESTART);
    pid_t child = MEANWHILE(;);
    CHECK_FAILS(poll(&one, 1, 1000000), EINTR);
    CHECK_EQUAL(count, 1);
    REAP_EXITED(child, 0);
    child = MEANWHILE(;);
    CHECK_FAILS(poll(NULL, 0, -1), EINTR);
    REAP_EXITED(child, 0);
    close(ends[0]);
    close(ends[1]);
}

static void pause_and_sigsuspend(void)
{
    sigset_t blocked, old, none;
    install(SA_RESTART);
    pid_t child = MEANWHILE(;);
    CHECK_FAILS(pause(), EINTR);
    CHECK_EQUAL(count, 1);
    REAP_EXITED(child, 0);
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &blocked, &old) == 0);
    child = MEANWHILE(;);
    REAP_EXITED(child, 0);
    CHECK_EQUAL(count, 1);
    /* Pending already: taken at once, with the mask back afterwards. */
    CHECK_FAILS(sigsuspend(&none), EINTR);
    CHECK_EQUAL(count, 2);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &none) == 0);
    CHECK(sigismember(&none, SIGUSR1));
    CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
}

/* Signals that are ignored, or blocked, or stop and continue, do not end a sleep. */
static void nothing_else_interrupts(void)
{
    signal(SIGUSR2, SIG_IGN);
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 0; i < 5; i++) {
            pause_ms(4);
            kill(parent, SIGUSR2);
            kill(parent, SIGWINCH);
        }
        _exit(0);
    }
    long long start = now_ms();
    struct timespec asked = {0, 60000000};
    CHECK(nanosleep(&asked, NULL) == 0);
    CHECK(now_ms() - start >= 59);
    REAP_EXITED(child, 0);
    signal(SIGUSR2, SIG_DFL);
}

static void a_stop_restarts_what_it_interrupted(void)
{
    int ends[2], status;
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char byte;
        struct timespec asked = {0, 40000000};
        close(ends[1]);
        CHECK(nanosleep(&asked, NULL) == 0);
        CHECK_EQUAL(read(ends[0], &byte, 1), 1);
        _exit(byte);
    }
    for (int i = 0; i < 3; i++) {
        pause_ms(20);
        CHECK(kill(child, SIGSTOP) == 0);
        CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
        CHECK(WIFSTOPPED(status));
        CHECK(kill(child, SIGCONT) == 0);
    }
    CHECK(write(ends[1], "\x19", 1) == 1);
    REAP_EXITED(child, 0x19);
    close(ends[0]);
    close(ends[1]);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t main_thread;

static void *signal_then_unlock(void *unused)
{
    CHECK(pthread_mutex_lock(&lock) == 0);
    *(volatile int *)unused = 1;
    pause_ms(20);
    pthread_kill(main_thread, SIGUSR1);
    pause_ms(20);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    return NULL;
}

static void locks_are_not_interrupted(void)
{
    volatile int taken = 0;
    pthread_t thread;
    install(0);
    main_thread = pthread_self();
    CHECK(pthread_create(&thread, NULL, signal_then_unlock, (void *)&taken) == 0);
    while (!taken)
        sched_yield();
    CHECK(pthread_mutex_lock(&lock) == 0);
    CHECK_EQUAL(count, 1);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(void)
{
    RUN(read_gives_eintr);
    RUN(read_restarts);
    RUN(wait_gives_eintr_or_restarts);
    RUN(a_partial_write_returns_its_count);
    RUN(sleeps_tell_what_is_left);
    RUN(poll_always_gives_eintr);
    RUN(pause_and_sigsuspend);
    RUN(nothing_else_interrupts);
    RUN(a_stop_restarts_what_it_interrupted);
    RUN(locks_are_not_interrupted);
    return 0;
}
