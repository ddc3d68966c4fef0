/* Popcorn's interface by Linux's: a node is a CPU, a move is a change of the thread's affinity. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "migrate.h"
#include "platform.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The CPUs that the program was given, and the one that it was started on. */
static cpu_set_t nodes;
static int origin = -1;

/* Proposals: the thread's id above, the node below; 0 if there is none. */
enum { PROPOSALS = 1024, NODE_BITS = 8 };
static atomic_ullong proposals[PROPOSALS];

static void (*point_callback)(void *);
static void *point_data;

#define UNSEEN __attribute__((no_instrument_function))

__attribute__((constructor)) UNSEEN static void find_nodes(void)
{
    if (sched_getaffinity(0, sizeof nodes, &nodes) != 0)
        CPU_ZERO(&nodes);
    origin = sched_getcpu();
}

UNSEEN int node_available(int nid)
{
    return nid >= 0 && nid < MAX_POPCORN_NODES && CPU_ISSET(nid, &nodes);
}

UNSEEN int popcorn_getnid(void)
{
    return sched_getcpu();
}

UNSEEN int popcorn_current_nid(void)
{
    return popcorn_getnid();
}

UNSEEN int current_nid(void)
{
    return popcorn_getnid();
}

UNSEEN int get_origin_nid(void)
{
    return origin;
}

UNSEEN int popcorn_gettid(void)
{
    return (int)syscall(SYS_gettid);
}

UNSEEN enum arch current_arch(void)
{
#if defined __x86_64__
    return ARCH_X86_64;
#elif defined __aarch64__
    return ARCH_AARCH64;
#else
    return ARCH_UNKNOWN;
#endif
}

UNSEEN static unsigned long long proposal(int tid, int nid)
{
    return (unsigned long long)tid << NODE_BITS | (unsigned)nid;
}

/* A thread's proposal, -1 if it has none; taken away if `take`. */
UNSEEN static int proposed(int tid, int take)
{
    for (int n = 0; n < PROPOSALS; n++) {
        unsigned long long one = atomic_load(&proposals[n]);
        if (one != 0 && one >> NODE_BITS == (unsigned long long)tid) {
            if (take && !atomic_compare_exchange_strong(&proposals[n], &one, 0))
                return proposed(tid, take);
            return (int)(one & ((1 << NODE_BITS) - 1));
        }
    }
    return -1;
}

UNSEEN int popcorn_propose_migration(int tid, int nid)
{
    if (!node_available(nid)) {
        errno = EINVAL;
        return -1;
    }
    if (tid == 0)
        tid = popcorn_gettid();
    else if (tid < 0 || syscall(SYS_tgkill, getpid(), tid, 0) != 0) {
        errno = ESRCH;
        return -1;
    }
    proposed(tid, 1);
    for (int n = 0; n < PROPOSALS; n++) {
        unsigned long long none = 0;
        if (atomic_compare_exchange_strong(&proposals[n], &none, proposal(tid, nid)))
            return 0;
    }
    errno = EAGAIN;
    return -1;
}

UNSEEN void migrate(int nid, void (*callback)(void *), void *callback_param)
{
    if (nid == -1 && (nid = proposed(popcorn_gettid(), 1)) == -1)
        return;
    if (!node_available(nid)) {
        errno = EINVAL;
        return;
    }
    if (nid == popcorn_getnid()) {
        errno = EBUSY;
        return;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(nid, &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0 && callback)
        callback(callback_param);
}

UNSEEN void check_migrate(void (*callback)(void *), void *callback_data)
{
    migrate(-1, callback, callback_data);
}

UNSEEN void register_migrate_callback(void (*callback)(void *), void *callback_data)
{
    point_callback = callback;
    point_data = callback_data;
}

/* Calls of these are made by -finstrument-functions. */
UNSEEN void __cyg_profile_func_enter(void *function, void *site)
{
    (void)function, (void)site;
    check_migrate(point_callback, point_data);
}

UNSEEN void __cyg_profile_func_exit(void *function, void *site)
{
    __cyg_profile_func_enter(function, site);
}

UNSEEN int popcorn_get_status(struct popcorn_thread_status *status)
{
    if (!status) {
        errno = EINVAL;
        return -1;
    }
    int here = popcorn_getnid(), away = here != origin;
    *status = (struct popcorn_thread_status){
        .current_nid = here,
        .proposed_nid = proposed(popcorn_gettid(), 0),
        .peer_nid = away ? origin : -1,
        .peer_pid = away ? getpid() : -1,
    };
    return 0;
}

UNSEEN int popcorn_getthreadinfo(struct popcorn_thread_status *status)
{
    return popcorn_get_status(status);
}

UNSEEN int popcorn_get_node_info(struct popcorn_node_info *info)
{
    if (!info) {
        errno = EINVAL;
        return -1;
    }
    int here = popcorn_getnid();
    /* A program of one instruction set is given the nodes of that one. */
    int arch = current_arch() == ARCH_UNKNOWN ? POPCORN_NODE_UNKNOWN : (int)current_arch();
    for (int nid = 0; nid < MAX_POPCORN_NODES; nid++) {
        int online = node_available(nid);
        info[nid].status = online ? POPCORN_NODE_ONLINE : POPCORN_NODE_OFFLINE;
        info[nid].arch = online ? arch : POPCORN_NODE_UNKNOWN;
        info[nid].distance = online ? nid != here : -1;
    }
    return 0;
}

UNSEEN int popcorn_getnodeinfo(int *of, struct popcorn_node_status status[MAX_POPCORN_NODES])
{
    struct popcorn_node_info info[MAX_POPCORN_NODES];
    if (!of || !status) {
        errno = EINVAL;
        return -1;
    }
    popcorn_get_node_info(info);
    for (int nid = 0; nid < MAX_POPCORN_NODES; nid++)
        status[nid] = (struct popcorn_node_status){
            info[nid].status,
            info[nid].status ? info[nid].arch : ARCH_UNKNOWN,
            info[nid].distance,
        };
    *of = origin;
    return 0;
}

UNSEEN void *popcorn_malloc(size_t size)
{
    void *at = NULL;
    return posix_memalign(&at, 4096, size) == 0 ? at : NULL;
}
