// Signals to a process of several threads, each taken once, by whichever thread, wherever that is: while
// it works, waits or moves, on a stack of its own, with another handler inside the handler.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 4, SIGNALS = 120 };

static atomic_long taken, values, nested, pokes, on_stack;
static atomic_int stop;
static int ends[2];
static _Thread_local char *stack;

static long climb(int n, long *above) {
  long here = n + *above;
  return n ? climb(n - 1, &here) + here % 7 : here;
}

static void inner(int number) {
  long zero = 0;
  nested += climb(3, &zero) == 20 && number == SIGUSR1;
}

static void queued(int number, siginfo_t *info, void *context) {
  long zero = 0;
  char here, *volatile at = &here;
  (void)number, (void)context;
  // What a signal of pthread_kill has for a value is nobody's promise.
  values += (info->si_code == SI_QUEUE ? info->si_value.sival_int : 0) + climb(7, &zero);
  on_stack += !stack || (at >= stack && at < stack + 65536);
  raise(SIGUSR1);
  taken++;
}

static void poked(int number) { pokes += number == SIGUSR2; }

static void *works(void *argument) {
  long zero = 0, sum = 0, rounds = 0;
  stack = malloc(65536);
  stack_t other = {.ss_sp = stack, .ss_size = 65536};
  if (!stack || sigaltstack(&other, NULL)) return NULL;
  for (; !stop; rounds++) {
    sum += climb(12, &zero);
    if (argument) usleep(500);
  }
  return sum == rounds * climb(12, &zero) ? "well" : NULL;
}

// Every read is met by signals, and begins again.
static void *reads(void *argument) {
  char byte;
  (void)argument;
  return read(ends[0], &byte, 1) == 1 && byte == 'x' ? "well" : NULL;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = queued, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
  pthread_t threads[THREADS];
  int well = 0;
  sigfillset(&action.sa_mask);
  sigdelset(&action.sa_mask, SIGUSR1);
  sigaction(SIGRTMIN + 1, &action, NULL);
  signal(SIGUSR1, inner);
  signal(SIGUSR2, poked);
  if (pipe(ends)) return 1;
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, i < 3 ? works : reads, i % 2 ? "" : NULL);
  for (int i = 0; i < SIGNALS; i++) {
    while (sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i})) usleep(1000);
    pthread_kill(threads[i % THREADS], i % 3 ? SIGUSR2 : SIGRTMIN + 1);
    if (i % 8 == 0) usleep(1000);
  }
  // Of those that were sent to one thread each is queued too.
  while (taken < SIGNALS + SIGNALS / 3) usleep(1000);
  stop = 1;
  if (write(ends[1], "x", 1) != 1) return 2;
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    well += result != NULL;
  }
  printf("%ld taken, sum %ld, %ld nested, %ld on their stacks, poked %d, %d threads well\n", taken, values,
         nested, on_stack, pokes > 0, well);
  return 0;
}
