/* Code made at run time: written, made executable, changed, and changed again, in private, shared
 * and doubly mapped pages, with the instruction cache told each time. */
#include "check.h"
#include <pthread.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

typedef int (*function)(void);

/* `return value` for 0 <= value < 65536. Gives the length in bytes. */
static size_t emit(void *at, unsigned value)
{
#if defined __x86_64__
    unsigned char code[] = {0xb8, value & 0xff, value >> 8 & 0xff, 0, 0, 0xc3};
#elif defined __aarch64__
    uint32_t code[] = {0x52800000 | value << 5, 0xd65f03c0};
#else
#error "no code for this instruction set"
#endif
    memcpy(at, code, sizeof code);
    return sizeof code;
}

static function at(void *address)
{
    function call;
    memcpy(&call, &address, sizeof call);
    __asm__ volatile("" : "+r"(call));
    return call;
}

static void flush(char *start, size_t length)
{
    __builtin___clear_cache(start, start + length);
}

static char *map(int protection, int flags)
{
    char *page = mmap(NULL, PAGE, protection, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    return page;
}

static void writable_then_executable(void)
{
    char *page = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
    for (unsigned i = 0; i < 300; i++) {
        size_t length = emit(page, i * 7);
        CHECK(mprotect(page, PAGE, PROT_READ | PROT_EXEC) == 0);
        flush(page, length);
        CHECK_EQUAL(at(page)(), i * 7);
        CHECK(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
    }
    CHECK(munmap(page, PAGE) == 0);
}

static void writable_and_executable(void)
{
    char *page = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
    long long sum = 0;
    for (unsigned i = 0; i < 5000; i++) {
        flush(page, emit(page, i));
        sum += at(page)();
    }
    CHECK_EQUAL(sum, 4999LL * 5000 / 2);
    CHECK(munmap(page, PAGE) == 0);
    say("sum %lld", sum);
}

/* One object, mapped writable at one address and executable at another. */
static void doubly_mapped(void)
{
    int memory = memfd_create("code", 0);
    CHECK(memory >= 0 && ftruncate(memory, PAGE) == 0);
    char *writable = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    char *executable = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, memory, 0);
    CHECK(writable != MAP_FAILED && executable != MAP_FAILED);
    for (unsigned i = 0; i < 300; i++) {
        size_t length = emit(writable + 64, i);
        flush(writable + 64, length);
        flush(executable + 64, length);
        CHECK_EQUAL(at(executable + 64)(), i);
    }
    CHECK(munmap(writable, PAGE) == 0 && munmap(executable, PAGE) == 0);
    close(memory);
}

static void a_child_changes_its_copy(void)
{
    char *page = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
    flush(page, emit(page, 1));
    CHECK_EQUAL(at(page)(), 1);
    IN_CHILD({
        CHECK_EQUAL(at(page)(), 1);
        flush(page, emit(page, 2));
        CHECK_EQUAL(at(page)(), 2);
    });
    CHECK_EQUAL(at(page)(), 1);
    CHECK(munmap(page, PAGE) == 0);
}

static void the_same_place_again(void)
{
    char *place = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
    for (unsigned i = 0; i < 100; i++) {
        flush(place, emit(place, i));
        CHECK_EQUAL(at(place)(), i);
        CHECK(munmap(place, PAGE) == 0);
        CHECK(mmap(place, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place);
    }
    CHECK(munmap(place, PAGE) == 0);
}

static void code_from_a_file(void)
{
    char code[64];
    size_t length = emit(code, 321);
    FILE *file = fopen("code", "w");
    CHECK(file != NULL);
    CHECK_EQUAL(fwrite(code, 1, length, file), length);
    CHECK(fclose(file) == 0);
    file = fopen("code", "r");
    CHECK(file != NULL);
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(file), 0);
    CHECK(page != MAP_FAILED);
    CHECK_EQUAL(at(page)(), 321);
    CHECK(munmap(page, PAGE) == 0);
    fclose(file);
    CHECK(unlink("code") == 0);
}

static void *run(void *argument)
{
    char *page = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
    for (unsigned i = 0; i < 1000; i++) {
        unsigned value = (i + (unsigned)(uintptr_t)argument * 10000) % 65536;
        flush(page, emit(page, value));
        CHECK_EQUAL(at(page)(), value);
    }
    CHECK(munmap(page, PAGE) == 0);
    return NULL;
}

static void several_threads(void)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void)
{
    RUN(writable_then_executable);
    RUN(writable_and_executable);
    RUN(a_child_changes_its_copy);
    RUN(the_same_place_again);
    RUN(code_from_a_file);
    RUN(several_threads);
    RUN(doubly_mapped);
    return 0;
}
