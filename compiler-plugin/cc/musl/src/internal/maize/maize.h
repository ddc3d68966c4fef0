/* The runtime's. */
long __maize_syscall(long, long, long, long, long, long, long);
/* Whether a signal has come whose handler is still to be called. */
int __maize_signalled(void);
/* Calls such handlers. */
void __maize_signal_point(void);
/* Whether a call begins again after the handlers: its number, its result, its fourth argument. */
int __maize_restarts(long, long, long);
