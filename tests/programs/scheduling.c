/* Scheduling: a busy thread does not starve others, yields let others run, sleepers are prompt,
 * and every runnable thread makes progress. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { THREADS = 6 };

static volatile int quit;
static volatile unsigned long progress[THREADS];

static void *burn(void *argument)
{
    volatile unsigned long *mine = &progress[(intptr_t)argument];
    while (!quit)
        ++*mine;
    return NULL;
}

static void everyone_gets_a_share(void)
{
    pthread_t threads[THREADS];
    quit = 0;
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, burn, (void *)i) == 0);
    for (int done = 0; !done;) {
        unsigned long least = ~0ul, most = 0;
        pause_ms(20);
        for (int i = 0; i < THREADS; i++) {
            unsigned long one = progress[i];
            least = one < least ? one : least;
            most = one > most ? one : most;
        }
        /* No more than one slice apart when all have had several. */
        done = least > 0 && most / least < 4;
    }
    quit = 1;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void a_busy_loop_is_preempted(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        for (;;)
            __asm__ volatile("" ::: "memory");
    /* This one wakes all the same, many times, and can end the other. */
    for (int i = 0; i < 20; i++)
        pause_ms(1);
    CHECK(kill(child, SIGKILL) == 0);
    REAP_KILLED(child, SIGKILL);
}

static volatile int turn;

static void *alternate(void *argument)
{
    int self = (int)(intptr_t)argument;
    for (int i = 0; i < 500; i++) {
        while (turn % 2 != self)
            CHECK(sched_yield() == 0);
        turn++;
    }
    return NULL;
}

static void yields_alternate(void)
{
    pthread_t threads[2];
    for (intptr_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, alternate, (void *)i) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(turn, 1000);
}

static void many_processes(void)
{
    enum { PROCESSES = 40 };
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            volatile unsigned sum = 0;
            for (unsigned k = 0; k < 100000; k++)
                sum += k;
            _exit(i);
        }
    }
    for (int i = 0; i < PROCESSES; i++)
        REAP_EXITED(children[i], i);
}

static void affinity(void)
{
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    int first = 0;
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    cpu_set_t now;
    CHECK(sched_getaffinity(0, sizeof now, &now) == 0);
    CHECK_EQUAL(CPU_COUNT(&now), 1);
    unsigned cpu = ~0u;
    CHECK(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0);
    CHECK_EQUAL(cpu, first);
    IN_CHILD({
        CHECK(sched_getaffinity(0, sizeof now, &now) == 0);
        CHECK_EQUAL(CPU_COUNT(&now), 1);
    });
    CPU_ZERO(&one);
    CHECK_FAILS(sched_setaffinity(0, sizeof one, &one), EINVAL);
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
}

/* Only ever nicer, which everybody may be. */
static void be_nicer(void)
{
    errno = 0;
    int before = getpriority(PRIO_PROCESS, 0);
    CHECK(before < 18 && errno == 0);
    CHECK(setpriority(PRIO_PROCESS, 0, before + 1) == 0);
    CHECK_EQUAL(getpriority(PRIO_PROCESS, getpid()), before + 1);
    CHECK(setpgid(0, 0) == 0);
    CHECK(setpriority(PRIO_PGRP, 0, before + 2) == 0);
    CHECK_EQUAL(getpriority(PRIO_PGRP, getpgrp()), before + 2);
    IN_CHILD(CHECK(nice(100) == 19); CHECK_EQUAL(getpriority(PRIO_PROCESS, 0), 19));
    CHECK_EQUAL(getpriority(PRIO_PROCESS, 0), before + 2);
    CHECK_FAILS(getpriority(3, 0), EINVAL);
    CHECK_FAILS(setpriority(PRIO_PROCESS, 0x3ffffff, 0), ESRCH);
}

static void nice_values(void)
{
    IN_CHILD(be_nicer());
}

int main(void)
{
    RUN(everyone_gets_a_share);
    RUN(a_busy_loop_is_preempted);
    RUN(yields_alternate);
    RUN(many_processes);
    RUN(affinity);
    RUN(nice_values);
    return 0;
}
