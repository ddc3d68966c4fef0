/* Cancellation, deferred and asynchronous, its clean-up handlers, and what holds it off. */
#include "check.h"
#include <pthread.h>
#include <semaphore.h>

static sem_t ready;
static int cleaned;

static void clean(void *argument)
{
    cleaned = cleaned * 10 + (int)(intptr_t)argument;
}

static void *wait_in_read(void *pipe_end)
{
    char byte;
    pthread_cleanup_push(clean, (void *)1);
    pthread_cleanup_push(clean, (void *)2);
    sem_post(&ready);
    CHECK(read((int)(intptr_t)pipe_end, &byte, 1) == 1);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancel_and_join(pthread_t thread)
{
    void *result;
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
}

static void a_blocking_read_is_cancelled(void)
{
    int pipe_ends[2];
    pthread_t thread;
    CHECK(pipe(pipe_ends) == 0);
    cleaned = 0;
    CHECK(pthread_create(&thread, NULL, wait_in_read, (void *)(intptr_t)pipe_ends[0]) == 0);
    sem_wait(&ready);
    pause_ms(5);
    cancel_and_join(thread);
    CHECK_EQUAL(cleaned, 21);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void unlock(void *mutex)
{
    /* The condition variable must have given the mutex back. */
    CHECK(pthread_mutex_unlock(mutex) == 0);
    cleaned = 5;
}

static void *wait_in_condition(void *unused)
{
    CHECK(pthread_mutex_lock(&lock) == 0);
    pthread_cleanup_push(unlock, &lock);
    sem_post(&ready);
    for (;;)
        pthread_cond_wait(&never, &lock);
    pthread_cleanup_pop(0);
    return unused;
}

static void a_condition_wait_is_cancelled(void)
{
    pthread_t thread;
    cleaned = 0;
    CHECK(pthread_create(&thread, NULL, wait_in_condition, NULL) == 0);
    sem_wait(&ready);
    CHECK(pthread_mutex_lock(&lock) == 0);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    cancel_and_join(thread);
    CHECK_EQUAL(cleaned, 5);
    CHECK(pthread_mutex_trylock(&lock) == 0);
    CHECK(pthread_mutex_unlock(&lock) == 0);
}

static volatile int go, held_off;

static void *hold_off(void *unused)
{
    int old;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0);
    CHECK_EQUAL(old, PTHREAD_CANCEL_ENABLE);
    sem_post(&ready);
    while (!go)
        sched_yield();
    pause_ms(1);
    held_off = 1;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL) == 0);
    pthread_testcancel();
    held_off = 2;
    return unused;
}

static void disabled_cancellation_waits(void)
{
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, hold_off, NULL) == 0);
    sem_wait(&ready);
    CHECK(pthread_cancel(thread) == 0);
    go = 1;
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
    CHECK_EQUAL(held_off, 1);
}

static void *spin(void *unused)
{
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
    sem_post(&ready);
    for (;;)
        __asm__ volatile("" ::: "memory");
    return unused;
}

static void an_asynchronous_spin_is_cancelled(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, spin, NULL) == 0);
    sem_wait(&ready);
    cancel_and_join(thread);
}

static void *leave_early(void *unused)
{
    pthread_cleanup_push(clean, (void *)7);
    pthread_exit((void *)33);
    pthread_cleanup_pop(0);
    return unused;
}

static void pthread_exit_cleans(void)
{
    pthread_t thread;
    void *result;
    cleaned = 0;
    CHECK(pthread_create(&thread, NULL, leave_early, NULL) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK_EQUAL((intptr_t)result, 33);
    CHECK_EQUAL(cleaned, 7);
}

int main(void)
{
    CHECK(sem_init(&ready, 0, 0) == 0);
    RUN(a_blocking_read_is_cancelled);
    RUN(a_condition_wait_is_cancelled);
    RUN(disabled_cancellation_waits);
    RUN(an_asynchronous_spin_is_cancelled);
    RUN(pthread_exit_cleans);
    return 0;
}
