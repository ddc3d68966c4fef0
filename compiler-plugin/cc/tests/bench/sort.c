/* Sorts records by a quicksort that calls its order by pointer. */
#include <stdio.h>
#include <stdlib.h>

struct record { unsigned key; char name[12]; };

static int by_key(const void *a, const void *b)
{
	unsigned x = ((const struct record *)a)->key, y = ((const struct record *)b)->key;
	return (x > y) - (x < y);
}
static int by_name(const void *a, const void *b)
{
	const char *x = ((const struct record *)a)->name, *y = ((const struct record *)b)->name;
	while (*x && *x == *y) x++, y++;
	return *x - *y;
}

static void sort(struct record *from, struct record *to, int (*order)(const void *, const void *))
{
	while (to - from > 8) {
		struct record *low = from, *high = to - 1, pivot = from[(to - from) / 2], kept;
		while (low <= high) {
			while (order(low, &pivot) < 0) low++;
			while (order(high, &pivot) > 0) high--;
			if (low <= high) kept = *low, *low++ = *high, *high-- = kept;
		}
		if (high - from < to - low) sort(from, high + 1, order), from = low;
		else sort(low, to, order), to = high + 1;
	}
	for (struct record *each = from + 1; each < to; each++)
		for (struct record *at = each; at > from && order(at - 1, at) > 0; at--) {
			struct record kept = *at;
			*at = at[-1], at[-1] = kept;
		}
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 4000;
	struct record *records = malloc(count * sizeof *records);
	unsigned random = 99, digest = 0;
	for (int i = 0; i < count; i++) {
		records[i].key = (random = random * 1664525 + 1013904223) >> 8;
		for (int k = 0; k < 12; k++) records[i].name[k] = k == 11 ? 0 : 'a' + (random >> 2 * k) % 5;
	}
	sort(records, records + count, by_name);
	for (int i = 0; i < count; i += 97) digest = digest * 31 + records[i].key;
	sort(records, records + count, by_key);
	for (int i = 0; i < count; i += 97) digest = digest * 31 + records[i].name[3];
	printf("%u\n", digest);
	return 0;
}
