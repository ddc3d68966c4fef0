/* Ranks integers by counting, as NPB's IS does, several times with changed keys. Prints a digest. */
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 1 << 14, MOST = 1 << 11 };
static unsigned keys[KEYS], ranks[MOST], sorted[KEYS];

static void rank(unsigned round)
{
	keys[round] = round, keys[round + 10] = MOST - round;
	for (int i = 0; i < MOST; i++) ranks[i] = 0;
	for (int i = 0; i < KEYS; i++) ranks[keys[i] % MOST]++;
	for (int i = 1; i < MOST; i++) ranks[i] += ranks[i - 1];
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? atoi(argv[1]) : 10, random = 12345, digest = 0;
	for (int i = 0; i < KEYS; i++) {
		unsigned sum = 0;
		for (int k = 0; k < 4; k++) sum += (random = random * 1664525 + 1013904223) >> 23;
		keys[i] = sum % MOST;
	}
	for (unsigned i = 1; i <= rounds; i++) {
		rank(i % 10);
		digest = digest * 31 + ranks[i * 97 % MOST];
	}
	for (int i = KEYS - 1; i >= 0; i--) sorted[--ranks[keys[i] % MOST]] = keys[i];
	for (int i = 1; i < KEYS; i++) digest += sorted[i - 1] % MOST > sorted[i] % MOST;
	printf("%u\n", digest);
	return 0;
}
