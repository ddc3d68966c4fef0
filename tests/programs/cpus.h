/* The CPUs of the affinity mask, and going to one of them. */
#ifndef CPUS_H
#define CPUS_H

#include "check.h"
#include <sched.h>
#include <sys/syscall.h>

static cpu_set_t all_cpus;
static int cpus[CPU_SETSIZE], count;

/* To be called before any thread is started. */
__attribute__((unused)) static void find_cpus(void)
{
    CHECK(sched_getaffinity(0, sizeof all_cpus, &all_cpus) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all_cpus))
            cpus[count++] = cpu;
    CHECK(count > 0);
}

/* The calling thread goes on on this CPU, and nowhere else. */
__attribute__((unused)) static void go(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    unsigned here = ~0u;
    CHECK(syscall(SYS_getcpu, &here, NULL, NULL) == 0);
    CHECK_EQUAL(here, cpu);
    CHECK_EQUAL(sched_getcpu(), cpu);
}

/* The calling thread may be anywhere again. */
__attribute__((unused)) static void go_anywhere(void)
{
    CHECK(sched_setaffinity(0, sizeof all_cpus, &all_cpus) == 0);
}

#endif
