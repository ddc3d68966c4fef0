#include <signal.h>
#include "pthread_impl.h"

/* What the runtime gives: maize_xisa_runtime::signals::Delivery. */
struct delivery {
	unsigned long signal;
	union {
		void (*plain)(int);
		void (*full)(int, siginfo_t *, void *);
	} handler;
	unsigned long flags, zero;
	siginfo_t info;
	ucontext_t context;
};

static void dummy(void *pc)
{
}
weak_alias(dummy, __maize_after_handler);

/* The kernel is given the runtime's handler; in place of a way back the runtime gets these, to call
 * the program's. */
void __restore_rt(struct delivery *d)
{
	if (d->flags & SA_SIGINFO) d->handler.full(d->signal, &d->info, &d->context);
	else d->handler.plain(d->signal);
	__maize_after_handler((void *)d->context.uc_mcontext.MC_PC);
}

void __restore(struct delivery *d)
{
	__restore_rt(d);
}
