/* What moving threads between CPUs costs, and what a thread on another CPU pays for what it does.
 *
 * The program starts on CPU 0, "home"; CPU 1 is "remote". Each figure is measured three times: to warm
 * up, with FEW operations and with many. The difference of the kernel's counters between the last two,
 * divided by the operations more, is the cost of one; whatever the measuring itself costs drops out.
 * On Linux there are no such counters, and only the times are given. A line for each figure:
 *
 *     NAME <tab> MESSAGES <tab> BYTES <tab> PAGES <tab> NANOSECONDS...
 *
 * MESSAGES, BYTES and PAGES are of one operation, `-` where not counted. BYTES are the messages' bodies;
 * pages come on top. Arguments: the operations of a figure, and what is in the names of those figures
 * that alone are wanted, if not all. */
#include "../check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>

enum { PAGE = 4096, FEW = 20, MOST = PAGE / 8, BLOCK = 64 << 10 };

/* In pages of their own, so that reading a mask moves nothing that is written. */
static const cpu_set_t home __attribute__((aligned(PAGE))) = {.__bits = {1}};
static const cpu_set_t remote = {.__bits = {2}};

/* What was measured: a page, which the measuring thread alone has while it measures. */
static uint64_t samples[MOST] __attribute__((aligned(PAGE)));
/* Words that several threads use, each alone in its page. */
static volatile uint64_t turn __attribute__((aligned(PAGE)));
static volatile uint32_t word __attribute__((aligned(PAGE)));
static volatile int stop __attribute__((aligned(PAGE)));

/* The processor's counter, which user mode reads without the kernel. */
static inline uint64_t counter(void)
{
#if defined(__x86_64__)
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
#else
    uint64_t now;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(now)::"memory");
    return now;
#endif
}

static double tick_ns;

static uint64_t clock_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void calibrate(void)
{
    uint64_t from = clock_ns(), first = counter();
    while (clock_ns() - from < 20000000) {
    }
    uint64_t to = clock_ns(), last = counter();
    tick_ns = (double)(to - from) / (double)(last - first);
}

#define TIMED(i, operation)                                                                        \
    do {                                                                                           \
        uint64_t timed_from = counter();                                                           \
        operation;                                                                                 \
        samples[i] = counter() - timed_from;                                                       \
    } while (0)

static void go(const cpu_set_t *where)
{
    CHECK(sched_setaffinity(0, sizeof *where, where) == 0);
}

static long call3(long number, long a, long b, long c)
{
    return syscall(number, a, b, c);
}

/* A call that leaves memory alone: what a move costs when nothing is touched. */
static inline __attribute__((always_inline)) long bare_affinity(const cpu_set_t *where)
{
#if defined(__x86_64__)
    long result = SYS_sched_setaffinity;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(0), "S"(sizeof *where), "d"(where)
                     : "rcx", "r11", "memory");
    return result;
#else
    register long number __asm__("x8") = SYS_sched_setaffinity;
    register long x0 __asm__("x0") = 0;
    register long x1 __asm__("x1") = sizeof *where;
    register const cpu_set_t *x2 __asm__("x2") = where;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(number), "r"(x1), "r"(x2) : "memory");
    return x0;
#endif
}

/* ---- moves ---- */

static void first_migration(int n)
{
    for (int i = 0; i < n; i++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            uint64_t from = clock_ns();
            go(&remote);
            uint64_t took = clock_ns() - from;
            _exit(write(ends[1], &took, sizeof took) == sizeof took ? 0 : 1);
        }
        CHECK(read(ends[0], &samples[i], sizeof samples[i]) == sizeof samples[i]);
        REAP_EXITED(child, 0);
        CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    }
}

static void there_and_back(int n)
{
    for (int i = 0; i < n; i++)
        TIMED(i, {
            go(&remote);
            go(&home);
        });
}

static void registers_there_and_back(int n)
{
    for (int i = 0; i < n; i++) {
        long failed = 0;
        TIMED(i, {
            failed |= bare_affinity(&remote);
            failed |= bare_affinity(&home);
        });
        CHECK(failed == 0);
    }
}

/* The clock is the same everywhere, the counters of two machines are not. */
static void back(int n)
{
    for (int i = 0; i < n; i++) {
        go(&remote);
        uint64_t from = clock_ns();
        go(&home);
        samples[i] = clock_ns() - from;
    }
}

/* ---- what a thread on the other CPU does ---- */

static void (*away_body)(int);

static void *away_main(void *argument)
{
    go(&remote);
    samples[0] = 0;
    away_body((int)(intptr_t)argument);
    return NULL;
}

/* Runs a figure in a thread on the other CPU, while this one waits. */
static void away(void (*body)(int), int n)
{
    pthread_t thread;
    away_body = body;
    CHECK(pthread_create(&thread, NULL, away_main, (void *)(intptr_t)n) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

#define AWAY(name)                                                                                 \
    static void name##_away(int n)                                                                 \
    {                                                                                              \
        away(name, n);                                                                             \
    }

static void null_call(int n)
{
    for (int i = 0; i < n; i++)
        TIMED(i, call3(SYS_getppid, 0, 0, 0));
}
AWAY(null_call)

static void clock_read(int n)
{
    for (int i = 0; i < n; i++)
        TIMED(i, clock_ns());
}
AWAY(clock_read)

/* Pages that home has written, or nobody. */
static char *area;

static void fresh_area(int n, int written)
{
    size_t size = (size_t)(n + 1) * PAGE;
    area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    for (int i = 0; written && i <= n; i++)
        area[(size_t)i * PAGE] = 1;
}

static void end_area(int n)
{
    CHECK(munmap(area, (size_t)(n + 1) * PAGE) == 0);
}

static void read_pages(int n)
{
    volatile char *at = area;
    (void)*at; /* the area itself is fetched now */
    for (int i = 0; i < n; i++) {
        at += PAGE;
        TIMED(i, (void)*at);
    }
}

static void write_pages(int n)
{
    volatile char *at = area;
    *at = 2;
    for (int i = 0; i < n; i++) {
        at += PAGE;
        TIMED(i, *at = 2);
    }
}

static void upgrade_pages(int n)
{
    read_pages(n);
    write_pages(n);
}

static void read_fault(int n)
{
    fresh_area(n, 1);
    away(read_pages, n);
    end_area(n);
}

static void write_fault(int n)
{
    fresh_area(n, 1);
    away(write_pages, n);
    end_area(n);
}

static void write_upgrade(int n)
{
    fresh_area(n, 1);
    away(upgrade_pages, n);
    end_area(n);
}

static void first_touch(int n)
{
    fresh_area(n, 0);
    away(write_pages, n);
    end_area(n);
}

/* A page that both write in turn. */
static void *pong(void *argument)
{
    uint64_t n = (uint64_t)(intptr_t)argument;
    go(&remote);
    for (uint64_t i = 0; i < n; i++) {
        while (turn != 2 * i + 1) {
        }
        turn = 2 * i + 2;
    }
    return NULL;
}

static void page_ping_pong(int n)
{
    pthread_t thread;
    turn = 0;
    CHECK(pthread_create(&thread, NULL, pong, (void *)(intptr_t)n) == 0);
    for (int i = 0; i < n; i++)
        TIMED(i, {
            turn = 2 * (uint64_t)i + 1;
            while (turn != 2 * (uint64_t)i + 2) {
            }
        });
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- futexes ---- */

enum { PRIVATE = 128, WAIT = 0 | PRIVATE, WAKE = 1 | PRIVATE };

static void futex_wake(int n)
{
    for (int i = 0; i < n; i++)
        TIMED(i, CHECK(syscall(SYS_futex, &word, WAKE, 1, NULL) == 0));
}
AWAY(futex_wake)

/* Of a word that other processes may use, too. */
static void futex_wake_shared(int n)
{
    for (int i = 0; i < n; i++)
        TIMED(i, CHECK(syscall(SYS_futex, &word, WAKE & ~PRIVATE, 1) == 0));
}
AWAY(futex_wake_shared)

static void futex_changed(int n)
{
    for (int i = 0; i < n; i++)
        TIMED(i, CHECK(syscall(SYS_futex, &word, WAIT, word + 1, NULL) == -1 && errno == EAGAIN));
}
AWAY(futex_changed)

static void futex_until(uint32_t wanted)
{
    uint32_t now;
    while ((now = word) != wanted)
        syscall(SYS_futex, &word, WAIT, now, NULL);
}

static void futex_set(uint32_t value)
{
    word = value;
    syscall(SYS_futex, &word, WAKE, 1, NULL);
}

static void *futex_pong(void *argument)
{
    uint32_t n = (uint32_t)(intptr_t)argument;
    go(&remote);
    for (uint32_t i = 0; i < n; i++) {
        futex_until(2 * i + 1);
        futex_set(2 * i + 2);
    }
    return NULL;
}

static void futex_ping_pong(int n)
{
    pthread_t thread;
    word = 0;
    CHECK(pthread_create(&thread, NULL, futex_pong, (void *)(intptr_t)n) == 0);
    for (int i = 0; i < n; i++)
        TIMED(i, {
            futex_set(2 * (uint32_t)i + 1);
            futex_until(2 * (uint32_t)i + 2);
        });
    CHECK(pthread_join(thread, NULL) == 0);
}
AWAY(futex_ping_pong)

/* ---- changes of areas ---- */

static void map_blocks(int n)
{
    static void *blocks[MOST] __attribute__((aligned(PAGE)));
    for (int i = 0; i < n; i++)
        TIMED(i, blocks[i] = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                                  -1, 0));
    for (int i = 0; i < n; i++)
        CHECK(blocks[i] != MAP_FAILED);
    /* They lie side by side, the last lowest. */
    CHECK(munmap(blocks[n - 1], (size_t)n * BLOCK) == 0);
}
AWAY(map_blocks)

/* Memory that this instance has touched. */
static char *map_used(size_t bytes)
{
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    *(volatile char *)at = 1;
    return at;
}

static void unmap_blocks(int n)
{
    char *at = map_used((size_t)n * BLOCK);
    for (int i = 0; i < n; i++)
        TIMED(i, CHECK(munmap(at + (size_t)i * BLOCK, BLOCK) == 0));
}
AWAY(unmap_blocks)

static void protect_block(int n)
{
    char *at = map_used(BLOCK);
    for (int i = 0; i < n; i++)
        TIMED(i, CHECK(mprotect(at, BLOCK, i % 2 ? PROT_READ | PROT_WRITE : PROT_READ) == 0));
    CHECK(munmap(at, BLOCK) == 0);
}
AWAY(protect_block)

static void grow_heap(int n)
{
    long end = call3(SYS_brk, 0, 0, 0);
    for (int i = 0; i < n; i++)
        TIMED(i, CHECK(call3(SYS_brk, end + (i + 1) * (long)BLOCK, 0, 0) > end));
    CHECK(call3(SYS_brk, end, 0, 0) == end);
}
AWAY(grow_heap)

/* ---- threads and signals ---- */

static void *nothing(void *argument)
{
    return argument;
}

static void create_and_join(int n)
{
    for (int i = 0; i < n; i++)
        TIMED(i, {
            pthread_t thread;
            CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0);
            CHECK(pthread_join(thread, NULL) == 0);
        });
}
AWAY(create_and_join)

static pid_t process, first_thread;

static void answer(int signal)
{
    (void)signal;
    call3(SYS_tgkill, process, first_thread, SIGUSR2);
}

static void *signalled(void *argument)
{
    (void)argument;
    go(&remote);
    call3(SYS_tgkill, process, first_thread, SIGUSR2);
    while (!stop) {
    }
    return NULL;
}

static void signal_round_trip(int n)
{
    pthread_t thread;
    sigset_t answers;
    int got;
    sigemptyset(&answers);
    sigaddset(&answers, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &answers, NULL) == 0);
    CHECK(signal(SIGUSR1, answer) != SIG_ERR);
    stop = 0;
    CHECK(pthread_create(&thread, NULL, signalled, NULL) == 0);
    CHECK(sigwait(&answers, &got) == 0);
    for (int i = 0; i < n; i++)
        TIMED(i, {
            CHECK(pthread_kill(thread, SIGUSR1) == 0);
            CHECK(sigwait(&answers, &got) == 0);
        });
    stop = 1;
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- files ---- */

static int file;
static char buffer[PAGE] __attribute__((aligned(PAGE)));

static void write_file(int n)
{
    for (int i = 0; i < n; i++)
        TIMED(i, {
            buffer[0] = (char)i;
            CHECK(pwrite(file, buffer, PAGE, 0) == PAGE);
        });
}
AWAY(write_file)

static void read_file(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        TIMED(i, {
            CHECK(pread(file, buffer, PAGE, 0) == PAGE);
            sum += *(volatile char *)buffer;
        });
    (void)sum;
}
AWAY(read_file)

/* ---- measuring ---- */

struct count {
    uint64_t messages, bytes, pages;
};

/* Of one operation. */
struct cost {
    double messages, bytes, pages;
};

/* The counters of home: of two instances it sees every message. False if there are none. */
static int count_all(struct count *all)
{
    static char text[16 * PAGE];
    int from = open("/proc/maize/counters", O_RDONLY);
    if (from < 0)
        return 0;
    size_t length = 0;
    for (ssize_t n; (n = read(from, text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)n;
    CHECK(close(from) == 0);
    text[length] = 0;
    *all = (struct count){0, 0, 0};
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *space = strrchr(line, ' ');
        CHECK(space != NULL);
        uint64_t value = strtoull(space + 1, NULL, 10);
        if (!strncmp(line, "fabric.sent.", 12) || !strncmp(line, "fabric.received.", 16))
            all->messages += value;
        else if (!strncmp(line, "fabric.bytes.", 13) || !strncmp(line, "fabric.bytes_received.", 22))
            all->bytes += value;
        else if (!strncmp(line, "fabric.pages_sent ", 18) || !strncmp(line, "fabric.pages_received ", 22))
            all->pages += value;
    }
    return 1;
}

static double each(uint64_t before, uint64_t few, uint64_t many, int more)
{
    /* What the smaller run cost is taken off. */
    return (double)((int64_t)(many - few) - (int64_t)(few - before)) / more;
}

static const char *wanted = "";

/* Measures and prints a figure; `other` is what else an operation of it does, which has been measured
 * and is taken off. Returns the cost of one. */
static struct cost measure_but(struct cost other, const char *name, void (*figure)(int), int n)
{
    struct count before, few, many;
    struct cost one = {0, 0, 0};
    if (!strstr(name, wanted))
        return one;
    figure(FEW);
    int counted = count_all(&before);
    figure(FEW);
    counted = counted && count_all(&few);
    figure(n);
    counted = counted && count_all(&many);
    if (counted) {
        one.messages = each(before.messages, few.messages, many.messages, n - FEW) - other.messages;
        one.bytes = each(before.bytes, few.bytes, many.bytes, n - FEW) - other.bytes;
        one.pages = each(before.pages, few.pages, many.pages, n - FEW) - other.pages;
        printf("%s\t%.2f\t%.1f\t%.2f\t", name, one.messages, one.bytes, one.pages);
    } else {
        printf("%s\t-\t-\t-\t", name);
    }
    int in_ns = figure == first_migration || figure == back;
    for (int i = 0; i < n; i++)
        printf("%s%.0f", i ? " " : "", (double)samples[i] * (in_ns ? 1 : tick_ns));
    printf("\n");
    CHECK(fflush(stdout) == 0);
    return one;
}

static struct cost measure(const char *name, void (*figure)(int), int n)
{
    return measure_but((struct cost){0, 0, 0}, name, figure, n);
}

int main(int argc, char **argv)
{
    int many = argc > 1 ? atoi(argv[1]) : 300;
    CHECK(many > FEW && many <= MOST);
    if (argc > 2)
        wanted = argv[2];
    int fewer = many / 4 > FEW ? many / 4 : FEW + 5;
    process = getpid();
    first_thread = (pid_t)syscall(SYS_gettid);
    go(&home);
    calibrate();
    file = open("migration.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0);
    CHECK(ftruncate(file, PAGE) == 0);
    measure("first migration of a process", first_migration, FEW + 10);
    measure("there and back", there_and_back, many);
    measure("there and back, stack unused", registers_there_and_back, many);
    measure("back", back, many);
    measure("system call", null_call_away, many);
    measure("system call at home", null_call, many);
    measure("clock_gettime", clock_read_away, many);
    measure("clock_gettime at home", clock_read, many);
    struct cost read = measure("read fault", read_fault, many);
    measure("write fault", write_fault, many);
    measure_but(read, "write upgrade", write_upgrade, many);
    measure("first touch of a page", first_touch, many);
    measure("page ping-pong", page_ping_pong, many);
    measure("futex wake, no waiter", futex_wake_away, many);
    measure("futex wake, shared word", futex_wake_shared_away, many);
    measure("futex wait, value changed", futex_changed_away, many);
    measure("futex ping-pong", futex_ping_pong, many);
    measure("futex ping-pong, both there", futex_ping_pong_away, many);
    measure("mmap 64 KiB", map_blocks_away, many);
    measure("munmap 64 KiB", unmap_blocks_away, many);
    measure("mprotect 64 KiB", protect_block_away, many);
    measure("brk 64 KiB", grow_heap_away, many);
    measure("thread create and join", create_and_join_away, fewer);
    measure("signal round trip", signal_round_trip, many);
    measure("file write 4 KiB", write_file_away, many);
    measure("file read 4 KiB", read_file_away, many);
    /* Where this is the only process its end is the machine's, and the console is slow. */
    (void)tcdrain(STDOUT_FILENO);
    return 0;
}
