#include <setjmp.h>
#include <signal.h>

_Noreturn void siglongjmp(sigjmp_buf buffer, int value)
{
	if (buffer->__fl) sigprocmask(SIG_SETMASK, (sigset_t *)buffer->__ss, 0);
	longjmp(buffer, value);
}
