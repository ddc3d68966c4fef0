/* Copy-on-write after fork: many pages, nested forks, both directions, shared beside private,
 * the program's own data and stack, and writes by the kernel into shared pages. */
#include "check.h"
#include <sys/mman.h>

enum { PAGE = 4096, PAGES = 256 };

static unsigned char *map(int flags)
{
    unsigned char *area =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    return area;
}

static void fill(unsigned char *area, int value)
{
    for (int i = 0; i < PAGES; i++)
        area[i * PAGE + i] = (unsigned char)(value + i);
}

static void check(const unsigned char *area, int value)
{
    for (int i = 0; i < PAGES; i++)
        CHECK_EQUAL(area[i * PAGE + i], (unsigned char)(value + i));
}

static void a_child_writes(void)
{
    unsigned char *area = map(MAP_PRIVATE);
    fill(area, 1);
    IN_CHILD({
        check(area, 1);
        fill(area, 2);
        check(area, 2);
    });
    check(area, 1);
    CHECK(munmap(area, PAGES * PAGE) == 0);
}

static void the_parent_writes(void)
{
    unsigned char *area = map(MAP_PRIVATE);
    int gate[2];
    char byte;
    fill(area, 1);
    CHECK(pipe(gate) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(gate[1]);
        CHECK(read(gate[0], &byte, 1) == 0);
        check(area, 1);
        _exit(0);
    }
    fill(area, 3);
    close(gate[1]);
    REAP_EXITED(child, 0);
    check(area, 3);
    close(gate[0]);
    CHECK(munmap(area, PAGES * PAGE) == 0);
}

/* Each generation sees its parent's values, writes its own, and sees its own afterwards. */
static void descend(unsigned char *area, int generation)
{
    check(area, generation);
    if (generation == 8)
        return;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 0; i < PAGES; i++)
            area[i * PAGE + i]++;
        descend(area, generation + 1);
        check(area, generation + 1);
        _exit(0);
    }
    /* While descendants run. */
    check(area, generation);
    REAP_EXITED(child, 0);
    check(area, generation);
}

static void nested_forks(void)
{
    unsigned char *area = map(MAP_PRIVATE);
    fill(area, 0);
    descend(area, 0);
    CHECK(munmap(area, PAGES * PAGE) == 0);
}

static void several_children_at_once(void)
{
    enum { CHILDREN = 6 };
    unsigned char *area = map(MAP_PRIVATE);
    pid_t children[CHILDREN];
    fill(area, 9);
    for (int c = 0; c < CHILDREN; c++) {
        children[c] = fork();
        CHECK(children[c] >= 0);
        if (children[c] == 0) {
            for (int i = c; i < PAGES; i += CHILDREN)
                area[i * PAGE + i] = (unsigned char)c;
            pause_ms(5);
            for (int i = 0; i < PAGES; i++)
                CHECK_EQUAL(area[i * PAGE + i],
                            i % CHILDREN == c ? c : (unsigned char)(9 + i));
            _exit(0);
        }
    }
    for (int c = 0; c < CHILDREN; c++)
        REAP_EXITED(children[c], 0);
    check(area, 9);
    CHECK(munmap(area, PAGES * PAGE) == 0);
}

static void shared_beside_private(void)
{
    unsigned char *shared = map(MAP_SHARED), *private = map(MAP_PRIVATE);
    fill(private, 1);
    fill(shared, 1);
    IN_CHILD({
        fill(shared, 50);
        fill(private, 50);
        IN_CHILD({
            check(shared, 50);
            check(private, 50);
            fill(shared, 60);
            fill(private, 60);
        });
        check(shared, 60);
        check(private, 50);
    });
    check(shared, 60);
    check(private, 1);
    CHECK(munmap(shared, PAGES * PAGE) == 0 && munmap(private, PAGES * PAGE) == 0);
}

static int data[3000] = {[0] = 11, [2999] = 22};
static int zeroes[3000];

static void data_and_stack(void)
{
    int local[3000];
    for (int i = 0; i < 3000; i++)
        local[i] = i;
    IN_CHILD({
        CHECK(data[0] == 11 && data[2999] == 22 && zeroes[1500] == 0 && local[2000] == 2000);
        for (int i = 0; i < 3000; i++)
            data[i] = zeroes[i] = local[i] = -1;
        __asm__ volatile("" ::"r"(local) : "memory");
    });
    CHECK(data[0] == 11 && data[2999] == 22 && data[5] == 0);
    for (int i = 0; i < 3000; i++)
        CHECK(zeroes[i] == 0 && local[i] == i);
}

/* A read system call that fills pages still shared with the child. */
static void the_kernel_writes(void)
{
    unsigned char *area = map(MAP_PRIVATE);
    int pipe_ends[2], gate[2];
    char byte;
    fill(area, 4);
    CHECK(pipe(pipe_ends) == 0 && pipe(gate) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(gate[1]);
        CHECK(read(gate[0], &byte, 1) == 0);
        check(area, 4);
        _exit(0);
    }
    char buffer[3 * PAGE];
    memset(buffer, 'k', sizeof buffer);
    CHECK_EQUAL(write(pipe_ends[1], buffer, sizeof buffer), sizeof buffer);
    CHECK_EQUAL(read(pipe_ends[0], area + 100, sizeof buffer), sizeof buffer);
    for (size_t i = 100; i < 100 + sizeof buffer; i++)
        CHECK_EQUAL(area[i], 'k');
    close(gate[1]);
    REAP_EXITED(child, 0);
    close(gate[0]);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    CHECK(munmap(area, PAGES * PAGE) == 0);
}

/* After the child has gone, the parent's pages are its own again, many times over. */
static void nothing_leaks(void)
{
    unsigned char *area = map(MAP_PRIVATE);
    fill(area, 0);
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            fill(area, round);
            _exit(0);
        }
        fill(area, round + 100);
        REAP_EXITED(child, 0);
        check(area, round + 100);
    }
    CHECK(munmap(area, PAGES * PAGE) == 0);
}

int main(void)
{
    RUN(a_child_writes);
    RUN(the_parent_writes);
    RUN(nested_forks);
    RUN(several_children_at_once);
    RUN(shared_beside_private);
    RUN(data_and_stack);
    RUN(the_kernel_writes);
    RUN(nothing_leaks);
    return 0;
}
