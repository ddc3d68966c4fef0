/* Moves between two CPUs of different instruction sets with some frames on the stack. Prints, for each
 * move: where it began; nanoseconds from the return of the call that asked for it until the innermost
 * frame went on, and then until all others had gone on and returned; and of the former, those in which
 * frames were saved, and those from the thread's first instruction on the other side. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

long __maize_ticks(void), __maize_ticks_here(void), __maize_saving_ticks(void);
unsigned __maize_isa(void);

static long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Nanoseconds of a tick of the processor that runs this. */
static double tick(void)
{
	long start = now(), ticks = __maize_ticks(), end;
	while ((end = now()) - start < 5000000);
	return (double)(end - start) / (__maize_ticks() - ticks);
}

static long asked, moved, here;

static void go(int core)
{
	cpu_set_t set;
	unsigned from = __maize_isa();
	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof set, &set)) perror("sched_setaffinity"), exit(1);
	asked = now();
	while (__maize_isa() == from);
	/* Before anything is written: the page with these variables is still elsewhere. */
	long ticks_here = __maize_ticks_here(), at = now();
	here = ticks_here, moved = at;
}

/* Each frame points into its caller's, so that none of them can be done without. */
__attribute__((noinline)) static long deep(int frames, const long *above, double x, int core)
{
	if (frames <= 1) {
		go(core);
		return above[0];
	}
	long local[2] = {above[frames & 1] + frames, frames};
	long below = deep(frames - 1, local, x * 1.5, core);
	return below + (long)(x * local[0]) + local[1];
}

int main(int argc, char **argv)
{
	int frames = argc > 1 ? atoi(argv[1]) : 10, rounds = argc > 2 ? atoi(argv[2]) : 1;
	double ticks[2];
	long sum = 0, other, saving;
	ticks[0] = tick(), go(1), ticks[1] = tick(), go(0);
	for (int i = 0; i < 2 * rounds; i++) {
		struct utsname name;
		int from = i % 2;
		uname(&name);
		sum += deep(frames, (long[]){i, 1}, 1e-3, 1 - from);
		other = now() - moved;
		long whole = moved - asked;
		double resume = here * ticks[1 - from];
		/* What saving took is known where it was done. */
		go(from), saving = __maize_saving_ticks(), go(1 - from);
		printf("%s %ld %ld %.0f %.0f\n", name.machine, whole, other, saving * ticks[from], resume);
	}
	return sum == 42;
}
