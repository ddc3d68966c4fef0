#include "maize.h"

/* A program without handlers has nothing of this but the first line: see the link. */
long __maize_call(long n, long a, long b, long c, long d, long e, long f)
{
	for (;;) {
		long r = __maize_syscall(n, a, b, c, d, e, f);
		if (!__maize_signalled()) return r;
		__maize_signal_point();
		if (!__maize_restarts(n, r, d)) return r;
	}
}
