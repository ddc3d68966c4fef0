// An ordinary program of the C library: formatted output, the heap, sorting with a callback, strings
// and mathematics, environment and arguments.
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Word {
  struct Word *next;
  char *text;
  int count;
};

static struct Word *buckets[64];
static _Thread_local unsigned words;

static unsigned hash(const char *text) {
  unsigned value = 5381;
  while (*text) value = value * 33 + (unsigned char)*text++;
  return value;
}

static struct Word *find(const char *text) {
  struct Word **at = &buckets[hash(text) % 64];
  for (; *at; at = &(*at)->next)
    if (!strcmp((*at)->text, text)) return *at;
  struct Word *new = calloc(1, sizeof *new);
  new->text = strdup(text);
  words++;
  return *at = new;
}

static int by_count(const void *a, const void *b) {
  const struct Word *x = *(struct Word *const *)a, *y = *(struct Word *const *)b;
  return x->count != y->count ? y->count - x->count : strcmp(x->text, y->text);
}

static double integrate(double (*f)(double), double from, double to, int depth) {
  double middle = (from + to) / 2;
  if (!depth) return f(middle) * (to - from);
  return integrate(f, from, middle, depth - 1) + integrate(f, middle, to, depth - 1);
}

static double bell(double x) { return exp(-x * x); }

int main(int argc, char **argv) {
  static const char text[] =
      "the quick brown fox jumps over the lazy dog and the dog sleeps while the fox runs over the hill";
  char copy[sizeof text];
  strcpy(copy, text);
  for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
    word[0] = toupper((unsigned char)word[0]);
    find(word)->count++;
  }
  struct Word **all = malloc(words * sizeof *all);
  unsigned n = 0;
  for (int i = 0; i < 64; i++)
    for (struct Word *word = buckets[i]; word; word = word->next) all[n++] = word;
  qsort(all, n, sizeof *all, by_count);
  for (unsigned i = 0; i < 4; i++) printf("%-6s|%3d\n", all[i]->text, all[i]->count);

  printf("%.12f %.6e %Lg\n", integrate(bell, -3, 3, 8), pow(2.5, 17.25), 1.0L / 3);
  char line[64];
  snprintf(line, sizeof line, "%08.3f:%+d:%#x:%s", sqrt(2), -argc, 48879, argv[1] ? argv[1] : "-");
  puts(line);
  int a, b;
  float c;
  printf("%d %d %d %.2f\n", sscanf("12 -7 2.5x", "%d %d %f", &a, &b, &c), a, b, c);
  char *large = malloc(300000);
  memset(large, 'z', 299999);
  large[299999] = 0;
  large = realloc(large, 600000);
  printf("%zu %s\n", strlen(large), getenv("MAIZE_MIGRATE") ? "told" : "untold");
  free(large);
  return fflush(stdout) || words != n;
}
