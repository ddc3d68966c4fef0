#include "pthread_impl.h"
#include "syscall.h"

hidden long __cancel(void);

/* A cancellation that comes between the look and the call waits for the call's end. */
long __syscall_cp_asm(volatile int *cancel, syscall_arg_t n, syscall_arg_t a, syscall_arg_t b,
	syscall_arg_t c, syscall_arg_t d, syscall_arg_t e, syscall_arg_t f)
{
	return *cancel ? __cancel() : __maize_syscall(n, a, b, c, d, e, f);
}

/* The bounds of a range of code that is empty: no signal can come in the middle of it. */
const char __cp_begin[1], __cp_end[1], __cp_cancel[1];
