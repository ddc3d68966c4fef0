/* Real-time signals: queued, in order, each with its value. */
#include "check.h"
#include <signal.h>

static volatile int values[64], numbers[64], got;

static void note(int number, siginfo_t *info, void *context)
{
    (void)context;
    CHECK_EQUAL(info->si_code, SI_QUEUE);
    CHECK_EQUAL(info->si_pid, getpid());
    numbers[got] = number;
    values[got++] = info->si_value.sival_int;
}

static void block(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (int number = SIGRTMIN; number <= SIGRTMIN + 2; number++)
        sigaddset(&set, number);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(how, &set, NULL) == 0);
}

static void queued_in_order(void)
{
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    /* One handler at a time, so that the order of delivery is that of the queue. */
    sigfillset(&action.sa_mask);
    for (int number = SIGRTMIN; number <= SIGRTMIN + 2; number++)
        CHECK(sigaction(number, &action, NULL) == 0);
    block(SIG_BLOCK);
    for (int i = 0; i < 10; i++)
        for (int number = SIGRTMIN + 2; number >= SIGRTMIN; number--)
            CHECK(sigqueue(getpid(), number, (union sigval){.sival_int = i}) == 0);
    block(SIG_UNBLOCK);
    CHECK_EQUAL(got, 30);
    for (int i = 0; i < 30; i++) {
        CHECK_EQUAL(numbers[i], SIGRTMIN + i / 10);
        CHECK_EQUAL(values[i], i % 10);
    }
}

static void standard_signals_are_not_queued(void)
{
    sigset_t set;
    siginfo_t info;
    struct timespec none = {0, 0};
    block(SIG_BLOCK);
    for (int i = 0; i < 5; i++)
        CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 100 + i}) == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK_EQUAL(sigtimedwait(&set, &info, &none), SIGUSR1);
    CHECK_EQUAL(info.si_value.sival_int, 100);
    CHECK_FAILS(sigtimedwait(&set, &info, &none), EAGAIN);
    block(SIG_UNBLOCK);
}

static void values_reach_a_waiter(void)
{
    sigset_t set;
    siginfo_t info;
    struct timespec none = {0, 0};
    block(SIG_BLOCK);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 7}) == 0);
    CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 8}) == 0);
    CHECK_EQUAL(sigtimedwait(&set, &info, &none), SIGRTMIN);
    CHECK_EQUAL(info.si_value.sival_int, 8);
    CHECK_EQUAL(sigtimedwait(&set, &info, &none), SIGRTMIN + 1);
    CHECK_EQUAL(info.si_value.sival_int, 7);
    block(SIG_UNBLOCK);
    CHECK_FAILS(sigqueue(getpid(), 70, (union sigval){.sival_int = 0}), EINVAL);
    CHECK_FAILS(sigqueue(0x3fffffff, 0, (union sigval){.sival_int = 0}), ESRCH);
}

int main(void)
{
    RUN(queued_in_order);
    RUN(standard_signals_are_not_queued);
    RUN(values_reach_a_waiter);
    return 0;
}
