/* Non-local jumps: out of deep calls, out of handlers with and without the mask, over and over. */
#include "check.h"
#include <setjmp.h>
#include <signal.h>

static jmp_buf plain;
static sigjmp_buf masked;

static void dive(int depth, int value)
{
    volatile char frame[300];
    frame[0] = (char)depth;
    if (depth == 0)
        longjmp(plain, value);
    if (depth < 0)
        return;
    dive(depth - 1, value);
    CHECK_EQUAL(frame[0], (char)depth);
}

static void out_of_deep_calls(void)
{
    volatile int rounds = 0;
    for (volatile int i = 1; i <= 1000; i++) {
        int value = setjmp(plain);
        if (value == 0)
            dive(50, i);
        CHECK_EQUAL(value, i);
        rounds++;
    }
    CHECK_EQUAL(rounds, 1000);
    int value = setjmp(plain);
    if (value == 0)
        longjmp(plain, 0);
    CHECK_EQUAL(value, 1);
}

static void floating_registers_are_kept(void)
{
    /* Those that the ABI makes a callee keep come back with the jump. */
    volatile double results[2];
    double kept = 1.25;
    for (volatile int i = 0; i < 100; i++) {
        if (setjmp(plain) == 0)
            dive(3, 1);
        results[i % 2] = kept * i;
        CHECK(results[i % 2] == 1.25 * i);
    }
}

static void jump(int number)
{
    (void)number;
    siglongjmp(masked, 1);
}

static int blocked(int number)
{
    sigset_t set;
    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
    return sigismember(&set, number);
}

static void out_of_a_handler(void)
{
    signal(SIGUSR1, jump);
    for (volatile int i = 0; i < 1000; i++) {
        if (sigsetjmp(masked, 1) == 0) {
            raise(SIGUSR1);
            CHECK(!"the handler returned");
        }
        CHECK(!blocked(SIGUSR1));
    }
}

static void without_the_mask(void)
{
    sigset_t set;
    if (sigsetjmp(masked, 0) == 0) {
        raise(SIGUSR1);
        CHECK(!"the handler returned");
    }
    /* The mask of the handler stays. */
    CHECK(blocked(SIGUSR1));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
}

static void out_of_a_fault(void)
{
    signal(SIGSEGV, jump);
    volatile int faults = 0;
    for (volatile int i = 0; i < 1000; i++) {
        if (sigsetjmp(masked, 1) == 0)
            *(volatile int *)BAD = 1;
        faults++;
    }
    CHECK_EQUAL(faults, 1000);
    signal(SIGSEGV, SIG_DFL);
}

/* Out of a system call that the signal interrupted. */
static void out_of_a_wait(void)
{
    for (volatile int i = 0; i < 5; i++) {
        int begun[2];
        CHECK(pipe(begun) == 0);
        pid_t parent = getpid(), child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            /* Not before there is something to jump to. */
            char go;
            CHECK(read(begun[0], &go, 1) == 1);
            pause_ms(10);
            kill(parent, SIGUSR1);
            _exit(0);
        }
        if (sigsetjmp(masked, 1) == 0) {
            char byte;
            int ends[2];
            CHECK(pipe(ends) == 0);
            CHECK(write(begun[1], "x", 1) == 1);
            CHECK(read(ends[0], &byte, 1) == 1);
            CHECK(!"the read returned");
        }
        REAP_EXITED(child, 0);
        close(begun[0]);
        close(begun[1]);
    }
}

int main(void)
{
    RUN(out_of_deep_calls);
    RUN(floating_registers_are_kept);
    RUN(out_of_a_handler);
    RUN(without_the_mask);
    RUN(out_of_a_fault);
    RUN(out_of_a_wait);
    return 0;
}
