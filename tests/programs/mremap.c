/* mremap: growing in place, moving, shrinking, moving to a given place, and splitting. */
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

static char *map(size_t pages, int flags)
{
    char *area =
        mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    return area;
}

static void fill(char *area, int pages)
{
    for (int i = 0; i < pages; i++)
        area[i * PAGE] = area[i * PAGE + PAGE - 1] = (char)(i + 1);
}

static void check(const char *area, int pages, int filled)
{
    for (int i = 0; i < pages; i++) {
        CHECK_EQUAL(area[i * PAGE], i < filled ? i + 1 : 0);
        CHECK_EQUAL(area[i * PAGE + PAGE - 1], i < filled ? i + 1 : 0);
    }
}

static void grows_in_place(void)
{
    char *area = map(16, MAP_PRIVATE);
    CHECK(munmap(area + 4 * PAGE, 12 * PAGE) == 0);
    fill(area, 4);
    CHECK(mremap(area, 4 * PAGE, 10 * PAGE, 0) == area);
    check(area, 10, 4);
    CHECK(munmap(area, 10 * PAGE) == 0);
}

static void moves_when_it_must(void)
{
    char *area = map(8, MAP_PRIVATE);
    fill(area, 4);
    memset(area + 4 * PAGE, 'n', 4 * PAGE);
    CHECK_FAILS((intptr_t)mremap(area, 4 * PAGE, 6 * PAGE, 0), ENOMEM);
    char *moved = mremap(area, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED && moved != area);
    check(moved, 6, 4);
    CHECK_EQUAL(area[4 * PAGE], 'n');
    CHECK_FAILS(madvise(area, PAGE, MADV_DONTNEED), ENOMEM);
    CHECK(munmap(moved, 6 * PAGE) == 0 && munmap(area + 4 * PAGE, 4 * PAGE) == 0);
}

static void shrinks(void)
{
    char *area = map(8, MAP_PRIVATE);
    fill(area, 8);
    CHECK(mremap(area, 8 * PAGE, 3 * PAGE, 0) == area);
    check(area, 3, 3);
    CHECK_FAILS(madvise(area + 3 * PAGE, PAGE, MADV_DONTNEED), ENOMEM);
    CHECK(mremap(area, 3 * PAGE, 3 * PAGE, 0) == area);
    CHECK(munmap(area, 3 * PAGE) == 0);
}

static void moves_to_a_place(void)
{
    char *area = map(4, MAP_PRIVATE), *target = map(6, MAP_PRIVATE);
    fill(area, 4);
    memset(target, 't', 6 * PAGE);
    CHECK(mremap(area, 4 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    check(target, 5, 4);
    CHECK_EQUAL(target[5 * PAGE], 't');
    CHECK_FAILS(madvise(area, PAGE, MADV_DONTNEED), ENOMEM);
    CHECK_FAILS((intptr_t)mremap(target, PAGE, PAGE, MREMAP_FIXED, area), EINVAL);
    CHECK_FAILS((intptr_t)mremap(target, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                                 target + PAGE),
                EINVAL);
    CHECK(munmap(target, 6 * PAGE) == 0);
}

static void a_middle_moves_out(void)
{
    char *area = map(6, MAP_PRIVATE);
    fill(area, 6);
    char *moved = mremap(area + 2 * PAGE, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED);
    CHECK(moved[0] == 3 && moved[PAGE] == 4 && moved[2 * PAGE] == 0);
    CHECK(area[PAGE] == 2 && area[4 * PAGE] == 5);
    CHECK_FAILS(madvise(area + 2 * PAGE, PAGE, MADV_DONTNEED), ENOMEM);
    CHECK(munmap(area, 6 * PAGE) == 0 && munmap(moved, 4 * PAGE) == 0);
}

static void shared_stays_shared(void)
{
    char *area = map(8, MAP_SHARED), *target = map(4, MAP_PRIVATE);
    fill(area, 4);
    CHECK(munmap(target, 4 * PAGE) == 0);
    char *moved = mremap(area, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    CHECK(moved == target);
    IN_CHILD({
        check(moved, 4, 4);
        moved[0] = 'c';
    });
    CHECK_EQUAL(moved[0], 'c');
    CHECK(munmap(moved, 4 * PAGE) == 0 && munmap(area + 4 * PAGE, 4 * PAGE) == 0);
}

static void files_grow_into_their_contents(void)
{
    int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0);
    char page[PAGE];
    for (int i = 0; i < 6; i++) {
        memset(page, 'a' + i, PAGE);
        CHECK_EQUAL(write(file, page, PAGE), PAGE);
    }
    char *area = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, PAGE);
    CHECK(area != MAP_FAILED);
    area = mremap(area, 2 * PAGE, 5 * PAGE, MREMAP_MAYMOVE);
    CHECK(area != MAP_FAILED);
    for (int i = 0; i < 5; i++)
        CHECK_EQUAL(area[i * PAGE], 'b' + i);
    CHECK(munmap(area, 5 * PAGE) == 0);
    close(file);
    CHECK(unlink("file") == 0);
}

static void bad_arguments(void)
{
    char *area = map(2, MAP_PRIVATE);
    CHECK_FAILS((intptr_t)mremap(area + 1, PAGE, PAGE, 0), EINVAL);
    CHECK_FAILS((intptr_t)mremap(area, PAGE, 0, 0), EINVAL);
    CHECK_FAILS((intptr_t)mremap(area, PAGE, PAGE, 0x100), EINVAL);
    CHECK(munmap(area, 2 * PAGE) == 0);
    CHECK_FAILS((intptr_t)mremap(area, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
}

int main(void)
{
    RUN(grows_in_place);
    RUN(moves_when_it_must);
    RUN(shrinks);
    RUN(moves_to_a_place);
    RUN(a_middle_moves_out);
    RUN(shared_stays_shared);
    RUN(files_grow_into_their_contents);
    RUN(bad_arguments);
    return 0;
}
