/* Conjugate gradients on a sparse matrix with a random pattern, as in NPB's CG. Prints the norms. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 1400, PER_ROW = 7 };
static int columns[N][PER_ROW];
static double values[N][PER_ROW], x[N], z[N], p[N], q[N], r[N];

static void multiply(const double *from, double *to)
{
	for (int i = 0; i < N; i++) {
		double sum = 20 * from[i];
		for (int k = 0; k < PER_ROW; k++) sum += values[i][k] * from[columns[i][k]];
		to[i] = sum;
	}
}

static double dot(const double *a, const double *b)
{
	double sum = 0;
	for (int i = 0; i < N; i++) sum += a[i] * b[i];
	return sum;
}

static double solve(void)
{
	for (int i = 0; i < N; i++) z[i] = 0, r[i] = p[i] = x[i];
	double rho = dot(r, r);
	for (int round = 0; round < 25; round++) {
		multiply(p, q);
		double alpha = rho / dot(p, q), before = rho;
		for (int i = 0; i < N; i++) z[i] += alpha * p[i], r[i] -= alpha * q[i];
		rho = dot(r, r);
		for (int i = 0; i < N; i++) p[i] = r[i] + rho / before * p[i];
	}
	return sqrt(rho);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 3;
	unsigned random = 7;
	for (int i = 0; i < N; i++)
		for (int k = 0; k < PER_ROW; k++) {
			random = random * 1664525 + 1013904223;
			columns[i][k] = (random >> 8) % N;
			values[i][k] = (random >> 4 & 255) / 256.0;
		}
	for (int i = 0; i < N; i++) x[i] = 1;
	for (int round = 0; round < rounds; round++) {
		double norm = solve(), zeta = 10 + 1 / dot(x, z), scale = 1 / sqrt(dot(z, z));
		for (int i = 0; i < N; i++) x[i] = z[i] * scale;
		printf("%.3e %.9f\n", norm, zeta);
	}
	return 0;
}
