// Four numerical kernels in the manner of the NAS parallel benchmarks, small, with threads: random pairs
// (EP), a sort of integers (IS), conjugate gradients on a sparse matrix (CG), and a multigrid solver (MG).
// Sums are added in the threads' order, so there is one result.
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4 };

typedef void Kernel(int);

static pthread_barrier_t barrier;
static double partial[THREADS];
static Kernel *kernel;

static void together(void) { pthread_barrier_wait(&barrier); }

// The sum of what each thread has, the same in all of them.
static double sum(int me, double own) {
  double all = 0;
  partial[me] = own;
  together();
  for (int i = 0; i < THREADS; i++) all += partial[i];
  together();
  return all;
}

static void *body(void *me) {
  kernel((int)(long)me);
  return NULL;
}

static void run(Kernel *which) {
  pthread_t threads[THREADS];
  kernel = which;
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, body, (void *)i);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

// The benchmark's own generator: x = x * 5^13 modulo 2^46.
static double next(unsigned long *x) {
  *x = *x * 1220703125ul & ((1ul << 46) - 1);
  return (double)*x * 0x1p-46;
}

enum { PAIRS = 1 << 13 };
static long counts[THREADS][10];

static void ep(int me) {
  unsigned long seed = 271828183ul + 1000003ul * me;
  double sx = 0, sy = 0;
  for (int i = 0; i < PAIRS; i++) {
    double x = 2 * next(&seed) - 1, y = 2 * next(&seed) - 1, t = x * x + y * y;
    if (t > 1) continue;
    double f = sqrt(-2 * log(t) / t);
    counts[me][(int)fmax(fabs(x * f), fabs(y * f))]++;
    sx += x * f, sy += y * f;
  }
  sx = sum(me, sx), sy = sum(me, sy);
  if (me) return;
  printf("EP %.9e %.9e", sx, sy);
  for (int i = 0; i < 4; i++) printf(" %ld", counts[0][i] + counts[1][i] + counts[2][i] + counts[3][i]);
  puts("");
}

enum { KEYS = 1 << 14, LARGEST = 1 << 9 };
static int keys[KEYS], sorted[KEYS], places[THREADS][LARGEST];

static void is(int me) {
  int from = KEYS / THREADS * me, to = from + KEYS / THREADS;
  unsigned long seed = 314159265ul + me;
  for (int i = from; i < to; i++)
    keys[i] = (int)((next(&seed) + next(&seed) + next(&seed) + next(&seed)) * (LARGEST / 4));
  for (int i = from; i < to; i++) places[me][keys[i]]++;
  together();
  // Every thread's keys of a value come after those of the threads before it.
  static int starts[THREADS][LARGEST];
  if (!me)
    for (int key = 0, at = 0; key < LARGEST; key++)
      for (int i = 0; i < THREADS; i++) starts[i][key] = at, at += places[i][key];
  together();
  for (int i = from; i < to; i++) sorted[starts[me][keys[i]]++] = keys[i];
  together();
  double wrong = 0, digest = 0;
  for (int i = from; i < to; i++) {
    if (i && sorted[i] < sorted[i - 1]) wrong++;
    digest += (double)sorted[i] * (i % 101);
  }
  wrong = sum(me, wrong), digest = sum(me, digest);
  if (!me) printf("IS %.0f %.0f\n", wrong, digest);
}

enum { ROWS = 700, PER_ROW = 7 };
static int columns[ROWS][PER_ROW];
static double values[ROWS][PER_ROW], x[ROWS], r[ROWS], p[ROWS], q[ROWS], z[ROWS];

static double dot(int me, const double *a, const double *b) {
  double own = 0;
  for (int i = ROWS * me / THREADS; i < ROWS * (me + 1) / THREADS; i++) own += a[i] * b[i];
  return sum(me, own);
}

static void multiply(int me, const double *in, double *out) {
  for (int i = ROWS * me / THREADS; i < ROWS * (me + 1) / THREADS; i++) {
    double all = 0;
    for (int k = 0; k < PER_ROW; k++) all += values[i][k] * in[columns[i][k]];
    out[i] = all;
  }
  together();
}

static void cg(int me) {
  int from = ROWS * me / THREADS, to = ROWS * (me + 1) / THREADS;
  // Symmetric: the bands are at fixed distances, and dominated by the diagonal.
  static const int far[] = {-97, -13, -1, 0, 1, 13, 97};
  for (int i = from; i < to; i++)
    for (int k = 0; k < PER_ROW; k++) {
      int column = i + far[k], inside = column >= 0 && column < ROWS;
      columns[i][k] = inside ? column : i;
      values[i][k] = !far[k] ? 8.5 + i % 3 : inside ? -1.0 / (1 + abs(far[k]) % 5) : 0;
    }
  for (int i = from; i < to; i++) x[i] = 1;
  together();
  double zeta = 0, rest = 0;
  for (int outer = 0; outer < 4; outer++) {
    for (int i = from; i < to; i++) z[i] = 0, r[i] = p[i] = x[i];
    double rho = dot(me, r, r);
    for (int inner = 0; inner < 10; inner++) {
      multiply(me, p, q);
      double alpha = rho / dot(me, p, q), old = rho;
      for (int i = from; i < to; i++) z[i] += alpha * p[i], r[i] -= alpha * q[i];
      rho = dot(me, r, r);
      for (int i = from; i < to; i++) p[i] = r[i] + rho / old * p[i];
      together();
    }
    rest = sqrt(rho);
    double norm = sqrt(dot(me, z, z));
    zeta = 10 + 1 / dot(me, x, z);
    for (int i = from; i < to; i++) x[i] = z[i] / norm;
    together();
  }
  if (!me) printf("CG %.12f %d\n", zeta, rest < 1e-6);
}

enum { LEVELS = 5, SIDE = 1 << LEVELS };
static double u[LEVELS + 1][SIDE + 1][SIDE + 1], f[LEVELS + 1][SIDE + 1][SIDE + 1];

static double residual(int level, int i, int j) {
  double(*a)[SIDE + 1] = u[level];
  int n = 1 << level;
  return f[level][i][j] - (4 * a[i][j] - a[i - 1][j] - a[i + 1][j] - a[i][j - 1] - a[i][j + 1]) * n * n;
}

// Red and black cells in turn, each thread some rows.
static void smooth(int me, int level, int times) {
  int n = 1 << level;
  for (int t = 0; t < 2 * times; t++) {
    for (int i = 1 + me; i < n; i += THREADS)
      for (int j = 1 + (i + t) % 2; j < n; j += 2)
        u[level][i][j] += residual(level, i, j) / (4.0 * n * n);
    together();
  }
}

static void cycle(int me, int level) {
  int n = 1 << level;
  smooth(me, level, level > 1 ? 2 : 20);
  if (level == 1) return;
  for (int i = 1 + me; i < n / 2; i += THREADS)
    for (int j = 1; j < n / 2; j++) {
      u[level - 1][i][j] = 0;
      f[level - 1][i][j] = (residual(level, 2 * i, 2 * j) * 2 + residual(level, 2 * i - 1, 2 * j) +
                            residual(level, 2 * i + 1, 2 * j) + residual(level, 2 * i, 2 * j - 1) +
                            residual(level, 2 * i, 2 * j + 1)) / 6;
    }
  together();
  cycle(me, level - 1);
  double(*coarse)[SIDE + 1] = u[level - 1];
  for (int i = 1 + me; i < n; i += THREADS)
    for (int j = 1; j < n; j++)
      u[level][i][j] += (coarse[i / 2][j / 2] + coarse[(i + 1) / 2][j / 2] +
                         coarse[i / 2][(j + 1) / 2] + coarse[(i + 1) / 2][(j + 1) / 2]) / 4;
  together();
  smooth(me, level, 2);
}

static void mg(int me) {
  for (int i = 1 + me; i < SIDE; i += THREADS)
    for (int j = 1; j < SIDE; j++) f[LEVELS][i][j] = (i * 37 + j * 101) % 17 - 8;
  together();
  double norm = 0, first = 0;
  for (int t = 0; t < 4; t++) {
    cycle(me, LEVELS);
    double own = 0;
    for (int i = 1 + me; i < SIDE; i += THREADS)
      for (int j = 1; j < SIDE; j++) own += residual(LEVELS, i, j) * residual(LEVELS, i, j);
    norm = sqrt(sum(me, own));
    if (!t) first = norm;
  }
  if (!me) printf("MG %.9e %d\n", u[LEVELS][SIDE / 2][SIDE / 3], norm < first / 4);
}

int main(void) {
  Kernel *kernels[] = {ep, is, cg, mg};
  pthread_barrier_init(&barrier, NULL, THREADS);
  for (int i = 0; i < 4; i++) run(kernels[i]);
  return 0;
}
