/* Robust futexes and locks shared between processes: an owner's death is told to the next. */
#include "check.h"
#include "futex.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_barrier_t barrier;
    sem_t semaphore;
    int value, ready;
};

static struct shared *shared;

static void make_mutex(int robust)
{
    pthread_mutexattr_t attributes;
    CHECK(pthread_mutexattr_init(&attributes) == 0);
    CHECK(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
    if (robust)
        CHECK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
    CHECK(pthread_mutex_init(&shared->mutex, &attributes) == 0);
    CHECK(pthread_mutexattr_destroy(&attributes) == 0);
}

static void a_shared_mutex_excludes(void)
{
    pid_t children[4];
    make_mutex(0);
    shared->value = 0;
    for (int c = 0; c < 4; c++) {
        children[c] = fork();
        CHECK(children[c] >= 0);
        if (children[c] == 0) {
            for (int i = 0; i < 2000; i++) {
                CHECK(pthread_mutex_lock(&shared->mutex) == 0);
                int old = shared->value;
                if (i % 100 == 0)
                    sched_yield();
                shared->value = old + 1;
                CHECK(pthread_mutex_unlock(&shared->mutex) == 0);
            }
            _exit(0);
        }
    }
    for (int c = 0; c < 4; c++)
        REAP_EXITED(children[c], 0);
    CHECK_EQUAL(shared->value, 8000);
    say("shared counter %d", shared->value);
}

static void a_dead_owner_is_told(void)
{
    make_mutex(1);
    for (int round = 0; round < 3; round++) {
        IN_CHILD(CHECK(pthread_mutex_lock(&shared->mutex) == 0));
        CHECK_EQUAL(pthread_mutex_lock(&shared->mutex), EOWNERDEAD);
        CHECK(pthread_mutex_consistent(&shared->mutex) == 0);
        CHECK(pthread_mutex_unlock(&shared->mutex) == 0);
    }
    IN_CHILD(CHECK(pthread_mutex_lock(&shared->mutex) == 0));
    CHECK_EQUAL(pthread_mutex_lock(&shared->mutex), EOWNERDEAD);
    /* Not made consistent: useless from now on. */
    CHECK(pthread_mutex_unlock(&shared->mutex) == 0);
    CHECK_EQUAL(pthread_mutex_lock(&shared->mutex), ENOTRECOVERABLE);
    CHECK(pthread_mutex_destroy(&shared->mutex) == 0);
}

static void a_waiter_learns_of_a_kill(void)
{
    make_mutex(1);
    shared->ready = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(pthread_mutex_lock(&shared->mutex) == 0);
        __atomic_store_n(&shared->ready, 1, __ATOMIC_SEQ_CST);
        for (;;)
            pause();
    }
    while (!__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST))
        sched_yield();
    CHECK_EQUAL(pthread_mutex_trylock(&shared->mutex), EBUSY);
    pid_t killer = fork();
    CHECK(killer >= 0);
    if (killer == 0) {
        pause_ms(20);
        kill(child, SIGKILL);
        _exit(0);
    }
    /* Asleep in the kernel when the owner dies. */
    CHECK_EQUAL(pthread_mutex_lock(&shared->mutex), EOWNERDEAD);
    CHECK(pthread_mutex_consistent(&shared->mutex) == 0);
    CHECK(pthread_mutex_unlock(&shared->mutex) == 0);
    REAP_KILLED(child, SIGKILL);
    REAP_EXITED(killer, 0);
}

static void *die_holding(void *mutex)
{
    CHECK(pthread_mutex_lock(mutex) == 0);
    return NULL;
}

static void a_thread_is_an_owner_too(void)
{
    pthread_t thread;
    make_mutex(1);
    CHECK(pthread_create(&thread, NULL, die_holding, &shared->mutex) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQUAL(pthread_mutex_lock(&shared->mutex), EOWNERDEAD);
    CHECK(pthread_mutex_consistent(&shared->mutex) == 0);
    CHECK(pthread_mutex_unlock(&shared->mutex) == 0);
}

static void shared_conditions(void)
{
    pthread_condattr_t attributes;
    make_mutex(0);
    shared->value = 0;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
    CHECK(pthread_cond_init(&shared->cond, &attributes) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    for (int i = 0; i < 200; i++) {
        CHECK(pthread_mutex_lock(&shared->mutex) == 0);
        while (shared->value % 2 != (child == 0))
            CHECK(pthread_cond_wait(&shared->cond, &shared->mutex) == 0);
        shared->value++;
        CHECK(pthread_cond_broadcast(&shared->cond) == 0);
        CHECK(pthread_mutex_unlock(&shared->mutex) == 0);
    }
    if (child == 0)
        _exit(0);
    REAP_EXITED(child, 0);
    CHECK_EQUAL(shared->value, 400);
}

static void shared_barriers_and_semaphores(void)
{
    pthread_barrierattr_t attributes;
    CHECK(pthread_barrierattr_init(&attributes) == 0);
    CHECK(pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
    CHECK(pthread_barrier_init(&shared->barrier, &attributes, 3) == 0);
    CHECK(sem_init(&shared->semaphore, 1, 0) == 0);
    pid_t children[2];
    for (int c = 0; c < 2; c++) {
        children[c] = fork();
        CHECK(children[c] >= 0);
        if (children[c] == 0) {
            for (int i = 0; i < 50; i++) {
                CHECK(sem_post(&shared->semaphore) == 0);
                int result = pthread_barrier_wait(&shared->barrier);
                CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 50; i++) {
        CHECK(sem_wait(&shared->semaphore) == 0 && sem_wait(&shared->semaphore) == 0);
        int result = pthread_barrier_wait(&shared->barrier);
        CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
    }
    REAP_EXITED(children[0], 0);
    REAP_EXITED(children[1], 0);
}

/* The list itself: what the kernel writes into a word whose owner has gone. */
static void the_robust_list(void)
{
    struct {
        struct robust_list_head head;
        struct robust_list node;
        int word;
    } *lists = (void *)(shared + 1);
    lists->head.list.next = &lists->node;
    lists->node.next = &lists->head.list;
    lists->head.futex_offset = (char *)&lists->word - (char *)&lists->node;
    lists->head.list_op_pending = NULL;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        lists->word = (int)syscall(SYS_gettid) | (int)FUTEX_WAITERS;
        CHECK(syscall(SYS_set_robust_list, &lists->head, sizeof lists->head) == 0);
        CHECK_FAILS(syscall(SYS_set_robust_list, &lists->head, 1), EINVAL);
        syscall(SYS_exit, 0);
    }
    REAP_EXITED(child, 0);
    CHECK_EQUAL((unsigned)lists->word, FUTEX_OWNER_DIED | FUTEX_WAITERS);
    /* A list that leads nowhere does no harm. */
    lists->node.next = BAD;
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(syscall(SYS_set_robust_list, &lists->head, sizeof lists->head) == 0);
        syscall(SYS_exit, 3);
    }
    REAP_EXITED(child, 3);
    /* Nor does one without an end. */
    lists->node.next = &lists->node;
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(syscall(SYS_set_robust_list, &lists->head, sizeof lists->head) == 0);
        syscall(SYS_exit, 4);
    }
    REAP_EXITED(child, 4);
}

int main(void)
{
    shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    RUN(a_shared_mutex_excludes);
    RUN(a_dead_owner_is_told);
    RUN(a_waiter_learns_of_a_kill);
    RUN(a_thread_is_an_owner_too);
    RUN(shared_conditions);
    RUN(shared_barriers_and_semaphores);
    RUN(the_robust_list);
    return 0;
}
