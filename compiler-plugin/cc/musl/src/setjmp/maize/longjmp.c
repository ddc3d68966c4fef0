#include <setjmp.h>

/* The runtime's: it leaves every frame as for a move, and goes on in that of the buffer. */
_Noreturn void __maize_jump(void *, int);

_Noreturn void longjmp(jmp_buf buffer, int value) { __maize_jump(buffer, value ? value : 1); }

_Noreturn void _longjmp(jmp_buf, int) __attribute__((alias("longjmp")));
