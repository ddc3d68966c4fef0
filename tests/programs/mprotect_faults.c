/* mprotect with SIGSEGV handlers: a write barrier over many pages, protections that split and join
 * areas, and accesses by the kernel on the program's behalf. */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { PAGE = 4096, PAGES = 128 };

static char *area;
static volatile int faults;
static volatile unsigned char dirty[PAGES];

/* What a garbage collector does: note the page, allow the write, go on. */
static void barrier(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    size_t page = (size_t)((char *)info->si_addr - area) / PAGE;
    CHECK(page < PAGES);
    CHECK_EQUAL(info->si_code, SEGV_ACCERR);
    dirty[page] = 1;
    __atomic_fetch_add(&faults, 1, __ATOMIC_SEQ_CST);
    CHECK(mprotect(area + page * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
}

static void on_fault(void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
}

static void a_write_barrier(void)
{
    on_fault(barrier);
    for (int i = 0; i < PAGES; i++)
        area[i * PAGE] = (char)i;
    for (int round = 0; round < 3; round++) {
        faults = 0;
        memset((void *)dirty, 0, sizeof dirty);
        CHECK(mprotect(area, PAGES * PAGE, PROT_READ) == 0);
        for (int i = 0; i < PAGES; i++)
            CHECK_EQUAL(area[i * PAGE], (char)(i + round));
        CHECK_EQUAL(faults, 0);
        for (int i = 0; i < PAGES; i++)
            area[((i * 37) % PAGES) * PAGE]++;
        CHECK_EQUAL(faults, PAGES);
        for (int i = 0; i < PAGES; i++)
            CHECK_EQUAL(dirty[i], 1);
        /* Open now: no more faults. */
        for (int i = 0; i < PAGES; i++)
            area[i * PAGE + 1]++;
        CHECK_EQUAL(faults, PAGES);
    }
    say("faults per round %d", faults);
}

static void *write_all(void *offset)
{
    for (int i = 0; i < PAGES; i++)
        area[i * PAGE + 100 + (intptr_t)offset] = 'w';
    return NULL;
}

static void threads_share_protection(void)
{
    pthread_t threads[4];
    faults = 0;
    CHECK(mprotect(area, PAGES * PAGE, PROT_NONE) == 0);
    for (intptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, write_all, (void *)i) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(faults >= PAGES && faults <= 4 * PAGES);
    for (int i = 0; i < PAGES; i++)
        for (int k = 0; k < 4; k++)
            CHECK_EQUAL(area[i * PAGE + 100 + k], 'w');
}

static sigjmp_buf back;

static void jump(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    siglongjmp(back, 1);
}

static int can_read(const volatile char *at)
{
    if (sigsetjmp(back, 1))
        return 0;
    (void)*at;
    return 1;
}

static int can_write(volatile char *at)
{
    if (sigsetjmp(back, 1))
        return 0;
    *at = 1;
    return 1;
}

static void areas_split_and_join(void)
{
    on_fault(jump);
    CHECK(mprotect(area, PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
    for (int i = 0; i < PAGES; i++) {
        static const int kinds[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
        CHECK(mprotect(area + i * PAGE, PAGE, kinds[i % 3]) == 0);
    }
    for (int i = 0; i < PAGES; i++) {
        CHECK_EQUAL(can_read(area + i * PAGE), i % 3 >= 1);
        CHECK_EQUAL(can_write(area + i * PAGE), i % 3 == 2);
    }
    CHECK(mprotect(area, PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
    for (int i = 0; i < PAGES; i++)
        CHECK(can_write(area + i * PAGE));
}

/* The kernel must respect the protection too, and say EFAULT instead of killing. */
static void system_calls_respect_it(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK(mprotect(area, PAGE, PROT_READ) == 0);
    CHECK(mprotect(area + PAGE, PAGE, PROT_NONE) == 0);
    CHECK_EQUAL(write(ends[1], area, 10), 10);
    CHECK_FAILS(read(ends[0], area, 10), EFAULT);
    CHECK_FAILS(write(ends[1], area + PAGE, 10), EFAULT);
    CHECK(mprotect(area, 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
    CHECK_EQUAL(read(ends[0], area, 10), 10);
    close(ends[0]);
    close(ends[1]);
}

static void untouched_pages_too(void)
{
    char *fresh = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(fresh != MAP_FAILED);
    CHECK(!can_read(fresh) && !can_write(fresh));
    CHECK(mprotect(fresh, 2 * PAGE, PROT_READ) == 0);
    CHECK(can_read(fresh) && !can_write(fresh) && !can_read(fresh + 2 * PAGE));
    CHECK(mprotect(fresh, 4 * PAGE, PROT_READ | PROT_WRITE) == 0);
    CHECK(can_write(fresh) && can_write(fresh + 3 * PAGE));
    CHECK(munmap(fresh, 4 * PAGE) == 0);
}

static void bad_arguments(void)
{
    /* By number: musl rounds the address. */
    CHECK_FAILS(syscall(SYS_mprotect, area + 1, PAGE, PROT_READ), EINVAL);
    CHECK_FAILS(mprotect(area, PAGE, 0x10000), EINVAL);
    CHECK(mprotect(area, 0, PROT_READ) == 0);
    char *hole = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(hole != MAP_FAILED && munmap(hole + PAGE, PAGE) == 0);
    CHECK_FAILS(mprotect(hole, 3 * PAGE, PROT_READ), ENOMEM);
    /* What came before the hole has been changed. */
    CHECK(!can_write(hole) && can_write(hole + 2 * PAGE));
    CHECK(munmap(hole, 3 * PAGE) == 0);
    int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0 && ftruncate(file, PAGE) == 0);
    int reader = open("file", O_RDONLY);
    char *shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    CHECK(shared != MAP_FAILED);
    CHECK_FAILS(mprotect(shared, PAGE, PROT_READ | PROT_WRITE), EACCES);
    CHECK(munmap(shared, PAGE) == 0);
    close(reader);
    close(file);
    CHECK(unlink("file") == 0);
}

int main(void)
{
    area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    RUN(a_write_barrier);
    RUN(threads_share_protection);
    RUN(areas_split_and_join);
    RUN(system_calls_respect_it);
    RUN(untouched_pages_too);
    RUN(bad_arguments);
    return 0;
}
