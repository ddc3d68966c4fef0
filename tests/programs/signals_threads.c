/* Signals in a process of several threads: sent to one thread, or to whichever lets it in. */
#include "check.h"
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>

enum { THREADS = 4 };

static sem_t ready, handled;
static volatile int quit;
static __thread volatile sig_atomic_t mine;
static volatile pid_t handler_tid;
static volatile int counts[THREADS];
static volatile pid_t tids[THREADS];

static void handler(int number)
{
    (void)number;
    mine++;
    handler_tid = (pid_t)syscall(SYS_gettid);
    sem_post(&handled);
}

static void *spin(void *argument)
{
    int self = (int)(intptr_t)argument;
    tids[self] = (pid_t)syscall(SYS_gettid);
    sem_post(&ready);
    while (!quit)
        __asm__ volatile("" ::: "memory");
    counts[self] = mine;
    return NULL;
}

static void *sleep_long(void *argument)
{
    int self = (int)(intptr_t)argument;
    tids[self] = (pid_t)syscall(SYS_gettid);
    sem_post(&ready);
    while (!quit)
        pause_ms(1);
    counts[self] = mine;
    return NULL;
}

static void signals_reach_the_named_thread(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, i % 2 ? spin : sleep_long, (void *)(intptr_t)i) ==
              0);
    for (int i = 0; i < THREADS; i++)
        sem_wait(&ready);
    for (int round = 0; round < 40; round++) {
        int target = round % THREADS;
        if (target == 3)
            continue;
        CHECK(pthread_kill(threads[target], SIGUSR1) == 0);
        while (sem_wait(&handled) < 0)
            CHECK_EQUAL(errno, EINTR);
        CHECK_EQUAL(handler_tid, tids[target]);
    }
    quit = 1;
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK_EQUAL(counts[i], i == 3 ? 0 : 10);
    }
    CHECK_EQUAL(mine, 0);
    quit = 0;
}

static void block(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

static void *accept_signals(void *argument)
{
    block(SIG_UNBLOCK);
    return spin(argument);
}

/* Every thread but one blocks the signal: that one gets what is sent to the process. */
static void a_process_signal_finds_who_accepts_it(void)
{
    pthread_t threads[THREADS];
    block(SIG_BLOCK);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, i == 2 ? accept_signals : sleep_long,
                             (void *)(intptr_t)i) == 0);
    for (int i = 0; i < THREADS; i++)
        sem_wait(&ready);
    for (int round = 0; round < 10; round++) {
        CHECK(kill(getpid(), SIGUSR1) == 0);
        while (sem_wait(&handled) < 0)
            CHECK_EQUAL(errno, EINTR);
        CHECK_EQUAL(handler_tid, tids[2]);
    }
    quit = 1;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    quit = 0;
    block(SIG_UNBLOCK);
}

static void *wait_for_signal(void *unused)
{
    sigset_t set;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    for (;;) {
        CHECK(sigwait(&set, &number) == 0);
        if (number == SIGUSR2)
            return unused;
        __atomic_fetch_add((int *)unused, 1, __ATOMIC_SEQ_CST);
        sem_post(&handled);
    }
}

/* The usual design: all block, one thread takes them all by sigwait. */
static void one_thread_waits_for_all(void)
{
    sigset_t set;
    pthread_t thread;
    int taken = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, wait_for_signal, &taken) == 0);
    for (int i = 0; i < 20; i++) {
        CHECK(kill(getpid(), SIGUSR1) == 0);
        sem_wait(&handled);
    }
    CHECK(kill(getpid(), SIGUSR2) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQUAL(taken, 20);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

static void *check_pending(void *expected)
{
    sigset_t pending;
    CHECK(sigpending(&pending) == 0);
    CHECK_EQUAL(sigismember(&pending, SIGUSR1), (intptr_t)expected);
    return NULL;
}

static void pending_belongs_to_thread_or_process(void)
{
    pthread_t thread;
    block(SIG_BLOCK);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK(pthread_create(&thread, NULL, check_pending, (void *)0) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    check_pending((void *)1);
    sigset_t set;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigwait(&set, &number) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(pthread_create(&thread, NULL, check_pending, (void *)1) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(sigwait(&set, &number) == 0);
    check_pending((void *)0);
    block(SIG_UNBLOCK);
}

static void thread_signal_errors(void)
{
    CHECK_FAILS(syscall(SYS_tgkill, getpid(), 0x3fffffff, 0), ESRCH);
    CHECK_FAILS(syscall(SYS_tgkill, getpid() + 0x100000, getpid(), 0), ESRCH);
    CHECK_FAILS(syscall(SYS_tgkill, getpid(), getpid(), 65), EINVAL);
    CHECK_FAILS(syscall(SYS_tgkill, -1, getpid(), 0), EINVAL);
    CHECK_FAILS(syscall(SYS_tgkill, getpid(), 0, 0), EINVAL);
    CHECK_FAILS(syscall(SYS_tkill, -3, 0), EINVAL);
    CHECK(syscall(SYS_tkill, getpid(), 0) == 0);
}

int main(void)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&handled, 0, 0) == 0);
    RUN(signals_reach_the_named_thread);
    RUN(a_process_signal_finds_who_accepts_it);
    RUN(one_thread_waits_for_all);
    RUN(pending_belongs_to_thread_or_process);
    RUN(thread_signal_errors);
    return 0;
}
