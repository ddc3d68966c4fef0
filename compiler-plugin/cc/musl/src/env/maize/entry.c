#include <stdint.h>
#include "libc.h"

int main();
int __libc_start_main(int (*)(), int, char **, void (*)(), void (*)(), void (*)());

/* Made by maize-cc from the program's lists. */
void __maize_constructors(void);
void __maize_destructors(void);

void __libc_start_init(void) { __maize_constructors(); }
void __libc_exit_fini(void) { __maize_destructors(); }

int __maize_entry(long *words)
{
	return __libc_start_main(main, words[0], (char **)(words + 1), 0, 0, 0);
}
