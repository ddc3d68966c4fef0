/* Faults as signals: address, code, what the handler can repair, and death when it is not caught. */
#include "check.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf back;
static volatile int number_seen, code_seen;
static void *volatile address_seen;

static void catch(int number, siginfo_t *info, void *context)
{
    (void)context;
    number_seen = number;
    code_seen = info->si_code;
    address_seen = info->si_addr;
    siglongjmp(back, 1);
}

/* Runs `statement`, which must fault. */
#define FAULTS(statement, number, code, address)                                                   \
    do {                                                                                           \
        number_seen = 0;                                                                           \
        if (sigsetjmp(back, 1) == 0) {                                                             \
            statement;                                                                             \
            CHECK(!"no fault: " #statement);                                                       \
        }                                                                                          \
        CHECK_EQUAL(number_seen, number);                                                          \
        CHECK_EQUAL(code_seen, code);                                                              \
        CHECK_EQUAL((uintptr_t)address_seen, (uintptr_t)(address));                                \
    } while (0)

static void *map(int protection)
{
    void *page = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    return page;
}

static void unmapped_and_forbidden(void)
{
    volatile char *page = map(PROT_READ);
    FAULTS(*(volatile int *)BAD = 1, SIGSEGV, SEGV_MAPERR, 16);
    FAULTS((void)*(volatile int *)BAD, SIGSEGV, SEGV_MAPERR, 16);
    CHECK_EQUAL(page[100], 0);
    FAULTS(page[100] = 1, SIGSEGV, SEGV_ACCERR, page + 100);
    CHECK(mprotect((void *)page, 4096, PROT_NONE) == 0);
    FAULTS((void)page[7], SIGSEGV, SEGV_ACCERR, page + 7);
    CHECK(munmap((void *)page, 4096) == 0);
    FAULTS((void)page[7], SIGSEGV, SEGV_MAPERR, page + 7);
}

static void no_execution_of_data(void)
{
    unsigned char *page = map(PROT_READ | PROT_WRITE);
    void (*function)(void);
    memcpy(&function, &(void *){page}, sizeof function);
    /* Opaque, or the compiler may call what it knows to be data. */
    __asm__ volatile("" : "+r"(function));
    page[0] = 0xc3;
    FAULTS(function(), SIGSEGV, SEGV_ACCERR, page);
    CHECK(munmap(page, 4096) == 0);
    FAULTS(function(), SIGSEGV, SEGV_MAPERR, page);
}

static void past_the_end_of_a_file(void)
{
    int file = open("short", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0 && write(file, "abc", 3) == 3);
    volatile char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(pages != MAP_FAILED);
    CHECK(pages[2] == 'c' && pages[3] == 0 && pages[4095] == 0);
    FAULTS((void)pages[4096], SIGBUS, BUS_ADRERR, pages + 4096);
    FAULTS(pages[4097] = 1, SIGBUS, BUS_ADRERR, pages + 4097);
    CHECK(ftruncate(file, 5000) == 0);
    pages[4097] = 'z';
    CHECK(ftruncate(file, 100) == 0);
    FAULTS((void)pages[4097], SIGBUS, BUS_ADRERR, pages + 4097);
    CHECK(munmap((void *)pages, 8192) == 0);
    close(file);
    CHECK(unlink("short") == 0);
}

static void illegal_instructions(void)
{
    number_seen = 0;
    if (sigsetjmp(back, 1) == 0) {
#if defined __x86_64__
        __asm__ volatile("ud2");
#elif defined __aarch64__
        __asm__ volatile(".inst 0");
#endif
        CHECK(!"no fault");
    }
    CHECK_EQUAL(number_seen, SIGILL);
    CHECK(code_seen == ILL_ILLOPN || code_seen == ILL_ILLOPC);
}

static void breakpoints(void)
{
    number_seen = 0;
    if (sigsetjmp(back, 1) == 0) {
#if defined __x86_64__
        __asm__ volatile("int3");
#elif defined __aarch64__
        __asm__ volatile("brk #0");
#endif
        CHECK(!"no trap");
    }
    CHECK_EQUAL(number_seen, SIGTRAP);
    CHECK(code_seen == SI_KERNEL || code_seen == TRAP_BRKPT);
}

/* Only one of the instruction sets traps on division; both must say the same by other means. */
static void arithmetic(void)
{
#if defined __x86_64__
    number_seen = 0;
    if (sigsetjmp(back, 1) == 0) {
        __asm__ volatile("xorl %%ecx, %%ecx\n\tmovl $1, %%eax\n\tcltd\n\tidivl %%ecx"
                         ::: "eax", "ecx", "edx", "cc");
        CHECK(!"no trap");
    }
    CHECK_EQUAL(number_seen, SIGFPE);
    CHECK_EQUAL(code_seen, FPE_INTDIV);
#elif defined __aarch64__
    unsigned long quotient = 1;
    __asm__ volatile("udiv %0, %1, xzr" : "=r"(quotient) : "r"(5ul));
    CHECK_EQUAL(quotient, 0);
#endif
}

static void kernel_addresses(void)
{
    /* Not canonical on x86_64 and untranslatable on aarch64, or the kernel's own half. */
    number_seen = 0;
    if (sigsetjmp(back, 1) == 0) {
        (void)*(volatile char *)0xffffffff80000000;
        CHECK(!"the kernel is readable");
    }
    CHECK_EQUAL(number_seen, SIGSEGV);
    number_seen = 0;
    if (sigsetjmp(back, 1) == 0) {
        *(volatile char *)0x7fffffffffffffff = 1;
        CHECK(!"no fault");
    }
    CHECK_EQUAL(number_seen, SIGSEGV);
}

static char *repaired;

static void repair(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    CHECK(info->si_addr >= (void *)repaired && info->si_addr < (void *)(repaired + 4096));
    CHECK(mprotect(repaired, 4096, PROT_READ | PROT_WRITE) == 0);
}

static void returning_retries_the_access(void)
{
    struct sigaction action = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO}, old;
    repaired = map(PROT_NONE);
    CHECK(sigaction(SIGSEGV, &action, &old) == 0);
    repaired[10] = 'x';
    CHECK_EQUAL(repaired[10], 'x');
    CHECK(sigaction(SIGSEGV, &old, NULL) == 0);
    CHECK(munmap(repaired, 4096) == 0);
}

/* A handler that steps over the instruction that faulted. */
static void skip(int number, siginfo_t *info, void *context)
{
    ucontext_t *frame = context;
    (void)number, (void)info;
#if defined __x86_64__
    frame->uc_mcontext.gregs[REG_RIP] += 2;
    frame->uc_mcontext.gregs[REG_RBX] = 4242;
#elif defined __aarch64__
    frame->uc_mcontext.pc += 4;
    frame->uc_mcontext.regs[19] = 4242;
#endif
}

static void the_frame_sets_registers(void)
{
    struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO}, old;
    CHECK(sigaction(SIGILL, &action, &old) == 0);
    unsigned long value = 0;
#if defined __x86_64__
    __asm__ volatile("ud2" : "=b"(value));
#elif defined __aarch64__
    register unsigned long x19 __asm__("x19") = 0;
    __asm__ volatile(".inst 0" : "+r"(x19));
    value = x19;
#endif
    CHECK_EQUAL(value, 4242);
    CHECK(sigaction(SIGILL, &old, NULL) == 0);
}

static void uncaught_faults_kill(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile int *)BAD = 1;
    }
    REAP_KILLED(child, SIGSEGV);
    /* Neither ignoring nor blocking helps against a fault. */
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_IGN);
        *(volatile int *)BAD = 1;
    }
    REAP_KILLED(child, SIGSEGV);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        sigset_t set;
        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, NULL);
        *(volatile int *)BAD = 1;
    }
    REAP_KILLED(child, SIGSEGV);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        signal(SIGILL, SIG_DFL);
#if defined __x86_64__
        __asm__ volatile("ud2");
#elif defined __aarch64__
        __asm__ volatile(".inst 0");
#endif
    }
    REAP_KILLED(child, SIGILL);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = catch, .sa_flags = SA_SIGINFO};
    static const int caught[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
    for (int i = 0; i < 5; i++)
        CHECK(sigaction(caught[i], &action, NULL) == 0);
    RUN(unmapped_and_forbidden);
    RUN(no_execution_of_data);
    RUN(past_the_end_of_a_file);
    RUN(illegal_instructions);
    RUN(breakpoints);
    RUN(arithmetic);
    RUN(kernel_addresses);
    RUN(returning_retries_the_access);
    RUN(the_frame_sets_registers);
    RUN(uncaught_faults_kill);
    return 0;
}
