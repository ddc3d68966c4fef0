/* Jumps out of nested calls, back to a frame that may have moved since, in every form that C has. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf outer, inner;
static int steps;

static int fall(int depth, int *place)
{
	int here[4] = {depth, *place, steps, 7};
	steps++;
	if (depth == 0) longjmp(inner, 5);
	return fall(depth - 1, &here[depth % 4]) + here[1];
}

/* Values in registers, in memory, and of every width, across the call of setjmp. */
static double mixed(double x, long double y, unsigned char c, const char *text)
{
	volatile int rounds = 0;
	char copy[16];
	double product = x * 3;
	strcpy(copy, text);
	int got = setjmp(inner);
	rounds++;
	if (got < 5 && rounds < 4) longjmp(inner, rounds);
	if (got == 3) fall(20, &(int){9});
	printf("%s %s %d %d %.3f %.3Lf %d\n", text, copy, got, rounds, product, y, c);
	return product + rounds;
}

/* A frame that is gone, and a jump past it; zero becomes one. */
static int leave(int n)
{
	if (n == 0) longjmp(outer, 0);
	volatile int after = leave(n - 1);
	return after;
}

struct handler {
	jmp_buf buffer;
	struct handler *before;
};
static struct handler *handlers;

static void raise_error(int code)
{
	struct handler *handler = handlers;
	handlers = handler->before;
	longjmp(handler->buffer, code);
}

/* Nested handlers, as an interpreter has them: each level catches, and every third raises again. */
static int level(int n)
{
	struct handler handler = {.before = handlers};
	int caught = setjmp(handler.buffer);
	if (caught) {
		if (n % 3 == 0 && handlers) raise_error(caught * 2 + 1);
		return caught + n;
	}
	handlers = &handler;
	if (n == 0) raise_error(1);
	int below = level(n - 1);
	handlers = handler.before;
	return below + 1;
}

static int compare(const void *a, const void *b)
{
	if (++steps == 40) longjmp(outer, 40);
	return *(const int *)a - *(const int *)b;
}

static int dispatch(const unsigned char *code)
{
	static const void *const labels[] = {&&add, &&twice, &&back, &&end};
	int value = 1, rounds = 0;
	goto *labels[*code++];
add:
	value += 3;
	goto *labels[*code++];
twice:
	value *= 2;
	goto *labels[*code++];
back:
	if (rounds++ < 3) code -= 3;
	goto *labels[*code++];
end:
	return value;
}

int main(void)
{
	printf("mixed %.2f\n", mixed(1.25, 2.5L, 200, "text"));
	int first = setjmp(outer);
	if (!first) leave(30);
	printf("left %d after %d steps\n", first, steps);
	printf("level %d\n", level(13));

	steps = 0;
	int numbers[64];
	for (int i = 0; i < 64; i++) numbers[i] = i * 37 % 64;
	int cut = setjmp(outer);
	if (!cut) qsort(numbers, 64, sizeof *numbers, compare);
	printf("cut %d at %d\n", cut, steps);

	sigset_t set, now;
	sigjmp_buf masked;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	volatile int times = 0;
	int back = sigsetjmp(masked, 1);
	if (times++ == 0) {
		sigprocmask(SIG_BLOCK, &set, 0);
		siglongjmp(masked, 3);
	}
	sigprocmask(SIG_BLOCK, 0, &now);
	printf("mask %d blocked %d\n", back, sigismember(&now, SIGUSR1));

	volatile long sum = 0;
	for (volatile int i = 0; i < 200; i++) {
		int got = setjmp(inner);
		if (got) { sum += got; continue; }
		if (i % 2) fall(i % 7, &(int){1});
		else longjmp(inner, i);
	}
	printf("sum %ld\n", sum);
	printf("dispatch %d\n", dispatch((const unsigned char[]){0, 1, 2, 1, 1, 2, 3, 3}));
	return 0;
}
