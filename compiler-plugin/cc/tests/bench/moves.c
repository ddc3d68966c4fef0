/* Moves with some frames on the stack. Prints, for each round, how long it took until all frames were
 * saved and the innermost went on, and then until all others had gone on and returned, in nanoseconds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void __maize_migrate(void);

static long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000 + time.tv_nsec;
}

static long saved;
static volatile int moves = 1;

__attribute__((noinline)) static long deep(int frames, long a, double x)
{
	if (frames <= 1) {
		long start = now();
		if (moves) __maize_migrate();
		saved = now() - start;
		return a;
	}
	long local[2] = {a, frames};
	long below = deep(frames - 1, local[frames & 1] * 3, x * 1.5);
	return below + (long)x + local[0];
}

int main(int argc, char **argv)
{
	int frames = argc > 1 ? atoi(argv[1]) : 10, rounds = argc > 2 ? atoi(argv[2]) : 1;
	long sum = 0;
	for (int i = 0; i < rounds; i++) {
		long start = now();
		sum += deep(frames, i, 0.5);
		long whole = now() - start;
		printf("%ld %ld\n", saved, whole - saved);
	}
	return sum == 42;
}
