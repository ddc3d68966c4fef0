/* As everywhere else, but for the child: one that shares its parent's memory until it runs another program
 * would have to have a second thread's stacks and records there. It is a process of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>
#include "pthread_impl.h"

pid_t _Fork(void);

static int begin(int (*child)(void *), void *argument)
{
	pid_t pid = _Fork();
	if (!pid) _exit(child(argument));
	return pid < 0 ? -errno : pid;
}

#define __clone(child, stack, flags, argument) begin(child, argument)
#include "../posix_spawn.c"
