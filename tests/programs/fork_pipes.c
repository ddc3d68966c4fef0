/* Pipes between processes: pipelines, end of file, atomic small writes, broken pipes, and offsets
 * and descriptors that a fork shares. */
#include "check.h"
#include <fcntl.h>
#include <signal.h>

enum { STAGES = 8, BYTES = 200000 };

static unsigned char pattern(int i)
{
    return (unsigned char)(i * 31 + i / 256);
}

/* Every stage adds one to each byte. */
static void a_pipeline(void)
{
    int input[2], from;
    CHECK(pipe(input) == 0);
    pid_t source = fork();
    CHECK(source >= 0);
    if (source == 0) {
        close(input[0]);
        static unsigned char data[BYTES];
        for (int i = 0; i < BYTES; i++)
            data[i] = pattern(i);
        for (int done = 0; done < BYTES;) {
            ssize_t n = write(input[1], data + done, (size_t)(BYTES - done));
            CHECK(n > 0);
            done += (int)n;
        }
        _exit(0);
    }
    close(input[1]);
    from = input[0];
    pid_t stages[STAGES];
    for (int stage = 0; stage < STAGES; stage++) {
        int next[2];
        CHECK(pipe(next) == 0);
        stages[stage] = fork();
        CHECK(stages[stage] >= 0);
        if (stages[stage] == 0) {
            unsigned char buffer[777];
            ssize_t n;
            close(next[0]);
            while ((n = read(from, buffer, sizeof buffer)) > 0) {
                for (ssize_t i = 0; i < n; i++)
                    buffer[i]++;
                for (ssize_t done = 0; done < n;) {
                    ssize_t m = write(next[1], buffer + done, (size_t)(n - done));
                    CHECK(m > 0);
                    done += m;
                }
            }
            CHECK_EQUAL(n, 0);
            _exit(0);
        }
        close(from);
        close(next[1]);
        from = next[0];
    }
    unsigned char buffer[4096];
    int total = 0;
    ssize_t n;
    while ((n = read(from, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < n; i++, total++)
            CHECK_EQUAL(buffer[i], (unsigned char)(pattern(total) + STAGES));
    CHECK_EQUAL(n, 0);
    CHECK_EQUAL(total, BYTES);
    close(from);
    REAP_EXITED(source, 0);
    for (int stage = 0; stage < STAGES; stage++)
        REAP_EXITED(stages[stage], 0);
    say("%d bytes through %d stages", total, STAGES);
}

/* Writes of up to PIPE_BUF bytes are never interleaved. */
static void small_writes_are_atomic(void)
{
    enum { WRITERS = 5, RECORDS = 200, RECORD = 100 };
    int ends[2], seen[WRITERS] = {0};
    pid_t writers[WRITERS];
    CHECK(pipe(ends) == 0);
    for (int w = 0; w < WRITERS; w++) {
        writers[w] = fork();
        CHECK(writers[w] >= 0);
        if (writers[w] == 0) {
            char record[RECORD];
            memset(record, 'a' + w, sizeof record);
            for (int i = 0; i < RECORDS; i++)
                CHECK_EQUAL(write(ends[1], record, RECORD), RECORD);
            _exit(0);
        }
    }
    close(ends[1]);
    for (int i = 0; i < WRITERS * RECORDS; i++) {
        char record[RECORD];
        for (int got = 0; got < RECORD;) {
            ssize_t n = read(ends[0], record + got, (size_t)(RECORD - got));
            CHECK(n > 0);
            got += (int)n;
        }
        for (int k = 1; k < RECORD; k++)
            CHECK_EQUAL(record[k], record[0]);
        CHECK(record[0] >= 'a' && record[0] < 'a' + WRITERS);
        seen[record[0] - 'a']++;
    }
    char byte;
    CHECK_EQUAL(read(ends[0], &byte, 1), 0);
    for (int w = 0; w < WRITERS; w++) {
        CHECK_EQUAL(seen[w], RECORDS);
        REAP_EXITED(writers[w], 0);
    }
    close(ends[0]);
}

static void a_broken_pipe_kills(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        close(ends[0]);
        write(ends[1], "x", 1);
        _exit(0);
    }
    REAP_KILLED(child, SIGPIPE);
    int ends[2];
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    CHECK(pipe(ends) == 0);
    close(ends[0]);
    CHECK_FAILS(write(ends[1], "x", 1), EPIPE);
    close(ends[1]);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
}

/* A writer that blocks on a full pipe is ended when the last reader goes. */
static void a_blocked_writer_is_told(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        static char data[1 << 20];
        close(ends[0]);
        signal(SIGPIPE, SIG_IGN);
        ssize_t n = write(ends[1], data, sizeof data);
        /* A partial count first, if anything was taken. */
        CHECK(n > 0 && n < (ssize_t)sizeof data);
        CHECK_FAILS(write(ends[1], data, 1), EPIPE);
        _exit(0);
    }
    close(ends[1]);
    char buffer[100];
    CHECK(read(ends[0], buffer, sizeof buffer) == sizeof buffer);
    pause_ms(10);
    close(ends[0]);
    REAP_EXITED(child, 0);
}

static void offsets_are_shared(void)
{
    int file = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0);
    CHECK(write(file, "0123456789", 10) == 10);
    CHECK(lseek(file, 2, SEEK_SET) == 2);
    IN_CHILD({
        char two[2];
        CHECK(read(file, two, 2) == 2);
        CHECK(two[0] == '2' && two[1] == '3');
    });
    CHECK_EQUAL(lseek(file, 0, SEEK_CUR), 4);
    int own = open("shared", O_RDONLY);
    CHECK(own >= 0);
    CHECK_EQUAL(lseek(own, 0, SEEK_CUR), 0);
    close(own);
    /* Closing in the child leaves the parent's descriptor. */
    IN_CHILD(close(file));
    CHECK(write(file, "x", 1) == 1);
    close(file);
    CHECK(unlink("shared") == 0);
}

static void end_of_file_waits_for_every_writer(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            close(ends[0]);
            pause_ms(5 * i);
            CHECK(write(ends[1], "w", 1) == 1);
            _exit(0);
        }
    }
    close(ends[1]);
    char buffer[16];
    int total = 0;
    ssize_t n;
    while ((n = read(ends[0], buffer, sizeof buffer)) > 0)
        total += (int)n;
    CHECK_EQUAL(total, 3);
    for (int i = 0; i < 3; i++)
        REAP_EXITED(children[i], 0);
    close(ends[0]);
}

int main(void)
{
    RUN(a_pipeline);
    RUN(small_writes_are_atomic);
    RUN(a_broken_pipe_kills);
    RUN(a_blocked_writer_is_told);
    RUN(offsets_are_shared);
    RUN(end_of_file_waits_for_every_writer);
    return 0;
}
