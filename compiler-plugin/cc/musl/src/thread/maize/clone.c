#include <stdarg.h>
#include "pthread_impl.h"

int __maize_clone(int (*)(void *), void *, void *, int, void *, void *, void *);

/* The stack becomes the new thread's data stack. */
int __clone(int (*func)(void *), void *stack, int flags, void *arg, ...)
{
	va_list list;
	va_start(list, arg);
	void *parent = va_arg(list, void *);
	void *pointer = va_arg(list, void *);
	void *child = va_arg(list, void *);
	va_end(list);
	return __maize_clone(func, arg, stack, flags, parent, pointer, child);
}
