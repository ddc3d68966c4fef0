#include <string.h>
#include "wide.h"

/* Aligned words, of which the first may begin before the string: they cross no page's end. */
size_t strlen(const char *s)
{
	typedef uint64_t __attribute__((__may_alias__)) aligned;
	const aligned *at = (const void *)((uintptr_t)s & -8);
	uint64_t before = ((uint64_t)1 << 8 * ((uintptr_t)s & 7)) - 1;
	for (uint64_t word = *at | before;; word = *++at) {
		uint64_t ends = (word - 0x0101010101010101) & ~word & 0x8080808080808080;
		if (ends) return (const char *)at + __builtin_ctzll(ends) / 8 - s;
	}
}
