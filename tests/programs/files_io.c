/* Reading and writing files: offsets, holes, appending, truncation, vectors, sendfile. */
#include "check.h"
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

static int create(const char *name, int flags)
{
    int file = open(name, O_RDWR | O_CREAT | O_TRUNC | flags, 0644);
    CHECK(file >= 0);
    return file;
}

static off_t size_of(int file)
{
    struct stat status;
    CHECK(fstat(file, &status) == 0);
    return status.st_size;
}

static void check_contents(int file, off_t offset, const char *text, size_t length)
{
    char buffer[64];
    CHECK_EQUAL(pread(file, buffer, length, offset), length);
    CHECK(memcmp(buffer, text, length) == 0);
}

static void offsets_move(void)
{
    int file = create("file", 0);
    char buffer[16];
    CHECK_EQUAL(write(file, "0123456789", 10), 10);
    CHECK_EQUAL(lseek(file, 0, SEEK_CUR), 10);
    CHECK_EQUAL(read(file, buffer, 5), 0);
    CHECK_EQUAL(lseek(file, -4, SEEK_END), 6);
    CHECK_EQUAL(read(file, buffer, sizeof buffer), 4);
    CHECK(memcmp(buffer, "6789", 4) == 0);
    CHECK_EQUAL(lseek(file, 2, SEEK_SET), 2);
    CHECK_EQUAL(lseek(file, 3, SEEK_CUR), 5);
    CHECK_EQUAL(write(file, "x", 1), 1);
    check_contents(file, 0, "01234x6789", 10);
    CHECK_FAILS(lseek(file, -1, SEEK_SET), EINVAL);
    CHECK_FAILS(lseek(file, -20, SEEK_CUR), EINVAL);
    CHECK_FAILS(lseek(file, 0, 99), EINVAL);
    CHECK_EQUAL(lseek(file, 0, SEEK_CUR), 6);
    close(file);
    CHECK(unlink("file") == 0);
}

static void positioned_transfers(void)
{
    int file = create("file", 0);
    char buffer[8];
    CHECK_EQUAL(pwrite(file, "abcdef", 6, 10), 6);
    CHECK_EQUAL(size_of(file), 16);
    CHECK_EQUAL(lseek(file, 0, SEEK_CUR), 0);
    check_contents(file, 8, "\0\0abc", 5);
    CHECK_EQUAL(pread(file, buffer, 8, 14), 2);
    CHECK_EQUAL(pread(file, buffer, 8, 16), 0);
    CHECK_EQUAL(pread(file, buffer, 8, 1000000), 0);
    CHECK_FAILS(pread(file, buffer, 8, -1), EINVAL);
    CHECK_FAILS(pwrite(file, buffer, 8, -1), EINVAL);
    close(file);
    CHECK(unlink("file") == 0);
}

static void holes_read_as_zero(void)
{
    int file = create("file", 0);
    static char buffer[100000];
    CHECK_EQUAL(lseek(file, 90000, SEEK_SET), 90000);
    CHECK_EQUAL(size_of(file), 0);
    CHECK_EQUAL(write(file, "end", 3), 3);
    CHECK_EQUAL(size_of(file), 90003);
    memset(buffer, 'x', sizeof buffer);
    CHECK_EQUAL(pread(file, buffer, sizeof buffer, 0), 90003);
    for (int i = 0; i < 90000; i++)
        CHECK_EQUAL(buffer[i], 0);
    CHECK(memcmp(buffer + 90000, "end", 3) == 0);
    /* Far out: sparse. */
    off_t far = (off_t)3 << 30;
    CHECK_EQUAL(pwrite(file, "far", 3, far), 3);
    CHECK_EQUAL(size_of(file), far + 3);
    check_contents(file, far - 4, "\0\0\0\0far", 7);
    close(file);
    CHECK(unlink("file") == 0);
}

static void appending(void)
{
    int file = create("file", O_APPEND), other = open("file", O_WRONLY);
    CHECK(other >= 0);
    CHECK_EQUAL(write(file, "one", 3), 3);
    CHECK_EQUAL(lseek(file, 0, SEEK_SET), 0);
    CHECK_EQUAL(write(file, "two", 3), 3);
    CHECK_EQUAL(lseek(file, 0, SEEK_CUR), 6);
    CHECK_EQUAL(pwrite(other, "AAAA", 4, 8), 4);
    CHECK_EQUAL(write(file, "end", 3), 3);
    check_contents(file, 0, "onetwo\0\0AAAAend", 15);
    CHECK(fcntl(file, F_SETFL, 0) == 0);
    CHECK_EQUAL(lseek(file, 0, SEEK_SET), 0);
    CHECK_EQUAL(write(file, "ONE", 3), 3);
    check_contents(file, 0, "ONEtwo", 6);
    close(file);
    close(other);
    CHECK(unlink("file") == 0);
}

/* Processes that append never write over each other. */
static void appenders_do_not_collide(void)
{
    enum { WRITERS = 4, LINES = 100 };
    pid_t writers[WRITERS];
    int file = create("file", 0), counts[WRITERS] = {0};
    for (int w = 0; w < WRITERS; w++) {
        writers[w] = fork();
        CHECK(writers[w] >= 0);
        if (writers[w] == 0) {
            int own = open("file", O_WRONLY | O_APPEND);
            CHECK(own >= 0);
            char line[8];
            for (int i = 0; i < LINES; i++) {
                snprintf(line, sizeof line, "%d:%04d\n", w, i);
                CHECK_EQUAL(write(own, line, 7), 7);
            }
            _exit(0);
        }
    }
    for (int w = 0; w < WRITERS; w++)
        REAP_EXITED(writers[w], 0);
    CHECK_EQUAL(size_of(file), WRITERS * LINES * 7);
    for (int i = 0; i < WRITERS * LINES; i++) {
        char line[8] = "";
        CHECK_EQUAL(pread(file, line, 7, i * 7), 7);
        int w = line[0] - '0';
        CHECK(w >= 0 && w < WRITERS);
        CHECK_EQUAL(atoi(line + 2), counts[w]);
        counts[w]++;
    }
    close(file);
    CHECK(unlink("file") == 0);
}

static void truncation(void)
{
    int file = create("file", 0);
    CHECK_EQUAL(write(file, "0123456789", 10), 10);
    CHECK(ftruncate(file, 4) == 0);
    CHECK_EQUAL(size_of(file), 4);
    CHECK_EQUAL(lseek(file, 0, SEEK_CUR), 10);
    CHECK(ftruncate(file, 8) == 0);
    check_contents(file, 0, "0123\0\0\0\0", 8);
    CHECK_FAILS(ftruncate(file, -1), EINVAL);
    close(file);
    file = open("file", O_RDONLY);
    CHECK(file >= 0);
    CHECK_FAILS(ftruncate(file, 0), EINVAL);
    close(file);
    file = open("file", O_WRONLY | O_TRUNC);
    CHECK(file >= 0);
    CHECK_EQUAL(size_of(file), 0);
    close(file);
    CHECK(truncate("file", 77) == 0);
    struct stat status;
    CHECK(stat("file", &status) == 0);
    CHECK_EQUAL(status.st_size, 77);
    CHECK(unlink("file") == 0);
}

static void vectors(void)
{
    int file = create("file", 0);
    char a[2], b[3], c[100];
    struct iovec out[] = {{"alpha", 5}, {"", 0}, {"beta", 4}};
    struct iovec in[] = {{a, 2}, {b, 3}, {c, 100}};
    CHECK_EQUAL(writev(file, out, 3), 9);
    CHECK_EQUAL(lseek(file, 0, SEEK_SET), 0);
    CHECK_EQUAL(readv(file, in, 3), 9);
    CHECK(memcmp(a, "al", 2) == 0 && memcmp(b, "pha", 3) == 0 && memcmp(c, "beta", 4) == 0);
    /* A bad pointer after a good one: what came before it counts. */
    struct iovec bad[] = {{"xyz", 3}, {BAD, 5}};
    CHECK_EQUAL(writev(file, bad, 2), 3);
    CHECK_EQUAL(size_of(file), 12);
    close(file);
    CHECK(unlink("file") == 0);
}

static void sending(void)
{
    int from = create("from", 0), to = create("to", 0), ends[2];
    static char data[50000], copy[50000];
    for (int i = 0; i < (int)sizeof data; i++)
        data[i] = (char)(i * 13 >> 2);
    CHECK_EQUAL(write(from, data, sizeof data), sizeof data);
    off_t offset = 100;
    CHECK_EQUAL(sendfile(to, from, &offset, 40000), 40000);
    CHECK_EQUAL(offset, 40100);
    CHECK_EQUAL(lseek(from, 0, SEEK_CUR), 50000);
    CHECK_EQUAL(pread(to, copy, sizeof copy, 0), 40000);
    CHECK(memcmp(copy, data + 100, 40000) == 0);
    CHECK_EQUAL(lseek(from, 45000, SEEK_SET), 45000);
    CHECK(pipe(ends) == 0);
    CHECK_EQUAL(sendfile(ends[1], from, NULL, 100000), 5000);
    CHECK_EQUAL(read(ends[0], copy, sizeof copy), 5000);
    CHECK(memcmp(copy, data + 45000, 5000) == 0);
    CHECK_EQUAL(sendfile(to, from, NULL, 10), 0);
    CHECK_FAILS(sendfile(to, 99, NULL, 10), EBADF);
    close(ends[0]);
    close(ends[1]);
    close(from);
    close(to);
    CHECK(unlink("from") == 0 && unlink("to") == 0);
}

static void large_files(void)
{
    enum { BLOCK = 65536, BLOCKS = 64 };
    static unsigned block[BLOCK / 4], again[BLOCK / 4];
    int file = create("file", 0);
    for (unsigned b = 0; b < BLOCKS; b++) {
        for (unsigned i = 0; i < BLOCK / 4; i++)
            block[i] = b * 1000003 + i * 7;
        CHECK_EQUAL(write(file, block, BLOCK), BLOCK);
    }
    CHECK_EQUAL(size_of(file), (off_t)BLOCK * BLOCKS);
    for (unsigned n = 0; n < BLOCKS; n++) {
        unsigned b = n * 29 % BLOCKS;
        CHECK_EQUAL(pread(file, again, BLOCK, (off_t)b * BLOCK), BLOCK);
        for (unsigned i = 0; i < BLOCK / 4; i++)
            CHECK_EQUAL(again[i], b * 1000003 + i * 7);
    }
    close(file);
    CHECK(unlink("file") == 0);
}

static void standard_streams(void)
{
    FILE *file = fopen("file", "w+");
    CHECK(file != NULL);
    for (int i = 0; i < 5000; i++)
        CHECK(fprintf(file, "line %d\n", i) > 0);
    rewind(file);
    int number, lines = 0;
    while (fscanf(file, "line %d\n", &number) == 1)
        CHECK_EQUAL(number, lines++);
    CHECK_EQUAL(lines, 5000);
    CHECK(fseek(file, -10, SEEK_END) == 0);
    char text[16];
    CHECK(fgets(text, sizeof text, file) != NULL && strcmp(text, "line 4999\n") == 0);
    CHECK(fclose(file) == 0);
    CHECK(remove("file") == 0);
}

static void synchronising(void)
{
    int file = create("file", O_SYNC);
    CHECK_EQUAL(write(file, "x", 1), 1);
    CHECK(fsync(file) == 0);
    CHECK(fdatasync(file) == 0);
    close(file);
    CHECK(unlink("file") == 0);
    CHECK_FAILS(fsync(99), EBADF);
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK_FAILS(fsync(ends[1]), EINVAL);
    CHECK_FAILS(fdatasync(ends[0]), EINVAL);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

int main(void)
{
    RUN(offsets_move);
    RUN(positioned_transfers);
    RUN(holes_read_as_zero);
    RUN(appending);
    RUN(appenders_do_not_collide);
    RUN(truncation);
    RUN(vectors);
    RUN(sending);
    RUN(large_files);
    RUN(standard_streams);
    RUN(synchronising);
    return 0;
}
