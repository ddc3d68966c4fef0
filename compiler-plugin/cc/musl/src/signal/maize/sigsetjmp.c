#include <setjmp.h>
#include <signal.h>

/* What maize-cc calls before the jump is set by sigsetjmp. */
void __maize_keep_mask(sigjmp_buf buffer, int wanted)
{
	buffer->__fl = wanted;
	if (wanted) sigprocmask(SIG_SETMASK, 0, (sigset_t *)buffer->__ss);
}
