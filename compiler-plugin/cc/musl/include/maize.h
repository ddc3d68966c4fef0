#ifndef _MAIZE_H
#define _MAIZE_H
#ifdef __cplusplus
extern "C" {
#endif

/* What a program compiled by maize-cc may say and ask, besides what POSIX has. */

/* A migration point: the calling thread goes where it has been asked to be. */
void __maize_migrate(void);

/* The calling thread begins a phase of its work, and ends the one that it was in; a null pointer only
 * ends that one. Phases of one name do work of one kind, the name stays as it is. With
 * `./maize run --place fastest` a phase runs on the instruction set where phases of its name have been
 * measured to take less time, once they have run on each; else this changes nothing. */
void maize_phase(const char *name);

/* What is known of a phase: how often it has been measured on an instruction set, by the number of its
 * kind in ELF (EM_X86_64 is 62, EM_AARCH64 183), and the fewest nanoseconds that it took; 0 if it has
 * not been. */
unsigned maize_phase_runs(const char *name, int machine, unsigned long *nanoseconds);

#ifdef __cplusplus
}
#endif
#endif
