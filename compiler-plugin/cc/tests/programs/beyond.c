/* What is not machine code's own but a function's, or differs between instruction sets: complex and 128-bit
 * numbers, events, other processes. Says what is wrong; nothing if all is as C and POSIX have it. */
#define _GNU_SOURCE
#include <complex.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : (void)(failures++, printf("%d: %s\n", __LINE__, #what)))
static int failures;
extern char **environ;

static int near(long double a, long double b) { return fabsl(a - b) < 1e-14L; }

static void numbers(void)
{
	double complex (*volatile root)(double complex) = csqrt;
	volatile double complex z = 1 + 2 * I;
	for (int i = 0; i < 30; i++) z = z * (0.6 + 0.8 * I) / (0.8 + 0.6 * I) * (0.8 + 0.6 * I);
	CHECK(near(cabs(z), sqrt(5)));
	volatile double complex zero = 0;
	CHECK(isinf(creal((1 + I) / zero)) || isinf(cimag((1 + I) / zero)));
	volatile float complex f = (1 + 2 * I) / (3 - 1 * I);
	CHECK(fabsf(crealf(f) - 0.1f) < 1e-6f && fabsf(cimagf(f) - 0.7f) < 1e-6f);
	volatile long double complex l = 1.5L + 2 * I;
	l = l * l / l;
	CHECK(near(creall(l), 1.5L) && near(cimagl(l), 2));
	CHECK(cimag(root(-4)) == 2);
	volatile long double x = 0.7L;
	CHECK(near(sinl(x) * sinl(x) + cosl(x) * cosl(x), 1) && near(expl(logl(x)), x));
	CHECK(near(powl(x, 2), x * x) && floorl(x) == 0 && fmaxl(x, 1) == 1 && near(fmal(x, x, -x * x), 0));
}

static int pipes[2][2];

static void *write_late(void *byte)
{
	usleep(10000);
	CHECK(write(pipes[0][1], byte, 1) == 1);
	return NULL;
}

static volatile int alarms;
static void on_alarm(int signal) { alarms++; }

static void events(void)
{
	const unsigned long names[2] = {0x1122334455667788, 0x99aabbccddeeff00};
	int poll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event, found[4];
	char byte = 'x';
	for (int n = 0; n < 2; n++) {
		CHECK(!pipe(pipes[n]));
		event = (struct epoll_event){.events = EPOLLIN, .data.u64 = names[n]};
		CHECK(!epoll_ctl(poll, EPOLL_CTL_ADD, pipes[n][0], &event));
	}
	CHECK(epoll_wait(poll, found, 4, 0) == 0);
	for (int n = 0; n < 2; n++) CHECK(write(pipes[n][1], &byte, 1) == 1);
	CHECK(epoll_wait(poll, found, 4, -1) == 2);
	CHECK((found[0].data.u64 ^ found[1].data.u64) == (names[0] ^ names[1]));
	CHECK(found[0].events == EPOLLIN && found[1].events == EPOLLIN);
	for (int n = 0; n < 2; n++) CHECK(read(pipes[n][0], &byte, 1) == 1);
	pthread_t writer;
	pthread_create(&writer, NULL, write_late, &byte);
	CHECK(epoll_wait(poll, found, 1, -1) == 1 && found[0].data.u64 == names[0]);
	pthread_join(writer, NULL);
	CHECK(read(pipes[0][0], &byte, 1) == 1);
	struct sigaction action = {.sa_handler = on_alarm};
	sigaction(SIGALRM, &action, NULL);
	/* One that comes before the wait has begun is followed by another. */
	ualarm(10000, 10000);
	CHECK(epoll_wait(poll, found, 4, -1) == -1 && errno == EINTR && alarms >= 1);
	ualarm(0, 0);
	CHECK(!epoll_ctl(poll, EPOLL_CTL_DEL, pipes[0][0], NULL));
	CHECK(epoll_wait(poll, found, 0, 0) == -1 && errno == EINVAL);
}

static int status_of(pid_t child)
{
	int status;
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void processes(void)
{
	int status = system("exit 3");
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	FILE *lines = popen("echo one; echo two", "r");
	char line[16] = "";
	CHECK(lines && fgets(line, sizeof line, lines) && !strcmp(line, "one\n"));
	CHECK(lines && fgets(line, sizeof line, lines) && !strcmp(line, "two\n") && !pclose(lines));
	pid_t child;
	char *words[] = {"sh", "-c", "read word; exit $word", NULL};
	int input[2];
	CHECK(!pipe(input));
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, input[0], 0);
	CHECK(!posix_spawnp(&child, "sh", &actions, NULL, words, environ));
	CHECK(write(input[1], "7\n", 2) == 2 && status_of(child) == 7);
	CHECK(posix_spawn(&child, "/nowhere", NULL, NULL, words, environ) == ENOENT);
	child = vfork();
	if (!child) _exit(4);
	CHECK(status_of(child) == 4);
}

int main(void)
{
	numbers();
	events();
	processes();
	return failures;
}
