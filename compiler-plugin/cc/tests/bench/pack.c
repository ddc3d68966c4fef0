/* Packs and unpacks text by bzip2's library. Prints sizes and whether it came back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bzlib.h"

enum { BYTES = 20000 };
static char text[BYTES], packed[BYTES + BYTES / 100 + 600], back[BYTES];

void bz_internal_error(int code) { exit(code); }

int main(int argc, char **argv)
{
	static const char *words[] = {"kernel ", "thread ", "moves ", "between ", "machines, ", "and\n"};
	int rounds = argc > 1 ? atoi(argv[1]) : 1;
	unsigned random = 5, bytes = 0;
	while (bytes < BYTES) {
		random = random * 1664525 + 1013904223;
		const char *word = words[(random >> 16) % 6];
		for (; *word && bytes < BYTES; word++) text[bytes++] = *word;
	}
	for (int i = 0; i < rounds; i++) {
		unsigned small = sizeof packed, large = sizeof back;
		text[i * 37 % BYTES] ^= 1;
		int first = BZ2_bzBuffToBuffCompress(packed, &small, text, BYTES, 1, 0, 30);
		int second = BZ2_bzBuffToBuffDecompress(back, &large, packed, small, 0, 0);
		if (first || second || large != BYTES || memcmp(back, text, BYTES)) return 1;
		if (i == 0) printf("%u %u\n", small, large);
	}
	return 0;
}
