/* exec: what the new program is given, what it keeps, what it loses, and how it can fail. */
#include "check.h"
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>

extern char **environ;
static char self[4096];

static void start(char **arguments, char **environment)
{
    execve(self, arguments, environment);
    say("FAILED execve: %s", strerror(errno));
    _exit(1);
}

#define EXEC(environment, ...)                                                                     \
    do {                                                                                           \
        pid_t exec_child = fork();                                                                 \
        CHECK(exec_child >= 0);                                                                    \
        if (exec_child == 0)                                                                       \
            start((char *[]){"exec", __VA_ARGS__, NULL}, environment);                             \
        REAP_EXITED(exec_child, 0);                                                                \
    } while (0)

static char *no_environment[] = {NULL};

static void arguments_and_environment(void)
{
    char *environment[] = {"ONE=1", "EMPTY=", "=odd", "no equals", NULL};
    EXEC(environment, "echo", "plain", "", "with space", "\xff\x01\n");
    EXEC(no_environment, "none");
}

static void echo(int argc, char **argv)
{
    CHECK_EQUAL(argc, 6);
    CHECK(strcmp(argv[0], "exec") == 0 && strcmp(argv[2], "plain") == 0);
    CHECK(argv[3][0] == 0 && strcmp(argv[4], "with space") == 0);
    CHECK(strcmp(argv[5], "\xff\x01\n") == 0 && argv[6] == NULL);
    CHECK(strcmp(environ[0], "ONE=1") == 0 && strcmp(environ[1], "EMPTY=") == 0);
    CHECK(strcmp(environ[2], "=odd") == 0 && strcmp(environ[3], "no equals") == 0);
    CHECK(environ[4] == NULL);
    CHECK(strcmp(getenv("EMPTY"), "") == 0 && getenv("TWO") == NULL);
}

static void long_arguments(void)
{
    enum { COUNT = 200, LENGTH = 1000 };
    static char words[COUNT][LENGTH + 1];
    char *arguments[COUNT + 3] = {"exec", "long"};
    for (int i = 0; i < COUNT; i++) {
        memset(words[i], 'a' + i % 26, LENGTH);
        arguments[i + 2] = words[i];
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        start(arguments, no_environment);
    REAP_EXITED(child, 0);
    /* One string may not exceed 32 pages. */
    static char huge[(32 * 65536) + 1];
    memset(huge, 'h', sizeof huge - 1);
    CHECK_FAILS(execve(self, (char *[]){"exec", huge, NULL}, no_environment), E2BIG);
}

static void check_long(int argc, char **argv)
{
    CHECK_EQUAL(argc, 202);
    for (int i = 2; i < argc; i++) {
        CHECK_EQUAL(strlen(argv[i]), 1000);
        for (int k = 0; k < 1000; k++)
            CHECK_EQUAL(argv[i][k], 'a' + (i - 2) % 26);
    }
}

static void auxiliary_vector(void)
{
    EXEC(no_environment, "auxv");
}

static void check_auxv(void)
{
    unsigned long page = getauxval(AT_PAGESZ);
    CHECK_EQUAL(page, sysconf(_SC_PAGESIZE));
    const Elf64_Phdr *headers = (const Elf64_Phdr *)getauxval(AT_PHDR);
    CHECK(headers != NULL);
    CHECK_EQUAL(getauxval(AT_PHENT), sizeof *headers);
    unsigned long count = getauxval(AT_PHNUM);
    CHECK(count > 0 && count < 100);
    int loads = 0, found = 0;
    unsigned long entry = getauxval(AT_ENTRY);
    for (unsigned long i = 0; i < count; i++)
        if (headers[i].p_type == PT_LOAD) {
            loads++;
            found |= entry >= headers[i].p_vaddr &&
                     entry < headers[i].p_vaddr + headers[i].p_memsz;
        }
    CHECK(loads >= 2 && found);
    CHECK_EQUAL(getauxval(AT_BASE), 0);
    CHECK_EQUAL(getauxval(AT_UID), getuid());
    CHECK_EQUAL(getauxval(AT_EUID), geteuid());
    CHECK_EQUAL(getauxval(AT_GID), getgid());
    CHECK_EQUAL(getauxval(AT_EGID), getegid());
    CHECK_EQUAL(getauxval(AT_SECURE), 0);
    const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
    CHECK(random != NULL);
    int or = 0;
    for (int i = 0; i < 16; i++)
        or |= random[i];
    CHECK(or != 0);
    CHECK(getauxval(AT_EXECFN) != 0);
    CHECK(strcmp((const char *)getauxval(AT_EXECFN), "./exec-copy") == 0);
    CHECK(getauxval(AT_CLKTCK) == 100);
}

static void on_signal(int number)
{
    (void)number;
}

static void what_is_kept(void)
{
    int kept = open("kept", O_RDWR | O_CREAT | O_TRUNC, 0644);
    int lost = open("kept", O_RDONLY | O_CLOEXEC);
    CHECK(kept >= 0 && lost >= 0);
    CHECK(write(kept, "abcdef", 6) == 6);
    CHECK(lseek(kept, 3, SEEK_SET) == 3);
    CHECK(unlink("kept") == 0);
    char kept_text[16], lost_text[16], pid_text[16], parent_text[16];
    snprintf(kept_text, sizeof kept_text, "%d", kept);
    snprintf(lost_text, sizeof lost_text, "%d", lost);
    snprintf(parent_text, sizeof parent_text, "%d", getpid());
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        snprintf(pid_text, sizeof pid_text, "%d", getpid());
        signal(SIGUSR1, SIG_IGN);
        signal(SIGUSR2, on_signal);
        sigset_t blocked;
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGHUP);
        CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
        raise(SIGHUP);
        umask(027);
        CHECK(mkdir("inside", 0755) == 0 && chdir("inside") == 0);
        execve("../exec-copy",
               (char *[]){"exec", "kept", kept_text, lost_text, pid_text, parent_text, NULL},
               no_environment);
        _exit(1);
    }
    REAP_EXITED(child, 0);
    CHECK(rmdir("inside") == 0);
    close(kept);
    close(lost);
}

static void check_kept(char **argv)
{
    int kept = atoi(argv[2]), lost = atoi(argv[3]);
    char text[8] = "", directory[4096];
    CHECK_EQUAL(read(kept, text, sizeof text), 3);
    CHECK(memcmp(text, "def", 3) == 0);
    CHECK_FAILS(fcntl(lost, F_GETFD), EBADF);
    CHECK_EQUAL(getpid(), atoi(argv[4]));
    CHECK_EQUAL(getppid(), atoi(argv[5]));
    struct sigaction action;
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
    CHECK(sigaction(SIGUSR2, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    sigset_t set;
    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGHUP) == 1);
    CHECK(sigpending(&set) == 0 && sigismember(&set, SIGHUP) == 1);
    CHECK_EQUAL(umask(0), 027);
    CHECK(getcwd(directory, sizeof directory) != NULL);
    CHECK(strcmp(strrchr(directory, '/'), "/inside") == 0);
}

static void *exec_from_thread(void *unused)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    start((char *[]){"exec", "pid", pid, NULL}, no_environment);
    return unused;
}

static void *wait_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void *spin_for_ever(void *unused)
{
    for (;;)
        __asm__ volatile("" ::: "memory");
    return unused;
}

/* The calling thread becomes the process's only one and takes its id. */
static void a_thread_execs(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, wait_for_ever, NULL) == 0);
        CHECK(pthread_create(&thread, NULL, spin_for_ever, NULL) == 0);
        CHECK(pthread_create(&thread, NULL, exec_from_thread, NULL) == 0);
        wait_for_ever(NULL);
    }
    REAP_EXITED(child, 0);
}

static void make_file(const char *name, const void *bytes, size_t length, mode_t mode)
{
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);
    CHECK(file >= 0);
    CHECK_EQUAL(write(file, bytes, length), length);
    close(file);
}

static void scripts_name_their_interpreter(void)
{
    static const char text[] = "#!./exec-copy  script word \nrest\n";
    make_file("script", text, sizeof text - 1, 0755);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execve("./script", (char *[]){"zero", "one", "two", NULL}, no_environment);
        _exit(1);
    }
    REAP_EXITED(child, 0);
    CHECK(unlink("script") == 0);
}

static void check_script(int argc, char **argv)
{
    /* Interpreter, its one argument, the path as given, then the arguments after the first. */
    CHECK_EQUAL(argc, 5);
    CHECK(strcmp(argv[0], "./exec-copy") == 0 && strcmp(argv[1], "script word") == 0);
    CHECK(strcmp(argv[2], "./script") == 0);
    CHECK(strcmp(argv[3], "one") == 0 && strcmp(argv[4], "two") == 0);
    char target[4096] = "";
    CHECK(readlink("/proc/self/exe", target, sizeof target - 1) > 0);
    CHECK(target[0] == '/' && strcmp(strrchr(target, '/'), "/exec-copy") == 0);
}

static void failures_are_named(void)
{
    char *arguments[] = {"x", NULL};
    CHECK_FAILS(execve("missing", arguments, no_environment), ENOENT);
    CHECK_FAILS(execve("", arguments, no_environment), ENOENT);
    CHECK_FAILS(execve("/", arguments, no_environment), EACCES);
    CHECK_FAILS(execve("exec-copy/x", arguments, no_environment), ENOTDIR);
    make_file("plain", "text", 4, 0644);
    CHECK_FAILS(execve("plain", arguments, no_environment), EACCES);
    make_file("text", "not a program", 13, 0755);
    CHECK_FAILS(execve("text", arguments, no_environment), ENOEXEC);
    make_file("empty", "", 0, 0755);
    CHECK_FAILS(execve("empty", arguments, no_environment), ENOEXEC);
    make_file("short", "\177ELF\2\1\1", 7, 0755);
    CHECK_FAILS(execve("short", arguments, no_environment), ENOEXEC);
    static const char lost[] = "#!/no/such/interpreter\n";
    make_file("lost", lost, sizeof lost - 1, 0755);
    CHECK_FAILS(execve("lost", arguments, no_environment), ENOENT);
    CHECK_FAILS(execve(BAD, arguments, no_environment), EFAULT);
    CHECK_FAILS(execve(self, BAD, no_environment), EFAULT);
    CHECK_FAILS(execve(self, (char *[]){BAD, NULL}, no_environment), EFAULT);
    static const char *const names[] = {"plain", "text", "empty", "short", "lost"};
    for (int i = 0; i < 5; i++)
        CHECK(unlink(names[i]) == 0);
}

/* A copy of this program under a short relative name. */
static void copy_self(void)
{
    int from = open("/proc/self/exe", O_RDONLY);
    int to = open("exec-copy", O_WRONLY | O_CREAT | O_TRUNC, 0755);
    CHECK(from >= 0 && to >= 0);
    char buffer[8192];
    ssize_t n;
    while ((n = read(from, buffer, sizeof buffer)) > 0)
        CHECK_EQUAL(write(to, buffer, (size_t)n), n);
    CHECK_EQUAL(n, 0);
    close(from);
    close(to);
    strcpy(self, "./exec-copy");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        const char *what = argv[1];
        if (strcmp(what, "echo") == 0)
            echo(argc, argv);
        else if (strcmp(what, "none") == 0)
            CHECK(environ[0] == NULL);
        else if (strcmp(what, "long") == 0)
            check_long(argc, argv);
        else if (strcmp(what, "auxv") == 0)
            check_auxv();
        else if (strcmp(what, "kept") == 0)
            check_kept(argv);
        else if (strcmp(what, "pid") == 0)
            CHECK_EQUAL(getpid(), atoi(argv[2]));
        else if (strcmp(what, "script word") == 0)
            check_script(argc, argv);
        else
            return 77;
        return 0;
    }
    copy_self();
    RUN(arguments_and_environment);
    RUN(long_arguments);
    RUN(auxiliary_vector);
    RUN(what_is_kept);
    RUN(a_thread_execs);
    RUN(scripts_name_their_interpreter);
    RUN(failures_are_named);
    CHECK(unlink("exec-copy") == 0);
    return 0;
}
