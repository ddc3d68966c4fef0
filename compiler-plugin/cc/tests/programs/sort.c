// Long loops, recursion and a callback through a pointer, without a call that asks for a move.
#include "start.h"

typedef int (*Compare)(const void *, const void *);

static int ascending(const void *a, const void *b) {
  long x = *(const long *)a, y = *(const long *)b;
  return (x > y) - (x < y);
}
static void sort(long *a, long n, Compare compare) {
  if (n < 2) return;
  long pivot = a[n / 2], i = 0, j = n - 1;
  while (i <= j) {
    while (compare(&a[i], &pivot) < 0) i++;
    while (compare(&a[j], &pivot) > 0) j--;
    if (i <= j) {
      long t = a[i];
      a[i++] = a[j];
      a[j--] = t;
    }
  }
  sort(a, j + 1, compare);
  sort(a + i, n - i, compare);
}
static long fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

int main(void) {
  static long a[500];
  unsigned long x = 1;
  for (int i = 0; i < 500; i++) a[i] = (long)((x = x * 6364136223846793005u + 1) >> 40);
  sort(a, 500, ascending);
  unsigned long digest = 0;
  for (int i = 0; i < 500; i++) digest = digest * 31 + (unsigned long)a[i];
  int ordered = 1;
  for (int i = 1; i < 500; i++) ordered &= a[i - 1] <= a[i];
  print("ordered %d digest %lx fibonacci %ld\n", ordered, digest, fibonacci(12));
  return 0;
}
