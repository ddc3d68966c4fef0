#define __SYSCALL_LL_E(x) (x)
#define __SYSCALL_LL_O(x) (x)

/* Calls the runtime, which takes asm-generic's numbers and structures on every instruction set; and
 * the handlers of signals that have come, before it returns. */
long __maize_call(long n, long a, long b, long c, long d, long e, long f);

static inline long __syscall0(long n) { return __maize_call(n, 0, 0, 0, 0, 0, 0); }
static inline long __syscall1(long n, long a) { return __maize_call(n, a, 0, 0, 0, 0, 0); }
static inline long __syscall2(long n, long a, long b) { return __maize_call(n, a, b, 0, 0, 0, 0); }
static inline long __syscall3(long n, long a, long b, long c)
{
	return __maize_call(n, a, b, c, 0, 0, 0);
}
static inline long __syscall4(long n, long a, long b, long c, long d)
{
	return __maize_call(n, a, b, c, d, 0, 0);
}
static inline long __syscall5(long n, long a, long b, long c, long d, long e)
{
	return __maize_call(n, a, b, c, d, e, 0);
}
static inline long __syscall6(long n, long a, long b, long c, long d, long e, long f)
{
	return __maize_call(n, a, b, c, d, e, f);
}

#define IPC_64 0
