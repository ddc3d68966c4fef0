/* What of the C library is Maize's own: number formats, strings, and the heap from several threads. Linux's
 * library gives library.txt. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 1;

static uint32_t next(uint64_t *state)
{
	return (*state = *state * 6364136223846793005 + 1442695040888963407) >> 32;
}

static unsigned digest(unsigned before, const char *text)
{
	while (*text) before = before * 31 + (unsigned char)*text++;
	return before;
}

static void numbers(void)
{
	static const char *const texts[] = {
		"0", "-0", "1", "0.1", "123456789", "1234567890", "12345678901234567", "9007199254740993",
		"1e22", "1e23", "123456789e22", "1e-22", "1e-23", "0.000001", "5e-324", "2.4703282292062328e-324",
		"1.7976931348623157e308", "1.7976931348623159e308", "8.5", "123456789012345678e-18",
		"100000000000000000000", "1000000000000000000000000", "000.000123e+5", "3.14159265358979323846",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		double value = strtod(texts[i], 0);
		printf("%s %.17g %g %.3f %a %.1f %Lg\n", texts[i], value, value, value, value * 0x1p60,
			(double)strtof(texts[i], 0), strtold(texts[i], 0));
	}
	char text[400];
	unsigned all = 0, wrong = 0;
	for (int i = 0; i < 700; i++) {
		uint64_t bits = (uint64_t)next(&random_state) << 32 | next(&random_state);
		double value, again;
		memcpy(&value, &bits, sizeof value);
		if (value != value) continue;
		if (i % 2) value = (int32_t)bits / (double)(1 + next(&random_state) % 1000);
		snprintf(text, sizeof text, "%.17g", value);
		sscanf(text, "%lf", &again);
		wrong += again != value;
		all = digest(all, text);
		snprintf(text, sizeof text, "%.15g %e %.0f %+12.4g %.30e", value, value, value, value, value);
		all = digest(all, text);
	}
	printf("%u %u\n", all, wrong);
}

static void strings(void)
{
	static char a[300], b[300];
	unsigned all = 0;
	for (int round = 0; round < 400; round++) {
		for (int i = 0; i < 300; i++) a[i] = b[i] = 'a' + next(&random_state) % 3;
		unsigned n = next(&random_state) % 130, x = next(&random_state) % 160, y = next(&random_state) % 160;
		memmove(a + x, a + y, n);
		memset(b + y, 'z', n / 3);
		memcpy(b + x / 2, a + 140, n);
		a[299] = b[299] = b[x + n] = a[y + n] = 0;
		all = all * 31 + strlen(a + x) * 7 + strlen(b + y);
		all = all * 31 + (strcmp(a + x, b + x) > 0) + 2 * (strcmp(a + x, a + y) > 0) + 4 * !strcmp(a, a);
		all = all * 31 + (memcmp(a + x, b + y, n) > 0) + 2 * (memcmp(a, b, n) < 0);
		all = digest(digest(all, a), b);
	}
	printf("%u\n", all);
}

enum { THREADS = 3, SHARED = 64, STEPS = 3000 };
static struct { pthread_mutex_t lock; unsigned char *at; size_t bytes; } slots[SHARED];

/* Each block holds its own number of bytes everywhere, whoever has made it. */
static void *heap(void *argument)
{
	uint64_t state = (uintptr_t)argument;
	for (int step = 0; step < STEPS; step++) {
		unsigned which = next(&state) % SHARED, kind = next(&state) % 8;
		size_t bytes = next(&state) % (kind ? 1200 : 20000) + 1;
		pthread_mutex_lock(&slots[which].lock);
		unsigned char *at = slots[which].at;
		for (size_t i = 0; at && i < slots[which].bytes; i++)
			if (at[i] != (unsigned char)slots[which].bytes) abort();
		if (kind == 1) {
			at = realloc(at, bytes);
			size_t kept = slots[which].bytes < bytes ? slots[which].bytes : bytes;
			for (size_t i = 0; slots[which].at && i < kept; i++)
				if (at[i] != (unsigned char)slots[which].bytes) abort();
		} else {
			free(at);
			if (kind == 2) {
				at = calloc(1, bytes);
				for (size_t i = 0; i < bytes; i++)
					if (at[i]) abort();
			} else if (kind == 3) {
				if (posix_memalign((void **)&at, 64, bytes) || (uintptr_t)at % 64) abort();
			} else {
				at = malloc(bytes);
			}
		}
		if ((uintptr_t)at % 16) abort();
		memset(at, (int)bytes, bytes);
		slots[which].at = at, slots[which].bytes = bytes;
		pthread_mutex_unlock(&slots[which].lock);
	}
	return 0;
}

int main(void)
{
	numbers();
	strings();
	for (int i = 0; i < SHARED; i++) pthread_mutex_init(&slots[i].lock, 0);
	for (int round = 0; round < 2; round++) {
		pthread_t threads[THREADS];
		for (uintptr_t i = 0; i < THREADS; i++)
			if (pthread_create(threads + i, 0, heap, (void *)(i + 9 * round))) return 1;
		for (int i = 0; i < THREADS; i++) pthread_join(threads[i], 0);
	}
	for (int i = 0; i < SHARED; i++) free(slots[i].at);
	printf("heap\n");
	return 0;
}
