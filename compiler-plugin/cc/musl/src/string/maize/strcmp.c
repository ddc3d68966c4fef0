#include <string.h>
#include "wide.h"

enum { PAGE = 4096 };

/* Eight bytes at once wherever that crosses no page's end: what is behind a string's may be missing. */
int strcmp(const char *one, const char *two)
{
	for (;;) {
		uintptr_t a = (uintptr_t)one % PAGE, b = (uintptr_t)two % PAGE;
		if (a <= PAGE - 8 && b <= PAGE - 8) {
			uint64_t x = *(const word *)one, y = *(const word *)two;
			uint64_t ends = (x - 0x0101010101010101) & ~x & 0x8080808080808080;
			uint64_t differs = ends | (x ^ y);
			if (differs) {
				int shift = __builtin_ctzll(differs) & ~7;
				return (int)(x >> shift & 255) - (int)(y >> shift & 255);
			}
			one += 8, two += 8;
		} else {
			unsigned char x = *one++, y = *two++;
			if (x != y || !x) return x - y;
		}
	}
}
