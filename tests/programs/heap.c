/* The heap: brk and sbrk, and malloc under stress from one thread and from several. */
#include "check.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { PAGE = 4096 };

static char *kernel_brk(void *to)
{
    return (char *)syscall(SYS_brk, to);
}

/* By number: musl's sbrk refuses to move the break, as it belongs to its malloc. It is moved here
 * in a child, where nothing else uses it. */
static void the_break_moves(void)
{
    IN_CHILD({
        char *start = kernel_brk(NULL);
        CHECK(start != NULL);
        CHECK(kernel_brk(start + 100) == start + 100);
        CHECK(kernel_brk(start + 20 * PAGE) == start + 20 * PAGE);
        for (int i = 0; i < 20 * PAGE; i++)
            CHECK_EQUAL(start[i], 0);
        memset(start, 'b', 20 * PAGE);
        CHECK(kernel_brk(start + 2 * PAGE) == start + 2 * PAGE);
        CHECK_EQUAL(start[2 * PAGE - 1], 'b');
        CHECK(kernel_brk(start + 20 * PAGE) == start + 20 * PAGE);
        /* What was given back and taken again is new. The break may start inside a page. */
        char *page = start + 3 * PAGE;
        for (int i = 0; i < 16 * PAGE; i++)
            CHECK_EQUAL(page[i], 0);
        /* A place that cannot be reached leaves it where it is. */
        CHECK(kernel_brk((void *)16) == start + 20 * PAGE);
        CHECK(kernel_brk((void *)((uintptr_t)1 << 62)) == start + 20 * PAGE);
        IN_CHILD({
            CHECK(kernel_brk(NULL) == start + 20 * PAGE);
            CHECK(kernel_brk(start) == start);
        });
        CHECK(kernel_brk(NULL) == start + 20 * PAGE);
    });
}

static unsigned next(unsigned *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

enum { SLOTS = 200 };

static void churn(unsigned seed, int rounds)
{
    unsigned char *blocks[SLOTS] = {0}, marks[SLOTS];
    size_t sizes[SLOTS];
    unsigned state = seed;
    for (int round = 0; round < rounds; round++) {
        int slot = (int)(next(&state) % SLOTS);
        size_t size = next(&state) % 100 ? next(&state) % 3000 : next(&state) % 300000;
        size_t kept = 0;
        if (blocks[slot]) {
            for (size_t i = 0; i < sizes[slot]; i += 61)
                CHECK_EQUAL(blocks[slot][i], marks[slot]);
            kept = sizes[slot];
        }
        switch (next(&state) % 3) {
        case 0:
            free(blocks[slot]);
            blocks[slot] = malloc(size + 1);
            break;
        case 1:
            blocks[slot] = realloc(blocks[slot], size + 1);
            for (size_t i = 0; i < (kept < size ? kept : size); i += 61)
                CHECK_EQUAL(blocks[slot][i], marks[slot]);
            break;
        case 2:
            free(blocks[slot]);
            blocks[slot] = calloc(1, size + 1);
            for (size_t i = 0; i <= size; i += 17)
                CHECK_EQUAL(blocks[slot][i], 0);
        }
        CHECK(blocks[slot] != NULL);
        CHECK_EQUAL((uintptr_t)blocks[slot] % 16, 0);
        marks[slot] = (unsigned char)next(&state);
        sizes[slot] = size;
        memset(blocks[slot], marks[slot], size);
    }
    for (int slot = 0; slot < SLOTS; slot++)
        free(blocks[slot]);
}

static void one_thread(void)
{
    churn(1, 6000);
}

static void *churn_in_thread(void *seed)
{
    churn((unsigned)(uintptr_t)seed, 1500);
    return NULL;
}

static void several_threads(void)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, churn_in_thread, (void *)(i + 10)) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void large_blocks(void)
{
    for (int round = 0; round < 4; round++) {
        size_t size = (size_t)(1 + round) << 20;
        char *block = malloc(size);
        CHECK(block != NULL);
        for (size_t at = 0; at < size; at += PAGE)
            block[at] = (char)round;
        block = realloc(block, size * 2);
        CHECK(block != NULL);
        for (size_t at = 0; at < size; at += PAGE)
            CHECK_EQUAL(block[at], round);
        free(block);
    }
    void *aligned;
    CHECK(posix_memalign(&aligned, 65536, 100000) == 0);
    CHECK_EQUAL((uintptr_t)aligned % 65536, 0);
    free(aligned);
}

static void too_much_is_refused(void)
{
    volatile size_t huge = (size_t)1 << 60;
    errno = 0;
    void *block = malloc(huge);
    CHECK(block == NULL && errno == ENOMEM);
    CHECK(calloc(huge, huge) == NULL);
}

static void a_child_has_its_own(void)
{
    char *block = malloc(100000);
    CHECK(block != NULL);
    memset(block, 'p', 100000);
    IN_CHILD({
        memset(block, 'c', 100000);
        free(block);
        churn(3, 500);
    });
    for (int i = 0; i < 100000; i++)
        CHECK_EQUAL(block[i], 'p');
    free(block);
}

int main(void)
{
    RUN(the_break_moves);
    RUN(one_thread);
    RUN(several_threads);
    RUN(large_blocks);
    RUN(too_much_is_refused);
    RUN(a_child_has_its_own);
    return 0;
}
