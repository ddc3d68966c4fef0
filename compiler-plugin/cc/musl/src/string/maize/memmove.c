#include <string.h>
#include "wide.h"

void *memmove(void *dest, const void *src, size_t n)
{
	char *to = dest;
	const char *from = src;
	if (n <= 32) {
		copy_short(to, from, n);
	} else if ((uintptr_t)to - (uintptr_t)from >= n) {
		block last[2] = {*(const block *)(from + n - 32), *(const block *)(from + n - 16)};
		char *end = to + n;
		for (; end - to > 32; to += 32, from += 32) {
			block two[2] = {((const block *)from)[0], ((const block *)from)[1]};
			((block *)to)[0] = two[0], ((block *)to)[1] = two[1];
		}
		((block *)end)[-2] = last[0], ((block *)end)[-1] = last[1];
	} else {
		block first[2] = {((const block *)from)[0], ((const block *)from)[1]};
		for (; n > 32; n -= 32) {
			block two[2] = {*(const block *)(from + n - 32), *(const block *)(from + n - 16)};
			*(block *)(to + n - 32) = two[0], *(block *)(to + n - 16) = two[1];
		}
		((block *)to)[0] = first[0], ((block *)to)[1] = first[1];
	}
	return dest;
}
