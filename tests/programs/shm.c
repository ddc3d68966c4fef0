/* System V shared memory: segments by number and by key, mappings, what is told of them, their end. */
#include "check.h"
#include "cpus.h"
#include <pthread.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

enum { PAGE = 4096, PAGES = 4 };

static struct shmid_ds told(int id)
{
    struct shmid_ds facts;
    CHECK(shmctl(id, IPC_STAT, &facts) == 0);
    return facts;
}

/* A key that is this program's own. */
static key_t own_key(void)
{
    return 0x4d000000 | (getpid() & 0xffffff);
}

static void segments_are_found(void)
{
    key_t key = own_key();
    CHECK_FAILS(shmget(key, PAGE, 0600), ENOENT);
    int id = shmget(key, PAGES * PAGE - 10, IPC_CREAT | IPC_EXCL | 0640);
    CHECK(id >= 0);
    CHECK_EQUAL(shmget(key, 0, 0), id);
    CHECK_EQUAL(shmget(key, PAGE, IPC_CREAT | 0600), id);
    CHECK_FAILS(shmget(key, PAGES * PAGE, 0), EINVAL);
    CHECK_FAILS(shmget(key, PAGE, IPC_CREAT | IPC_EXCL), EEXIST);
    CHECK_FAILS(shmget(IPC_PRIVATE, 0, IPC_CREAT | 0600), EINVAL);
    int other = shmget(IPC_PRIVATE, PAGE, 0600);
    CHECK(other >= 0 && other != id);
    struct shmid_ds facts = told(id);
    CHECK(facts.shm_segsz == PAGES * PAGE - 10 && facts.shm_nattch == 0);
    CHECK(facts.shm_cpid == getpid() && facts.shm_lpid == 0);
    CHECK((facts.shm_perm.mode & 0777) == 0640 && facts.shm_perm.uid == getuid());
    CHECK(facts.shm_atime == 0 && facts.shm_dtime == 0 && facts.shm_ctime > 1000000000);
    facts.shm_perm.mode = 0600;
    CHECK(shmctl(id, IPC_SET, &facts) == 0);
    CHECK_EQUAL(told(id).shm_perm.mode & 0777, 0600);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0 && shmctl(other, IPC_RMID, NULL) == 0);
    CHECK_FAILS(shmctl(id, IPC_STAT, &facts), EINVAL);
    CHECK_FAILS(shmget(key, PAGE, 0600), ENOENT);
}

static void mappings_are_the_same_memory(void)
{
    int id = shmget(IPC_PRIVATE, PAGES * PAGE, IPC_CREAT | 0600);
    CHECK(id >= 0);
    char *one = shmat(id, NULL, 0), *two = shmat(id, NULL, SHM_RDONLY);
    CHECK(one != (void *)-1 && two != (void *)-1 && one != two);
    CHECK_EQUAL(told(id).shm_nattch, 2);
    CHECK(told(id).shm_lpid == getpid() && told(id).shm_atime != 0);
    for (int n = 0; n < PAGES * PAGE; n += PAGE)
        CHECK(one[n] == 0);
    strcpy(one + 2 * PAGE, "here");
    CHECK(strcmp(two + 2 * PAGE, "here") == 0);
    CHECK_FAILS(mprotect(two, PAGE, PROT_READ | PROT_WRITE), EACCES);
    /* Children have it, too, and what they write is seen. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(told(id).shm_nattch, 4);
        strcpy(one + PAGE, "child");
        CHECK(shmdt(one) == 0 && strcmp(two + PAGE, "child") == 0);
        _exit(0);
    }
    REAP_EXITED(child, 0);
    CHECK(strcmp(two + PAGE, "child") == 0);
    CHECK_EQUAL(told(id).shm_nattch, 2);
    /* A mapping that has a hole is one all the same. */
    CHECK(munmap(one + PAGE, PAGE) == 0);
    CHECK(shmdt(one) == 0 && told(id).shm_nattch == 1 && told(id).shm_dtime != 0);
    CHECK_FAILS(shmdt(one), EINVAL);
    CHECK_FAILS(shmdt(two + PAGE), EINVAL);
    /* Removed, it is there until nobody has it. */
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    CHECK((told(id).shm_perm.mode & SHM_DEST) != 0);
    CHECK(strcmp(two + 2 * PAGE, "here") == 0);
    one = shmat(id, NULL, 0);
    CHECK(one != (void *)-1 && strcmp(one + 2 * PAGE, "here") == 0);
    CHECK(shmdt(two) == 0 && shmdt(one) == 0);
    CHECK_FAILS(shmat(id, NULL, 0), EINVAL);
}

static void places_can_be_asked_for(void)
{
    int id = shmget(IPC_PRIVATE, PAGES * PAGE, IPC_CREAT | 0600);
    char *room = mmap(NULL, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(id >= 0 && room != MAP_FAILED);
    CHECK_FAILS((intptr_t)shmat(id, room, 0), EINVAL);
    CHECK_FAILS((intptr_t)shmat(id, NULL, SHM_REMAP), EINVAL);
    CHECK_FAILS((intptr_t)shmat(id, room + 5, 0), EINVAL);
    CHECK(shmat(id, room + 5, SHM_RND | SHM_REMAP) == room);
    room[0] = 1;
    CHECK(room[4 * PAGE] == 0 && shmdt(room) == 0);
    CHECK(munmap(room, 8 * PAGE) == 0);
    CHECK(shmat(id, room + PAGE, 0) == room + PAGE && room[PAGE] == 1);
    CHECK(shmdt(room + PAGE) == 0);
    CHECK_FAILS((intptr_t)shmat(-1, NULL, 0), EINVAL);
    CHECK_FAILS((intptr_t)shmat(id + 1000000, NULL, 0), EINVAL);
    CHECK_FAILS(shmctl(id, 99, NULL), EINVAL);
    CHECK_FAILS(shmctl(-1, IPC_RMID, NULL), EINVAL);
    CHECK_FAILS(shmctl(id, IPC_STAT, BAD), EFAULT);
    CHECK_FAILS(shmctl(id, IPC_SET, BAD), EFAULT);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

enum { ROUNDS = 50 };

struct common {
    _Atomic int turn, sum;
};

static void take_turns(struct common *common, int own, int members)
{
    for (int round = 0; round < ROUNDS; round++) {
        while (common->turn % members != own)
            sched_yield();
        common->sum += round;
        common->turn++;
    }
}

static struct common *common;

static void *member(void *argument)
{
    go(cpus[count - 1]);
    take_turns(common, (int)(intptr_t)argument, 3);
    return NULL;
}

/* Processes, and threads elsewhere, that take turns. */
static void processes_and_threads_share(void)
{
    pthread_t thread;
    int id = shmget(own_key(), sizeof *common, IPC_CREAT | 0600), forked = fork();
    CHECK(id >= 0 && forked >= 0);
    common = shmat(id, NULL, 0);
    CHECK(common != (void *)-1);
    if (forked == 0) {
        take_turns(common, 0, 3);
        _exit(0);
    }
    CHECK(pthread_create(&thread, NULL, member, (void *)1) == 0);
    take_turns(common, 2, 3);
    CHECK(pthread_join(thread, NULL) == 0);
    REAP_EXITED(forked, 0);
    CHECK_EQUAL(common->sum, 3 * ROUNDS * (ROUNDS - 1) / 2);
    CHECK_EQUAL(told(id).shm_nattch, 1);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

/* Who ends has it no more. */
static void it_ends_with_its_last_process(void)
{
    struct shmid_ds facts;
    int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
    pid_t child = fork();
    CHECK(id >= 0 && child >= 0);
    if (child == 0) {
        CHECK(shmat(id, NULL, 0) != (void *)-1);
        CHECK(shmctl(id, IPC_RMID, NULL) == 0 && told(id).shm_nattch == 1);
        raise(SIGKILL);
    }
    REAP_KILLED(child, SIGKILL);
    CHECK_FAILS(shmctl(id, IPC_STAT, &facts), EINVAL);
}

/* What ipcs asks for: limits, what there is of all, and each by its place. */
static void all_are_told_of(void)
{
    struct shminfo limits;
    struct shm_info before, after;
    int found = 0;
    int id = shmget(IPC_PRIVATE, 3 * PAGE - 1, IPC_CREAT | 0600);
    CHECK(id >= 0);
    int highest = shmctl(0, IPC_INFO, (void *)&limits);
    CHECK(highest >= 0 && limits.shmmax >= 1 << 30 && limits.shmmin == 1);
    CHECK(limits.shmmni == 4096 && limits.shmseg == 4096 && limits.shmall >= 1 << 18);
    CHECK_EQUAL(shmctl(0, SHM_INFO, (void *)&before), highest);
    char *memory = shmat(id, NULL, 0);
    CHECK(memory != (void *)-1);
    memory[0] = memory[PAGE] = 1;
    CHECK(shmctl(0, SHM_INFO, (void *)&after) == highest && after.used_ids == before.used_ids);
    CHECK(after.shm_tot == before.shm_tot && after.shm_tot >= 3);
    CHECK(after.shm_rss == before.shm_rss + 2 && after.shm_swp == before.shm_swp);
    for (int place = 0; place <= highest; place++) {
        struct shmid_ds facts;
        if (shmctl(place, SHM_STAT, &facts) == id)
            found += facts.shm_segsz == 3 * (size_t)PAGE - 1 && facts.shm_nattch == 1;
    }
    CHECK_EQUAL(found, 1);
    CHECK_FAILS(shmctl(-1, IPC_INFO, (void *)&limits), EINVAL);
    CHECK_FAILS(shmctl(0, IPC_INFO, NULL), EFAULT);
    CHECK_FAILS(shmctl(highest + 1, SHM_STAT, (void *)&limits), EINVAL);
    CHECK(shmdt(memory) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
}

int main(void)
{
    find_cpus();
    RUN(segments_are_found);
    RUN(mappings_are_the_same_memory);
    RUN(places_can_be_asked_for);
    RUN(processes_and_threads_share);
    RUN(it_ends_with_its_last_process);
    RUN(all_are_told_of);
    return 0;
}
