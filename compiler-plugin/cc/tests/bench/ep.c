/* Pairs of Gaussian deviates from uniform ones, as NPB's EP counts them. Prints the counts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The linear congruential generator of the benchmark: 5^13 x mod 2^46. */
static unsigned long seed = 271828183;
static double uniform(void)
{
	seed = seed * 1220703125UL & ((1UL << 46) - 1);
	return (double)seed * 0x1p-46;
}

int main(int argc, char **argv)
{
	long pairs = argc > 1 ? atol(argv[1]) : 100000, counts[10] = {0};
	double sum_x = 0, sum_y = 0;
	for (long i = 0; i < pairs; i++) {
		double x = 2 * uniform() - 1, y = 2 * uniform() - 1, t = x * x + y * y;
		if (t > 1) continue;
		double scale = sqrt(-2 * log(t) / t);
		x *= scale, y *= scale;
		counts[(int)fmax(fabs(x), fabs(y))]++;
		sum_x += x, sum_y += y;
	}
	for (int i = 0; i < 10; i++) printf("%ld ", counts[i]);
	printf("%.6e %.6e\n", sum_x, sum_y);
	return 0;
}
