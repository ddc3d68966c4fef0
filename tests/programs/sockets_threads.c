/* Sockets between threads and processes that are on different CPUs: who waits on one CPU is woken by
 * what is done on another. Every CPU of the mask is the near side once, the next one the far side. */
#include "sockets.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>

static int cpus[CPU_SETSIZE], count, near_cpu, far_cpu;

static void find_cpus(void)
{
    cpu_set_t all;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all))
            cpus[count++] = cpu;
    CHECK(count > 0);
}

/* To a CPU of another instruction set a thread goes at the next point where it can, not at once. */
static void go(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    for (int tries = 0; sched_getcpu() != cpu && tries < 1000; tries++)
        ;
    CHECK_EQUAL(sched_getcpu(), cpu);
}

/* What the far thread does, with a file of its own. */
struct far {
    void (*body)(int file);
    int file;
    pthread_t thread;
};

static void *on_the_far_cpu(void *argument)
{
    struct far *far = argument;
    go(far_cpu);
    far->body(far->file);
    return NULL;
}

static void begin(struct far *far, void (*body)(int), int file)
{
    far->body = body;
    far->file = file;
    CHECK(pthread_create(&far->thread, NULL, on_the_far_cpu, far) == 0);
}

static void end(struct far *far)
{
    CHECK(pthread_join(far->thread, NULL) == 0);
}

/* Room for all of a message, so that the far side is not waited for where it must not be. */
enum { LONGEST = 20000 };

static void send_whole(int file, const void *bytes, size_t length)
{
    CHECK_EQUAL(send(file, bytes, length, 0), length);
}

static void receive_whole(int file, void *bytes, size_t length)
{
    CHECK_EQUAL(recv(file, bytes, length, MSG_WAITALL), length);
}

static void answer_all(int file)
{
    static __thread char bytes[LONGEST];
    for (int length;;) {
        ssize_t got = recv(file, &length, sizeof length, MSG_WAITALL);
        if (got == 0)
            break;
        CHECK(got == sizeof length && length <= LONGEST);
        receive_whole(file, bytes, (size_t)length);
        for (int n = 0; n < length; n++)
            bytes[n] = (char)(bytes[n] + 1);
        send_whole(file, bytes, (size_t)length);
    }
    CHECK(shutdown(file, SHUT_WR) == 0);
}

static void streams_carry_bytes_both_ways(void)
{
    static char bytes[LONGEST], back[LONGEST];
    struct far far;
    int pair[2];
    pair_of(SOCK_STREAM, pair);
    begin(&far, answer_all, pair[1]);
    for (int length = 1; length <= LONGEST; length = length * 3 + 7) {
        for (int n = 0; n < length; n++)
            bytes[n] = (char)(n * 7 + length);
        send_whole(pair[0], &length, sizeof length);
        send_whole(pair[0], bytes, (size_t)length);
        receive_whole(pair[0], back, (size_t)length);
        for (int n = 0; n < length; n++)
            CHECK(back[n] == (char)(bytes[n] + 1));
    }
    CHECK(shutdown(pair[0], SHUT_WR) == 0);
    CHECK_EQUAL(recv(pair[0], back, 1, 0), 0);
    end(&far);
    close_pair(pair);
}

/* Connects, says its number, and reads what is written behind a file that it is sent. */
static void connect_and_take(int number)
{
    struct sockaddr_un at = address("server");
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    pause_ms(20);
    CHECK(client >= 0 && connect(client, ADDRESS(at)) == 0);
    send_whole(client, &number, sizeof number);
    int told, file = receive_file(client, 0, &told);
    char text[8];
    CHECK_EQUAL(told, 0);
    CHECK(read(file, text, sizeof text) == 7 && memcmp(text, "through", 7) == 0);
    CHECK(close(file) == 0 && close(client) == 0);
}

static int listener(int backlog)
{
    struct sockaddr_un at = address("server");
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(server >= 0 && bind(server, ADDRESS(at)) == 0 && listen(server, backlog) == 0);
    return server;
}

static void close_listener(int server)
{
    CHECK(close(server) == 0 && unlink("server") == 0);
}

/* Takes one connection, and gives it the end of a pipe. */
static void serve_one(int server, int number, pid_t who)
{
    int ends[2], told;
    int client = accept(server, NULL, NULL);
    CHECK(client >= 0 && pipe(ends) == 0);
    receive_whole(client, &told, sizeof told);
    CHECK_EQUAL(told, number);
    struct ucred from;
    socklen_t length = sizeof from;
    CHECK(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &from, &length) == 0 && from.pid == who);
    CHECK_EQUAL(send_file(client, ends[0], "f"), 1);
    CHECK(close(ends[0]) == 0);
    pause_ms(10);
    CHECK_EQUAL(write(ends[1], "through", 7), 7);
    CHECK_EQUAL(recv(client, &told, sizeof told, 0), 0);
    CHECK(close(client) == 0 && close(ends[1]) == 0);
}

static void connections_are_accepted_and_files_come_along(void)
{
    struct far far;
    int server = listener(2);
    begin(&far, connect_and_take, 11);
    serve_one(server, 11, getpid());
    end(&far);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        go(far_cpu);
        connect_and_take(12);
        _exit(0);
    }
    serve_one(server, 12, child);
    REAP_EXITED(child, 0);
    close_listener(server);
}

enum { PAIRS = 3, TURNS = 4 };
static int pairs[PAIRS][2];

/* Writes to the pairs in turn, each time when the last was taken. */
static void write_in_turn(int acknowledged)
{
    char byte;
    for (int turn = 0; turn < TURNS * PAIRS; turn++) {
        char text = (char)('a' + turn);
        send_whole(pairs[turn * 2 % PAIRS][1], &text, 1);
        receive_whole(acknowledged, &byte, 1);
        if (turn % 3 == 0)
            pause_ms(5);
    }
}

static void wait_in_turn(int (*next)(void))
{
    struct far far;
    int acknowledge[2];
    pair_of(SOCK_SEQPACKET, acknowledge);
    begin(&far, write_in_turn, acknowledge[1]);
    for (int turn = 0; turn < TURNS * PAIRS; turn++) {
        int ready = next();
        char text;
        CHECK_EQUAL(ready, turn * 2 % PAIRS);
        receive_whole(pairs[ready][0], &text, 1);
        CHECK_EQUAL(text, 'a' + turn);
        send_whole(acknowledge[0], "", 1);
    }
    end(&far);
    close_pair(acknowledge);
}

static int next_by_poll(void)
{
    struct pollfd all[PAIRS];
    for (int n = 0; n < PAIRS; n++)
        all[n] = (struct pollfd){.fd = pairs[n][0], .events = POLLIN};
    CHECK_EQUAL(poll(all, PAIRS, -1), 1);
    for (int n = 0; n < PAIRS; n++)
        if (all[n].revents == POLLIN)
            return n;
    return -1;
}

static int set;

static int next_by_epoll(void)
{
    struct epoll_event event;
    CHECK_EQUAL(epoll_wait(set, &event, 1, -1), 1);
    CHECK_EQUAL(event.events, EPOLLIN);
    return event.data.fd;
}

static void polls_see_what_others_send(void)
{
    for (int n = 0; n < PAIRS; n++)
        pair_of(SOCK_STREAM, pairs[n]);
    wait_in_turn(next_by_poll);
    for (int n = 0; n < PAIRS; n++)
        close_pair(pairs[n]);
}

static void edges_are_told_wherever_they_come_from(void)
{
    set = epoll_create1(0);
    CHECK(set >= 0);
    for (int n = 0; n < PAIRS; n++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = n};
        pair_of(SOCK_STREAM, pairs[n]);
        CHECK(epoll_ctl(set, EPOLL_CTL_ADD, pairs[n][0], &event) == 0);
    }
    wait_in_turn(next_by_epoll);
    struct epoll_event past[PAIRS];
    CHECK_EQUAL(epoll_wait(set, past, PAIRS, 0), 0);
    for (int n = 0; n < PAIRS; n++)
        close_pair(pairs[n]);
    CHECK_EQUAL(epoll_wait(set, past, PAIRS, 0), 0);
    CHECK(close(set) == 0);
}

static __thread volatile sig_atomic_t mine;
static int taken;

static void note(int number)
{
    (void)number;
    mine++;
    __atomic_fetch_add(&taken, 1, __ATOMIC_SEQ_CST);
}

static void handle(int number, int flags)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = flags};
    CHECK(sigaction(number, &action, NULL) == 0);
}

static void fill(int file)
{
    static __thread char bytes[5000];
    while (send(file, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    CHECK_EQUAL(errno, EAGAIN);
}

static void close_late(int file)
{
    pause_ms(20);
    CHECK(close(file) == 0);
}

/* SIGPIPE is for the thread that sends, wherever it is. */
static void a_sender_learns_that_the_other_end_is_gone(void)
{
    struct far far;
    int pair[2];
    handle(SIGPIPE, 0);
    mine = 0;
    pair_of(SOCK_STREAM, pair);
    fill(pair[0]);
    begin(&far, close_late, pair[1]);
    /* What was not received is lost. Who waits is told that; who comes late, on a busy machine, is not. */
    CHECK(send(pair[0], "x", 1, 0) == -1);
    CHECK(errno == ECONNRESET ? mine == 0 : errno == EPIPE && mine == 1);
    mine = 0;
    CHECK_FAILS(send(pair[0], "x", 1, 0), EPIPE);
    CHECK_EQUAL(mine, 1);
    CHECK_FAILS(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQUAL(mine, 1);
    end(&far);
    CHECK(close(pair[0]) == 0);
    pair_of(SOCK_SEQPACKET, pair);
    begin(&far, close_late, pair[1]);
    char byte;
    CHECK_EQUAL(recv(pair[0], &byte, 1, 0), 0);
    end(&far);
    CHECK(close(pair[0]) == 0);
}

static void shut_late(int file)
{
    pause_ms(20);
    CHECK(shutdown(file, SHUT_RDWR) == 0);
}

static void who_waits_sees_a_shutdown(void)
{
    struct far far;
    int pair[2];
    char byte;
    pair_of(SOCK_STREAM, pair);
    begin(&far, shut_late, pair[0]);
    CHECK_EQUAL(recv(pair[0], &byte, 1, 0), 0);
    end(&far);
    struct pollfd one = {.fd = pair[1], .events = POLLIN};
    CHECK(poll(&one, 1, 0) == 1 && one.revents == (POLLIN | POLLHUP));
    close_pair(pair);
    /* A listener that is shut down has no connection to give any more. */
    int server = listener(1);
    begin(&far, shut_late, server);
    CHECK_FAILS(accept(server, NULL, NULL), EINVAL);
    end(&far);
    close_listener(server);
}

static pthread_t target;
static int done;

/* Until it was noticed: the first may come before the wait begins. */
static void signal_repeatedly(int file)
{
    (void)file;
    while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST)) {
        pause_ms(5);
        CHECK(pthread_kill(target, SIGUSR1) == 0);
    }
}

static int full[2];

static ssize_t wait_to_receive(void)
{
    char byte;
    return recv(full[1], &byte, 1, 0);
}

static ssize_t wait_to_send(void)
{
    return send(full[0], "x", 1, 0);
}

static int waiting_server;

static ssize_t wait_to_accept(void)
{
    return accept(waiting_server, NULL, NULL);
}

static ssize_t wait_to_connect(void)
{
    struct sockaddr_un at = address("server");
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    ssize_t result = connect(client, ADDRESS(at));
    int error = errno;
    CHECK(close(client) == 0);
    errno = error;
    return result;
}

static void interrupt_one(ssize_t (*wait)(void))
{
    struct far far;
    mine = 0;
    done = 0;
    begin(&far, signal_repeatedly, -1);
    CHECK_FAILS(wait(), EINTR);
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    end(&far);
    CHECK(mine >= 1);
}

static void signals_interrupt_waits(void)
{
    handle(SIGUSR1, 0);
    target = pthread_self();
    pair_of(SOCK_STREAM, full);
    interrupt_one(wait_to_receive);
    fill(full[0]);
    interrupt_one(wait_to_send);
    close_pair(full);
    waiting_server = listener(0);
    interrupt_one(wait_to_accept);
    struct sockaddr_un at = address("server");
    int first = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(first, ADDRESS(at)) == 0);
    interrupt_one(wait_to_connect);
    CHECK(close(first) == 0);
    close_listener(waiting_server);
}

static void signal_then_send(int file)
{
    /* One that comes before the last was taken would be the same. */
    for (int n = 0; n < 3; n++) {
        pause_ms(10);
        CHECK(pthread_kill(target, SIGUSR1) == 0);
        while (__atomic_load_n(&taken, __ATOMIC_SEQ_CST) <= n)
            pause_ms(1);
    }
    send_whole(file, "late", 4);
}

static void restarted_waits_go_on(void)
{
    struct far far;
    int pair[2];
    char text[4];
    handle(SIGUSR1, SA_RESTART);
    mine = 0;
    __atomic_store_n(&taken, 0, __ATOMIC_SEQ_CST);
    pair_of(SOCK_STREAM, pair);
    begin(&far, signal_then_send, pair[1]);
    CHECK(recv(pair[0], text, 4, MSG_WAITALL) == 4 && memcmp(text, "late", 4) == 0);
    end(&far);
    CHECK_EQUAL(mine, 3);
    close_pair(pair);
}

static void take_all_late(int file)
{
    char bytes[4096];
    pause_ms(20);
    ssize_t got;
    while ((got = recv(file, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        ;
    CHECK(got == -1 && errno == EAGAIN);
}

static void who_does_not_wait_is_told_so(void)
{
    struct far far;
    int pair[2];
    char byte;
    pair_of(SOCK_STREAM | SOCK_NONBLOCK, pair);
    CHECK_FAILS(recv(pair[0], &byte, 1, 0), EAGAIN);
    fill(pair[0]);
    struct pollfd one = {.fd = pair[0], .events = POLLOUT};
    CHECK_EQUAL(poll(&one, 1, 0), 0);
    begin(&far, take_all_late, pair[1]);
    CHECK(poll(&one, 1, -1) == 1 && one.revents == POLLOUT);
    CHECK_EQUAL(send(pair[0], "x", 1, 0), 1);
    end(&far);
    close_pair(pair);
    struct timeval soon = {.tv_usec = 20000};
    pair_of(SOCK_STREAM, pair);
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
    long long before = now_ms();
    CHECK_FAILS(recv(pair[0], &byte, 1, 0), EAGAIN);
    CHECK(now_ms() - before >= 19);
    close_pair(pair);
}

enum { DATAGRAMS = 30 };

/* Takes datagrams from whoever sends, and sends each back to where it came from. */
static void send_back(int file)
{
    for (int n = 0; n < DATAGRAMS; n++) {
        struct sockaddr_un from;
        socklen_t length = sizeof from;
        int number;
        CHECK_EQUAL(recvfrom(file, &number, sizeof number, 0, (struct sockaddr *)&from, &length), 4);
        CHECK_EQUAL(number, n);
        if (n == 0)
            pause_ms(20);
        CHECK_EQUAL(sendto(file, &number, sizeof number, 0, (struct sockaddr *)&from, length), 4);
    }
}

static void datagrams_find_their_way(void)
{
    struct sockaddr_un one_at = address("one"), two_at = address("two");
    struct far far;
    int one = socket(AF_UNIX, SOCK_DGRAM, 0), two = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(bind(one, ADDRESS(one_at)) == 0 && bind(two, ADDRESS(two_at)) == 0);
    begin(&far, send_back, two);
    /* More than may wait there: the sender waits, too, and has room for as many answers. */
    int sent = 0, taken = 0;
    while (taken < DATAGRAMS) {
        for (; sent < DATAGRAMS && sent < taken + 10; sent++)
            CHECK_EQUAL(sendto(one, &sent, sizeof sent, 0, ADDRESS(two_at)), 4);
        int number;
        CHECK(recv(one, &number, sizeof number, 0) == 4 && number == taken++);
    }
    end(&far);
    CHECK(close(one) == 0 && close(two) == 0 && unlink("one") == 0 && unlink("two") == 0);
}

enum { CLIENTS = 4, ROUNDS = 10 };

static void *ask(void *argument)
{
    struct sockaddr_un at = address("server");
    int number = (int)(intptr_t)argument, client = socket(AF_UNIX, SOCK_STREAM, 0);
    go(cpus[number % count]);
    CHECK(connect(client, ADDRESS(at)) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        int answer, question = number * 100 + round;
        send_whole(client, &question, sizeof question);
        receive_whole(client, &answer, sizeof answer);
        CHECK_EQUAL(answer, question + 1);
    }
    CHECK(close(client) == 0);
    return NULL;
}

/* One thread serves all others, and waits for all of them at once. */
static void a_server_has_clients_everywhere(void)
{
    pthread_t clients[CLIENTS];
    int server = listener(CLIENTS), left = CLIENTS, served = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = server};
    int all = epoll_create1(0);
    CHECK(all >= 0 && epoll_ctl(all, EPOLL_CTL_ADD, server, &event) == 0);
    for (int n = 0; n < CLIENTS; n++)
        CHECK(pthread_create(&clients[n], NULL, ask, (void *)(intptr_t)n) == 0);
    while (left > 0) {
        CHECK_EQUAL(epoll_wait(all, &event, 1, -1), 1);
        int file = event.data.fd, number;
        if (file == server) {
            file = accept(server, NULL, NULL);
            event = (struct epoll_event){.events = EPOLLIN, .data.fd = file};
            CHECK(file >= 0 && epoll_ctl(all, EPOLL_CTL_ADD, file, &event) == 0);
            continue;
        }
        ssize_t got = recv(file, &number, sizeof number, 0);
        if (got == 0) {
            CHECK(close(file) == 0);
            left--;
            continue;
        }
        CHECK_EQUAL(got, sizeof number);
        number++;
        served++;
        send_whole(file, &number, sizeof number);
    }
    CHECK_EQUAL(served, CLIENTS * ROUNDS);
    for (int n = 0; n < CLIENTS; n++)
        CHECK(pthread_join(clients[n], NULL) == 0);
    CHECK(close(all) == 0);
    close_listener(server);
}

#define FROM_EVERY_CPU(topic)                                                                      \
    do {                                                                                           \
        for (int n = 0; n < count; n++) {                                                          \
            near_cpu = cpus[n], far_cpu = cpus[(n + 1) % count];                                   \
            go(near_cpu);                                                                          \
            topic();                                                                               \
        }                                                                                          \
        say("%s: ok", #topic);                                                                     \
    } while (0)

int main(void)
{
    find_cpus();
    FROM_EVERY_CPU(streams_carry_bytes_both_ways);
    FROM_EVERY_CPU(connections_are_accepted_and_files_come_along);
    FROM_EVERY_CPU(polls_see_what_others_send);
    FROM_EVERY_CPU(edges_are_told_wherever_they_come_from);
    FROM_EVERY_CPU(a_sender_learns_that_the_other_end_is_gone);
    FROM_EVERY_CPU(who_waits_sees_a_shutdown);
    FROM_EVERY_CPU(signals_interrupt_waits);
    FROM_EVERY_CPU(restarted_waits_go_on);
    FROM_EVERY_CPU(who_does_not_wait_is_told_so);
    FROM_EVERY_CPU(datagrams_find_their_way);
    FROM_EVERY_CPU(a_server_has_clients_everywhere);
    return 0;
}
