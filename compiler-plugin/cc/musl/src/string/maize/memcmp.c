#include <string.h>
#include "wide.h"

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *one = a, *two = b;
	for (; n >= 8; n -= 8, one += 8, two += 8) {
		uint64_t x = *(const word *)one, y = *(const word *)two;
		if (x != y) {
			x = __builtin_bswap64(x), y = __builtin_bswap64(y);
			return x < y ? -1 : 1;
		}
	}
	for (; n; n--, one++, two++)
		if (*one != *two) return *one - *two;
	return 0;
}
