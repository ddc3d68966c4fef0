#include <string.h>
#include "wide.h"

void *memset(void *dest, int byte, size_t n)
{
	char *to = dest, *end = to + n;
	word all = 0x0101010101010101 * (unsigned char)byte;
	block wide = {(long)all, (long)all};
	if (n >= 16) {
		*(block *)(end - 16) = wide;
		for (; end - to > 32; to += 32) ((block *)to)[0] = wide, ((block *)to)[1] = wide;
		if (end - to > 16) *(block *)to = wide;
	} else if (n >= 8) {
		*(word *)to = *(word *)(end - 8) = all;
	} else if (n >= 4) {
		*(half *)to = *(half *)(end - 4) = (uint32_t)all;
	} else if (n) {
		to[0] = to[n / 2] = to[n - 1] = (char)byte;
	}
	return dest;
}
