// Threads that are moved by others: in a loop without calls, asleep on a condition, in reads.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static atomic_int started, stop;
static int wake, ends[2];

static const char *isa(void) {
  static _Thread_local struct utsname name;
  return uname(&name) ? "?" : name.machine;
}

static void *spins(void *result) {
  long rounds = 0;
  started++;
  while (!stop) rounds++;
  strcpy(result, isa());
  return (void *)(long)(rounds > 0);
}

static void *sleeps(void *result) {
  pthread_mutex_lock(&lock);
  started++;
  while (!wake) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  strcpy(result, isa());
  return (void *)1L;
}

static void *reads(void *result) {
  char byte = 0;
  started++;
  long count = 0;
  while (read(ends[0], &byte, 1) == 1) count += byte == 'x';
  strcpy(result, isa());
  return (void *)(long)(count == 3);
}

int main(void) {
  void *(*bodies[])(void *) = {spins, sleeps, reads};
  const char *names[] = {"spins", "sleeps", "reads"};
  pthread_t threads[3];
  char isas[3][16];
  cpu_set_t other;
  CPU_ZERO(&other);
  CPU_SET(1, &other);
  if (pipe(ends)) return 1;
  for (int i = 0; i < 3; i++)
    if (pthread_create(&threads[i], NULL, bodies[i], isas[i])) return 2;
  while (started < 3) usleep(1000);
  usleep(20000);
  for (int i = 0; i < 3; i++)
    if (pthread_setaffinity_np(threads[i], sizeof other, &other)) return 3;
  usleep(50000);
  stop = 1;
  pthread_mutex_lock(&lock);
  wake = 1;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  if (write(ends[1], "xxx", 3) != 3 || close(ends[1])) return 4;
  for (int i = 0; i < 3; i++) {
    void *well;
    pthread_join(threads[i], &well);
    printf("%s: %s %s\n", names[i], isas[i], well ? "well" : "WRONG");
  }
  return 0;
}
