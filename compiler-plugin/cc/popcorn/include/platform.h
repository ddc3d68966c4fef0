/* What Popcorn's C library says of nodes and threads. */
#ifndef PLATFORM_H
#define PLATFORM_H

#include "popcorn.h"

#ifdef __cplusplus
extern "C" {
#endif

struct popcorn_node_status {
    unsigned int status;
    int arch;
    int distance;
};

/* The node that the caller is on, or -1. */
int popcorn_getnid(void);

int popcorn_getthreadinfo(struct popcorn_thread_status *status);

/* As popcorn_get_node_info, and the node that the program was started on. */
int popcorn_getnodeinfo(int *origin, struct popcorn_node_status status[MAX_POPCORN_NODES]);

#ifdef __cplusplus
}
#endif

#endif
