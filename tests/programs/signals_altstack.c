/* Alternate signal stacks: where the handler runs, overflow of the ordinary stack, leaving by
 * siglongjmp, and the rules for changing it. */
#include "check.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { SIZE = 65536 };

static char *alternate;
static volatile int on_alternate, status_inside, change_inside;
static sigjmp_buf back;

static int is_on(const void *address, const char *stack)
{
    return (const char *)address >= stack && (const char *)address < stack + SIZE;
}

static void look(int number, siginfo_t *info, void *context)
{
    char local;
    stack_t now;
    (void)number, (void)info;
    on_alternate = is_on(&local, alternate);
    CHECK(sigaltstack(NULL, &now) == 0);
    status_inside = now.ss_flags;
    stack_t other = {.ss_sp = alternate, .ss_size = SIZE};
    change_inside = sigaltstack(&other, NULL) < 0 ? errno : 0;
    CHECK(((ucontext_t *)context)->uc_stack.ss_sp == now.ss_sp || !on_alternate);
}

static void install(int number, int flags)
{
    struct sigaction action = {.sa_sigaction = look, .sa_flags = SA_SIGINFO | flags};
    CHECK(sigaction(number, &action, NULL) == 0);
}

static void set_alternate(char *stack)
{
    stack_t new = {.ss_sp = stack, .ss_size = SIZE};
    CHECK(sigaltstack(&new, NULL) == 0);
}

static void none_at_first(void)
{
    stack_t now;
    CHECK(sigaltstack(NULL, &now) == 0);
    CHECK_EQUAL(now.ss_flags, SS_DISABLE);
    install(SIGUSR1, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK_EQUAL(on_alternate, 0);
    /* The handler could set it, being on the ordinary one. Whether it stays is not defined. */
    CHECK_EQUAL(change_inside, 0);
    set_alternate(alternate);
    stack_t none = {.ss_flags = SS_DISABLE};
    CHECK(sigaltstack(&none, &now) == 0);
    CHECK(now.ss_sp == alternate && now.ss_size == SIZE && now.ss_flags == 0);
    CHECK(sigaltstack(NULL, &now) == 0);
    CHECK_EQUAL(now.ss_flags, SS_DISABLE);
}

static void handlers_run_on_it(void)
{
    set_alternate(alternate);
    install(SIGUSR1, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK_EQUAL(on_alternate, 1);
    CHECK_EQUAL(status_inside, SS_ONSTACK);
    CHECK_EQUAL(change_inside, EPERM);
    install(SIGUSR1, 0);
    raise(SIGUSR1);
    CHECK_EQUAL(on_alternate, 0);
    CHECK_EQUAL(status_inside, 0);
}

static void nested_look(int number)
{
    char local;
    on_alternate = is_on(&local, alternate);
    if (number == SIGUSR1) {
        raise(SIGUSR2);
        CHECK(on_alternate);
    }
}

static void nested_handlers_share_it(void)
{
    struct sigaction action = {.sa_handler = nested_look, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    raise(SIGUSR1);
    CHECK(on_alternate);
}

static volatile uintptr_t fault_address;

static void jump_out(int number, siginfo_t *info, void *context)
{
    char local;
    (void)number, (void)context;
    on_alternate = is_on(&local, alternate);
    fault_address = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

static int recurse(volatile int *depth)
{
    volatile char room[2000];
    room[0] = (char)++*depth;
    return *depth > 1000000 ? 0 : recurse(depth) + room[0];
}

static void overflow_is_survived(void)
{
    struct rlimit limit = {1 << 20, 0};
    struct sigaction action = {.sa_sigaction = jump_out, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct rlimit now;
    CHECK(getrlimit(RLIMIT_STACK, &now) == 0);
    limit.rlim_max = now.rlim_max;
    CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    for (int round = 0; round < 3; round++) {
        volatile int depth = 0;
        on_alternate = 0;
        if (sigsetjmp(back, 1) == 0) {
            recurse(&depth);
            CHECK(!"the stack has no end");
        }
        CHECK_EQUAL(on_alternate, 1);
        CHECK(depth > 300 && depth < 600);
        CHECK((uintptr_t)&depth - fault_address < (1 << 20) + 300000);
    }
    /* Left by a jump, the alternate stack is free again. */
    stack_t free_now;
    CHECK(sigaltstack(NULL, &free_now) == 0);
    CHECK_EQUAL(free_now.ss_flags, 0);
    CHECK(setrlimit(RLIMIT_STACK, &now) == 0);
    signal(SIGSEGV, SIG_DFL);
}

static void overflow_without_it_kills(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit limit = {1 << 20, 1 << 20};
        volatile int depth = 0;
        CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
        /* A handler that needs the stack that is used up: the process is killed, not looped. */
        install(SIGSEGV, 0);
        recurse(&depth);
    }
    REAP_KILLED(child, SIGSEGV);
}

static void *has_none(void *unused)
{
    stack_t now;
    CHECK(sigaltstack(NULL, &now) == 0);
    CHECK_EQUAL(now.ss_flags, SS_DISABLE);
    return unused;
}

static void inheritance(void)
{
    pthread_t thread;
    set_alternate(alternate);
    CHECK(pthread_create(&thread, NULL, has_none, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    IN_CHILD({
        stack_t now;
        CHECK(sigaltstack(NULL, &now) == 0);
        CHECK_EQUAL(now.ss_flags, 0);
        CHECK(now.ss_sp == alternate);
    });
}

static void bad_stacks_are_refused(void)
{
    stack_t small = {.ss_sp = alternate, .ss_size = 1024};
    CHECK_FAILS(sigaltstack(&small, NULL), ENOMEM);
    stack_t odd = {.ss_sp = alternate, .ss_size = SIZE, .ss_flags = 0x40};
    CHECK_FAILS(sigaltstack(&odd, NULL), EINVAL);
    /* By number: a C library may look into the structure first. */
    CHECK_FAILS(syscall(SYS_sigaltstack, BAD, NULL), EFAULT);
    CHECK_FAILS(syscall(SYS_sigaltstack, NULL, BAD), EFAULT);
}

int main(void)
{
    alternate = aligned_alloc(4096, SIZE);
    CHECK(alternate != NULL);
    RUN(none_at_first);
    RUN(handlers_run_on_it);
    RUN(nested_handlers_share_it);
    RUN(overflow_is_survived);
    RUN(overflow_without_it_kills);
    RUN(inheritance);
    RUN(bad_stacks_are_refused);
    return 0;
}
