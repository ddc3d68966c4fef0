#include "pthread_impl.h"

/* The thread runs on a native stack of the runtime; base is its data stack. */
_Noreturn void __maize_exit_thread(void *, size_t);

void __unmapself(void *base, size_t size) { __maize_exit_thread(base, size); }
