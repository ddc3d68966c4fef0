// Signals that come faster than they are handled, at a thread that moves all the while: they meet it at any
// instruction of that. Handlers, those of faults among them, leave its data and its mask as they were.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

enum { SIGNALS = 500, FAULTS = 20, ROUNDS_WITHOUT = 16 };

static atomic_int stop;
static volatile long first, second, faults, wrong;
static volatile unsigned long mixed = 1;
static volatile char *page;
static long of_five;

static long climb(int n, long *above) {
  long here = n + *above;
  return n ? climb(n - 1, &here) + here % 7 : here;
}

static void check(void) {
  long zero = 0;
  wrong += climb(5, &zero) != of_five;
}

static void one(int number) { check(), first += number == SIGUSR1; }

static void two(int number, siginfo_t *info, void *context) {
  (void)context;
  check(), second += number == SIGUSR2 && info->si_code == SI_TKILL;
}

static void touched(int number) {
  check(), faults += number == SIGSEGV;
  if (mprotect((void *)page, 4096, PROT_READ | PROT_WRITE)) wrong++;
}

// No poll is in its loop, so a signal that comes waits until the fault.
static void touch(void) {
  unsigned long now = mixed;
  if (mprotect((void *)page, 4096, PROT_NONE)) wrong++;
  for (int i = 0; i < 1000; i++) now ^= now << 13, now ^= now >> 7, now ^= now << 17;
  mixed = now;
  ++*page;
}

static void *pesters(void *thread) {
  while (!stop) pthread_kill(*(pthread_t *)thread, SIGUSR1), pthread_kill(*(pthread_t *)thread, SIGUSR2);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = two, .sa_flags = SA_SIGINFO};
  pthread_t self = pthread_self(), other;
  long zero = 0, of_twelve = climb(12, &zero);
  of_five = climb(5, &zero);
  page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 1;
  signal(SIGUSR1, one);
  sigaction(SIGUSR2, &action, NULL);
  signal(SIGSEGV, touched);
  if (pthread_create(&other, NULL, pesters, &self)) return 2;
  for (int round = 1; !wrong && (first < SIGNALS || second < SIGNALS || faults < FAULTS); round++) {
    sigset_t now;
    wrong += climb(12, &zero) != of_twelve;
    if (round % ROUNDS_WITHOUT == 0) touch();
    sigprocmask(SIG_BLOCK, NULL, &now);
    wrong += sigismember(&now, SIGUSR1) || sigismember(&now, SIGUSR2) || sigismember(&now, SIGSEGV);
  }
  stop = 1;
  pthread_join(other, NULL);
  printf("%ld wrong, %d enough\n", wrong, first >= SIGNALS && second >= SIGNALS && faults >= FAULTS);
  return 0;
}
