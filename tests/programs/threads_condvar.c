/* Condition variables, barriers, read-write locks, semaphores and once. */
#include "check.h"
#include <pthread.h>
#include <semaphore.h>

enum { ITEMS = 1500, SLOTS = 4, WORKERS = 4 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static int queue[SLOTS], used, head, produced;
static long long consumed_sum;
static int consumed;

static void *produce(void *unused)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        while (used == SLOTS && produced < ITEMS)
            pthread_cond_wait(&not_full, &lock);
        if (produced == ITEMS) {
            pthread_cond_broadcast(&not_full);
            pthread_mutex_unlock(&lock);
            return unused;
        }
        queue[(head + used++) % SLOTS] = ++produced;
        pthread_cond_signal(&not_empty);
        pthread_mutex_unlock(&lock);
    }
}

static void *consume(void *unused)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        while (used == 0 && consumed < ITEMS)
            pthread_cond_wait(&not_empty, &lock);
        if (consumed == ITEMS) {
            pthread_cond_broadcast(&not_empty);
            pthread_mutex_unlock(&lock);
            return unused;
        }
        consumed_sum += queue[head];
        head = (head + 1) % SLOTS;
        used--;
        if (++consumed == ITEMS)
            pthread_cond_broadcast(&not_empty);
        pthread_cond_signal(&not_full);
        pthread_mutex_unlock(&lock);
    }
}

static void bounded_queue(void)
{
    pthread_t threads[2 * WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        CHECK(pthread_create(&threads[2 * i], NULL, produce, NULL) == 0);
        CHECK(pthread_create(&threads[2 * i + 1], NULL, consume, NULL) == 0);
    }
    for (int i = 0; i < 2 * WORKERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(consumed, ITEMS);
    CHECK_EQUAL(consumed_sum, (long long)ITEMS * (ITEMS + 1) / 2);
    say("consumed %d, sum %lld", consumed, consumed_sum);
}

static void timed_wait_times_out(void)
{
    pthread_condattr_t attributes;
    pthread_cond_t cond;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&cond, &attributes) == 0);
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_nsec += 20000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&lock);
    int result;
    do
        result = pthread_cond_timedwait(&cond, &lock, &deadline);
    while (result == 0);
    CHECK_EQUAL(result, ETIMEDOUT);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(now.tv_sec > deadline.tv_sec ||
          (now.tv_sec == deadline.tv_sec && now.tv_nsec >= deadline.tv_nsec));
    pthread_mutex_unlock(&lock);
}

static pthread_cond_t gate = PTHREAD_COND_INITIALIZER;
static int waiting, opened, passed;

static void *wait_at_gate(void *unused)
{
    pthread_mutex_lock(&lock);
    waiting++;
    while (!opened)
        pthread_cond_wait(&gate, &lock);
    passed++;
    pthread_mutex_unlock(&lock);
    return unused;
}

static void broadcast_wakes_all(void)
{
    pthread_t threads[16];
    for (int i = 0; i < 16; i++)
        CHECK(pthread_create(&threads[i], NULL, wait_at_gate, NULL) == 0);
    for (int all = 0; !all;) {
        pthread_mutex_lock(&lock);
        all = waiting == 16;
        pthread_mutex_unlock(&lock);
        sched_yield();
    }
    pthread_mutex_lock(&lock);
    opened = 1;
    pthread_cond_broadcast(&gate);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 16; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(passed, 16);
}

enum { PHASES = 80, PARTIES = 5 };
static pthread_barrier_t barrier;
static int phase_of[PARTIES];
static int serial_threads;

static void *cross(void *argument)
{
    int self = (int)(intptr_t)argument;
    for (int phase = 1; phase <= PHASES; phase++) {
        phase_of[self] = phase;
        int result = pthread_barrier_wait(&barrier);
        if (result == PTHREAD_BARRIER_SERIAL_THREAD)
            __atomic_fetch_add(&serial_threads, 1, __ATOMIC_RELAXED);
        else
            CHECK_EQUAL(result, 0);
        for (int i = 0; i < PARTIES; i++)
            CHECK_EQUAL(phase_of[i], phase);
        result = pthread_barrier_wait(&barrier);
        CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
    }
    return NULL;
}

static void barrier_keeps_phases(void)
{
    pthread_t threads[PARTIES];
    CHECK(pthread_barrier_init(&barrier, NULL, PARTIES) == 0);
    for (int i = 0; i < PARTIES; i++)
        CHECK(pthread_create(&threads[i], NULL, cross, (void *)(intptr_t)i) == 0);
    for (int i = 0; i < PARTIES; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(pthread_barrier_destroy(&barrier) == 0);
    CHECK_EQUAL(serial_threads, PHASES);
    say("phases %d, serial threads %d", PHASES, serial_threads);
}

static pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER;
static long pair[2];

static void *read_pair(void *unused)
{
    for (int i = 0; i < 800; i++) {
        CHECK(pthread_rwlock_rdlock(&shared) == 0);
        CHECK_EQUAL(pair[0], pair[1]);
        CHECK(pthread_rwlock_unlock(&shared) == 0);
    }
    return unused;
}

static void *write_pair(void *unused)
{
    for (int i = 0; i < 300; i++) {
        CHECK(pthread_rwlock_wrlock(&shared) == 0);
        pair[0]++;
        sched_yield();
        pair[1]++;
        CHECK(pthread_rwlock_unlock(&shared) == 0);
    }
    return unused;
}

static void rwlock_excludes_writers(void)
{
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        CHECK(pthread_create(&threads[i], NULL, i % 3 ? read_pair : write_pair, NULL) == 0);
    for (int i = 0; i < 6; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(pair[0], 600);
    CHECK(pthread_rwlock_rdlock(&shared) == 0);
    CHECK(pthread_rwlock_tryrdlock(&shared) == 0);
    CHECK_EQUAL(pthread_rwlock_trywrlock(&shared), EBUSY);
    CHECK(pthread_rwlock_unlock(&shared) == 0);
    CHECK(pthread_rwlock_unlock(&shared) == 0);
    CHECK(pthread_rwlock_trywrlock(&shared) == 0);
    CHECK_EQUAL(pthread_rwlock_tryrdlock(&shared), EBUSY);
    CHECK(pthread_rwlock_unlock(&shared) == 0);
}

static sem_t ping, pong;

static void *answer(void *unused)
{
    for (int i = 0; i < 1000; i++) {
        CHECK(sem_wait(&ping) == 0);
        CHECK(sem_post(&pong) == 0);
    }
    return unused;
}

static void semaphores_alternate(void)
{
    pthread_t thread;
    CHECK(sem_init(&ping, 0, 0) == 0 && sem_init(&pong, 0, 0) == 0);
    CHECK_FAILS(sem_trywait(&ping), EAGAIN);
    CHECK(pthread_create(&thread, NULL, answer, NULL) == 0);
    for (int i = 0; i < 1000; i++) {
        CHECK(sem_post(&ping) == 0);
        CHECK(sem_wait(&pong) == 0);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    int value = -1;
    CHECK(sem_getvalue(&pong, &value) == 0);
    CHECK_EQUAL(value, 0);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int initialised;

static void initialise(void)
{
    pause_ms(5);
    initialised++;
}

static void *use_once(void *unused)
{
    pthread_once(&once, initialise);
    CHECK_EQUAL(initialised, 1);
    return unused;
}

static void once_runs_once(void)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, use_once, NULL) == 0);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(initialised, 1);
}

int main(void)
{
    RUN(bounded_queue);
    RUN(timed_wait_times_out);
    RUN(broadcast_wakes_all);
    RUN(barrier_keeps_phases);
    RUN(rwlock_excludes_writers);
    RUN(semaphores_alternate);
    RUN(once_runs_once);
    return 0;
}
