/* What a thread does when it is on another CPU than its process began on: descriptors opened before,
 * identity, children, threads, areas, signals, futexes. Each thing is done on every CPU of the mask in
 * turn, and the main thread is elsewhere. */
#include "check.h"
#include "cpus.h"
#include "futex.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

static size_t page;

static char *fresh_pages(size_t pages, int sharing)
{
    char *area = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    return area;
}

static pid_t gettid_now(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* Runs `body` in a thread of its own for each CPU, whose place in the mask it is given. */
static void for_every_cpu(void *(*body)(void *))
{
    for (int number = 0; number < count; number++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, body, (void *)(intptr_t)number) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

static int file, ends[2];

static void *use_descriptors(void *argument)
{
    int number = (int)(intptr_t)argument;
    char line[32], back[32];
    go(cpus[number]);
    int length = snprintf(line, sizeof line, "from %d", number);
    CHECK_EQUAL(pwrite(file, line, (size_t)length, 32 * number), length);
    CHECK_EQUAL(pread(file, back, (size_t)length, 32 * number), length);
    CHECK(memcmp(line, back, (size_t)length) == 0);
    CHECK_EQUAL(write(ends[1], line, (size_t)length), length);
    CHECK_EQUAL(read(ends[0], back, sizeof back), length);
    CHECK(memcmp(line, back, (size_t)length) == 0);
    int copy = dup(file);
    CHECK(copy >= 0 && close(copy) == 0);
    CHECK_FAILS(read(copy, back, 1), EBADF);
    return NULL;
}

static void descriptors_opened_at_home(void)
{
    file = open("migrate_calls.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0 && pipe(ends) == 0);
    for_every_cpu(use_descriptors);
    char line[32];
    for (int i = 0; i < count; i++) {
        snprintf(line, sizeof line, "from %d", i);
        char back[32] = "";
        CHECK(pread(file, back, strlen(line), 32 * i) == (ssize_t)strlen(line));
        CHECK(strcmp(line, back) == 0);
    }
    CHECK(close(file) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
    CHECK(unlink("migrate_calls.tmp") == 0);
}

static pid_t process, parent, group, session;

static void *who_am_i(void *argument)
{
    pid_t before = gettid_now();
    go(cpus[(intptr_t)argument]);
    CHECK_EQUAL(gettid_now(), before);
    CHECK(before != process);
    CHECK_EQUAL(syscall(SYS_getpid), process);
    CHECK_EQUAL(getppid(), parent);
    CHECK_EQUAL(getpgrp(), group);
    CHECK_EQUAL(getsid(0), session);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)before);
    CHECK_EQUAL(access(path, R_OK), 0);
    return NULL;
}

static void ids_are_the_processes(void)
{
    process = getpid(), parent = getppid(), group = getpgrp(), session = getsid(0);
    for_every_cpu(who_am_i);
}

static void *fork_here(void *argument)
{
    int number = (int)(intptr_t)argument;
    volatile int own = number;
    go(cpus[number]);
    pid_t me = getpid(), children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            CHECK(getppid() == me && getpid() == gettid_now());
            go(cpus[(number + i) % count]);
            /* A child of a child. */
            IN_CHILD(own = own + 1; CHECK_EQUAL(own, number + 1));
            CHECK_EQUAL(own, number);
            _exit(10 + i);
        }
    }
    for (int i = 2; i >= 0; i--)
        REAP_EXITED(children[i], 10 + i);
    CHECK_FAILS(waitpid(children[0], NULL, 0), ECHILD);
    return NULL;
}

static void children_are_forked_and_waited_for(void)
{
    for_every_cpu(fork_here);
}

static long made;

/* Every thread goes on to the next CPU and makes the next thread there. */
static void *make_next(void *argument)
{
    intptr_t left = (intptr_t)argument;
    go(cpus[left % count]);
    __atomic_fetch_add(&made, 1, __ATOMIC_SEQ_CST);
    if (left > 0) {
        pthread_t next;
        CHECK(pthread_create(&next, NULL, make_next, (void *)(left - 1)) == 0);
        void *result;
        CHECK(pthread_join(next, &result) == 0);
        CHECK_EQUAL((intptr_t)result, left - 1);
    }
    return argument;
}

static void threads_are_made_from_everywhere(void)
{
    intptr_t last = 2 * count + 3;
    CHECK(make_next((void *)last) == (void *)last);
    CHECK_EQUAL(made, last + 1);
    go_anywhere();
}

static void *remap(void *argument)
{
    int here = (int)(intptr_t)argument, other = (here + 1) % count;
    go(cpus[other]);
    char *area = fresh_pages(4, MAP_PRIVATE);
    for (int i = 0; i < 4; i++)
        area[(size_t)i * page] = (char)(i + 1);
    go(cpus[here]);
    for (int i = 0; i < 4; i++)
        CHECK_EQUAL(area[(size_t)i * page], i + 1);
    area[0] = 9;
    /* Grown, which may move it; then moved to a place of its own; then shrunk. */
    area = mremap(area, 4 * page, 8 * page, MREMAP_MAYMOVE);
    CHECK(area != MAP_FAILED);
    CHECK(area[0] == 9 && area[page] == 2 && area[7 * page] == 0);
    area[7 * page] = 8;
    go(cpus[other]);
    CHECK(area[0] == 9 && area[3 * page] == 4 && area[7 * page] == 8);
    char *target = fresh_pages(8, MAP_PRIVATE);
    target[0] = 55;
    go(cpus[here]);
    char *moved = mremap(area, 8 * page, 8 * page, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    CHECK(moved == target);
    CHECK(moved[0] == 9 && moved[2 * page] == 3 && moved[7 * page] == 8);
    CHECK(mremap(moved, 8 * page, 2 * page, 0) == moved);
    go(cpus[other]);
    CHECK(moved[0] == 9 && moved[page] == 2);
    CHECK_FAILS(syscall(SYS_mincore, moved + 2 * page, page, bad_address), ENOMEM);
    CHECK(munmap(moved, 2 * page) == 0);
    return NULL;
}

static void areas_are_remapped(void)
{
    for_every_cpu(remap);
}

static volatile sig_atomic_t raised, on_stack;
static __thread volatile sig_atomic_t mine;

static void note(int number)
{
    (void)number;
    raised++;
    mine++;
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    CHECK(sigaction(number, &action, NULL) == 0);
}

static void *raise_here(void *argument)
{
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &usr2, NULL) == 0);
    go(cpus[(intptr_t)argument]);
    mine = 0;
    CHECK(raise(SIGUSR1) == 0);
    CHECK_EQUAL(mine, 1);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK_EQUAL(mine, 2);
    /* To the process: all others have it blocked, so it is taken before kill returns. */
    CHECK(kill(getpid(), SIGUSR2) == 0);
    CHECK_EQUAL(mine, 3);
    return NULL;
}

static void signals_to_oneself_are_not_lost(void)
{
    handle(SIGUSR1, note, 0);
    handle(SIGUSR2, note, 0);
    sigset_t usr2, before;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &usr2, &before) == 0);
    for_every_cpu(raise_here);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK_EQUAL(raised, 3 * count);
}

static int spins, stop_spinning;

/* Makes no system call: only an interrupt can bring the signal. */
static void *spin(void *argument)
{
    go(cpus[(intptr_t)argument]);
    mine = 0;
    __atomic_store_n(&spins, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&stop_spinning, __ATOMIC_SEQ_CST))
        ;
    CHECK_EQUAL(mine, 5);
    return NULL;
}

static void signals_reach_a_thread_that_computes(void)
{
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        spins = stop_spinning = 0, raised = 0;
        CHECK(pthread_create(&thread, NULL, spin, (void *)(intptr_t)i) == 0);
        while (!__atomic_load_n(&spins, __ATOMIC_SEQ_CST))
            sched_yield();
        for (int k = 1; k <= 5; k++) {
            CHECK(pthread_kill(thread, SIGUSR1) == 0);
            while (raised < k)
                sched_yield();
        }
        __atomic_store_n(&stop_spinning, 1, __ATOMIC_SEQ_CST);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

/* A child that computes on another CPU is killed there. */
static void a_process_that_computes_is_killed(void)
{
    for (int i = 0; i < count; i++) {
        CHECK(pipe(ends) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            go(cpus[i]);
            CHECK(write(ends[1], "", 1) == 1);
            for (volatile int forever = 1; forever;)
                ;
        }
        char byte;
        CHECK(read(ends[0], &byte, 1) == 1);
        CHECK(kill(child, SIGKILL) == 0);
        REAP_KILLED(child, SIGKILL);
        CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    }
}

static void wait_for(int *word, int value)
{
    CHECK(syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0) == 0 || errno == EAGAIN ||
          errno == EINTR);
}

/* The word says whose turn it is. */
static void play(int *word, int me, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        while (__atomic_load_n(word, __ATOMIC_SEQ_CST) != me)
            wait_for(word, 1 - me);
        __atomic_store_n(word, 1 - me, __ATOMIC_SEQ_CST);
        CHECK(syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0) >= 0);
    }
}

/* Between two processes, each on its CPU. */
static void a_shared_futex_goes_to_and_fro(void)
{
    int *word = (int *)fresh_pages(1, MAP_SHARED);
    for (int i = 0; i < count; i++) {
        *word = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            go(cpus[i]);
            play(word, 1, 25);
            _exit(0);
        }
        go(cpus[(i + 1) % count]);
        play(word, 0, 25);
        REAP_EXITED(child, 0);
    }
    go_anywhere();
    CHECK(munmap(word, page) == 0);
}

static void *come_and_go(void *argument)
{
    long *sum = argument;
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < count; i++) {
            go(cpus[i]);
            go(cpus[i]);
            *sum += 1;
        }
    return NULL;
}

/* Again and again, with threads that have done it before, at the same time, and in children. */
static void moves_are_repeated(void)
{
    pthread_t threads[4];
    long sums[4] = {0};
    for (int again = 1; again <= 2; again++) {
        for (int i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], NULL, come_and_go, &sums[i]) == 0);
        for (int i = 0; i < 4; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            CHECK_EQUAL(sums[i], 10 * again * count);
        }
    }
    IN_CHILD(come_and_go(&sums[0]); CHECK_EQUAL(sums[0], 30 * count));
}

enum { MANY = 140 };

static pthread_barrier_t together;
static long arrived;

static void *one_of_many(void *argument)
{
    go(cpus[(intptr_t)argument % count]);
    __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
    pthread_barrier_wait(&together);
    CHECK_EQUAL(arrived, MANY);
    go(cpus[((intptr_t)argument + 1) % count]);
    return NULL;
}

static void many_threads_are_there_at_once(void)
{
    static pthread_t threads[MANY];
    pthread_attr_t small;
    CHECK(pthread_attr_init(&small) == 0);
    CHECK(pthread_attr_setstacksize(&small, 128 << 10) == 0);
    CHECK(pthread_barrier_init(&together, NULL, MANY) == 0);
    for (intptr_t i = 0; i < MANY; i++)
        CHECK(pthread_create(&threads[i], &small, one_of_many, (void *)i) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(pthread_barrier_destroy(&together) == 0);
}

static volatile char *depths;

/* A fault whose handler, on a stack that was last used on another CPU, faults itself. */
static void deeper(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    char *at = (char *)((uintptr_t)info->si_addr & -page);
    size_t depth = (size_t)(at - (char *)depths) / page;
    CHECK(depth < 6);
    on_stack++;
    if (depth > 0)
        depths[(depth - 1) * page] = (char)depth;
    CHECK(mprotect(at, page, PROT_READ | PROT_WRITE) == 0);
}

static void *fault_deeply(void *argument)
{
    int here = (int)(intptr_t)argument, other = (here + 1) % count;
    depths = fresh_pages(6, MAP_PRIVATE);
    char *stack = fresh_pages(16, MAP_PRIVATE);
    stack_t alternate = {.ss_sp = stack, .ss_size = 16 * page}, none = {.ss_flags = SS_DISABLE};
    CHECK(sigaltstack(&alternate, NULL) == 0);
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    action.sa_sigaction = deeper;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    go(cpus[other]);
    memset(stack, 1, 16 * page);
    memset((char *)depths, 1, 6 * page);
    CHECK(mprotect((char *)depths, 6 * page, PROT_NONE) == 0);
    go(cpus[here]);
    on_stack = 0;
    depths[5 * page] = 6;
    CHECK_EQUAL(on_stack, 6);
    go(cpus[other]);
    for (size_t i = 0; i < 6; i++)
        CHECK(depths[i * page] == (char)(i + 1) && depths[i * page + 1] == 1);
    action.sa_handler = SIG_DFL;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(sigaltstack(&none, NULL) == 0);
    CHECK(munmap(stack, 16 * page) == 0 && munmap((char *)depths, 6 * page) == 0);
    return NULL;
}

static void faults_within_faults(void)
{
    for_every_cpu(fault_deeply);
}

/* The kernel itself needs pages that are elsewhere: what a call reads, writes, and says it has. */
static void *copy_elsewhere(void *argument)
{
    int here = (int)(intptr_t)argument, other = (here + 1) % count;
    enum { LENGTH = 3 };
    char *from = fresh_pages(LENGTH, MAP_PRIVATE), *to = fresh_pages(LENGTH, MAP_PRIVATE);
    CHECK(pipe(ends) == 0);
    go(cpus[other]);
    memset(from, 'f', LENGTH * page);
    memset(to, 't', LENGTH * page);
    go(cpus[here]);
    for (int i = 0; i < 4; i++) {
        from[page - 1] = (char)i;
        CHECK_EQUAL(write(ends[1], from, LENGTH * page), LENGTH * page);
        go(cpus[i % 2 ? here : other]);
        CHECK_EQUAL(read(ends[0], to, LENGTH * page), LENGTH * page);
        CHECK(to[0] == 'f' && to[page - 1] == (char)i && to[LENGTH * page - 1] == 'f');
    }
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    CHECK(munmap(from, LENGTH * page) == 0 && munmap(to, LENGTH * page) == 0);
    return NULL;
}

static void calls_reach_pages_that_are_elsewhere(void)
{
    for_every_cpu(copy_elsewhere);
}

int main(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    find_cpus();
    RUN(descriptors_opened_at_home);
    RUN(ids_are_the_processes);
    RUN(children_are_forked_and_waited_for);
    RUN(threads_are_made_from_everywhere);
    RUN(areas_are_remapped);
    RUN(signals_to_oneself_are_not_lost);
    RUN(signals_reach_a_thread_that_computes);
    RUN(a_process_that_computes_is_killed);
    RUN(a_shared_futex_goes_to_and_fro);
    RUN(moves_are_repeated);
    RUN(many_threads_are_there_at_once);
    RUN(faults_within_faults);
    RUN(calls_reach_pages_that_are_elsewhere);
    return 0;
}
