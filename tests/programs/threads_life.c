/* A thread's life: creation by the thousand, return values, detaching, stack sizes, ids, and the
 * ends of a process that has threads. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

static void *twice(void *argument)
{
    return (void *)((intptr_t)argument * 2);
}

static void values_are_returned(void)
{
    long sum = 0;
    for (intptr_t i = 0; i < 200; i++) {
        pthread_t thread;
        void *result;
        CHECK(pthread_create(&thread, NULL, twice, (void *)i) == 0);
        CHECK(pthread_join(thread, &result) == 0);
        sum += (intptr_t)result;
    }
    CHECK_EQUAL(sum, 199 * 200);
    say("sum of 200 threads %ld", sum);
}

enum { MANY = 60 };
static int tids[MANY];
static pthread_barrier_t together;

static void *note_tid(void *argument)
{
    tids[(intptr_t)argument] = (int)syscall(SYS_gettid);
    pthread_barrier_wait(&together);
    return NULL;
}

static void many_at_once(void)
{
    pthread_t threads[MANY];
    CHECK(pthread_barrier_init(&together, NULL, MANY) == 0);
    for (intptr_t i = 0; i < MANY; i++)
        CHECK(pthread_create(&threads[i], NULL, note_tid, (void *)i) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < MANY; i++) {
        CHECK(tids[i] > 0 && tids[i] != getpid());
        for (int j = 0; j < i; j++)
            CHECK(tids[i] != tids[j]);
    }
}

static int detached_ran;

static void *detached(void *unused)
{
    __atomic_store_n(&detached_ran, 1, __ATOMIC_RELEASE);
    return unused;
}

static void detached_threads_run(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    for (int i = 0; i < 20; i++) {
        __atomic_store_n(&detached_ran, 0, __ATOMIC_RELEASE);
        CHECK(pthread_create(&thread, i % 2 ? &attributes : NULL, detached, NULL) == 0);
        if (i % 2 == 0)
            CHECK(pthread_detach(thread) == 0);
        while (!__atomic_load_n(&detached_ran, __ATOMIC_ACQUIRE))
            sched_yield();
    }
}

static int use_stack(int depth)
{
    volatile char page[4096];
    memset((void *)page, depth, sizeof page);
    int below = depth ? use_stack(depth - 1) : 0;
    CHECK_EQUAL(page[17], (char)depth);
    return below + 1;
}

static void *deep(void *argument)
{
    return (void *)(intptr_t)use_stack((int)(intptr_t)argument);
}

static void stack_sizes(void)
{
    static const size_t sizes[] = {128 << 10, 1 << 20, 16 << 20};
    static const intptr_t depths[] = {16, 200, 3500};
    for (int i = 0; i < 3; i++) {
        pthread_attr_t attributes;
        pthread_t thread;
        void *result;
        CHECK(pthread_attr_init(&attributes) == 0);
        CHECK(pthread_attr_setstacksize(&attributes, sizes[i]) == 0);
        CHECK(pthread_create(&thread, &attributes, deep, (void *)depths[i]) == 0);
        CHECK(pthread_join(thread, &result) == 0);
        CHECK_EQUAL((intptr_t)result, depths[i] + 1);
        CHECK(pthread_attr_destroy(&attributes) == 0);
    }
}

static void *identity(void *unused)
{
    CHECK(syscall(SYS_gettid) != getpid());
    return unused;
}

static void ids_of_threads(void)
{
    pthread_t thread;
    CHECK_EQUAL(syscall(SYS_gettid), getpid());
    CHECK(pthread_create(&thread, NULL, identity, NULL) == 0);
    CHECK(!pthread_equal(thread, pthread_self()));
    CHECK(pthread_join(thread, NULL) == 0);
}

static void *spin_for_ever(void *unused)
{
    for (;;)
        __asm__ volatile("" ::: "memory");
    return unused;
}

static void *sleep_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void *exit_with_9(void *unused)
{
    pause_ms(5);
    exit(9);
    return unused;
}

static void exit_ends_every_thread(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, spin_for_ever, NULL) == 0);
        CHECK(pthread_create(&thread, NULL, sleep_for_ever, NULL) == 0);
        CHECK(pthread_create(&thread, NULL, exit_with_9, NULL) == 0);
        sleep_for_ever(NULL);
    }
    REAP_EXITED(child, 9);
}

static void *outlive_main(void *unused)
{
    pause_ms(20);
    exit(12);
    return unused;
}

static void process_outlives_its_first_thread(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, outlive_main, NULL) == 0);
        pthread_exit(NULL);
    }
    REAP_EXITED(child, 12);
    child = fork();
    CHECK(child >= 0);
    if (child == 0)
        pthread_exit(NULL);
    REAP_EXITED(child, 0);
}

static void a_fatal_signal_ends_every_thread(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, spin_for_ever, NULL) == 0);
        CHECK(pthread_create(&thread, NULL, sleep_for_ever, NULL) == 0);
        kill(getpid(), SIGTERM);
        sleep_for_ever(NULL);
    }
    REAP_KILLED(child, SIGTERM);
}

static void *fork_here(void *unused)
{
    IN_CHILD({ CHECK_EQUAL(syscall(SYS_gettid), getpid()); });
    return unused;
}

static void a_thread_forks(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fork_here, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(void)
{
    RUN(values_are_returned);
    RUN(many_at_once);
    RUN(detached_threads_run);
    RUN(stack_sizes);
    RUN(ids_of_threads);
    RUN(exit_ends_every_thread);
    RUN(process_outlives_its_first_thread);
    RUN(a_fatal_signal_ends_every_thread);
    RUN(a_thread_forks);
    return 0;
}
