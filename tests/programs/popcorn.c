/* Popcorn's interface, used as its own examples do: threads that go to a node, work and come back. */
#include "check.h"
#include "migrate.h"
#include "platform.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, HOPS = 6 };

static int online[MAX_POPCORN_NODES], count;

static void nodes_are_told(void)
{
    struct popcorn_node_info info[MAX_POPCORN_NODES];
    struct popcorn_node_status status[MAX_POPCORN_NODES];
    int origin = -1;
    CHECK(popcorn_get_node_info(info) == 0);
    CHECK(popcorn_getnodeinfo(&origin, status) == 0);
    CHECK_EQUAL(origin, get_origin_nid());
    for (int nid = 0; nid < MAX_POPCORN_NODES; nid++) {
        CHECK_EQUAL(info[nid].status, status[nid].status);
        CHECK_EQUAL(node_available(nid), info[nid].status == POPCORN_NODE_ONLINE);
        if (info[nid].status == POPCORN_NODE_ONLINE) {
            CHECK_EQUAL(status[nid].arch, current_arch());
            online[count++] = nid;
        }
    }
    CHECK(count > 0 && node_available(origin));
    CHECK_FAILS(popcorn_get_node_info(NULL), EINVAL);
    CHECK_FAILS(popcorn_getnodeinfo(NULL, status), EINVAL);
}

static void arrived(void *nid)
{
    CHECK_EQUAL(popcorn_getnid(), *(int *)nid);
    *(int *)nid = -1;
}

/* Goes to the n-th node, counted round and round. */
static void go(int n)
{
    int nid = online[n % count], there = nid;
    int here = current_nid();
    migrate(nid, arrived, &there);
    CHECK_EQUAL(current_nid(), nid);
    CHECK_EQUAL(there, nid == here ? nid : -1);
}

static atomic_int sum;
static int plain;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *hop(void *number)
{
    int first = (int)(long)number;
    for (int i = 0; i < HOPS; i++) {
        go(first + i);
        struct popcorn_thread_status status;
        CHECK(popcorn_getthreadinfo(&status) == 0);
        CHECK_EQUAL(status.current_nid, online[(first + i) % count]);
        CHECK_EQUAL(status.proposed_nid, -1);
        atomic_fetch_add(&sum, 1);
        pthread_mutex_lock(&lock);
        plain++;
        pthread_mutex_unlock(&lock);
    }
    go(0);
    return NULL;
}

static void threads_hop_from_node_to_node(void)
{
    pthread_t threads[THREADS];
    for (long n = 0; n < THREADS; n++)
        CHECK(pthread_create(&threads[n], NULL, hop, (void *)n) == 0);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    CHECK(sum == THREADS * HOPS && plain == THREADS * HOPS);
}

static atomic_int thread_id, told, ended;

static void *wait_for_proposal(void *unused)
{
    go(0);
    thread_id = popcorn_gettid();
    while (!told)
        sched_yield();
    struct popcorn_thread_status status;
    CHECK(popcorn_get_status(&status) == 0);
    CHECK_EQUAL(status.proposed_nid, online[count - 1]);
    check_migrate(NULL, NULL);
    CHECK_EQUAL(current_nid(), online[count - 1]);
    CHECK(popcorn_get_status(&status) == 0);
    CHECK_EQUAL(status.proposed_nid, -1);
    ended = 1;
    return unused;
}

static void a_proposal_is_followed_at_a_migration_point(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_for_proposal, NULL) == 0);
    while (!thread_id)
        sched_yield();
    CHECK(popcorn_propose_migration(thread_id, online[count - 1]) == 0);
    told = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(ended);
    CHECK_FAILS(popcorn_propose_migration(0, MAX_POPCORN_NODES), EINVAL);
    CHECK_FAILS(popcorn_propose_migration(0x7fffffff, online[0]), ESRCH);
}

static void bad_nodes_are_refused(void)
{
    go(0);
    errno = 0;
    migrate(MAX_POPCORN_NODES, arrived, NULL);
    CHECK_EQUAL(errno, EINVAL);
    migrate(-7, arrived, NULL);
    CHECK_EQUAL(errno, EINVAL);
    migrate(online[0], arrived, NULL);
    CHECK_EQUAL(errno, EBUSY);
    /* Nothing was proposed. */
    migrate(-1, arrived, NULL);
    CHECK_EQUAL(current_nid(), online[0]);
}

static void memory_begins_on_a_page(void)
{
    char *memory = popcorn_malloc(10000);
    CHECK(memory && (size_t)memory % 4096 == 0);
    memset(memory, 1, 10000);
    free(memory);
}

int main(void)
{
    RUN(nodes_are_told);
    RUN(threads_hop_from_node_to_node);
    RUN(a_proposal_is_followed_at_a_migration_point);
    RUN(bad_nodes_are_refused);
    RUN(memory_begins_on_a_page);
    return 0;
}
