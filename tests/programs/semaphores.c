/* System V semaphores: by number and by key, operations that are one, waits, what is undone, their end. */
#include "check.h"
#include "cpus.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/time.h>

enum { HIGHEST = 32767, ROUNDS = 40, MOST_OPERATIONS = 500 };

/* Of the caller's own, as POSIX wants it. */
union argument {
    int value;
    struct semid_ds *facts;
    unsigned short *values;
    struct seminfo *limits;
};

/* A key that is this program's own. */
static key_t own_key(void)
{
    return 0x5e000000 | (getpid() & 0xffffff);
}

static int new_set(int count)
{
    int id = semget(IPC_PRIVATE, count, IPC_CREAT | 0600);
    CHECK(id >= 0);
    return id;
}

static void end(int id)
{
    CHECK(semctl(id, 0, IPC_RMID) == 0);
}

static struct semid_ds told(int id)
{
    struct semid_ds facts;
    union argument argument = {.facts = &facts};
    CHECK(semctl(id, 0, IPC_STAT, argument) == 0);
    return facts;
}

static int set_value(int id, int number, int value)
{
    union argument argument = {.value = value};
    return semctl(id, number, SETVAL, argument);
}

static int value(int id, int number)
{
    return semctl(id, number, GETVAL);
}

static int operate(int id, int number, int change, int flags)
{
    struct sembuf one = {number, change, flags};
    return semop(id, &one, 1);
}

/* As musl has no semtimedop on all systems, by number. */
static int operate_for(int id, int number, int change, long milliseconds)
{
    struct sembuf one = {number, change, 0};
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    return syscall(SYS_semtimedop, id, &one, 1, &time);
}

/* Until so many wait. */
static void await(int id, int number, int command, int waiting)
{
    while (semctl(id, number, command) != waiting)
        usleep(2000);
}

static void sets_are_found(void)
{
    key_t key = own_key();
    CHECK_FAILS(semget(key, 1, 0600), ENOENT);
    CHECK_FAILS(semget(key, 0, IPC_CREAT | 0600), EINVAL);
    CHECK_FAILS(semget(key, -1, IPC_CREAT | 0600), EINVAL);
    CHECK_FAILS(semget(key, 32001, IPC_CREAT | 0600), EINVAL);
    int id = semget(key, 3, IPC_CREAT | IPC_EXCL | 0640), other = new_set(1);
    CHECK(id >= 0 && other >= 0 && other != id);
    CHECK_EQUAL(semget(key, 0, 0), id);
    CHECK_EQUAL(semget(key, 3, IPC_CREAT | 0600), id);
    CHECK_FAILS(semget(key, 4, IPC_CREAT | 0600), EINVAL);
    CHECK_FAILS(semget(key, 3, IPC_CREAT | IPC_EXCL), EEXIST);
    struct semid_ds facts = told(id);
    CHECK(facts.sem_nsems == 3 && facts.sem_otime == 0 && facts.sem_ctime > 1000000000);
    CHECK((facts.sem_perm.mode & 0777) == 0640 && facts.sem_perm.uid == getuid());
    facts.sem_perm.mode = 0600;
    union argument argument = {.facts = &facts};
    CHECK(semctl(id, 0, IPC_SET, argument) == 0);
    CHECK_EQUAL(told(id).sem_perm.mode & 0777, 0600);
    end(id);
    end(other);
    CHECK_FAILS(semctl(id, 0, IPC_STAT, argument), EINVAL);
    CHECK_FAILS(operate(id, 0, 1, 0), EINVAL);
    CHECK_FAILS(semctl(-1, 0, IPC_RMID), EINVAL);
    CHECK_FAILS(semctl(other, 0, 99), EINVAL);
    CHECK_FAILS(semget(key, 3, 0600), ENOENT);
}

static void values_are_set_and_told(void)
{
    int id = new_set(3);
    CHECK(value(id, 0) == 0 && semctl(id, 0, GETPID) == 0);
    CHECK(set_value(id, 1, HIGHEST) == 0 && value(id, 1) == HIGHEST);
    CHECK_EQUAL(semctl(id, 1, GETPID), getpid());
    CHECK_FAILS(set_value(id, 1, HIGHEST + 1), ERANGE);
    CHECK_FAILS(set_value(id, 1, -1), ERANGE);
    CHECK_FAILS(set_value(id, 3, 1), EINVAL);
    CHECK_FAILS(value(id, 3), EINVAL);
    CHECK_FAILS(value(id, -1), EINVAL);
    unsigned short values[4] = {1, 2, 3, 4}, got[4] = {9, 9, 9, 9};
    union argument argument = {.values = values};
    CHECK(semctl(id, 0, SETALL, argument) == 0);
    argument.values = got;
    CHECK(semctl(id, 0, GETALL, argument) == 0);
    CHECK(got[0] == 1 && got[1] == 2 && got[2] == 3 && got[3] == 9);
    values[1] = HIGHEST + 1;
    argument.values = values;
    CHECK_FAILS(semctl(id, 0, SETALL, argument), ERANGE);
    CHECK_EQUAL(value(id, 1), 2);
    argument.values = NULL;
    CHECK_FAILS(semctl(id, 0, SETALL, argument), EFAULT);
    CHECK_FAILS(semctl(id, 0, GETALL, argument), EFAULT);
    end(id);
}

static void limits_are_told(void)
{
    int id = new_set(5);
    struct seminfo limits;
    union argument argument = {.limits = &limits};
    int highest = semctl(0, 0, IPC_INFO, argument);
    CHECK(highest >= 0);
    CHECK(limits.semmni == 32000 && limits.semmsl == 32000 && limits.semmns == 1024000000);
    CHECK(limits.semopm == MOST_OPERATIONS && limits.semvmx == HIGHEST);
    CHECK_EQUAL(semctl(0, 0, SEM_INFO, argument), highest);
    CHECK(limits.semusz >= 1 && limits.semaem >= 5);
    /* By place, which is part of the number. */
    int found = 0;
    for (int place = 0; place <= highest; place++) {
        struct semid_ds facts;
        argument.facts = &facts;
        if (semctl(place, 0, SEM_STAT, argument) == id)
            found += facts.sem_nsems;
    }
    CHECK_EQUAL(found, 5);
    end(id);
}

static void operations_are_one(void)
{
    int id = new_set(2);
    struct sembuf both[] = {{0, 2, 0}, {1, -1, IPC_NOWAIT}};
    CHECK_FAILS(semop(id, both, 2), EAGAIN);
    CHECK(value(id, 0) == 0 && told(id).sem_otime == 0);
    struct sembuf there[] = {{1, 3, 0}, {1, -1, 0}, {0, 0, 0}, {0, 1, 0}};
    CHECK(semop(id, there, 4) == 0);
    CHECK(value(id, 0) == 1 && value(id, 1) == 2 && told(id).sem_otime > 1000000000);
    CHECK_FAILS(operate(id, 0, 0, IPC_NOWAIT), EAGAIN);
    CHECK(operate(id, 0, -1, IPC_NOWAIT) == 0 && operate(id, 0, 0, IPC_NOWAIT) == 0);
    CHECK_FAILS(operate(id, 2, 1, 0), EFBIG);
    CHECK_FAILS(operate(id, 1, HIGHEST, 0), ERANGE);
    CHECK_FAILS(operate(-1, 0, 1, 0), EINVAL);
    CHECK_FAILS(semop(id, both, 0), EINVAL);
    CHECK_FAILS(syscall(SYS_semop, id, NULL, 1), EFAULT);
    static struct sembuf many[MOST_OPERATIONS + 1];
    CHECK(semop(id, many, MOST_OPERATIONS) == 0);
    CHECK_FAILS(semop(id, many, MOST_OPERATIONS + 1), E2BIG);
    CHECK_FAILS(operate_for(id, 0, -1, 20), EAGAIN);
    CHECK_FAILS(operate_for(id, 0, -1, -1), EINVAL);
    CHECK(operate_for(id, 1, -1, 10000) == 0);
    end(id);
}

static int shared, shared_count;

static void *taker(void *cpu)
{
    go(*(int *)cpu);
    for (int n = 0; n < ROUNDS; n++) {
        CHECK(operate(shared, 0, -1, 0) == 0);
        /* Alone. */
        int seen = shared_count;
        sched_yield();
        shared_count = seen + 1;
        CHECK(operate(shared, 0, 1, 0) == 0);
    }
    return NULL;
}

static void locks_are_held_by_one(void)
{
    pthread_t threads[3];
    shared = new_set(1);
    CHECK(set_value(shared, 0, 1) == 0);
    for (int n = 0; n < 3; n++)
        CHECK(pthread_create(&threads[n], NULL, taker, &cpus[n % count]) == 0);
    for (int n = 0; n < 3; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    CHECK_EQUAL(shared_count, 3 * ROUNDS);
    CHECK_EQUAL(value(shared, 0), 1);
    end(shared);
}

/* Two processes take turns, and the parent waits for zeros. */
static void waits_end(void)
{
    int id = new_set(3);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int n = 0; n < ROUNDS; n++) {
            struct sembuf turn[] = {{0, -1, 0}, {1, 1, 0}};
            CHECK(semop(id, turn, 2) == 0);
        }
        CHECK(operate(id, 2, 0, 0) == 0);
        _exit(7);
    }
    CHECK(set_value(id, 2, 1) == 0);
    for (int n = 0; n < ROUNDS; n++) {
        CHECK(operate(id, 0, 1, 0) == 0);
        CHECK(operate(id, 1, -1, 0) == 0);
    }
    await(id, 2, GETZCNT, 1);
    CHECK_EQUAL(semctl(id, 2, GETNCNT), 0);
    CHECK(set_value(id, 2, 0) == 0);
    REAP_EXITED(child, 7);
    CHECK_EQUAL(semctl(id, 2, GETPID), child);
    end(id);
}

/* What somebody waited for is his, whoever looks first. */
static void who_waits_is_served_in_turn(void)
{
    int id = new_set(2);
    pid_t children[2];
    for (int n = 0; n < 2; n++) {
        children[n] = fork();
        CHECK(children[n] >= 0);
        if (children[n] == 0) {
            CHECK(operate(id, 0, n == 0 ? -2 : -1, 0) == 0);
            _exit(n);
        }
        await(id, 0, GETNCNT, n + 1);
    }
    CHECK(operate(id, 0, 1, 0) == 0);
    CHECK(value(id, 0) == 0 && semctl(id, 0, GETNCNT) == 1);
    REAP_EXITED(children[1], 1);
    CHECK(operate(id, 0, 2, 0) == 0);
    CHECK_FAILS(operate(id, 0, -1, IPC_NOWAIT), EAGAIN);
    REAP_EXITED(children[0], 0);
    end(id);
}

static void ends_undo(void)
{
    int id = new_set(2);
    CHECK(set_value(id, 0, 5) == 0);
    for (int killed = 0; killed < 2; killed++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            struct sembuf both[] = {{0, -5, SEM_UNDO}, {1, 3, SEM_UNDO}};
            CHECK(semop(id, both, 2) == 0);
            CHECK(operate(id, 1, 1, 0) == 0);
            if (killed)
                raise(SIGKILL);
            _exit(1);
        }
        if (killed)
            REAP_KILLED(child, SIGKILL);
        else
            REAP_EXITED(child, 1);
        CHECK(value(id, 0) == 5 && value(id, 1) == killed + 1);
        CHECK_EQUAL(semctl(id, 0, GETPID), child);
    }
    /* Not of a value that was set since. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(operate(id, 0, -2, SEM_UNDO) == 0 && set_value(id, 0, 9) == 0);
        CHECK(operate(id, 1, HIGHEST - 2, SEM_UNDO) == 0);
        CHECK_FAILS(operate(id, 1, -HIGHEST - 1, SEM_UNDO | IPC_NOWAIT), EAGAIN);
        _exit(0);
    }
    REAP_EXITED(child, 0);
    CHECK(value(id, 0) == 9 && value(id, 1) == 2);
    end(id);
}

/* Who holds a lock dies, and another has it. */
static void ends_wake(void)
{
    int id = new_set(2);
    CHECK(set_value(id, 0, 1) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(operate(id, 0, -1, SEM_UNDO) == 0 && operate(id, 1, 1, 0) == 0);
        pause();
        _exit(0);
    }
    CHECK(operate(id, 1, -1, 0) == 0);
    pid_t other = fork();
    CHECK(other >= 0);
    if (other == 0) {
        CHECK(operate(id, 0, -1, 0) == 0);
        _exit(3);
    }
    await(id, 0, GETNCNT, 1);
    CHECK(kill(child, SIGKILL) == 0);
    REAP_EXITED(other, 3);
    REAP_KILLED(child, SIGKILL);
    CHECK_EQUAL(value(id, 0), 0);
    end(id);
}

static void removal_ends_waits(void)
{
    int id = new_set(1);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_FAILS(operate(id, 0, -1, 0), EIDRM);
        _exit(0);
    }
    await(id, 0, GETNCNT, 1);
    end(id);
    REAP_EXITED(child, 0);
}

static int counted;

static void handler(int signal)
{
    (void)signal;
    counted++;
}

/* Not begun anew after a handler, whatever its flags. */
static void signals_end_waits(void)
{
    int id = new_set(1);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    /* One that comes before the wait has begun is followed by another. */
    struct itimerval often = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    CHECK_FAILS(operate(id, 0, -1, 0), EINTR);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(counted >= 1);
    CHECK_EQUAL(semctl(id, 0, GETNCNT), 0);
    /* Nobody waits who would take it. */
    CHECK(operate(id, 0, 1, 0) == 0 && value(id, 0) == 1);
    end(id);
    /* Nor who was killed. */
    id = new_set(1);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        operate(id, 0, -1, 0);
        _exit(1);
    }
    await(id, 0, GETNCNT, 1);
    CHECK(kill(child, SIGKILL) == 0);
    REAP_KILLED(child, SIGKILL);
    CHECK(operate(id, 0, 1, 0) == 0 && value(id, 0) == 1);
    end(id);
}

/* Whether a line of a list in /proc has these as its first numbers. */
static int is_listed(const char *path, long first, long second, long third)
{
    char line[512];
    int found = 0;
    FILE *list = fopen(path, "r");
    CHECK(list != NULL && fgets(line, sizeof line, list) != NULL);
    while (fgets(line, sizeof line, list) != NULL) {
        long key, id, size;
        CHECK_EQUAL(sscanf(line, "%ld %ld %*o %ld", &key, &id, &size), 3);
        found += key == first && id == second && size == third;
    }
    fclose(list);
    return found == 1;
}

static void objects_are_listed(void)
{
    key_t key = own_key();
    int set = semget(key, 3, IPC_CREAT | 0640), queue = msgget(key, IPC_CREAT | 0600);
    int segment = shmget(key, 5000, IPC_CREAT | 0600);
    CHECK(set >= 0 && queue >= 0 && segment >= 0);
    CHECK(is_listed("/proc/sysvipc/sem", key, set, 3));
    CHECK(is_listed("/proc/sysvipc/msg", key, queue, 0));
    CHECK(is_listed("/proc/sysvipc/shm", key, segment, 5000));
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && shmctl(segment, IPC_RMID, NULL) == 0);
    end(set);
    CHECK(!is_listed("/proc/sysvipc/sem", key, set, 3));
    CHECK(!is_listed("/proc/sysvipc/shm", 0, segment, 5000));
}

int main(void)
{
    find_cpus();
    RUN(sets_are_found);
    RUN(values_are_set_and_told);
    RUN(limits_are_told);
    RUN(operations_are_one);
    RUN(locks_are_held_by_one);
    RUN(waits_end);
    RUN(who_waits_is_served_in_turn);
    RUN(ends_undo);
    RUN(ends_wake);
    RUN(removal_ends_waits);
    RUN(signals_end_waits);
    RUN(objects_are_listed);
    return 0;
}
