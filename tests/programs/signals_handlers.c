/* Signal handlers: what they are told, what is blocked while they run, and what happens after. */
#include "check.h"
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

static volatile sig_atomic_t count, last, depth, deepest;
static volatile siginfo_t seen;

static void install(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    CHECK(sigaction(number, &action, NULL) == 0);
}

static void note(int number)
{
    count++;
    last = number;
}

static void note_info(int number, siginfo_t *info, void *context)
{
    count++;
    last = number;
    memcpy((void *)&seen, info, sizeof seen);
    CHECK(context != NULL);
}

static void every_signal_can_be_handled(void)
{
    for (int number = 1; number <= 31; number++) {
        struct sigaction action = {.sa_handler = note};
        if (number == SIGKILL || number == SIGSTOP) {
            CHECK_FAILS(sigaction(number, &action, NULL), EINVAL);
            continue;
        }
        count = 0;
        CHECK(sigaction(number, &action, NULL) == 0);
        CHECK(raise(number) == 0);
        CHECK_EQUAL(count, 1);
        CHECK_EQUAL(last, number);
        install(number, SIG_DFL, 0);
    }
    CHECK_FAILS(sigaction(0, &(struct sigaction){.sa_handler = note}, NULL), EINVAL);
    CHECK_FAILS(sigaction(65, &(struct sigaction){.sa_handler = note}, NULL), EINVAL);
}

static void the_sender_is_told(void)
{
    struct sigaction action = {.sa_sigaction = note_info, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK_EQUAL(seen.si_signo, SIGUSR1);
    CHECK_EQUAL(seen.si_code, SI_USER);
    CHECK_EQUAL(seen.si_pid, getpid());
    CHECK_EQUAL(seen.si_uid, getuid());
    CHECK(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1) == 0);
    CHECK_EQUAL(seen.si_code, SI_TKILL);
    CHECK_EQUAL(seen.si_pid, getpid());
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(kill(parent, SIGUSR1) == 0);
        _exit(0);
    }
    REAP_EXITED(child, 0);
    CHECK_EQUAL(count, 3);
    CHECK_EQUAL(seen.si_code, SI_USER);
    CHECK_EQUAL(seen.si_pid, child);
}

static void nested(int number)
{
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (count++ < 5)
        raise(number);
    depth--;
}

static void a_signal_is_blocked_in_its_handler(void)
{
    deepest = count = 0;
    install(SIGUSR1, nested, 0);
    raise(SIGUSR1);
    CHECK_EQUAL(deepest, 1);
    CHECK_EQUAL(count, 6);
    deepest = count = 0;
    install(SIGUSR1, nested, SA_NODEFER);
    raise(SIGUSR1);
    CHECK_EQUAL(deepest, 6);
    CHECK_EQUAL(count, 6);
}

static volatile sig_atomic_t order[4], ordered;

static void inner(int number)
{
    order[ordered++] = number;
}

static void outer(int number)
{
    order[ordered++] = number;
    raise(SIGUSR2);
    order[ordered++] = -number;
}

static void the_mask_of_a_handler_is_honoured(void)
{
    struct sigaction action = {.sa_handler = outer};
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGUSR2);
    install(SIGUSR2, inner, 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    raise(SIGUSR1);
    CHECK_EQUAL(ordered, 3);
    CHECK(order[0] == SIGUSR1 && order[1] == -SIGUSR1 && order[2] == SIGUSR2);
    ordered = 0;
    install(SIGUSR1, outer, 0);
    raise(SIGUSR1);
    CHECK(order[0] == SIGUSR1 && order[1] == SIGUSR2 && order[2] == -SIGUSR1);
    sigset_t now;
    CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
    CHECK(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2));
}

static void resethand_acts_once(void)
{
    install(SIGUSR1, note, SA_RESETHAND);
    count = 0;
    raise(SIGUSR1);
    CHECK_EQUAL(count, 1);
    struct sigaction action;
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0);
    CHECK(action.sa_handler == SIG_DFL);
}

static void blocked_signals_stay_pending_once(void)
{
    sigset_t set, old, pending;
    install(SIGUSR1, note, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGKILL);
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
    CHECK(!sigismember(&set, SIGKILL));
    count = 0;
    for (int i = 0; i < 5; i++)
        CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK_EQUAL(count, 0);
    CHECK(sigpending(&pending) == 0);
    CHECK(sigismember(&pending, SIGUSR1) && !sigismember(&pending, SIGUSR2));
    /* A child does not inherit what is pending. */
    IN_CHILD({
        CHECK(sigpending(&pending) == 0);
        CHECK(!sigismember(&pending, SIGUSR1));
        CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
        CHECK(sigismember(&set, SIGUSR1));
    });
    CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    CHECK_EQUAL(count, 1);
    CHECK(sigpending(&pending) == 0);
    CHECK(!sigismember(&pending, SIGUSR1));
    CHECK_FAILS(sigprocmask(17, &set, NULL), EINVAL);
}

static void ignoring_discards_what_is_pending(void)
{
    sigset_t set;
    install(SIGUSR1, note, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    count = 0;
    raise(SIGUSR1);
    install(SIGUSR1, SIG_IGN, 0);
    install(SIGUSR1, note, 0);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
    CHECK_EQUAL(count, 0);
}

static void default_actions(void)
{
    static const int ignored[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
    static const int fatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE,
                                SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM,
                                SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO, SIGSYS};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        IN_CHILD({
            install(ignored[i], SIG_DFL, 0);
            raise(ignored[i]);
        });
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            signal(fatal[i], SIG_DFL);
            kill(getpid(), fatal[i]);
            _exit(0);
        }
        REAP_KILLED(child, fatal[i]);
    }
}

static void abort_kills_even_when_ignored(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_IGN);
        abort();
    }
    REAP_KILLED(child, SIGABRT);
}

/* The handler changes the mask that the interrupted program goes on with. */
static void block_usr2(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGUSR2);
}

static void the_frame_sets_the_mask(void)
{
    struct sigaction action = {.sa_sigaction = block_usr2, .sa_flags = SA_SIGINFO};
    sigset_t now;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    raise(SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
    CHECK(sigismember(&now, SIGUSR2));
    sigemptyset(&now);
    CHECK(sigprocmask(SIG_SETMASK, &now, NULL) == 0);
}

static void registers_survive_a_storm(void)
{
    install(SIGALRM, note, SA_RESTART);
    count = 0;
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 0; i < 300; i++) {
            kill(parent, SIGALRM);
            sched_yield();
        }
        _exit(0);
    }
    uint64_t a = 1, b = 2, c = 3, d = 5, e = 7, f = 11, g = 13, h = 17;
    int status;
    while (waitpid(child, &status, WNOHANG) == 0)
        for (int i = 0; i < 2000; i++) {
            a += b, b += c, c += d, d += e, e += f, f += g, g += h, h += 1;
            h -= 1, g -= h, f -= g, e -= f, d -= e, c -= d, b -= c, a -= b;
            __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
        }
    CHECK(a == 1 && b == 2 && c == 3 && d == 5 && e == 7 && f == 11 && g == 13 && h == 17);
    CHECK(WIFEXITED(status) && count > 0);
}

int main(void)
{
    RUN(every_signal_can_be_handled);
    count = 0;
    RUN(the_sender_is_told);
    RUN(a_signal_is_blocked_in_its_handler);
    RUN(the_mask_of_a_handler_is_honoured);
    RUN(resethand_acts_once);
    RUN(blocked_signals_stay_pending_once);
    RUN(ignoring_discards_what_is_pending);
    RUN(default_actions);
    RUN(abort_kills_even_when_ignored);
    RUN(the_frame_sets_the_mask);
    RUN(registers_survive_a_storm);
    return 0;
}
