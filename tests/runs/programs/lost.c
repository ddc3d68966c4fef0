// lost [returns]: a process with a thread on each of three CPUs, the second of which will be lost, beside one
// that has threads on the other two. It tells when all are there, and what became of them. With `returns` the CPU
// comes back.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready[2], end[2], stop;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long locked, atomic, turns[3];

static int go(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set)) return errno;
  return sched_getcpu() == cpu ? 0 : -1;
}

static void *work(void *argument) {
  long cpu = (intptr_t)argument;
  if (go((int)cpu)) _exit(20);
  for (long turn = 0; !__atomic_load_n(&stop, __ATOMIC_SEQ_CST); turn++) {
    __atomic_fetch_add(&atomic, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&lock);
    locked++, turns[cpu]++;
    pthread_mutex_unlock(&lock);
    // Everybody has been at the lock with everybody.
    if (turn == 3 && write(ready[1], "", 1) != 1) _exit(21);
  }
  return NULL;
}

// A child with a thread on each of these CPUs, which ends well when it is told to.
static pid_t group(const int *cpus, int count) {
  pid_t child = fork();
  if (child) return child;
  pthread_t threads[3];
  char byte;
  for (int i = 0; i < count; i++)
    if (pthread_create(&threads[i], NULL, work, (void *)(intptr_t)cpus[i])) _exit(22);
  close(end[1]);
  if (read(end[0], &byte, 1) != 0) _exit(23);
  long before = __atomic_load_n(&atomic, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&atomic, __ATOMIC_SEQ_CST) < before + 2 * count) sched_yield();
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  _exit(locked == atomic && locked == turns[0] + turns[1] + turns[2] ? 0 : 24);
}

static void tell(const char *who, pid_t child) {
  int status = -1;
  if (waitpid(child, &status, 0) != child) status = -1;
  if (WIFSIGNALED(status)) printf("%s: signal %d\n", who, WTERMSIG(status));
  else printf("%s: status %d\n", who, WEXITSTATUS(status));
  fflush(stdout);
}

// A new process on a CPU, with memory that both have touched.
static pid_t visitor(int cpu) {
  char *memory = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(memory, 'x', 65536);
  pid_t child = fork();
  if (child) return child;
  if (go(cpu)) _exit(30);
  for (int i = 0; i < 65536; i++)
    if (memory[i] != 'x') _exit(31);
  memset(memory, 'y', 65536);
  _exit(munmap(memory, 65536) ? 32 : 0);
}

int main(int argc, char **argv) {
  const int all[] = {0, 1, 2}, others[] = {0, 2};
  int returns = argc > 1 && !strcmp(argv[1], "returns");
  char byte;
  if (pipe(ready) || pipe(end)) return 2;
  pid_t lost = group(all, 3), beside = group(others, 2);
  for (int i = 0; i < 5; i++)
    if (read(ready[0], &byte, 1) != 1) return 3;
  puts("spread");
  fflush(stdout);
  tell("on the lost CPU", lost);
  // Nobody else has the end that is written to.
  close(end[1]);
  tell("beside it", beside);
  tell("on another CPU", visitor(2));
  int refused;
  while ((refused = go(1)) == EINVAL && returns) usleep(10000);
  printf("there again: %s\n", refused ? strerror(refused) : "went");
  if (!refused) tell("on the CPU that returned", visitor(1));
  return 0;
}
