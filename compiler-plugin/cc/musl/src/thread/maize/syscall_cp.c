#include "pthread_impl.h"
#include "syscall.h"
#include "../../internal/maize/maize.h"

hidden long __cancel(void);

/* A cancellation is a signal, so one that comes between the look and the call keeps the call from
 * beginning. */
long __syscall_cp_asm(volatile int *cancel, syscall_arg_t n, syscall_arg_t a, syscall_arg_t b,
	syscall_arg_t c, syscall_arg_t d, syscall_arg_t e, syscall_arg_t f)
{
	for (;;) {
		if (*cancel) return __cancel();
		long r = __maize_syscall(n, a, b, c, d, e, f);
		if (!__maize_signalled()) return r;
		__maize_signal_point();
		if (!__maize_restarts(n, r, d)) return r;
	}
}

/* The bounds of a range of code that is empty: no signal can come in the middle of it. */
const char __cp_begin[1], __cp_end[1], __cp_cancel[1];

/* Where a handler wants to go on: only that of an asynchronous cancellation does. */
void __maize_after_handler(void *pc)
{
	if (pc == __cp_cancel) __cancel();
}
