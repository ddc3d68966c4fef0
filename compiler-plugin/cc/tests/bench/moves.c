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

/* Each frame points into its caller's, so that none of them can be done without. */
__attribute__((noinline)) static long deep(int frames, const long *above, double x)
{
	if (frames <= 1) {
		long start = now();
		__maize_migrate();
		saved = now() - start;
		return above[0];
	}
	long local[2] = {above[frames & 1] + frames, frames};
	long below = deep(frames - 1, local, x * 1.5);
	return below + (long)(x * local[0]) + local[1];
}

int main(int argc, char **argv)
{
	int frames = argc > 1 ? atoi(argv[1]) : 10, rounds = argc > 2 ? atoi(argv[2]) : 1;
	long sum = 0;
	for (int i = 0; i < rounds; i++) {
		long start = now();
		sum += deep(frames, (long[]){i, 1}, 1e-3);
		long whole = now() - start;
		printf("%ld %ld\n", saved, whole - saved);
	}
	return sum == 42;
}
