/* System V message queues: by number and by key, messages by their kinds, full ones, waits, their end. */
#include "check.h"
#include "cpus.h"
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/time.h>

/* MSG_EXCEPT, which not every libc names. */
enum { EXCEPT = 020000 };

enum { LARGEST = 8192, MOST = 16384, ROUNDS = 60 };

struct message {
    long kind;
    char text[LARGEST + 1];
};

static struct message out, in;

/* A key that is this program's own. */
static key_t own_key(void)
{
    return 0x4e000000 | (getpid() & 0xffffff);
}

static int new_queue(void)
{
    int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    CHECK(id >= 0);
    return id;
}

static void end(int id)
{
    CHECK(msgctl(id, IPC_RMID, NULL) == 0);
}

static struct msqid_ds told(int id)
{
    struct msqid_ds facts;
    CHECK(msgctl(id, IPC_STAT, &facts) == 0);
    return facts;
}

static void put(int id, long kind, const char *text)
{
    out.kind = kind;
    strcpy(out.text, text);
    CHECK(msgsnd(id, &out, strlen(text), IPC_NOWAIT) == 0);
}

static void expect(int id, long kind, int flags, long got_kind, const char *text)
{
    memset(&in, 0, sizeof in);
    CHECK_EQUAL(msgrcv(id, &in, LARGEST, kind, IPC_NOWAIT | flags), (long)strlen(text));
    CHECK_EQUAL(in.kind, got_kind);
    CHECK(strcmp(in.text, text) == 0);
}

static void queues_are_found(void)
{
    key_t key = own_key();
    CHECK_FAILS(msgget(key, 0600), ENOENT);
    int id = msgget(key, IPC_CREAT | IPC_EXCL | 0640), other = new_queue();
    CHECK(id >= 0 && other != id);
    CHECK_EQUAL(msgget(key, 0), id);
    CHECK_EQUAL(msgget(key, IPC_CREAT | 0600), id);
    CHECK_FAILS(msgget(key, IPC_CREAT | IPC_EXCL), EEXIST);
    struct msqid_ds facts = told(id);
    CHECK(facts.msg_qnum == 0 && facts.msg_lspid == 0 && facts.msg_lrpid == 0);
    CHECK(facts.msg_stime == 0 && facts.msg_rtime == 0 && facts.msg_ctime > 1000000000);
    CHECK((facts.msg_perm.mode & 0777) == 0640 && facts.msg_perm.uid == getuid());
    CHECK_EQUAL(facts.msg_qbytes, MOST);
    facts.msg_perm.mode = 0600;
    CHECK(msgctl(id, IPC_SET, &facts) == 0);
    CHECK_EQUAL(told(id).msg_perm.mode & 0777, 0600);
    end(id);
    end(other);
    CHECK_FAILS(msgctl(id, IPC_STAT, &facts), EINVAL);
    CHECK_FAILS(msgctl(-1, IPC_RMID, NULL), EINVAL);
    CHECK_FAILS(msgget(key, 0600), ENOENT);
}

static void messages_come_by_kind(void)
{
    int id = new_queue();
    put(id, 5, "five");
    put(id, 3, "three");
    put(id, 3, "third");
    put(id, 9, "");
    struct msqid_ds facts = told(id);
    CHECK(facts.msg_qnum == 4 && facts.msg_lspid == getpid() && facts.msg_stime > 1000000000);
    CHECK_EQUAL(msgrcv(id, &in, LARGEST, 4, IPC_NOWAIT), -1);
    CHECK_EQUAL(errno, ENOMSG);
    CHECK_FAILS(msgrcv(id, &in, LARGEST, -2, IPC_NOWAIT), ENOMSG);
    expect(id, -7, 0, 3, "three");
    expect(id, 5, EXCEPT, 3, "third");
    expect(id, 9, 0, 9, "");
    expect(id, 0, 0, 5, "five");
    facts = told(id);
    CHECK(facts.msg_qnum == 0 && facts.msg_lrpid == getpid() && facts.msg_rtime > 1000000000);
    end(id);
}

static void sizes_are_kept(void)
{
    int id = new_queue();
    out.kind = 0;
    CHECK_FAILS(msgsnd(id, &out, 1, 0), EINVAL);
    out.kind = 1;
    CHECK_FAILS(msgsnd(id, &out, LARGEST + 1, 0), EINVAL);
    CHECK_FAILS(msgsnd(-1, &out, 1, 0), EINVAL);
    CHECK_FAILS(msgrcv(id, &in, (size_t)-1, 0, IPC_NOWAIT), EINVAL);
    put(id, 1, "too long");
    CHECK_FAILS(msgrcv(id, &in, 3, 0, 0), E2BIG);
    memset(&in, 'x', sizeof in);
    CHECK_EQUAL(msgrcv(id, &in, 3, 0, MSG_NOERROR), 3);
    CHECK(memcmp(in.text, "toox", 4) == 0 && told(id).msg_qnum == 0);
    for (int n = 0; n < MOST / LARGEST; n++)
        CHECK(msgsnd(id, &out, LARGEST, IPC_NOWAIT) == 0);
    CHECK_FAILS(msgsnd(id, &out, 1, IPC_NOWAIT), EAGAIN);
    CHECK(msgsnd(id, &out, 0, IPC_NOWAIT) == 0);
    CHECK_EQUAL(msgrcv(id, &in, LARGEST, 0, 0), LARGEST);
    CHECK(msgsnd(id, &out, 1, IPC_NOWAIT) == 0);
    end(id);
}

static int shared, counted;

static void *sender(void *unused)
{
    (void)unused;
    go(cpus[count - 1]);
    struct message *mine = calloc(1, sizeof *mine);
    for (int n = 1; n <= ROUNDS; n++) {
        mine->kind = 2;
        memset(mine->text, n, 900);
        CHECK(msgsnd(shared, mine, 900, 0) == 0);
    }
    free(mine);
    return NULL;
}

/* More than goes in at once: both sides wait. Each sender's messages come in order. */
static void both_sides_wait(void)
{
    pthread_t thread;
    shared = new_queue();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int n = 1; n <= ROUNDS; n++) {
            out.kind = 1;
            memset(out.text, n, 700);
            CHECK(msgsnd(shared, &out, 700, 0) == 0);
        }
        _exit(0);
    }
    CHECK(pthread_create(&thread, NULL, sender, NULL) == 0);
    int next[3] = {0};
    for (int n = 0; n < 2 * ROUNDS; n++) {
        long len = msgrcv(shared, &in, LARGEST, n % 3 ? 0 : -2, 0);
        CHECK((in.kind == 1 && len == 700) || (in.kind == 2 && len == 900));
        CHECK_EQUAL(in.text[0], ++next[in.kind]);
        CHECK_EQUAL(in.text[len - 1], next[in.kind]);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    REAP_EXITED(child, 0);
    CHECK(next[1] == ROUNDS && next[2] == ROUNDS && told(shared).msg_qnum == 0);
    end(shared);
}

static void removal_ends_waits(void)
{
    int id = new_queue();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_FAILS(msgrcv(id, &in, LARGEST, 1, 0), EIDRM);
        _exit(0);
    }
    put(id, 2, "for nobody");
    await_sleep(child, child);
    end(id);
    REAP_EXITED(child, 0);
}

static void handler(int signal)
{
    (void)signal;
    counted++;
}

/* Not begun anew after a handler, whatever its flags. */
static void signals_end_waits(void)
{
    int id = new_queue();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    /* One that comes before the wait has begun is followed by another. */
    struct itimerval often = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    CHECK_FAILS(msgrcv(id, &in, LARGEST, 0, 0), EINTR);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(counted >= 1);
    put(id, 1, "still good");
    expect(id, 0, 0, 1, "still good");
    end(id);
}

/* What ipcs asks for: limits, what there is of all, and each by its place. */
static void all_are_told_of(void)
{
    struct msginfo limits, before, after;
    int found = 0;
    int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    CHECK(id >= 0);
    int highest = msgctl(0, IPC_INFO, (void *)&limits);
    CHECK(highest >= 0 && limits.msgmax >= 8192 && limits.msgmnb >= 16384 && limits.msgmni >= 16);
    CHECK(limits.msgssz == 16 && limits.msgseg == 0xffff);
    CHECK_EQUAL(msgctl(0, MSG_INFO, (void *)&before), highest);
    put(id, 1, "four");
    CHECK(msgctl(0, MSG_INFO, (void *)&after) == highest && after.msgmni == limits.msgmni);
    CHECK(after.msgpool == before.msgpool && after.msgpool >= 1);
    CHECK(after.msgmap == before.msgmap + 1 && after.msgtql > before.msgtql);
    for (int place = 0; place <= highest; place++) {
        struct msqid_ds facts;
        if (msgctl(place, MSG_STAT, &facts) == id)
            found += facts.msg_qnum == 1;
    }
    CHECK_EQUAL(found, 1);
    CHECK_FAILS(msgctl(-1, IPC_INFO, (void *)&limits), EINVAL);
    CHECK_FAILS(msgctl(0, IPC_INFO, NULL), EFAULT);
    CHECK_FAILS(msgctl(highest + 1, MSG_STAT, (void *)&limits), EINVAL);
    end(id);
}

int main(void)
{
    find_cpus();
    RUN(queues_are_found);
    RUN(messages_come_by_kind);
    RUN(sizes_are_kept);
    RUN(both_sides_wait);
    RUN(removal_ends_waits);
    RUN(signals_end_waits);
    RUN(all_are_told_of);
    return 0;
}
