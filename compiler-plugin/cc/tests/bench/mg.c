/* V-cycles of a multigrid solver in three dimensions, as NPB's MG has them. Prints residuals. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { LEVELS = 4 };
static double *u[LEVELS], *v[LEVELS], *r[LEVELS];
static int side(int level) { return (4 << level) + 2; }

static void residual(int level)
{
	int n = side(level);
	double *a = u[level], *b = v[level], *c = r[level];
	for (int i = 1; i < n - 1; i++)
		for (int j = 1; j < n - 1; j++)
			for (int k = 1; k < n - 1; k++) {
				long at = ((long)i * n + j) * n + k;
				c[at] = b[at] - (6 * a[at] - a[at - 1] - a[at + 1] - a[at - n] - a[at + n]
					- a[at - n * n] - a[at + n * n]);
			}
}

static void smooth(int level)
{
	int n = side(level);
	residual(level);
	for (long at = 0; at < (long)n * n * n; at++) u[level][at] += 0.12 * r[level][at];
}

static void cycle(int level)
{
	for (int i = 0; i < 2; i++) smooth(level);
	if (level == 0) return;
	residual(level);
	int n = side(level), m = side(level - 1);
	for (int i = 1; i < m - 1; i++)
		for (int j = 1; j < m - 1; j++)
			for (int k = 1; k < m - 1; k++) {
				long fine = ((long)(2 * i - 1) * n + 2 * j - 1) * n + 2 * k - 1;
				long at = ((long)i * m + j) * m + k;
				double sum = 0;
				for (int d = 0; d < 8; d++)
					sum += r[level][fine + (d & 1) + (d >> 1 & 1) * n + (d >> 2) * n * n];
				v[level - 1][at] = sum * 0.5, u[level - 1][at] = 0;
			}
	cycle(level - 1);
	for (int i = 1; i < n - 1; i++)
		for (int j = 1; j < n - 1; j++)
			for (int k = 1; k < n - 1; k++)
				u[level][((long)i * n + j) * n + k] +=
					u[level - 1][((long)((i + 1) / 2) * m + (j + 1) / 2) * m + (k + 1) / 2];
	for (int i = 0; i < 2; i++) smooth(level);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 2, top = LEVELS - 1, n = side(top);
	for (int level = 0; level < LEVELS; level++) {
		size_t cells = (size_t)side(level) * side(level) * side(level);
		u[level] = calloc(cells, 8), v[level] = calloc(cells, 8), r[level] = calloc(cells, 8);
	}
	unsigned random = 3;
	for (int i = 0; i < 20; i++) {
		int at[3];
		for (int d = 0; d < 3; d++)
			at[d] = 1 + ((random = random * 1664525 + 1013904223) >> 10) % (n - 2);
		v[top][((long)at[0] * n + at[1]) * n + at[2]] = i % 2 ? 1 : -1;
	}
	for (int round = 0; round < rounds; round++) {
		cycle(top);
		residual(top);
		double sum = 0;
		for (long at = 0; at < (long)n * n * n; at++) sum += r[top][at] * r[top][at];
		printf("%.6e\n", sqrt(sum / ((double)n * n * n)));
	}
	return 0;
}
