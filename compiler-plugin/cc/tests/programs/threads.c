// Threads that share an array under a mutex, and each has its own variables and recursion.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 300, CELLS = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static long cells[CELLS];
static _Thread_local long own;

static long climb(int depth, long *above) {
  long here = depth + *above;
  if (depth) own += climb(depth - 1, &here);
  return here - *above + own % 7;
}

static void *work(void *argument) {
  long number = (long)argument, zero = 0;
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < ROUNDS; i++) {
    own += climb(i % 9, &zero);
    pthread_mutex_lock(&lock);
    cells[(i * 7 + number) % CELLS] += number + 1;
    pthread_mutex_unlock(&lock);
  }
  long *result = malloc(sizeof *result);
  *result = own;
  return result;
}

int main(void) {
  pthread_t threads[THREADS];
  pthread_barrier_init(&barrier, NULL, THREADS);
  for (long i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, work, (void *)i)) return 2;
  long owns = 0, total = 0;
  for (int i = 0; i < THREADS; i++) {
    void *result;
    if (pthread_join(threads[i], &result)) return 3;
    owns += *(long *)result;
    free(result);
  }
  for (int i = 0; i < CELLS; i++) total += cells[i];
  printf("total %ld of %d, own %ld\n", total, ROUNDS * (1 + 2 + 3 + 4), owns);
  return 0;
}
