/* The stack: growth of the first thread's on demand, its limit, guards of other threads', and
 * big frames. */
#include "check.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { FRAME = 16384 };

static int grow(int depth)
{
    volatile unsigned char frame[FRAME];
    for (int i = 0; i < FRAME; i += 1000)
        frame[i] = (unsigned char)(depth + i);
    int below = depth ? grow(depth - 1) : 0;
    for (int i = 0; i < FRAME; i += 1000)
        CHECK_EQUAL(frame[i], (unsigned char)(depth + i));
    return below + 1;
}

static void six_megabytes(void)
{
    CHECK_EQUAL(grow(380), 381);
    CHECK_EQUAL(grow(380), 381);
}

/* One frame far larger than a guard: touched from its low end. */
static void a_big_frame(void)
{
    volatile char frame[4 << 20];
    frame[0] = 'l';
    frame[sizeof frame - 1] = 'h';
    CHECK(frame[0] == 'l' && frame[sizeof frame - 1] == 'h');
}

static void a_child_grows_too(void)
{
    IN_CHILD(CHECK_EQUAL(grow(300), 301));
}

static void system_calls_grow_it(void)
{
    /* The kernel is the first to touch the new pages. */
    volatile char buffer[1 << 20];
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK_EQUAL(write(ends[1], "grow", 4), 4);
    CHECK_EQUAL(read(ends[0], (char *)buffer, 4), 4);
    CHECK(buffer[0] == 'g' && buffer[3] == 'w');
    close(ends[0]);
    close(ends[1]);
}

static void past_the_limit_kills(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(grow(1000) == 0);
    REAP_KILLED(child, SIGSEGV);
}

static sigjmp_buf back;
static volatile uintptr_t fault;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    fault = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

static uintptr_t low, high;

static void *overflow(void *unused)
{
    static char alternate[65536];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    pthread_attr_t attributes;
    void *base;
    size_t size;
    CHECK(sigaltstack(&stack, NULL) == 0);
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstack(&attributes, &base, &size) == 0);
    low = (uintptr_t)base;
    high = low + size;
    CHECK((uintptr_t)&stack > low && (uintptr_t)&stack < high);
    if (sigsetjmp(back, 1) == 0) {
        grow(1000);
        CHECK(!"no guard");
    }
    stack.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&stack, NULL) == 0);
    return unused;
}

static void a_thread_hits_its_guard(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 1 << 20) == 0);
    CHECK(pthread_attr_setguardsize(&attributes, 65536) == 0);
    CHECK(pthread_create(&thread, &attributes, overflow, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(high - low <= (1 << 20) + 65536 && high - low >= (1 << 20) - 65536);
    CHECK(fault >= low - 2 * 65536 && fault < low + 65536 + FRAME);
    CHECK(signal(SIGSEGV, SIG_DFL) != SIG_ERR);
}

static void *on_given_stack(void *unused)
{
    return (void *)(intptr_t)(grow(20) + (unused != NULL));
}

static void a_given_stack(void)
{
    size_t size = 1 << 20;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;
    void *result;
    CHECK(memory != MAP_FAILED);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, memory, size) == 0);
    CHECK(pthread_create(&thread, &attributes, on_given_stack, NULL) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK_EQUAL((intptr_t)result, 21);
    CHECK(munmap(memory, size) == 0);
}

int main(void)
{
    RUN(six_megabytes);
    RUN(a_big_frame);
    RUN(a_child_grows_too);
    RUN(system_calls_grow_it);
    RUN(past_the_limit_kills);
    RUN(a_thread_hits_its_guard);
    RUN(a_given_stack);
    return 0;
}
