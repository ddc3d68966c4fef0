/* Mutexes of every type under contention, and the errors they must report. */
#include "check.h"
#include <pthread.h>

enum { THREADS = 8, ROUNDS = 20000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long counter;
static volatile long unordered[2];

static void *add(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        CHECK(pthread_mutex_lock(&lock) == 0);
        /* Both halves move together only if the lock excludes. */
        unordered[0]++;
        counter++;
        CHECK_EQUAL(unordered[0] - unordered[1], 1);
        unordered[1]++;
        CHECK(pthread_mutex_unlock(&lock) == 0);
    }
    return unused;
}

static void excludes(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, add, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(counter, (long)THREADS * ROUNDS);
    say("counter %ld", counter);
}

static void *try_taken(void *mutex)
{
    return (void *)(intptr_t)pthread_mutex_trylock(mutex);
}

static intptr_t try_in_thread(pthread_mutex_t *mutex)
{
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, try_taken, mutex) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    return (intptr_t)result;
}

static void trylock_is_busy(void)
{
    CHECK(pthread_mutex_lock(&lock) == 0);
    CHECK_EQUAL(try_in_thread(&lock), EBUSY);
    CHECK(pthread_mutex_unlock(&lock) == 0);
}

static void make(pthread_mutex_t *mutex, int type)
{
    pthread_mutexattr_t attributes;
    CHECK(pthread_mutexattr_init(&attributes) == 0);
    CHECK(pthread_mutexattr_settype(&attributes, type) == 0);
    CHECK(pthread_mutex_init(mutex, &attributes) == 0);
    CHECK(pthread_mutexattr_destroy(&attributes) == 0);
}

static void recursive_counts(void)
{
    pthread_mutex_t mutex;
    make(&mutex, PTHREAD_MUTEX_RECURSIVE);
    for (int i = 0; i < 10; i++)
        CHECK(pthread_mutex_lock(&mutex) == 0);
    for (int i = 0; i < 9; i++)
        CHECK(pthread_mutex_unlock(&mutex) == 0);
    CHECK_EQUAL(try_in_thread(&mutex), EBUSY);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    CHECK_EQUAL(pthread_mutex_unlock(&mutex), EPERM);
    CHECK(pthread_mutex_destroy(&mutex) == 0);
}

static void errorcheck_reports(void)
{
    pthread_mutex_t mutex;
    make(&mutex, PTHREAD_MUTEX_ERRORCHECK);
    CHECK_EQUAL(pthread_mutex_unlock(&mutex), EPERM);
    CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK_EQUAL(pthread_mutex_lock(&mutex), EDEADLK);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    CHECK(pthread_mutex_destroy(&mutex) == 0);
}

static void *timed(void *mutex)
{
    long long start = now_ms();
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_nsec += 30000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    int result = pthread_mutex_timedlock(mutex, &deadline);
    CHECK(now_ms() - start >= 25);
    return (void *)(intptr_t)result;
}

static void timedlock_times_out(void)
{
    pthread_t thread;
    void *result;
    CHECK(pthread_mutex_lock(&lock) == 0);
    CHECK(pthread_create(&thread, NULL, timed, &lock) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK_EQUAL((intptr_t)result, ETIMEDOUT);
    CHECK(pthread_mutex_unlock(&lock) == 0);
}

static void spin_excludes(void)
{
    static pthread_spinlock_t spin;
    CHECK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE) == 0);
    CHECK(pthread_spin_lock(&spin) == 0);
    CHECK_EQUAL(pthread_spin_trylock(&spin), EBUSY);
    CHECK(pthread_spin_unlock(&spin) == 0);
    CHECK(pthread_spin_trylock(&spin) == 0);
    CHECK(pthread_spin_unlock(&spin) == 0);
    CHECK(pthread_spin_destroy(&spin) == 0);
}

int main(void)
{
    RUN(excludes);
    RUN(trylock_is_busy);
    RUN(recursive_counts);
    RUN(errorcheck_reports);
    RUN(timedlock_times_out);
    RUN(spin_excludes);
    return 0;
}
