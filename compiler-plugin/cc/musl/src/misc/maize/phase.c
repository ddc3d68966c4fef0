#define _GNU_SOURCE
#include <maize.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The runtime's: the ELF machine of the instruction set that the thread is on. */
unsigned __maize_isa(void);

enum {
	PHASES = 64,   /* more are not measured */
	TRIES = 2,     /* times that a phase is measured on each instruction set before one is chosen */
	AGAIN = 64,    /* after so many times on the faster one it is measured on the other again */
};

static const int machines[2] = { 62, 183 };

static struct phase {
	const char *name;
	unsigned runs[2], since;
	unsigned long best[2];
} phases[PHASES];

static struct {
	pthread_mutex_t lock;
	int known, wanted;
	cpu_set_t cores[2];
} place = { PTHREAD_MUTEX_INITIALIZER };

/* Of the calling thread: its phase, its time at the start, and the mask that it had outside of phases. */
static _Thread_local struct {
	struct phase *phase;
	int isa;
	unsigned long start;
	cpu_set_t mask;
} now;

static unsigned long nanoseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ul + t.tv_nsec;
}

static int here(void)
{
	return __maize_isa() == machines[1];
}

/* Visits every core of the mask: nothing else says which instruction set it has. */
static void find_cores(void)
{
	const char *policy = getenv("MAIZE_PLACE");
	cpu_set_t all, one;
	place.known = 1;
	if (!policy || strcmp(policy, "fastest")) return;
	if (sched_getaffinity(0, sizeof all, &all)) return;
	for (int core = 0; core < CPU_SETSIZE; core++) {
		if (!CPU_ISSET(core, &all)) continue;
		CPU_ZERO(&one);
		CPU_SET(core, &one);
		if (sched_setaffinity(0, sizeof one, &one)) continue;
		__maize_migrate();
		CPU_SET(core, &place.cores[here()]);
	}
	sched_setaffinity(0, sizeof all, &all);
	place.wanted = CPU_COUNT(&place.cores[0]) && CPU_COUNT(&place.cores[1]);
}

/* The lock is held. */
static struct phase *find(const char *name)
{
	for (struct phase *p = phases; p < phases + PHASES; p++) {
		if (!p->name) p->name = name;
		if (!strcmp(p->name, name)) return p;
	}
	return 0;
}

/* Where a phase is to run. The lock is held. */
static int choose(struct phase *p)
{
	for (int isa = 0; isa < 2; isa++)
		if (p->runs[isa] < TRIES && p->runs[isa] <= p->runs[!isa]) return isa;
	int faster = p->best[1] < p->best[0];
	if (++p->since <= AGAIN) return faster;
	p->since = 0;
	return !faster;
}

static void end(void)
{
	struct phase *p = now.phase;
	unsigned long took = nanoseconds() - now.start;
	now.phase = 0;
	pthread_mutex_lock(&place.lock);
	/* It has only been measured if it stayed where it began. */
	if (here() == now.isa) {
		unsigned long *best = &p->best[now.isa];
		if (!p->runs[now.isa]++ || took < *best) *best = took;
	}
	pthread_mutex_unlock(&place.lock);
}

void maize_phase(const char *name)
{
	struct phase *p = 0;
	int isa = 0, was = !!now.phase;
	if (was) end();
	pthread_mutex_lock(&place.lock);
	if (!place.known) find_cores();
	if (place.wanted && name && (p = find(name))) isa = choose(p);
	pthread_mutex_unlock(&place.lock);
	if (!p) {
		if (was) sched_setaffinity(0, sizeof now.mask, &now.mask);
		return;
	}
	if (!was) sched_getaffinity(0, sizeof now.mask, &now.mask);
	sched_setaffinity(0, sizeof place.cores[isa], &place.cores[isa]);
	__maize_migrate();
	now.phase = p;
	now.isa = here();
	now.start = nanoseconds();
}

unsigned maize_phase_runs(const char *name, int machine, unsigned long *best)
{
	unsigned runs = 0;
	int isa = machine == machines[1];
	*best = 0;
	pthread_mutex_lock(&place.lock);
	struct phase *p = find(name);
	if (p && machine == machines[isa]) {
		runs = p->runs[isa];
		*best = p->best[isa];
	}
	pthread_mutex_unlock(&place.lock);
	return runs;
}
