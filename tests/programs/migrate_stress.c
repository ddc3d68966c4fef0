/* migrate_stress [THREADS [MOVES [SEED [SEEDS]]]]
 *
 * Everything at once: threads that go to a random CPU again and again, and between two moves add to
 * shared sums, map, protect and unmap memory, fork children that move as well, send each other
 * queued signals, pass bytes through a pipe, and all meet at barriers made of futexes, where the
 * sums must be what they have to be. It does so with one seed after the other, ends by itself, and says the
 * same whatever its size. */
#include "check.h"
#include "cpus.h"
#include "futex.h"
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

/* A move in so many is followed by a fork, and between two barriers there are so many moves. */
enum { FORK_EVERY = 41, MEETING_EVERY = 10, SIGNAL = 40 };

static long threads = 4, moves = 10, seed = 1, seeds = 10;
static size_t page;

/* A number that depends on nothing but its place: what a thread adds to the sums in a turn. */
static uint64_t term(uint64_t thread, uint64_t turn)
{
    uint64_t x = (thread << 32 | turn) + (uint64_t)seed * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Whether a thread forks after a turn; now and then, with another rhythm for each seed. */
static int forks_after(uint64_t thread, uint64_t turn)
{
    return (turn + 11 * thread + 5 * (uint64_t)seed) % FORK_EVERY == FORK_EVERY - 1;
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A barrier of its own, so that it is known what it asks of the kernel. */
static int arrived, meeting;

static void meet(void)
{
    int now = __atomic_load_n(&meeting, __ATOMIC_SEQ_CST);
    if (__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST) == threads) {
        __atomic_store_n(&arrived, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&meeting, now + 1, __ATOMIC_SEQ_CST);
        CHECK(syscall(SYS_futex, &meeting, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0) >= 0);
        return;
    }
    while (__atomic_load_n(&meeting, __ATOMIC_SEQ_CST) == now)
        CHECK(syscall(SYS_futex, &meeting, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0) == 0 ||
              errno == EAGAIN || errno == EINTR);
}

/* Shared by all threads; what the children add to is on a page of its own. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t locked_sum, atomic_sum;
static long sent, handled, bytes_through;
static int ends[2];
static struct {
    uint64_t sum;
    long children;
} *of_children;

/* One of each for a thread, many on a page. */
static uint64_t *slots;
static pid_t *ids;

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (number == SIGNAL && info->si_code == SI_QUEUE && info->si_pid == getpid())
        __atomic_fetch_add(&handled, 1, __ATOMIC_SEQ_CST);
}

static void signal_somebody(uint64_t random)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = SIGNAL, info.si_code = SI_QUEUE, info.si_pid = getpid();
    pid_t whom = __atomic_load_n(&ids[random % (uint64_t)threads], __ATOMIC_SEQ_CST);
    CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), whom, SIGNAL, &info) == 0);
    __atomic_fetch_add(&sent, 1, __ATOMIC_SEQ_CST);
}

static void go_somewhere(uint64_t random)
{
    go(cpus[random % (uint64_t)count]);
}

/* Memory of one's own that is filled on one CPU, looked at on another, and gone on a third. */
static void use_memory(uint64_t *random, uint64_t value)
{
    size_t pages = 1 + next(random) % 6;
    uint64_t *area = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          -1, 0);
    CHECK(area != MAP_FAILED);
    size_t words = page / sizeof *area;
    for (size_t i = 0; i < pages; i++) {
        CHECK(area[i * words + 7] == 0);
        area[i * words + 7] = value + i;
    }
    CHECK(mprotect(area, page, PROT_READ) == 0);
    go_somewhere(next(random));
    for (size_t i = 0; i < pages; i++)
        CHECK(area[i * words + 7] == value + i);
    CHECK(mprotect(area, page, PROT_READ | PROT_WRITE) == 0);
    area[7]++;
    if (pages > 2) {
        /* From then on the hole may be somebody else's. */
        CHECK(munmap(area + words, page) == 0);
        go_somewhere(next(random));
        CHECK(area[7] == value + 1 && area[2 * words + 7] == value + 2);
        CHECK(munmap(area + 2 * words, (pages - 2) * page) == 0);
        pages = 1;
    }
    CHECK(munmap(area, pages * page) == 0);
}

/* Only what is safe in a child of a process with threads. */
static void use_a_child(uint64_t *random, uint64_t value)
{
    volatile uint64_t own = value;
    uint64_t *area = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    area[0] = value;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        go_somewhere(next(random));
        CHECK(own == value && area[0] == value);
        own = 1, area[0] = 2, area[page / sizeof *area] = 3;
        __atomic_fetch_add(&of_children->sum, value, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&of_children->children, 1, __ATOMIC_SEQ_CST);
        go_somewhere(next(random));
        CHECK(own == 1 && area[0] == 2 && area[page / sizeof *area] == 3);
        _exit(7);
    }
    area[page / sizeof *area] = value;
    go_somewhere(next(random));
    REAP_EXITED(child, 7);
    CHECK(own == value && area[0] == value && area[page / sizeof *area] == value);
    CHECK(munmap(area, 2 * page) == 0);
}

static void *work(void *argument)
{
    uint64_t me = (uint64_t)(intptr_t)argument, random = term(me, UINT32_MAX) | 1;
    __atomic_store_n(&ids[me], (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    meet();
    uint64_t own = 0;
    for (long turn = 0; turn < moves; turn++) {
        uint64_t value = term(me, (uint64_t)turn);
        go_somewhere(next(&random));
        CHECK(pthread_mutex_lock(&lock) == 0);
        locked_sum += value;
        CHECK(pthread_mutex_unlock(&lock) == 0);
        __atomic_fetch_add(&atomic_sum, value, __ATOMIC_SEQ_CST);
        CHECK(slots[me] == own);
        slots[me] = own += value;
        switch (next(&random) % 4) {
        case 0:
            use_memory(&random, value);
            break;
        case 1:
            signal_somebody(next(&random));
            break;
        case 2: {
            char byte;
            ssize_t n;
            CHECK(write(ends[1], "", 1) == 1);
            while ((n = read(ends[0], &byte, 1)) < 0)
                CHECK(errno == EINTR);
            CHECK(n == 1);
            __atomic_fetch_add(&bytes_through, 1, __ATOMIC_SEQ_CST);
            break;
        }
        default:
            break;
        }
        if (forks_after(me, (uint64_t)turn))
            use_a_child(&random, value);
        if (turn % MEETING_EVERY == MEETING_EVERY - 1) {
            meet();
            uint64_t sum = 0;
            for (long i = 0; i < threads; i++)
                sum += __atomic_load_n(&slots[i], __ATOMIC_SEQ_CST);
            CHECK(sum == locked_sum && sum == atomic_sum);
            meet();
        }
    }
    CHECK(slots[me] == own);
    meet();
    return NULL;
}

static void sums_are_right(void)
{
    uint64_t all = 0, children = 0;
    long forks = 0;
    for (long i = 0; i < threads; i++)
        for (long turn = 0; turn < moves; turn++) {
            uint64_t value = term((uint64_t)i, (uint64_t)turn);
            all += value;
            if (forks_after((uint64_t)i, (uint64_t)turn))
                children += value, forks++;
        }
    CHECK(locked_sum == all);
    CHECK(atomic_sum == all);
    CHECK(of_children->sum == children);
    CHECK_EQUAL(of_children->children, forks);
}

static void signals_are_all_there(void)
{
    CHECK_EQUAL(handled, sent);
}

static void nobody_is_left(void)
{
    CHECK_FAILS(waitpid(-1, NULL, 0), ECHILD);
}

static long number(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end != '\0' || value < 1) {
        say("usage: migrate_stress [THREADS [MOVES [SEED [SEEDS]]]]");
        exit(2);
    }
    return value;
}

/* One seed from the beginning to the end. */
static void run(pthread_t *all, const pthread_attr_t *small)
{
    locked_sum = atomic_sum = 0;
    sent = handled = 0;
    of_children->sum = 0, of_children->children = 0;
    memset(slots, 0, (size_t)threads * sizeof *slots);
    for (long i = 0; i < threads; i++)
        CHECK(pthread_create(&all[i], small, work, (void *)(intptr_t)i) == 0);
    for (long i = 0; i < threads; i++)
        CHECK(pthread_join(all[i], NULL) == 0);
}

static void all_threads_are_back(void)
{
    CHECK_EQUAL(arrived, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        threads = number(argv[1]), seeds = 1;
    if (argc > 2)
        moves = number(argv[2]);
    if (argc > 3)
        seed = number(argv[3]);
    if (argc > 4)
        seeds = number(argv[4]);
    page = (size_t)sysconf(_SC_PAGESIZE);
    find_cpus();
    slots = calloc((size_t)threads, sizeof *slots);
    ids = calloc((size_t)threads, sizeof *ids);
    pthread_t *all = calloc((size_t)threads, sizeof *all);
    CHECK(slots && ids && all && pipe(ends) == 0);
    of_children = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(of_children != MAP_FAILED);
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
    action.sa_sigaction = on_signal;
    CHECK(sigaction(SIGNAL, &action, NULL) == 0);
    pthread_attr_t small;
    CHECK(pthread_attr_init(&small) == 0);
    CHECK(pthread_attr_setstacksize(&small, 128 << 10) == 0);
    for (; seeds > 0; seeds--, seed++) {
        run(all, &small);
        RUN(all_threads_are_back);
        RUN(sums_are_right);
        RUN(signals_are_all_there);
        RUN(nobody_is_left);
    }
    return 0;
}
