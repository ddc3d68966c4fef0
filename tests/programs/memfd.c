/* memfd: memory with a descriptor, shared by mapping, by write and over fork. */
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PAGE = 4096 };

static void reads_writes_and_maps_agree(void)
{
    int memory = memfd_create("memory", MFD_CLOEXEC);
    CHECK(memory >= 0);
    CHECK_EQUAL(fcntl(memory, F_GETFD), FD_CLOEXEC);
    struct stat status;
    CHECK(fstat(memory, &status) == 0);
    CHECK(S_ISREG(status.st_mode));
    CHECK_EQUAL(status.st_size, 0);
    CHECK(ftruncate(memory, 4 * PAGE) == 0);
    char *first = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    char *second = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    CHECK(first != MAP_FAILED && second != MAP_FAILED && first != second);
    for (int i = 0; i < 4 * PAGE; i += 500) {
        first[i] = (char)i;
        CHECK_EQUAL(second[i], (char)i);
    }
    char byte;
    CHECK_EQUAL(pread(memory, &byte, 1, 500), 1);
    CHECK_EQUAL(byte, (char)500);
    CHECK_EQUAL(pwrite(memory, "z", 1, 501), 1);
    CHECK_EQUAL(second[501], 'z');
    IN_CHILD({
        first[600] = 'c';
        CHECK_EQUAL(pwrite(memory, "d", 1, 601), 1);
    });
    CHECK(second[600] == 'c' && second[601] == 'd');
    CHECK(munmap(first, 4 * PAGE) == 0);
    close(memory);
    CHECK_EQUAL(second[600], 'c');
    CHECK(munmap(second, 4 * PAGE) == 0);
}

static void it_grows_by_writing(void)
{
    int memory = memfd_create("grows", 0);
    CHECK(memory >= 0);
    CHECK_EQUAL(fcntl(memory, F_GETFD), 0);
    CHECK_EQUAL(write(memory, "abc", 3), 3);
    CHECK_EQUAL(lseek(memory, 10000, SEEK_SET), 10000);
    CHECK_EQUAL(write(memory, "end", 3), 3);
    char *area = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE, memory, 0);
    CHECK(area != MAP_FAILED);
    CHECK(memcmp(area, "abc", 4) == 0 && memcmp(area + 9999, "\0end", 5) == 0);
    CHECK(munmap(area, 3 * PAGE) == 0);
    close(memory);
}

static void bad_arguments(void)
{
    char name[300];
    memset(name, 'n', sizeof name);
    name[299] = 0;
    CHECK_FAILS(memfd_create(name, 0), EINVAL);
    CHECK_FAILS(memfd_create("x", 0x40000000), EINVAL);
    CHECK_FAILS(memfd_create(BAD, 0), EFAULT);
}

int main(void)
{
    RUN(reads_writes_and_maps_agree);
    RUN(it_grows_by_writing);
    RUN(bad_arguments);
    return 0;
}
