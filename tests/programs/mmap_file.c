/* Mapped files: coherence of shared mappings with read and write and with each other, private
 * copies, ends of files, and life after close and unlink. */
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PAGE = 4096 };

static int make_file(const char *name, size_t size)
{
    int file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0);
    char page[PAGE];
    for (size_t done = 0; done < size;) {
        for (int i = 0; i < PAGE; i++)
            page[i] = (char)((done + (size_t)i) * 7 >> 3);
        size_t n = size - done < PAGE ? size - done : PAGE;
        CHECK_EQUAL(write(file, page, n), n);
        done += n;
    }
    return file;
}

static char *map(int file, size_t pages, int protection, int flags, off_t offset)
{
    char *area = mmap(NULL, pages * PAGE, protection, flags, file, offset);
    CHECK(area != MAP_FAILED);
    return area;
}

static const int BOTH = PROT_READ | PROT_WRITE;

static void contents_are_the_files(void)
{
    int file = make_file("file", 10 * PAGE + 100);
    char *private = map(file, 11, PROT_READ, MAP_PRIVATE, 0);
    char *shared = map(file, 11, PROT_READ, MAP_SHARED, 0);
    char *middle = map(file, 2, PROT_READ, MAP_PRIVATE, 3 * PAGE);
    for (size_t i = 0; i < 10 * PAGE + 100; i++) {
        CHECK_EQUAL(private[i], (char)(i * 7 >> 3));
        CHECK_EQUAL(shared[i], private[i]);
    }
    CHECK(memcmp(middle, private + 3 * PAGE, 2 * PAGE) == 0);
    /* The rest of the last page is zero. */
    for (size_t i = 10 * PAGE + 100; i < 11 * PAGE; i++)
        CHECK(private[i] == 0 && shared[i] == 0);
    CHECK(munmap(private, 11 * PAGE) == 0 && munmap(shared, 11 * PAGE) == 0);
    CHECK(munmap(middle, 2 * PAGE) == 0);
    CHECK_FAILS((intptr_t)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 17), EINVAL);
    CHECK_FAILS((intptr_t)mmap(NULL, -2 * PAGE, PROT_READ, MAP_PRIVATE, file, 0), ENOMEM);
    close(file);
    CHECK(unlink("file") == 0);
}

static void shared_is_coherent_with_read_and_write(void)
{
    int file = make_file("file", 4 * PAGE);
    char *area = map(file, 4, BOTH, MAP_SHARED, 0), byte;
    for (int i = 0; i < 4 * PAGE; i += 111) {
        area[i] = (char)i;
        CHECK_EQUAL(pread(file, &byte, 1, i), 1);
        CHECK_EQUAL(byte, (char)i);
        byte = (char)~i;
        CHECK_EQUAL(pwrite(file, &byte, 1, i), 1);
        CHECK_EQUAL(area[i], (char)~i);
    }
    /* A second mapping, elsewhere and shifted, is the same memory. */
    char *second = map(file, 3, BOTH, MAP_SHARED, PAGE);
    second[5] = 'A';
    CHECK_EQUAL(area[PAGE + 5], 'A');
    area[3 * PAGE] = 'B';
    CHECK_EQUAL(second[2 * PAGE], 'B');
    /* A read into the mapping of the file itself. */
    CHECK_EQUAL(pread(file, area, PAGE, PAGE), PAGE);
    CHECK_EQUAL(area[5], 'A');
    CHECK_EQUAL(pwrite(file, second, PAGE, 0), PAGE);
    CHECK(msync(area, 4 * PAGE, MS_SYNC) == 0);
    CHECK(munmap(area, 4 * PAGE) == 0 && munmap(second, 3 * PAGE) == 0);
    close(file);
    CHECK(unlink("file") == 0);
}

static void writes_reach_the_file(void)
{
    int file = make_file("file", 2 * PAGE);
    char *area = map(file, 2, BOTH, MAP_SHARED, 0);
    memset(area, 'w', 2 * PAGE);
    close(file);
    CHECK(munmap(area, 2 * PAGE) == 0);
    char data[2 * PAGE];
    file = open("file", O_RDONLY);
    CHECK(file >= 0);
    CHECK_EQUAL(read(file, data, sizeof data), sizeof data);
    for (size_t i = 0; i < sizeof data; i++)
        CHECK_EQUAL(data[i], 'w');
    CHECK_FAILS((intptr_t)mmap(NULL, PAGE, BOTH, MAP_SHARED, file, 0), EACCES);
    area = map(file, 1, BOTH, MAP_PRIVATE, 0);
    close(file);
    CHECK(munmap(area, PAGE) == 0);
    file = open("file", O_WRONLY);
    CHECK(file >= 0);
    CHECK_FAILS((intptr_t)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 0), EACCES);
    close(file);
    CHECK(unlink("file") == 0);
}

static void private_copies_stay_private(void)
{
    int file = make_file("file", 2 * PAGE);
    char *area = map(file, 2, BOTH, MAP_PRIVATE, 0), old = area[1], byte;
    area[0] = 'p';
    CHECK_EQUAL(pread(file, &byte, 1, 0), 1);
    CHECK(byte != 'p');
    /* The page has been copied: the file's later changes are not seen on it. */
    CHECK_EQUAL(pwrite(file, "XY", 2, 0), 2);
    CHECK(area[0] == 'p' && area[1] == old);
    char *second = map(file, 1, PROT_READ, MAP_PRIVATE, 0);
    CHECK(second[0] == 'X' && second[1] == 'Y');
    IN_CHILD({
        CHECK_EQUAL(area[0], 'p');
        area[0] = 'c';
        area[PAGE] = 'd';
    });
    CHECK_EQUAL(area[0], 'p');
    CHECK_EQUAL(area[PAGE], (char)(PAGE * 7 >> 3));
    CHECK(madvise(area, PAGE, MADV_DONTNEED) == 0);
    CHECK_EQUAL(area[0], 'X');
    CHECK(munmap(area, 2 * PAGE) == 0 && munmap(second, PAGE) == 0);
    close(file);
    CHECK(unlink("file") == 0);
}

static void mappings_outlive_the_name(void)
{
    int file = make_file("file", PAGE);
    char *area = map(file, 1, BOTH, MAP_SHARED, 0);
    close(file);
    CHECK(unlink("file") == 0);
    area[9] = 'k';
    IN_CHILD({
        CHECK_EQUAL(area[9], 'k');
        area[10] = 'l';
    });
    CHECK_EQUAL(area[10], 'l');
    /* A new file of the name is another one. */
    file = make_file("file", PAGE);
    char byte;
    CHECK_EQUAL(pread(file, &byte, 1, 9), 1);
    CHECK(byte != 'k');
    CHECK(munmap(area, PAGE) == 0);
    close(file);
    CHECK(unlink("file") == 0);
}

static void growing_and_shrinking(void)
{
    int file = make_file("file", PAGE + 10);
    char *area = map(file, 4, BOTH, MAP_SHARED, 0);
    /* What was written past the end inside the last page is not part of the file. */
    area[PAGE + 50] = 'x';
    struct stat status;
    CHECK(fstat(file, &status) == 0);
    CHECK_EQUAL(status.st_size, PAGE + 10);
    CHECK(ftruncate(file, 4 * PAGE) == 0);
    area[3 * PAGE + 5] = 'g';
    char byte;
    CHECK_EQUAL(pread(file, &byte, 1, 3 * PAGE + 5), 1);
    CHECK_EQUAL(byte, 'g');
    CHECK(ftruncate(file, 5) == 0);
    CHECK(ftruncate(file, PAGE) == 0);
    for (int i = 5; i < PAGE; i++)
        CHECK_EQUAL(area[i], 0);
    CHECK(munmap(area, 4 * PAGE) == 0);
    close(file);
    CHECK(unlink("file") == 0);
}

/* Two processes pass a counter to and fro through a mapped file. */
static void processes_share_a_file(void)
{
    int file = make_file("file", PAGE);
    CHECK(ftruncate(file, 0) == 0 && ftruncate(file, PAGE) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    int own = open("file", O_RDWR);
    CHECK(own >= 0);
    volatile int *turn = (volatile int *)map(own, 1, BOTH, MAP_SHARED, 0);
    for (int i = 0; i < 100; i++) {
        while (*turn % 2 != (child == 0))
            usleep(100);
        ++*turn;
    }
    if (child == 0)
        _exit(0);
    REAP_EXITED(child, 0);
    CHECK_EQUAL(*turn, 200);
    CHECK(munmap((void *)turn, PAGE) == 0);
    close(own);
    close(file);
    CHECK(unlink("file") == 0);
}

int main(void)
{
    RUN(contents_are_the_files);
    RUN(shared_is_coherent_with_read_and_write);
    RUN(writes_reach_the_file);
    RUN(private_copies_stay_private);
    RUN(mappings_outlive_the_name);
    RUN(growing_and_shrinking);
    RUN(processes_share_a_file);
    return 0;
}
