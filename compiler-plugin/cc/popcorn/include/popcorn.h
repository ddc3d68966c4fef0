/* The interface of Popcorn Linux to programs, on Maize: a node is a CPU of the fabric. */
#ifndef POPCORN_H
#define POPCORN_H

#include <stddef.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAX_POPCORN_NODES 32

enum { POPCORN_NODE_OFFLINE, POPCORN_NODE_ONLINE };

enum popcorn_arch_types {
    POPCORN_NODE_AARCH64,
    POPCORN_NODE_X86,
    POPCORN_NODE_PPC64,
    POPCORN_NODE_UNKNOWN,
};

struct popcorn_thread_status {
    int current_nid;
    /* Where somebody has proposed that the thread goes; -1 if nowhere. */
    int proposed_nid;
    /* On another node than it was started on: that one, and the process there. Else -1. */
    int peer_nid;
    int peer_pid;
};

struct popcorn_node_info {
    unsigned int status;
    int arch;
    /* 0 for the node that the caller is on, else 1. */
    int distance;
};

/*
 * Moves the calling thread to a node, where it stays until it moves again, and calls the function
 * there; nid -1 stands for the node that was proposed. Without a move errno tells why, and the
 * function is not called: EINVAL without such a node, EBUSY on the node already.
 */
void migrate(int nid, void (*callback)(void *), void *callback_param);

/* All of these return 0, or -1 and errno. */
int popcorn_get_status(struct popcorn_thread_status *status);
/* Proposes to a thread of this process, 0 being the caller, to go to a node: ESRCH, EINVAL. It goes
 * when it calls migrate(-1, ...) or check_migrate. */
int popcorn_propose_migration(int tid, int nid);
/* Fills MAX_POPCORN_NODES entries. */
int popcorn_get_node_info(struct popcorn_node_info *info);

int popcorn_gettid(void);
int popcorn_current_nid(void);

/* Memory that begins on a page. */
void *popcorn_malloc(size_t size);

#ifdef _OPENMP
#include <omp.h>

/* The part of start..=end that is a thread's. */
static inline int popcorn_omp_split(int tid, int threads, int start, int end, int *first, int *last)
{
    int each = (end - start + 1) / threads;
    *first = start + tid * each;
    *last = tid == threads - 1 ? end : *first + each - 1;
    return 0;
}

/* A loop over the calling thread's part, on the node that its number gives with `cores` threads on
 * each. */
#define POPCORN_OMP_SPLIT_START(k, start, end, cores)                                              \
    {                                                                                              \
        int popcorn_first, popcorn_last;                                                           \
        const int popcorn_node = omp_get_thread_num() / (cores);                                   \
        popcorn_omp_split(omp_get_thread_num(), omp_get_max_threads(), (start), (end),             \
                          &popcorn_first, &popcorn_last);                                          \
        if (popcorn_node)                                                                          \
            migrate(popcorn_node, NULL, NULL);                                                     \
        for ((k) = popcorn_first; (k) <= popcorn_last; (k)++)

#define POPCORN_OMP_SPLIT_END()                                                                    \
    if (popcorn_node)                                                                              \
        migrate(0, NULL, NULL);                                                                    \
    }
#endif

#ifdef __cplusplus
}
#endif

#endif
