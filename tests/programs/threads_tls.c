/* Thread-local storage: the initial image, alignment, isolation, and keys with destructors. */
#include "check.h"
#include <pthread.h>

enum { THREADS = 6 };

static __thread int initialised = 41;
static __thread int zeroed;
static __thread char big[5000];
static __thread long aligned __attribute__((aligned(64))) = 7;
static __thread const char *text = "image";

static void *addresses[THREADS];
static pthread_barrier_t all_ran;

static void *body(void *argument)
{
    int self = (int)(intptr_t)argument;
    CHECK_EQUAL(initialised, 41);
    CHECK_EQUAL(zeroed, 0);
    CHECK_EQUAL(aligned, 7);
    CHECK_EQUAL((uintptr_t)&aligned % 64, 0);
    CHECK(strcmp(text, "image") == 0);
    for (size_t i = 0; i < sizeof big; i++)
        CHECK_EQUAL(big[i], 0);
    addresses[self] = &initialised;
    for (int i = 0; i < 2000; i++) {
        initialised = self * 100000 + i;
        zeroed = -initialised;
        memset(big, self + 1, sizeof big);
        if (i % 50 == 0)
            sched_yield();
        CHECK_EQUAL(initialised, self * 100000 + i);
        CHECK_EQUAL(zeroed, -(self * 100000 + i));
        CHECK_EQUAL(big[i % (int)sizeof big], self + 1);
    }
    /* All alive at once, so that no two can share an address. */
    pthread_barrier_wait(&all_ran);
    return NULL;
}

static void variables_are_private(void)
{
    pthread_t threads[THREADS];
    CHECK(pthread_barrier_init(&all_ran, NULL, THREADS) == 0);
    initialised = 1;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, body, (void *)(intptr_t)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(initialised, 1);
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < i; j++)
            CHECK(addresses[i] != addresses[j]);
}

static void survive_fork(void)
{
    initialised = 77;
    IN_CHILD({
        CHECK_EQUAL(initialised, 77);
        initialised = 78;
    });
    CHECK_EQUAL(initialised, 77);
}

static pthread_key_t key, second_key;
static int destroyed[THREADS];

static void destroy(void *value)
{
    int self = (int)(intptr_t)value;
    /* Put back once: destructors must run again. */
    if (++destroyed[self - 1] == 1)
        CHECK(pthread_setspecific(key, value) == 0);
}

static void *use_key(void *value)
{
    CHECK(pthread_getspecific(key) == NULL);
    CHECK(pthread_setspecific(key, value) == 0);
    CHECK(pthread_setspecific(second_key, NULL) == 0);
    sched_yield();
    CHECK(pthread_getspecific(key) == value);
    return NULL;
}

static void keys_are_destroyed(void)
{
    pthread_t threads[THREADS];
    CHECK(pthread_key_create(&key, destroy) == 0);
    CHECK(pthread_key_create(&second_key, destroy) == 0);
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, use_key, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQUAL(destroyed[i], 2);
    CHECK(pthread_key_delete(key) == 0);
}

static void *set_errno(void *argument)
{
    for (int i = 0; i < 1000; i++) {
        errno = (int)(intptr_t)argument;
        sched_yield();
        CHECK_EQUAL(errno, (intptr_t)argument);
    }
    return NULL;
}

static void errno_is_private(void)
{
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, set_errno, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void)
{
    RUN(variables_are_private);
    RUN(survive_fork);
    RUN(keys_are_destroyed);
    RUN(errno_is_private);
    return 0;
}
