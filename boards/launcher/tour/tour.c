// The tour: four threads of one process on two instruction sets. The main thread goes from one to the
// other and back in the middle of a recursion whose frames hold pointers to each other's variables,
// first while nothing else happens, then while the other three work on a shared array.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 3, ROUNDS = 150, CELLS = 2048, DEPTH = 10, TRIPS = 2 };

static int cores[2] = {0, 1};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static const char *isa(void) {
  static _Thread_local struct utsname name;
  if (uname(&name)) fail("uname");
  return name.machine;
}

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

// Asks for a core, and is there when it returns: the loop has migration points.
static void go(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
  while (sched_getcpu() != core) {
  }
}

// What has gone over the links of the kernel that the process was started on.
struct traffic {
  long messages, bytes;
};

static int counters;
static _Alignas(4096) char text[8192];

static struct traffic traffic(void) {
  struct traffic sum = {0, 0};
  long length = pread(counters, text, sizeof text - 1, 0);
  if (length < 0) fail("/proc/maize/counters");
  text[length] = 0;
  for (char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
    char *space = strchr(line, ' ');
    long value = space ? atol(space) : 0;
    if (!strncmp(line, "fabric.sent.", 12) || !strncmp(line, "fabric.received.", 16))
      sum.messages += value;
    if (!strncmp(line, "fabric.bytes.", 13) || !strncmp(line, "fabric.bytes_received.", 22))
      sum.bytes += value;
    if (!strncmp(line, "fabric.pages_sent ", 18) || !strncmp(line, "fabric.pages_received ", 22))
      sum.bytes += 4096 * value;
  }
  return sum;
}

// What it takes here to look at the clock and begin to look at the traffic, or the reverse: both are
// asked of the kernel that the process was started on.
static struct traffic of_looking(void) {
  struct traffic first = traffic(), second = traffic();
  now_us();
  struct traffic third = traffic();
  long messages = third.messages - second.messages - (second.messages - first.messages) / 2;
  long bytes = third.bytes - second.bytes - (second.bytes - first.bytes) / 2;
  return (struct traffic){messages, bytes};
}

static int step_number, alone;

// Moves, and says what it took: if nothing else happens, without what looking takes.
static void step(int core) {
  char from[16];
  strcpy(from, isa());
  struct traffic there = {0, 0}, here = alone ? of_looking() : there, before = traffic();
  double start = now_us();
  go(core);
  double took = now_us() - start;
  struct traffic after = traffic();
  if (alone) there = of_looking();
  long messages = after.messages - before.messages - here.messages - there.messages;
  long bytes = after.bytes - before.bytes - here.bytes - there.bytes;
  printf("%4d   %-7s -> %-7s   CPU %d %10.0f us  %8ld %9ld%s\n", ++step_number, from, isa(), core,
         took, messages, bytes, alone ? "" : "   with those of three threads at work");
  fflush(stdout);
}

static int moves;

// Each frame adds to a variable of its caller, by a pointer that goes along.
static long descend(int depth, long *above) {
  long here = depth * 7 + *above % 13;
  if (depth) {
    long below = descend(depth - 1, &here);
    *above += here;
    return below + here;
  }
  for (int i = 0; i < moves; i++) step(cores[(i + 1) % 2]);
  *above += here;
  return here;
}

static long recursion(int with_moves) {
  long top = 5;
  moves = with_moves;
  return descend(DEPTH, &top) * 1000 + top;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t ready;
static long cells[CELLS];

struct worker {
  pthread_t thread;
  int number, core;
  char isa[16];
};

static void *work(void *argument) {
  struct worker *worker = argument;
  go(worker->core);
  strcpy(worker->isa, isa());
  pthread_barrier_wait(&ready);
  for (int round = 0; round < ROUNDS; round++) {
    pthread_mutex_lock(&lock);
    for (int i = worker->number; i < CELLS; i += WORKERS + 1) cells[i] += round;
    cells[0]++;
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

int main(void) {
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof all, &all)) fail("sched_getaffinity");
  printf("%d CPUs, one process; the main thread starts on CPU %d, %s\n\n", CPU_COUNT(&all),
         sched_getcpu(), isa());
  printf("step   from       to        where       time     messages     bytes   (%d frames deep)\n",
         DEPTH + 1);
  counters = open("/proc/maize/counters", O_RDONLY);
  if (counters < 0) fail("/proc/maize/counters");

  long expected = recursion(0);
  alone = 1;
  if (recursion(2 * TRIPS) != expected) return 2;
  alone = 0;

  struct worker workers[WORKERS];
  pthread_barrier_init(&ready, NULL, WORKERS + 1);
  for (int i = 0; i < WORKERS; i++) {
    workers[i].number = i + 1;
    workers[i].core = cores[(i + 1) % 2];
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) fail("pthread_create");
  }
  pthread_barrier_wait(&ready);
  long found = recursion(2 * TRIPS);
  for (int i = 0; i < WORKERS; i++) pthread_join(workers[i].thread, NULL);

  printf("\n");
  for (int i = 0; i < WORKERS; i++)
    printf("thread %d on CPU %d, %s: %d times under the lock\n", workers[i].number, workers[i].core,
           workers[i].isa, ROUNDS);
  long each = ROUNDS * (ROUNDS - 1) / 2, right = 0;
  for (int i = 1; i < CELLS; i++) right += cells[i] == (i % (WORKERS + 1) ? each : 0);
  int array = right == CELLS - 1 && cells[0] == WORKERS * ROUNDS;
  printf("recursion %ld of %ld, %ld of %d cells as expected: %s\n", found, expected, right + array,
         CELLS, found == expected && array ? "verified" : "WRONG");
  return found == expected && array ? 0 : 3;
}
