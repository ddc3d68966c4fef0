/* The interface of Popcorn's migration library. */
#ifndef MIGRATE_H
#define MIGRATE_H

#include "popcorn.h"

#ifdef __cplusplus
extern "C" {
#endif

enum arch {
    ARCH_UNKNOWN = -1,
    ARCH_AARCH64,
    ARCH_X86_64,
    NUM_ARCHES,
};

/* What the node that the caller is on executes. */
enum arch current_arch(void);

int current_nid(void);

/* The node that the program was started on. */
int get_origin_nid(void);

int node_available(int nid);

/* A migration point: moves if that was proposed. */
void check_migrate(void (*callback)(void *), void *callback_data);

/* What migration points call that -finstrument-functions makes. */
void register_migrate_callback(void (*callback)(void *), void *callback_data);

#ifdef __cplusplus
}
#endif

#endif
