/* Mappings of files by threads and processes on any CPU, beside read and write, cutting and growing. */
#include "cpus.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { PAGE = 4096, PAGES = 6, ROUNDS = 20 };

static int new_file(const char *name)
{
    int file = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(file >= 0);
    CHECK(ftruncate(file, PAGES * PAGE) == 0);
    return file;
}

static char *map(int file, int flags)
{
    char *at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, file, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

/* CPU number n, counted round and round. */
static void go_round(int n)
{
    go(cpus[n % count]);
}

static void calls_and_mappings_agree(void)
{
    int file = new_file("agree");
    char *area = map(file, MAP_SHARED), byte;
    for (int n = 0; n < ROUNDS; n++) {
        int at = (n % PAGES) * PAGE + n;
        go_round(n);
        area[at] = (char)('a' + n);
        go_round(n + 1);
        CHECK_EQUAL(pread(file, &byte, 1, at), 1);
        CHECK_EQUAL(byte, 'a' + n);
        byte = (char)('A' + n);
        CHECK_EQUAL(pwrite(file, &byte, 1, at), 1);
        go_round(n + 2);
        CHECK_EQUAL(area[at], 'A' + n);
    }
    go_anywhere();
    CHECK(munmap(area, PAGES * PAGE) == 0);
    CHECK_EQUAL(pread(file, &byte, 1, 0), 1);
    CHECK_EQUAL(byte, 'A');
    close(file);
    CHECK(unlink("agree") == 0);
}

static void processes_share_by_name(void)
{
    int file = new_file("shared");
    atomic_int *words = (atomic_int *)map(file, MAP_SHARED);
    pid_t children[4];
    for (int n = 0; n < 4; n++) {
        children[n] = fork();
        CHECK(children[n] >= 0);
        if (children[n] == 0) {
            /* Its own mapping of what its parent has another of. */
            int own = open("shared", O_RDWR);
            if (own < 0)
                _exit(1);
            atomic_int *mine = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
            if (mine == MAP_FAILED)
                _exit(2);
            go_round(n + 1);
            for (int i = 0; i < 500; i++)
                atomic_fetch_add(mine, 1);
            atomic_fetch_add(&words[1], 1);
            _exit(0);
        }
    }
    go_round(0);
    for (int i = 0; i < 500; i++)
        atomic_fetch_add(words, 1);
    for (int n = 0; n < 4; n++)
        REAP_EXITED(children[n], 0);
    CHECK_EQUAL(words[0], 2500);
    CHECK_EQUAL(words[1], 4);
    int sums[2];
    CHECK_EQUAL(pread(file, sums, sizeof sums, 0), (ssize_t)sizeof sums);
    CHECK(sums[0] == 2500 && sums[1] == 4);
    go_anywhere();
    CHECK(munmap(words, PAGES * PAGE) == 0);
    close(file);
    CHECK(unlink("shared") == 0);
}

static int memory;
static char *shown;

static void *write_there(void *unused)
{
    go_round(1);
    for (int i = 0; i < PAGES * PAGE; i += 100)
        shown[i] = (char)(i / 100);
    return unused;
}

static void a_memfd_is_one_for_all_threads(void)
{
    memory = memfd_create("memory", 0);
    CHECK(memory >= 0);
    CHECK(ftruncate(memory, PAGES * PAGE) == 0);
    shown = map(memory, MAP_SHARED);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, write_there, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    static char copy[PAGES * PAGE];
    CHECK_EQUAL(pread(memory, copy, sizeof copy, 0), (ssize_t)sizeof copy);
    for (int i = 0; i < PAGES * PAGE; i += 100)
        CHECK(copy[i] == (char)(i / 100) && shown[i] == (char)(i / 100));
    CHECK(munmap(shown, PAGES * PAGE) == 0);
    close(memory);
}

static void what_is_cut_off_is_zero(void)
{
    int file = new_file("cut");
    char *area = map(file, MAP_SHARED);
    for (int n = 0; n < 4; n++) {
        go_round(n);
        memset(area, 'x', PAGES * PAGE);
        go_round(n + 1);
        CHECK_EQUAL(area[3 * PAGE], 'x');
        CHECK(ftruncate(file, PAGE + 100) == 0);
        CHECK(ftruncate(file, PAGES * PAGE) == 0);
        for (int m = n; m < n + 3; m++) {
            go_round(m);
            CHECK(area[PAGE + 99] == 'x' && area[PAGE + 100] == 0);
            CHECK(area[3 * PAGE] == 0 && area[PAGES * PAGE - 1] == 0);
        }
        int again = open("cut", O_RDWR | O_TRUNC);
        CHECK(again >= 0 && ftruncate(again, PAGES * PAGE) == 0);
        CHECK_EQUAL(area[0], 0);
        close(again);
    }
    go_anywhere();
    CHECK(munmap(area, PAGES * PAGE) == 0);
    close(file);
    CHECK(unlink("cut") == 0);
}

static void private_copies_stay(void)
{
    int file = new_file("copied");
    char *area = map(file, MAP_SHARED), *copy = map(file, MAP_PRIVATE);
    go_round(1);
    area[0] = 'a', area[PAGE] = 'b';
    go_round(2);
    copy[1] = 'c';
    CHECK(copy[0] == 'a' && area[1] == 0 && copy[PAGE] == 'b');
    IN_CHILD({
        go_round(3);
        CHECK(copy[0] == 'a' && copy[1] == 'c');
        copy[1] = 'd';
        area[2 * PAGE] = 'e';
    });
    CHECK(copy[1] == 'c' && area[2 * PAGE] == 'e');
    go_anywhere();
    CHECK(munmap(area, PAGES * PAGE) == 0 && munmap(copy, PAGES * PAGE) == 0);
    close(file);
    CHECK(unlink("copied") == 0);
}

int main(void)
{
    find_cpus();
    RUN(calls_and_mappings_agree);
    RUN(processes_share_by_name);
    RUN(a_memfd_is_one_for_all_threads);
    RUN(what_is_cut_off_is_zero);
    RUN(private_copies_stay);
    return 0;
}
