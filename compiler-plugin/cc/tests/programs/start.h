#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
int print(const char *format, ...);
void *memcpy(void *, const void *, size_t);
void *memset(void *, int, size_t);
// A migration point.
void __maize_migrate(void);
