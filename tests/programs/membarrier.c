/* membarrier: who must have registered for what, what a child and a new program keep of it, and that two
 * threads, of which only one pays for its barriers, see each other. */
#include "check.h"
#include <pthread.h>
#include <sys/syscall.h>

enum { QUERY, GLOBAL, GLOBAL_EXPEDITED, REGISTER_GLOBAL = 4, PRIVATE = 8, REGISTER_PRIVATE = 16 };

static long membarrier(int command, unsigned flags)
{
    return syscall(SYS_membarrier, command, flags, 0);
}

static void refuses(int command, unsigned flags, int error)
{
    CHECK_EQUAL(membarrier(command, flags), -1);
    CHECK_EQUAL(errno, error);
}

static void what_is_none_is_refused(void)
{
    long known = membarrier(QUERY, 0);
    int here = GLOBAL | GLOBAL_EXPEDITED | REGISTER_GLOBAL | PRIVATE | REGISTER_PRIVATE;
    CHECK((known & here) == here);
    refuses(QUERY, 1, EINVAL);
    refuses(PRIVATE | REGISTER_PRIVATE, 0, EINVAL);
    refuses(1 << 30, 0, EINVAL);
    refuses(REGISTER_PRIVATE, 2, EINVAL);
}

static void private_barriers_are_registered_for(void)
{
    refuses(PRIVATE, 0, EPERM);
    CHECK(membarrier(GLOBAL, 0) == 0 && membarrier(GLOBAL_EXPEDITED, 0) == 0);
    CHECK(membarrier(REGISTER_GLOBAL, 0) == 0);
    refuses(PRIVATE, 0, EPERM);
    CHECK(membarrier(REGISTER_PRIVATE, 0) == 0 && membarrier(REGISTER_PRIVATE, 0) == 0);
    CHECK(membarrier(PRIVATE, 0) == 0);
}

static void children_inherit_it(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(membarrier(PRIVATE, 0) == 0 ? 5 : 6);
    REAP_EXITED(child, 5);
}

static char *self;

static void programs_do_not(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execl(self, self, "again", (char *)NULL);
        _exit(7);
    }
    REAP_EXITED(child, 5);
}

/* Dekker's: both must not miss the other. The quick side has no barrier but the compiler's. */
enum { ROUNDS = 200 };
static volatile int mine[64], theirs[64], seen_by_quick[ROUNDS], seen_by_slow[ROUNDS];
static pthread_barrier_t start;

static void *quick(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&start);
        mine[0] = i + 1;
        __asm__ volatile("" ::: "memory");
        seen_by_quick[i] = theirs[0] == i + 1;
    }
    return unused;
}

static void one_side_pays_for_both(void)
{
    pthread_t thread;
    CHECK(pthread_barrier_init(&start, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, quick, NULL) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&start);
        theirs[0] = i + 1;
        CHECK(membarrier(PRIVATE, 0) == 0);
        seen_by_slow[i] = mine[0] == i + 1;
    }
    CHECK(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < ROUNDS; i++)
        CHECK(seen_by_quick[i] || seen_by_slow[i]);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return membarrier(PRIVATE, 0) == -1 && errno == EPERM ? 5 : 6;
    self = argv[0];
    RUN(what_is_none_is_refused);
    RUN(private_barriers_are_registered_for);
    RUN(children_inherit_it);
    RUN(programs_do_not);
    RUN(one_side_pays_for_both);
    return 0;
}
