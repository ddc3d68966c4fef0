/* mmap and munmap of anonymous memory in all forms, and the arguments that must be refused. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <setjmp.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

enum { PAGE = 4096 };

static sigjmp_buf back;

static void on_fault(int number)
{
    (void)number;
    siglongjmp(back, 1);
}

/* Whether one byte can be read. */
static int readable(const volatile char *address)
{
    if (sigsetjmp(back, 1))
        return 0;
    (void)*address;
    return 1;
}

static char *map(size_t pages, int flags)
{
    char *area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    CHECK_EQUAL((uintptr_t)area % PAGE, 0);
    return area;
}

static void fresh_memory_is_zero(void)
{
    for (int round = 0; round < 3; round++) {
        char *area = map(64, MAP_PRIVATE);
        for (size_t i = 0; i < 64 * PAGE; i++)
            CHECK_EQUAL(area[i], 0);
        memset(area, 0xee, 64 * PAGE);
        CHECK(munmap(area, 64 * PAGE) == 0);
        CHECK(!readable(area) && !readable(area + 63 * PAGE));
    }
}

static void reading_first_then_writing(void)
{
    char *area = map(32, MAP_PRIVATE);
    int sum = 0;
    for (int i = 0; i < 32; i++)
        sum += area[i * PAGE + i];
    CHECK_EQUAL(sum, 0);
    for (int i = 0; i < 32; i += 2)
        area[i * PAGE] = (char)(i + 1);
    /* Pages that were only read must not have changed with those that were written. */
    for (int i = 0; i < 32; i++)
        CHECK_EQUAL(area[i * PAGE], i % 2 ? 0 : i + 1);
    CHECK(munmap(area, 32 * PAGE) == 0);
}

static void holes_are_made(void)
{
    char *area = map(9, MAP_PRIVATE);
    for (int i = 0; i < 9; i++)
        area[i * PAGE] = (char)(i + 1);
    for (int i = 1; i < 9; i += 2)
        CHECK(munmap(area + i * PAGE, PAGE) == 0);
    for (int i = 0; i < 9; i++) {
        CHECK_EQUAL(readable(area + i * PAGE), i % 2 == 0);
        if (i % 2 == 0)
            CHECK_EQUAL(area[i * PAGE], i + 1);
    }
    /* Over holes and pages alike. */
    CHECK(munmap(area, 9 * PAGE) == 0);
    CHECK(munmap(area, 9 * PAGE) == 0);
    for (int i = 0; i < 9; i++)
        CHECK(!readable(area + i * PAGE));
    /* A length is rounded up to whole pages. */
    area = map(2, MAP_PRIVATE);
    CHECK(munmap(area, 1) == 0);
    CHECK(!readable(area) && readable(area + PAGE));
    CHECK(munmap(area, 2 * PAGE) == 0);
}

static void fixed_replaces(void)
{
    char *area = map(5, MAP_PRIVATE);
    memset(area, 'o', 5 * PAGE);
    char *inner = mmap(area + PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(inner == area + PAGE);
    CHECK(area[0] == 'o' && area[PAGE] == 0 && area[3 * PAGE - 1] == 0 && area[3 * PAGE] == 'o');
    CHECK_FAILS((intptr_t)mmap(area + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                               -1, 0),
                EINVAL);
    CHECK_FAILS((intptr_t)mmap(area + 3 * PAGE, PAGE, PROT_READ,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
                EEXIST);
    CHECK_EQUAL(area[3 * PAGE], 'o');
    CHECK(munmap(area + 3 * PAGE, PAGE) == 0);
    CHECK(mmap(area + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
               -1, 0) == area + 3 * PAGE);
    CHECK(munmap(area, 5 * PAGE) == 0);
}

static void hints_are_taken_when_free(void)
{
    char *area = map(4, MAP_PRIVATE);
    CHECK(munmap(area, 4 * PAGE) == 0);
    CHECK(mmap(area, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == area);
    /* Taken: somewhere else. */
    char *other = mmap(area, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(other != MAP_FAILED && (other < area || other >= area + 4 * PAGE));
    CHECK(munmap(area, 4 * PAGE) == 0 && munmap(other, PAGE) == 0);
}

static void bad_arguments(void)
{
    int both = PROT_READ | PROT_WRITE;
    CHECK_FAILS((intptr_t)mmap(NULL, 0, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
    CHECK_FAILS((intptr_t)mmap(NULL, PAGE, both, MAP_ANONYMOUS, -1, 0), EINVAL);
    CHECK_FAILS((intptr_t)mmap(NULL, PAGE, both, MAP_PRIVATE, -1, 0), EBADF);
    CHECK_FAILS((intptr_t)mmap(NULL, PAGE, both, MAP_PRIVATE, 900, 0), EBADF);
    CHECK_FAILS((intptr_t)mmap(NULL, (size_t)1 << 60, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                ENOMEM);
    CHECK_FAILS((intptr_t)mmap(NULL, SIZE_MAX - 100, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                ENOMEM);
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK_FAILS((intptr_t)mmap(NULL, PAGE, both, MAP_PRIVATE, ends[0], 0), ENODEV);
    CHECK_FAILS((intptr_t)mmap(NULL, PAGE, both, MAP_PRIVATE, ends[1], 0), EACCES);
    close(ends[0]);
    close(ends[1]);
    char *area = map(1, MAP_PRIVATE);
    CHECK_FAILS(munmap(area + 1, PAGE), EINVAL);
    CHECK_FAILS(munmap(area, 0), EINVAL);
    CHECK(munmap(area, PAGE) == 0);
}

static void shared_with_a_child(void)
{
    int *shared = (int *)map(2, MAP_SHARED);
    int *private = (int *)map(2, MAP_PRIVATE);
    shared[0] = private[0] = 5;
    IN_CHILD({
        CHECK(shared[0] == 5 && private[0] == 5);
        shared[0] = private[0] = 6;
        /* A page that nobody had touched before the fork. */
        shared[1500] = private[1500] = 7;
    });
    CHECK_EQUAL(shared[0], 6);
    CHECK_EQUAL(shared[1500], 7);
    CHECK_EQUAL(private[0], 5);
    CHECK_EQUAL(private[1500], 0);
    CHECK(munmap(shared, 2 * PAGE) == 0 && munmap(private, 2 * PAGE) == 0);
}

static void large_and_sparse(void)
{
    size_t size = (size_t)4 << 30;
    char *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(area != MAP_FAILED);
    for (size_t at = 0; at < size; at += size / 64)
        area[at + at / size] = (char)(at >> 26);
    for (size_t at = 0; at < size; at += size / 64) {
        CHECK_EQUAL(area[at + at / size], (char)(at >> 26));
        CHECK_EQUAL(area[at + PAGE], 0);
    }
    CHECK(munmap(area, size) == 0);
}

static void many_small_areas(void)
{
    enum { AREAS = 300 };
    static char *areas[AREAS];
    for (int i = 0; i < AREAS; i++) {
        areas[i] = mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(areas[i] != MAP_FAILED);
        if (i % 2 == 0)
            areas[i][0] = (char)i;
    }
    for (int i = 0; i < AREAS; i++)
        CHECK_EQUAL(areas[i][0], i % 2 ? 0 : (char)i);
    for (int i = 0; i < AREAS; i++)
        CHECK(munmap(areas[(i * 7) % AREAS], PAGE) == 0);
}

static void *map_and_unmap(void *seed)
{
    unsigned state = (unsigned)(uintptr_t)seed;
    for (int i = 0; i < 60; i++) {
        state = state * 1103515245 + 12345;
        size_t pages = 1 + (state >> 16) % 8;
        char *area = map(pages, MAP_PRIVATE);
        for (size_t p = 0; p < pages; p++) {
            CHECK_EQUAL(area[p * PAGE], 0);
            area[p * PAGE] = (char)(uintptr_t)seed;
        }
        sched_yield();
        for (size_t p = 0; p < pages; p++)
            CHECK_EQUAL(area[p * PAGE], (char)(uintptr_t)seed);
        CHECK(munmap(area, pages * PAGE) == 0);
    }
    return NULL;
}

static void threads_map_and_unmap(void)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, map_and_unmap, (void *)(i + 1)) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void dont_need_gives_zeroes(void)
{
    char *area = map(4, MAP_PRIVATE);
    memset(area, 'd', 4 * PAGE);
    CHECK(madvise(area + PAGE, 2 * PAGE, MADV_DONTNEED) == 0);
    CHECK(area[0] == 'd' && area[PAGE] == 0 && area[3 * PAGE - 1] == 0 && area[3 * PAGE] == 'd');
    area[PAGE] = 'e';
    CHECK_EQUAL(area[PAGE], 'e');
    CHECK_FAILS(madvise(area + 1, PAGE, MADV_DONTNEED), EINVAL);
    CHECK_FAILS(madvise(area, PAGE, 12345), EINVAL);
    CHECK(munmap(area + PAGE, PAGE) == 0);
    CHECK_FAILS(madvise(area, 4 * PAGE, MADV_DONTNEED), ENOMEM);
    CHECK(munmap(area, 4 * PAGE) == 0);
}

int main(void)
{
    signal(SIGSEGV, on_fault);
    RUN(fresh_memory_is_zero);
    RUN(reading_first_then_writing);
    RUN(holes_are_made);
    RUN(fixed_replaces);
    RUN(hints_are_taken_when_free);
    RUN(bad_arguments);
    RUN(shared_with_a_child);
    RUN(large_and_sparse);
    RUN(many_small_areas);
    RUN(threads_map_and_unmap);
    RUN(dont_need_gives_zeroes);
    return 0;
}
