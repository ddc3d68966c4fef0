/* Blocks and words of memory at any address. */
#include <stddef.h>
#include <stdint.h>

typedef long block __attribute__((__vector_size__(16), __aligned__(1), __may_alias__));
typedef uint64_t word __attribute__((__aligned__(1), __may_alias__));
typedef uint32_t half __attribute__((__aligned__(1), __may_alias__));
typedef uint16_t quarter __attribute__((__aligned__(1), __may_alias__));

/* Copies up to 32 bytes, which may overlap: all are read before any is written. */
static inline __attribute__((__always_inline__)) void copy_short(char *to, const char *from, size_t n)
{
#define ENDS(type) do { \
	type first = *(const type *)from, last = *(const type *)(from + n - sizeof(type)); \
	*(type *)to = first, *(type *)(to + n - sizeof(type)) = last; \
} while (0)
	if (n >= 16) ENDS(block);
	else if (n >= 8) ENDS(word);
	else if (n >= 4) ENDS(half);
	else if (n >= 2) ENDS(quarter);
	else if (n) *to = *from;
#undef ENDS
}
