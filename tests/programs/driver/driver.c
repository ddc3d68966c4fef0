/* driver MANIFEST MARK [DIRECTORY]
 *
 * Runs every program of MANIFEST in turn, so that one boot of a machine serves many tests, and
 * frames what each prints:
 *
 *     MARK begin NAME
 *     ...output and error output, as they were written...
 *     MARK end NAME exited 0          (or: killed 11, timeout 30, absent 2)
 *     MARK finished 42                after the last one
 *
 * A line of MANIFEST is `NAME SECONDS PROGRAM [ARGUMENT]...`. Each program gets a new empty
 * directory DIRECTORY/NAME as its working directory, /dev/null as its input, a small fixed
 * environment, default signal dispositions and a process group of its own; what is left of the
 * group afterwards is killed. The driver asks as little of the kernel as it can: it is the first
 * program to run on a new one. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 4096, ARGUMENTS = 64, POLL_MS = 2 };

static const char *mark;

/* One write per line, so that nothing that still prints can split a mark. */
static void print(const char *text)
{
    size_t length = strlen(text);
    while (length > 0) {
        ssize_t n = write(1, text, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(3);
        text += n;
        length -= (size_t)n;
    }
}

static void fail(const char *what, const char *which)
{
    char line[512];
    snprintf(line, sizeof line, "driver: %s %s: %s\n", what, which, strerror(errno));
    print(line);
    exit(2);
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void in_child(const char *directory, char **arguments)
{
    static char *environment[] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/", "LC_ALL=C",
                                  "TZ=UTC", NULL};
    setpgid(0, 0);
    for (int signal_number = 1; signal_number < 32; signal_number++)
        signal(signal_number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    struct rlimit stack = {8 << 20, RLIM_INFINITY}, core = {0, 0}, files = {1024, 4096};
    setrlimit(RLIMIT_STACK, &stack);
    setrlimit(RLIMIT_CORE, &core);
    setrlimit(RLIMIT_NOFILE, &files);
    if (chdir(directory) < 0)
        fail("chdir", directory);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0)
        fail("open", "/dev/null");
    dup2(null, 0);
    if (null > 2)
        close(null);
    dup2(1, 2);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    execve(arguments[0], arguments, environment);
    _exit(126);
}

/* Waits until `child` ends or `seconds` have passed; writes how it ended to `outcome`. */
static void wait_for(pid_t child, long seconds, char *outcome, size_t size)
{
    long long deadline = now_ms() + seconds * 1000LL;
    int status = 0;
    for (;;) {
        pid_t got = waitpid(child, &status, WNOHANG);
        if (got == child)
            break;
        if (got < 0 && errno != EINTR)
            fail("waitpid", "child");
        if (now_ms() >= deadline) {
            kill(-child, SIGKILL);
            kill(child, SIGKILL);
            while (waitpid(child, &status, 0) < 0 && errno == EINTR)
                ;
            snprintf(outcome, size, "timeout %ld", seconds);
            return;
        }
        struct timespec tick = {0, POLL_MS * 1000000};
        nanosleep(&tick, NULL);
    }
    kill(-child, SIGKILL);
    if (WIFEXITED(status))
        snprintf(outcome, size, "exited %d", WEXITSTATUS(status));
    else
        snprintf(outcome, size, "killed %d", WTERMSIG(status));
}

static void run(const char *base, const char *name, long seconds, char **arguments)
{
    char directory[512], line[512], outcome[64];
    snprintf(line, sizeof line, "%s begin %s\n", mark, name);
    print(line);
    snprintf(directory, sizeof directory, "%s/%s", base, name);
    if (access(arguments[0], X_OK) < 0) {
        snprintf(outcome, sizeof outcome, "absent %d", errno);
    } else {
        if (mkdir(directory, 0755) < 0)
            fail("mkdir", directory);
        pid_t child = fork();
        if (child < 0)
            fail("fork", name);
        if (child == 0)
            in_child(directory, arguments);
        wait_for(child, seconds, outcome, sizeof outcome);
        /* Orphans, when this is the first process of the system. */
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
    snprintf(line, sizeof line, "\n%s end %s %s\n", mark, name, outcome);
    print(line);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        print("usage: driver MANIFEST MARK [DIRECTORY]\n");
        return 2;
    }
    mark = argv[2];
    FILE *manifest = fopen(argv[1], "re");
    if (!manifest)
        fail("open", argv[1]);
    static char line[LINE];
    int count = 0;
    while (fgets(line, sizeof line, manifest)) {
        char *arguments[ARGUMENTS + 1], *rest = line;
        int n = 0;
        for (char *word; n < ARGUMENTS && (word = strtok_r(rest, " \n", &rest));)
            arguments[n++] = word;
        arguments[n] = NULL;
        if (n == 0)
            continue;
        if (n < 3) {
            errno = EINVAL;
            fail("manifest line", arguments[0]);
        }
        run(argc > 3 ? argv[3] : ".", arguments[0], atol(arguments[1]), arguments + 2);
        count++;
    }
    fclose(manifest);
    snprintf(line, sizeof line, "%s finished %d\n", mark, count);
    print(line);
    return 0;
}
