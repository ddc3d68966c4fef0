/* Threads on several CPUs: every CPU of the affinity mask is visited and everything works there as at
 * home. Where there is one CPU it is visited, too. What is printed does not depend on their number. */
#include "check.h"
#include "cpus.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

static void every_cpu_is_visited(void)
{
    pid_t pid = getpid(), tid = (pid_t)syscall(SYS_gettid), parent = getppid();
    volatile double number = 1;
    volatile int local = 0;
    int wanted = 0;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < count; i++) {
            go(cpus[i]);
            CHECK_EQUAL(syscall(SYS_getpid), pid);
            CHECK_EQUAL(syscall(SYS_gettid), tid);
            CHECK_EQUAL(getppid(), parent);
            cpu_set_t now;
            CHECK(sched_getaffinity(0, sizeof now, &now) == 0);
            CHECK(CPU_COUNT(&now) == 1 && CPU_ISSET(cpus[i], &now));
            local++;
            number *= 1.5;
            wanted++;
            go(cpus[0]);
            CHECK_EQUAL(local, wanted);
        }
    double expected = 1;
    for (int i = 0; i < wanted; i++)
        expected *= 1.5;
    CHECK(number == expected);
    go_anywhere();
}

enum { THREADS = 4, TURNS = 200 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t start;
static long locked, atomic_sum;
static __thread long own;

static void *counter(void *argument)
{
    go(cpus[(intptr_t)argument % count]);
    pthread_barrier_wait(&start);
    for (int i = 0; i < TURNS; i++) {
        CHECK(pthread_mutex_lock(&lock) == 0);
        locked++;
        CHECK(pthread_mutex_unlock(&lock) == 0);
        __atomic_fetch_add(&atomic_sum, 1, __ATOMIC_SEQ_CST);
        own++;
    }
    CHECK_EQUAL(sched_getcpu(), cpus[(intptr_t)argument % count]);
    return (void *)own;
}

static void counters_are_shared(void)
{
    pthread_t threads[THREADS];
    CHECK(pthread_barrier_init(&start, NULL, THREADS) == 0);
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, counter, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0);
        CHECK_EQUAL((intptr_t)result, TURNS);
    }
    CHECK_EQUAL(locked, THREADS * TURNS);
    CHECK_EQUAL(atomic_sum, THREADS * TURNS);
    CHECK(pthread_barrier_destroy(&start) == 0);
}

static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turn;

static void *ping(void *argument)
{
    int me = (int)(intptr_t)argument;
    go(cpus[me * (count - 1)]);
    CHECK(pthread_mutex_lock(&lock) == 0);
    for (int i = 0; i < 20; i++) {
        while (turn % 2 != me)
            CHECK(pthread_cond_wait(&turned, &lock) == 0);
        turn++;
        CHECK(pthread_cond_broadcast(&turned) == 0);
    }
    CHECK(pthread_mutex_unlock(&lock) == 0);
    return NULL;
}

static void threads_take_turns(void)
{
    pthread_t threads[2];
    for (intptr_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, ping, (void *)i) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(turn, 40);
}

/* What one CPU maps, all others see; what one takes away is gone everywhere. */
static void areas_are_one(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = 8;
    for (int i = 0; i < count; i++) {
        go(cpus[i]);
        char *area = mmap(NULL, pages * page, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(area != MAP_FAILED);
        for (size_t k = 0; k < pages; k++)
            area[k * page] = (char)(k + 1);
        go(cpus[(i + 1) % count]);
        for (size_t k = 0; k < pages; k++)
            CHECK_EQUAL(area[k * page], k + 1);
        CHECK(mprotect(area, page, PROT_READ) == 0);
        CHECK(munmap(area + page, page) == 0);
        go(cpus[i]);
        /* The kernel refuses what a store would be killed for. */
        int ends[2];
        CHECK(pipe(ends) == 0);
        CHECK(write(ends[1], area, 1) == 1);
        CHECK_FAILS(write(ends[1], area + page, 1), EFAULT);
        CHECK_FAILS(read(ends[0], area, 1), EFAULT);
        CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
        CHECK_EQUAL(area[0], 1);
        CHECK(mprotect(area, page, PROT_READ | PROT_WRITE) == 0);
        area[0] = 77;
        CHECK_EQUAL(area[2 * page], 3);
        go(cpus[0]);
        CHECK_EQUAL(area[0], 77);
        CHECK(munmap(area, pages * page) == 0);
    }
    go_anywhere();
}

static void files_are_used_from_everywhere(void)
{
    int file = open("migrate.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0);
    for (int i = 0; i < count; i++) {
        go(cpus[i]);
        CHECK(dprintf(file, "line %d\n", i) > 0);
        CHECK_EQUAL(access("migrate.tmp", R_OK), 0);
    }
    go(cpus[count - 1]);
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    FILE *stream = fdopen(file, "r");
    CHECK(stream != NULL);
    int number;
    for (int i = 0; i < count; i++) {
        CHECK(fscanf(stream, "line %d\n", &number) == 1);
        CHECK_EQUAL(number, i);
    }
    CHECK(fclose(stream) == 0);
    CHECK(unlink("migrate.tmp") == 0);
    go_anywhere();
}

static int ends[2];

static void *writer(void *argument)
{
    go(cpus[count - 1]);
    for (intptr_t i = 0; i < 50; i++) {
        intptr_t value = i + (intptr_t)argument;
        CHECK(write(ends[1], &value, sizeof value) == sizeof value);
    }
    CHECK(close(ends[1]) == 0);
    return NULL;
}

static void a_pipe_joins_two_cpus(void)
{
    pthread_t thread;
    CHECK(pipe(ends) == 0);
    CHECK(pthread_create(&thread, NULL, writer, (void *)1000) == 0);
    go(cpus[0]);
    intptr_t value, i = 0;
    while (read(ends[0], &value, sizeof value) == sizeof value)
        CHECK_EQUAL(value, 1000 + i++);
    CHECK_EQUAL(i, 50);
    CHECK(close(ends[0]) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    go_anywhere();
}

static void children_are_made_everywhere(void)
{
    for (int i = 0; i < count; i++) {
        go(cpus[i]);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            locked++;
            go(cpus[0]);
            go(cpus[count - 1]);
            _exit(locked == THREADS * TURNS + 1 ? 9 : 8);
        }
        REAP_EXITED(child, 9);
        CHECK_EQUAL(locked, THREADS * TURNS);
    }
    go_anywhere();
}

int main(void)
{
    find_cpus();
    RUN(every_cpu_is_visited);
    RUN(counters_are_shared);
    RUN(threads_take_turns);
    RUN(areas_are_one);
    RUN(files_are_used_from_everywhere);
    RUN(a_pipe_joins_two_cpus);
    RUN(children_are_made_everywhere);
    return 0;
}
