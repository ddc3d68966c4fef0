// What a frame can hold: pointers to locals of callers, structs, doubles, 128-bit floats, vectors,
// arrays of variable length, function pointers, thread-local variables, variable arguments.
#include "start.h"

typedef struct Node {
  struct Node *up;
  long key;
  double weight;
  char tag[6];
  int *leaf;
} Node;
typedef float Four __attribute__((vector_size(16)));
typedef struct { double x, y; } Pair;
typedef struct { double a; long b; float c; } Large;
typedef double (*Operation)(double, Node *);

static _Thread_local int depth;
_Thread_local long sum = 7;
static long seed = 12345;

static long next(void) {
  seed = (long)((unsigned long)seed * 6364136223846793005u + 1442695040888963407u);
  return seed >> 33 & 0xffff;
}
static double scale(double x, Node *n) { return x * 1.25 + n->weight; }
static double lower(double x, Node *n) {
  __maize_migrate();
  return x - 0.5 * n->weight;
}
static Operation operations[2] = {scale, lower};

static long total(int n, ...) {
  va_list a, b;
  va_start(a, n);
  va_copy(b, a);
  long s = 0;
  for (int i = 0; i < n; i++) {
    s += i & 1 ? (long)va_arg(a, double) : va_arg(a, int);
    if (i == 2) __maize_migrate();
  }
  s += va_arg(b, int);
  va_end(b);
  va_end(a);
  return s;
}
static __attribute__((noinline)) Pair pair(double a, double b) {
  __maize_migrate();
  return (Pair){a + 1, b * 2};
}
static __attribute__((noinline)) Large large(long k) {
  __maize_migrate();
  return (Large){k * 0.5, k, k * 0.25f};
}
static __attribute__((noinline)) long spread(int n) {
  int room[n];
  for (int i = 0; i < n; i++) room[i] = i * i;
  __maize_migrate();
  long s = 0;
  for (int i = 0; i < n; i++) s += room[i];
  return s;
}
static __attribute__((noinline)) double walk(int d, Node *up, int *count, Four v, long double q) {
  int local[4] = {d, d + 1, d + 2, d + 3};
  Node me = {up, next(), d * 0.75, "n", &local[d & 3]};
  me.tag[1] = '0' + d % 10;
  double w = me.weight * 1.5 + 1.0 / (d + 1);
  Four v2 = v * (Four){1.5f, 0.5f, 2.0f, 1.0f} + (float)d;
  long double q2 = q * 1.5L + d;
  depth++;
  if (d == 0) {
    __maize_migrate();
    int n = 0;
    for (Node *p = &me; p; p = p->up) {
      n += *p->leaf + (int)(p->key & 3) + p->tag[1];
      *p->leaf += 1;
    }
    *count += n;
    return w;
  }
  double r = walk(d - 1, &me, count, v2, q2);
  r += walk(d / 2 - 1 < 0 ? 0 : d / 2 - 1, &me, &local[1], v2, q2);
  Pair p = pair(r, w);
  Large l = large(me.key);
  sum += total(5, local[1], w, local[2], 2.5, d) + spread(d + 3);
  return operations[d & 1](r, &me) + w + p.x * 1e-3 + p.y + l.a + l.b * 1e-2 + l.c + v2[0] + v2[3] +
         (double)(q2 * 0.001L) + *me.leaf + local[0] - count[0] * 1e-3;
}

int main(void) {
  int count = 0;
  print("start\n");
  double r = walk(11, 0, &count, (Four){1, 2, 3, 4}, 1.0L / 3);
  print("result %a count %d sum %ld depth %d seed %lx\n", r, count, sum, depth, seed);
  return (int)((long)r & 63);
}
