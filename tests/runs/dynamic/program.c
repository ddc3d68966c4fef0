// Linked dynamically: opens a library, uses it in two threads, and runs itself once more.

#define _GNU_SOURCE

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *(*next_name)(void);

static void *in_thread(void *unused)
{
	(void)unused;
	printf("thread: %s\n", next_name());
	return NULL;
}

int main(int argc, char **argv)
{
	void *library = dlopen("/lib/library.so", RTLD_NOW);
	pthread_t thread;

	if (!library) {
		printf("dlopen: %s\n", dlerror());
		return 1;
	}
	next_name = (const char *(*)(void))dlsym(library, "next_name");
	printf("main: %s\n", next_name());
	printf("main: %s\n", next_name());
	pthread_create(&thread, NULL, in_thread, NULL);
	pthread_join(thread, NULL);
	// The interpreter is mapped elsewhere than the program, and started it.
	Dl_info libc, self;
	if (!dladdr((void *)main, &self) || !dladdr((void *)strlen, &libc))
		return 2;
	printf("base: %d\n", getauxval(AT_BASE) != 0 && getauxval(AT_BASE) != (unsigned long)self.dli_fbase);
	printf("libraries: %d\n", self.dli_fbase != libc.dli_fbase);
	fflush(stdout);
	if (argc > 1)
		return 7;
	if (fork() == 0) {
		execl(argv[0], argv[0], "again", NULL);
		_exit(3);
	}
	int status;
	wait(&status);
	printf("again: %d\n", WEXITSTATUS(status));
	return 0;
}
