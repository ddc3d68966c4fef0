// Signal handlers: what they are told, what they interrupt, where they run, and jumps out of them, by
// a thread whose frames, the handlers' among them, may be saved and entered at any point.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t seen, depth, deepest;
static volatile long sum;
static int ends[2];
static sigjmp_buf back;
static char other[65536] __attribute__((aligned(16)));

static void fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static void install(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};
  if (sigaction(number, &action, NULL)) fail("sigaction");
}

static long climb(int n, long *above) {
  long here = n + *above;
  return n ? climb(n - 1, &here) + here % 7 : here;
}

static void counts(int number, siginfo_t *info, void *context) {
  long zero = 0;
  seen++;
  if (++depth > deepest) deepest = depth;
  sum += number * 1000 + (info->si_code == SI_QUEUE ? info->si_value.sival_int : 0) + climb(9, &zero);
  if (number == SIGUSR1 && depth == 1 && info->si_code == SI_QUEUE) raise(SIGUSR2);
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  if (!sigismember(&now, number) || sigismember(&((ucontext_t *)context)->uc_sigmask, number)) sum = -1;
  depth--;
}

static void plain(int number) { sum += number; }

static void values(void) {
  seen = sum = 0;
  install(SIGUSR1, counts, 0);
  signal(SIGUSR2, plain);
  for (int i = 1; i < 4; i++)
    if (sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = i})) fail("sigqueue");
  printf("values: %d seen, sum %ld, depth %d\n", (int)seen, sum, (int)deepest);
  struct sigaction old;
  sigaction(SIGUSR2, NULL, &old);
  printf("old: %d %d\n", old.sa_handler == plain, (old.sa_flags & SA_RESTART) != 0);
}

static void blocked(void) {
  sigset_t set, was, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  seen = sum = 0;
  install(SIGUSR2, counts, SA_RESETHAND);
  sigprocmask(SIG_BLOCK, &set, &was);
  raise(SIGUSR2);
  raise(SIGUSR2);
  sigpending(&pending);
  printf("blocked: %d seen, pending %d\n", (int)seen, sigismember(&pending, SIGUSR2));
  sigprocmask(SIG_SETMASK, &was, NULL);
  struct sigaction now;
  sigaction(SIGUSR2, NULL, &now);
  printf("unblocked: %d seen, default again %d\n", (int)seen, now.sa_handler == SIG_DFL);
  install(SIGUSR2, counts, 0);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR2);
  int r = sigsuspend(&was);
  printf("suspended: %d %d, %d seen\n", r, errno == EINTR, (int)seen);
  sigprocmask(SIG_SETMASK, &was, NULL);
}

// Runs beside the loop that it interrupts; each alarm's handler recurses.
static void alarms(void) {
  seen = 0;
  install(SIGALRM, counts, SA_RESTART);
  struct itimerval often = {{0, 3000}, {0, 3000}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &often, NULL);
  long zero = 0, here = 0, rounds = 0;
  for (; seen < 8; rounds++) here += climb(12, &zero);
  setitimer(ITIMER_REAL, &never, NULL);
  printf("alarms: %d, %d\n", seen >= 8, here == rounds * climb(12, &zero));
}

static void writes(int number, siginfo_t *info, void *context) {
  (void)info, (void)context;
  seen++;
  if (number == SIGALRM && write(ends[1], "late", 5) != 5) fail("write");
}

static void restarts(void) {
  char text[8] = "";
  struct itimerval soon = {{0, 0}, {0, 20000}}, never = {{0, 0}, {0, 0}};
  // One that comes before the call has begun is followed by another.
  struct itimerval often = {{0, 50000}, {0, 50000}};
  if (pipe(ends)) fail("pipe");
  seen = 0;
  install(SIGALRM, writes, SA_RESTART);
  setitimer(ITIMER_REAL, &soon, NULL);
  long n = read(ends[0], text, sizeof text);
  printf("restarted: %ld %s, %d seen\n", n, text, (int)seen);
  install(SIGALRM, counts, 0);
  setitimer(ITIMER_REAL, &often, NULL);
  n = read(ends[0], text, sizeof text);
  int error = errno;
  setitimer(ITIMER_REAL, &never, NULL);
  printf("interrupted: %ld %d\n", n, error == EINTR);
  install(SIGALRM, counts, SA_RESTART);
  setitimer(ITIMER_REAL, &often, NULL);
  struct timespec time = {1000, 0}, left;
  n = nanosleep(&time, &left);
  error = errno;
  setitimer(ITIMER_REAL, &never, NULL);
  printf("slept: %ld %d, left %d\n", n, error == EINTR, left.tv_sec > 900);
}

static void on_other(int number, siginfo_t *info, void *context) {
  (void)info;
  char here[64], *volatile at = here;
  stack_t now;
  memset(here, number, sizeof here);
  sigaltstack(NULL, &now);
  sum = (at >= other && at < other + sizeof other) + 2 * (now.ss_flags == SS_ONSTACK);
  sum += 4 * (((ucontext_t *)context)->uc_stack.ss_sp == other);
}

static void stacks(void) {
  stack_t stack = {.ss_sp = other, .ss_size = sizeof other}, old;
  if (sigaltstack(&stack, NULL)) fail("sigaltstack");
  install(SIGUSR1, on_other, SA_ONSTACK);
  raise(SIGUSR1);
  long with = sum;
  install(SIGUSR1, on_other, 0);
  raise(SIGUSR1);
  stack.ss_flags = SS_DISABLE;
  sigaltstack(&stack, &old);
  printf("stacks: %ld %ld, %d\n", with, sum, old.ss_sp == other && old.ss_size == sizeof other);
}

static void jumps(int number, siginfo_t *info, void *context) {
  (void)context;
  seen++;
  if (number == SIGSEGV) sum = (char *)info->si_addr - (char *)0;
  siglongjmp(back, number);
}

static int descend(int n, int *to) {
  int here = n;
  if (!n) {
    if (to) *to = 1;
    else raise(SIGUSR1);
  }
  return n ? descend(n - 1, to) + here : here;
}

static void leaves(void) {
  seen = 0;
  install(SIGUSR1, jumps, 0);
  install(SIGSEGV, jumps, 0);
  for (volatile int i = 0; i < 3; i++) {
    int from = sigsetjmp(back, 1);
    if (!from) descend(5 + i, NULL);
    printf("left by %d, %d seen\n", from, (int)seen);
  }
  for (volatile int i = 0; i < 3; i++) {
    int from = sigsetjmp(back, 1);
    if (!from) descend(i, (int *)(64L + 16 * i));
    printf("fault %d at %ld\n", from, sum);
  }
  // In the same frame that has set the jump.
  if (!sigsetjmp(back, 1)) *(volatile int *)96 = 1;
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  printf("fault at %ld, blocked %d\n", sum, sigismember(&now, SIGSEGV));
}

static char *page;

static void allows(int number, siginfo_t *info, void *context) {
  (void)context;
  long zero = 0;
  sum += number + climb(20, &zero);
  if ((char *)info->si_addr != page + 8 || mprotect(page, 4096, PROT_READ | PROT_WRITE)) _exit(3);
}

static void faults(void) {
  sum = 0;
  page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  install(SIGSEGV, allows, 0);
  for (int i = 0; i < 3; i++) {
    mprotect(page, 4096, PROT_READ);
    page[8] = 'a' + i;
  }
  printf("allowed: %s %ld\n", page + 8, sum);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static _Thread_local int told;
static int ready, stop;
static atomic_int heard;

static void tells(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  told++;
  heard++;
}

// Signals that do not queue: each waits until the last one has been taken.
static void tell(pthread_t thread) {
  int before = heard;
  pthread_kill(thread, SIGUSR1);
  while (heard == before) usleep(1000);
}

static void *waits(void *argument) {
  char byte;
  pthread_mutex_lock(&lock);
  ready++;
  pthread_cond_broadcast(&changed);
  while (!argument && !stop) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  if (argument) {
    long n = read(*(int *)argument, &byte, 1);
    if (n != 1) return (void *)-1L;
  }
  return (void *)(long)told;
}

static void plain_end(void *argument) { *(volatile long *)argument = 77; }

static void *never_ends(void *argument) {
  long zero = 0;
  pthread_cleanup_push(plain_end, argument);
  pthread_mutex_lock(&lock);
  ready++;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  for (;;) {
    climb(5, &zero);
    usleep(100);
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static void threads(void) {
  pthread_t all[3];
  void *result;
  install(SIGUSR1, tells, SA_RESTART);
  pthread_create(&all[0], NULL, waits, NULL);
  pthread_create(&all[1], NULL, waits, &ends[0]);
  pthread_create(&all[2], NULL, never_ends, (void *)&sum);
  pthread_mutex_lock(&lock);
  while (ready < 3) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  usleep(10000);
  for (int i = 0; i < 2; i++) {
    tell(all[i]);
    usleep(20000);
    tell(all[i]);
  }
  pthread_mutex_lock(&lock);
  stop = 1;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  if (write(ends[1], "x", 1) != 1) fail("write");
  for (int i = 0; i < 2; i++) {
    pthread_join(all[i], &result);
    printf("thread %d: told %ld\n", i, (long)result);
  }
  pthread_cancel(all[2]);
  pthread_join(all[2], &result);
  printf("cancelled %d, cleaned up %ld, main told %d\n", result == PTHREAD_CANCELED, sum, told);
}

// A timer is set again where the thread has gone meanwhile; the handler's frames go too.
static void far(void) {
  long before = -1;
  install(SIGALRM, counts, 0);
  for (int i = 0; i < 6; i++) {
    struct itimerval soon = {{0, 0}, {0, 1000}};
    for (seen = sum = 0; !seen;) {
      setitimer(ITIMER_REAL, &soon, NULL);
      usleep(20000);
    }
    if (before != -1 && sum / seen != before) fail("another sum");
    before = sum / seen;
  }
  printf("far: %ld\n", before);
}

int main(void) {
  far();
#ifndef ALONE
  // What only one process has of the kernel: ids, pending signals, timers, pipes, rights of pages.
  values();
  stacks();
  leaves();
  blocked();
  alarms();
  restarts();
  faults();
  threads();
#endif
  return 0;
}
