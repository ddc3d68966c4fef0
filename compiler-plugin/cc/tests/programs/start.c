// A program's start and the little of a library that the freestanding tests need.
#include "start.h"

long __maize_syscall(long number, long a, long b, long c, long d, long e, long f);
extern const char __maize_tls_template[];
extern const long __maize_tls_size;

void *memcpy(void *to, const void *from, size_t n) {
  char *t = to;
  const char *f = from;
  while (n--) *t++ = *f++;
  return to;
}
void *memmove(void *to, const void *from, size_t n) {
  char *t = to;
  const char *f = from;
  if (t < f)
    while (n--) *t++ = *f++;
  else
    while (n--) t[n] = f[n];
  return to;
}
void *memset(void *to, int byte, size_t n) {
  char *t = to;
  while (n--) *t++ = byte;
  return to;
}
int memcmp(const void *a, const void *b, size_t n) {
  const unsigned char *x = a, *y = b;
  for (; n--; x++, y++)
    if (*x != *y) return *x - *y;
  return 0;
}

static void put(const char *text, size_t n) { __maize_syscall(64, 1, (long)text, n, 0, 0, 0); }

static void number(unsigned long value, int base) {
  char text[24];
  int at = sizeof text;
  do text[--at] = "0123456789abcdef"[value % base];
  while (value /= base);
  put(text + at, sizeof text - at);
}

// %d %ld %lx %s, and %a as the bits of a double.
int print(const char *format, ...) {
  va_list list;
  va_start(list, format);
  for (; *format; format++) {
    if (*format != '%') {
      put(format, 1);
      continue;
    }
    int wide = *++format == 'l';
    format += wide;
    if (*format == 'd') {
      long value = wide ? va_arg(list, long) : va_arg(list, int);
      if (value < 0) put("-", 1), value = -value;
      number(value, 10);
    } else if (*format == 'x') {
      number(wide ? va_arg(list, unsigned long) : va_arg(list, unsigned), 16);
    } else if (*format == 'a') {
      double value = va_arg(list, double);
      unsigned long bits;
      memcpy(&bits, &value, sizeof bits);
      number(bits, 16);
    } else if (*format == 's') {
      const char *text = va_arg(list, const char *);
      size_t n = 0;
      while (text[n]) n++;
      put(text, n);
    }
  }
  va_end(list);
  return 0;
}

int main(int, char **);

int __maize_entry(long *words) {
  memcpy((char *)__builtin_thread_pointer() + 64, __maize_tls_template, __maize_tls_size);
  return main(words[0], (char **)(words + 1));
}
