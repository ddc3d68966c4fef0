// Runs an SQL script from its standard input and prints every row, as SQLite's own shell does.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sqlite3.h"

static int row(void *rows, int columns, char **values, char **names) {
  (void)names;
  for (int i = 0; i < columns; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
  putchar('\n');
  ++*(long *)rows;
  return 0;
}

// A function of the program's own that the library calls back: x, mixed.
static void mix(sqlite3_context *context, int count, sqlite3_value **values) {
  (void)count;
  unsigned long x = (unsigned long)sqlite3_value_int64(values[0]);
  x = (x ^ x >> 15) * 0x2c1b3c6d % 1000003;
  sqlite3_result_int64(context, (sqlite3_int64)x);
}

static char *whole_input(void) {
  size_t length = 0, room = 4096;
  char *text = malloc(room);
  for (size_t count; text && (count = fread(text + length, 1, room - length - 1, stdin)); ) {
    length += count;
    if (room - length < 2) text = realloc(text, room *= 2);
  }
  if (text) text[length] = 0;
  return text;
}

int main(void) {
  sqlite3 *base;
  char *error = NULL, *script = whole_input();
  long rows = 0;
  if (!script || sqlite3_open(":memory:", &base)) return 1;
  if (sqlite3_create_function(base, "mix", 1, SQLITE_UTF8, NULL, mix, NULL, NULL)) return 2;
  if (sqlite3_exec(base, script, row, &rows, &error)) {
    fprintf(stderr, "%s\n", error);
    return 3;
  }
  printf("SQLite %s: %ld rows\n", sqlite3_libversion(), rows);
  free(script);
  return sqlite3_close(base);
}
