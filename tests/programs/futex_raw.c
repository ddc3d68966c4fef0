/* The futex system call itself: wait, wake, bit sets, requeueing, wake-op, time-outs, sharing. */
#include "check.h"
#include "futex.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static int word, second;

static long futex(int *address, int operation, int value, const void *timeout, int *address2,
                  int value3)
{
    return syscall(SYS_futex, address, operation, value, timeout, address2, value3);
}

static void mismatches_and_time_outs(void)
{
    struct timespec some = {0, 20000000}, none = {0, 0}, bad = {0, 1000000000}, deadline;
    word = 5;
    CHECK_FAILS(futex(&word, FUTEX_WAIT, 4, NULL, NULL, 0), EAGAIN);
    CHECK_FAILS(futex(&word, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0), EAGAIN);
    long long start = now_ms();
    CHECK_FAILS(futex(&word, FUTEX_WAIT, 5, &some, NULL, 0), ETIMEDOUT);
    CHECK(now_ms() - start >= 19);
    CHECK_FAILS(futex(&word, FUTEX_WAIT, 5, &none, NULL, 0), ETIMEDOUT);
    CHECK_FAILS(futex(&word, FUTEX_WAIT, 5, &bad, NULL, 0), EINVAL);
    /* FUTEX_WAIT_BITSET takes an absolute time, monotonic or real. */
    CHECK(clock_gettime(CLOCK_MONOTONIC, &deadline) == 0);
    deadline.tv_nsec += 20000000;
    if (deadline.tv_nsec >= 1000000000)
        deadline.tv_sec++, deadline.tv_nsec -= 1000000000;
    start = now_ms();
    CHECK_FAILS(futex(&word, FUTEX_WAIT_BITSET, 5, &deadline, NULL, -1), ETIMEDOUT);
    CHECK(now_ms() - start >= 15);
    CHECK(clock_gettime(CLOCK_REALTIME, &deadline) == 0);
    CHECK_FAILS(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &deadline, NULL, -1),
                ETIMEDOUT);
}

static void bad_arguments(void)
{
    CHECK_FAILS(futex((int *)((char *)&word + 1), FUTEX_WAIT, 5, NULL, NULL, 0), EINVAL);
    CHECK_FAILS(futex(BAD, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
    CHECK_FAILS(futex(&word, 77, 0, NULL, NULL, 0), ENOSYS);
    CHECK_FAILS(futex(&word, FUTEX_WAIT_BITSET, word, NULL, NULL, 0), EINVAL);
    CHECK_FAILS(futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0), EINVAL);
    CHECK_FAILS(futex(&word, FUTEX_WAIT, word, BAD, NULL, 0), EFAULT);
    CHECK_EQUAL(futex(&word, FUTEX_WAKE, 10, NULL, NULL, 0), 0);
}

struct waiter {
    pthread_t thread;
    int *address, operation, value, bits;
    volatile int tid, woken;
};

static void *wait_here(void *argument)
{
    struct waiter *self = argument;
    self->tid = (int)syscall(SYS_gettid);
    long result = futex(self->address, self->operation, self->value, NULL, NULL, self->bits);
    CHECK_EQUAL(result, 0);
    self->woken = 1;
    return NULL;
}

static void start(struct waiter *waiter, int *address, int operation, int bits)
{
    *waiter = (struct waiter){.address = address, .operation = operation, .value = *address,
                              .bits = bits};
    CHECK(pthread_create(&waiter->thread, NULL, wait_here, waiter) == 0);
    while (waiter->tid == 0)
        sched_yield();
    /* It has to be asleep before anything is woken. */
    await_sleep(getpid(), waiter->tid);
}

/* How many are awake; waits for as many as are expected, and then a little for one too many. */
static int woken(struct waiter *waiters, int count, int expected)
{
    int sum;
    long long deadline = now_ms() + 10000;
    do {
        pause_ms(10);
        sum = 0;
        for (int i = 0; i < count; i++)
            sum += waiters[i].woken;
    } while (sum < expected && now_ms() < deadline);
    return sum;
}

static void join(struct waiter *waiters, int count)
{
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(waiters[i].thread, NULL) == 0);
}

static void wake_counts(void)
{
    struct waiter waiters[5];
    for (int i = 0; i < 5; i++)
        start(&waiters[i], &word, FUTEX_WAIT_PRIVATE, 0);
    CHECK_EQUAL(futex(&second, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0), 0);
    CHECK_EQUAL(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
    CHECK_EQUAL(woken(waiters, 5, 1), 1);
    CHECK_EQUAL(futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0), 2);
    CHECK_EQUAL(woken(waiters, 5, 3), 3);
    CHECK_EQUAL(futex(&word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0), 2);
    join(waiters, 5);
}

static void bit_sets(void)
{
    struct waiter waiters[3];
    for (int i = 0; i < 3; i++)
        start(&waiters[i], &word, FUTEX_WAIT_BITSET_PRIVATE, 1 << i);
    CHECK_EQUAL(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 8), 0);
    CHECK_EQUAL(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 2), 1);
    CHECK_EQUAL(woken(waiters, 3, 1), 1);
    CHECK_EQUAL(waiters[1].woken, 1);
    CHECK_EQUAL(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
    join(waiters, 3);
}

static void requeueing(void)
{
    struct waiter waiters[5];
    for (int i = 0; i < 5; i++)
        start(&waiters[i], &word, FUTEX_WAIT_PRIVATE, 0);
    CHECK_FAILS(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &second, word + 1), EAGAIN);
    /* One is woken, two go over; the answer counts both. */
    CHECK_EQUAL(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &second, word), 3);
    CHECK_EQUAL(woken(waiters, 5, 1), 1);
    CHECK_EQUAL(futex(&second, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
    CHECK_EQUAL(woken(waiters, 5, 3), 3);
    CHECK_EQUAL(futex(&word, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &second, 0), 2);
    CHECK_EQUAL(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
    CHECK_EQUAL(futex(&second, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
    join(waiters, 5);
}

static void wake_op(void)
{
    struct waiter waiters[2];
    word = 1;
    second = 7;
    start(&waiters[0], &word, FUTEX_WAIT_PRIVATE, 0);
    start(&waiters[1], &second, FUTEX_WAIT_PRIVATE, 0);
    /* second += 3; wake on word; and on second if it was greater than 5. */
    CHECK_EQUAL(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &second,
                      FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_GT, 5)),
                2);
    CHECK_EQUAL(second, 10);
    join(waiters, 2);
    start(&waiters[0], &second, FUTEX_WAIT_PRIVATE, 0);
    CHECK_EQUAL(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &second,
                      FUTEX_OP(FUTEX_OP_SET, 4, FUTEX_OP_CMP_EQ, 99)),
                0);
    CHECK_EQUAL(second, 4);
    CHECK_EQUAL(futex(&second, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 1);
    join(waiters, 1);
}

static void between_processes(void)
{
    int *shared =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int turn = 0; turn < 200; turn += 2) {
            while (__atomic_load_n(shared, __ATOMIC_SEQ_CST) != turn + 1)
                futex(shared, FUTEX_WAIT, turn, NULL, NULL, 0);
            __atomic_store_n(shared, turn + 2, __ATOMIC_SEQ_CST);
            futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0);
        }
        _exit(0);
    }
    for (int turn = 0; turn < 200; turn += 2) {
        while (__atomic_load_n(shared, __ATOMIC_SEQ_CST) != turn)
            futex(shared, FUTEX_WAIT, turn - 1, NULL, NULL, 0);
        __atomic_store_n(shared, turn + 1, __ATOMIC_SEQ_CST);
        futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    REAP_EXITED(child, 0);
    CHECK_EQUAL(*shared, 200);
    CHECK(munmap(shared, 4096) == 0);
}

/* The key of a shared futex is the page, not the address. */
static void two_addresses_of_one_word(void)
{
    struct waiter waiter;
    int memory = memfd_create("word", 0);
    CHECK(memory >= 0 && ftruncate(memory, 4096) == 0);
    int *first = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    int *other = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    CHECK(first != MAP_FAILED && other != MAP_FAILED);
    start(&waiter, first + 10, FUTEX_WAIT, 0);
    CHECK_EQUAL(futex(other + 11, FUTEX_WAKE, 10, NULL, NULL, 0), 0);
    CHECK_EQUAL(futex(other + 10, FUTEX_WAKE, 10, NULL, NULL, 0), 1);
    join(&waiter, 1);
    close(memory);
    CHECK(munmap(first, 4096) == 0 && munmap(other, 4096) == 0);
}

static void on_signal(int number)
{
    (void)number;
}

static void signals_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    struct timespec limit = {1000, 0};
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        await_sleep(parent, parent);
        kill(parent, SIGUSR1);
        _exit(0);
    }
    word = 3;
    CHECK_FAILS(futex(&word, FUTEX_WAIT_PRIVATE, 3, &limit, NULL, 0), EINTR);
    REAP_EXITED(child, 0);
}

int main(void)
{
    RUN(mismatches_and_time_outs);
    RUN(bad_arguments);
    RUN(wake_counts);
    RUN(bit_sets);
    RUN(requeueing);
    RUN(wake_op);
    RUN(between_processes);
    RUN(signals_interrupt);
    RUN(two_addresses_of_one_word);
    return 0;
}
