/* /proc: what it tells about this process, its threads, its children and the system. */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static char *slurp(const char *format, int pid)
{
    static char text[1 << 18];
    char path[128];
    size_t length = 0;
    snprintf(path, sizeof path, format, pid);
    int file = open(path, O_RDONLY);
    if (file < 0) {
        say("FAILED open %s: %s", format, strerror(errno));
        _exit(1);
    }
    /* In odd pieces: contents must not shift between reads. */
    for (ssize_t n; (n = read(file, text + length, 1013)) != 0; length += (size_t)n)
        CHECK(n > 0 && length + 2048 < sizeof text);
    close(file);
    text[length] = 0;
    return text;
}

static void the_executable(void)
{
    char target[4096];
    struct stat one, two;
    ssize_t length = readlink("/proc/self/exe", target, sizeof target - 1);
    CHECK(length > 0 && target[0] == '/');
    target[length] = 0;
    const char *base = strrchr(target, '/');
    CHECK(strcmp(base, "/proc") == 0);
    CHECK(stat(target, &one) == 0 && stat("/proc/self/exe", &two) == 0);
    CHECK(one.st_ino == two.st_ino && one.st_size == two.st_size);
    char magic[4];
    int file = open("/proc/self/exe", O_RDONLY);
    CHECK(file >= 0 && read(file, magic, 4) == 4 && memcmp(magic, "\177ELF", 4) == 0);
    close(file);
}

static void self_is_this_process(void)
{
    char target[32] = "", expected[32];
    snprintf(expected, sizeof expected, "%d", getpid());
    CHECK(readlink("/proc/self", target, sizeof target - 1) > 0);
    CHECK(strcmp(target, expected) == 0);
    IN_CHILD({
        char mine[32] = "";
        snprintf(expected, sizeof expected, "%d", getpid());
        CHECK(readlink("/proc/self", mine, sizeof mine - 1) > 0);
        CHECK(strcmp(mine, expected) == 0);
    });
}

static void stat_fields(void)
{
    CHECK(prctl(PR_SET_NAME, "od) d (name") == 0);
    char *text = slurp("/proc/%d/stat", getpid()), *end = strrchr(text, ')'), state;
    int pid, parent, group, session;
    CHECK(end != NULL && sscanf(text, "%d (", &pid) == 1);
    CHECK_EQUAL(pid, getpid());
    CHECK(strncmp(strchr(text, '('), "(od) d (name)", 13) == 0);
    CHECK(sscanf(end + 1, " %c %d %d %d", &state, &parent, &group, &session) == 4);
    CHECK_EQUAL(state, 'R');
    CHECK_EQUAL(parent, getppid());
    CHECK_EQUAL(group, getpgrp());
    CHECK_EQUAL(session, getsid(0));
    int fields = 2;
    for (char *word = strtok(end + 1, " \n"); word; word = strtok(NULL, " \n"))
        fields++;
    CHECK_EQUAL(fields, 52);
    CHECK(strcmp(slurp("/proc/%d/comm", getpid()), "od) d (name\n") == 0);
    CHECK(prctl(PR_SET_NAME, "proc") == 0);
}

static long field(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            return strtol(line + length + 1, NULL, 10);
        if (!*line)
            break;
    }
    say("FAILED no line %s", name);
    _exit(1);
}

static void *sleep_long(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void status_lines(void)
{
    char *text = slurp("/proc/%d/status", getpid());
    CHECK(strncmp(text, "Name:\tproc\n", 11) == 0);
    CHECK_EQUAL(field(text, "Pid"), getpid());
    CHECK_EQUAL(field(text, "Tgid"), getpid());
    CHECK_EQUAL(field(text, "PPid"), getppid());
    CHECK_EQUAL(field(text, "Threads"), 1);
    CHECK_EQUAL(field(text, "Uid"), getuid());
    CHECK(field(text, "VmRSS") > 0);
    CHECK(field(text, "VmSize") >= field(text, "VmRSS"));
    CHECK(strstr(text, "\nState:\tR (running)\n") != NULL);
    IN_CHILD({
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, sleep_long, NULL) == 0);
        CHECK(pthread_create(&thread, NULL, sleep_long, NULL) == 0);
        CHECK_EQUAL(field(slurp("/proc/self/status", 0), "Threads"), 3);
        int threads = 0;
        DIR *tasks = opendir("/proc/self/task");
        CHECK(tasks != NULL);
        for (struct dirent *entry; (entry = readdir(tasks));)
            threads += entry->d_name[0] != '.';
        closedir(tasks);
        CHECK_EQUAL(threads, 3);
    });
}

static void memory_shows_in_status(void)
{
    size_t size = 8 << 20;
    long before = field(slurp("/proc/self/status", 0), "VmRSS");
    char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    for (size_t at = 0; at < size; at += 4096)
        area[at] = 1;
    long after = field(slurp("/proc/self/status", 0), "VmRSS");
    CHECK(after - before >= 7 * 1024 && after - before <= 10 * 1024);
    CHECK(munmap(area, size) == 0);
    CHECK(field(slurp("/proc/self/status", 0), "VmRSS") < after - 6 * 1024);
}

static char data_word = 1;

/* The line of maps that holds an address: its permissions and name. */
static int find(const void *address, char permissions[5], char name[256])
{
    char *text = slurp("/proc/self/maps", 0);
    unsigned long last = 0;
    int found = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long low, high, offset, inode;
        char these[5], device[16];
        int used = 0;
        CHECK(sscanf(line, "%lx-%lx %4s %lx %15s %lu %n", &low, &high, these, &offset, device,
                     &inode, &used) >= 6);
        CHECK(low >= last && high > low && low % 4096 == 0 && high % 4096 == 0);
        last = high;
        if ((uintptr_t)address >= low && (uintptr_t)address < high) {
            strcpy(permissions, these);
            snprintf(name, 256, "%s", line + used);
            found = 1;
        }
    }
    return found;
}

static void maps_list_the_areas(void)
{
    char permissions[5], name[256];
    int local, file = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0 && ftruncate(file, 8192) == 0);
    char *shared = mmap(NULL, 8192, PROT_READ, MAP_SHARED, file, 0);
    char *private = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && private != MAP_FAILED);
    CHECK(find((void *)(uintptr_t)maps_list_the_areas, permissions, name));
    CHECK(strcmp(permissions, "r-xp") == 0 && strstr(name, "/proc") != NULL);
    CHECK(find(&data_word, permissions, name));
    CHECK(strcmp(permissions, "rw-p") == 0);
    CHECK(find(&local, permissions, name));
    CHECK(strcmp(permissions, "rw-p") == 0 && strcmp(name, "[stack]") == 0);
    CHECK(find(shared, permissions, name));
    CHECK(strcmp(permissions, "r--s") == 0 && strstr(name, "/mapped") != NULL);
    CHECK(find(private, permissions, name));
    CHECK(strcmp(permissions, "---p") == 0);
    CHECK(munmap(shared, 8192) == 0);
    CHECK(!find(shared, permissions, name));
    CHECK(munmap(private, 4096) == 0);
    close(file);
    CHECK(unlink("mapped") == 0);
}

/* What smaps says of the area that holds an address, in KiB; -1 if there is no such line. */
static long in_smaps(const void *address, const char *name)
{
    char *text = slurp("/proc/self/smaps", 0);
    int inside = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long low, high;
        if (sscanf(line, "%lx-%lx", &low, &high) == 2)
            inside = (uintptr_t)address >= low && (uintptr_t)address < high;
        else if (inside && strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            return strtol(line + strlen(name) + 1, NULL, 10);
    }
    return -1;
}

/* As programs do that look for a bug of old kernels: what was written is dirty in a child, too. */
static void smaps_tell_what_is_shared(void)
{
    char *area = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *page = area + 4096;
    CHECK(area != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
    CHECK_EQUAL(in_smaps(page, "Size"), 4);
    CHECK_EQUAL(in_smaps(page, "Rss"), 0);
    *page = 1;
    CHECK(madvise(page, 4096, MADV_FREE) == 0);
    *page = 2;
    CHECK(in_smaps(page, "Rss") == 4 && in_smaps(page, "Anonymous") == 4);
    CHECK(in_smaps(page, "Private_Dirty") == 4 && in_smaps(page, "Shared_Dirty") == 0);
    IN_CHILD(CHECK(in_smaps(page, "Shared_Dirty") == 4 && in_smaps(page, "Private_Dirty") == 0);
             CHECK_EQUAL(in_smaps(page, "Pss"), 2););
    CHECK_EQUAL(in_smaps(page, "nothing"), -1);
    CHECK(munmap(area, 3 * 4096) == 0);
}

/* KiB of all areas together; -1 if there is no such line. */
static long in_rollup(const char *name)
{
    char *text = slurp("/proc/self/smaps_rollup", 0);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            return strtol(line + strlen(name) + 1, NULL, 10);
    return -1;
}

static void the_rollup_is_of_all_areas(void)
{
    enum { PAGES = 64 };
    long before = in_rollup("Pss_Anon");
    CHECK(before >= 4 && in_rollup("Pss") >= before && in_rollup("Rss") >= before);
    char *area = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    memset(area, 1, PAGES * 4096);
    long after = in_rollup("Pss_Anon");
    CHECK(after >= before + PAGES * 4 && after < before + 2 * PAGES * 4);
    CHECK(in_rollup("Pss_Dirty") >= PAGES * 4 && in_rollup("Private_Dirty") >= PAGES * 4);
    CHECK(munmap(area, PAGES * 4096) == 0);
    CHECK_EQUAL(in_rollup("Size"), -1);
    const char *text = slurp("/proc/self/smaps_rollup", 0);
    CHECK(strstr(text, " ---p 00000000 00:00 0 ") != NULL && strstr(text, "[rollup]\n") != NULL);
}

/* Reads a file to its end and counts the lines that begin with what `wanted` says. */
static int lines_of(int file, int (*wanted)(const char *line))
{
    char line[4096];
    size_t length = 0;
    int count = 0;
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    for (ssize_t n; (n = read(file, line + length, sizeof line - 1 - length)) != 0;) {
        CHECK(n > 0);
        length += (size_t)n;
        line[length] = 0;
        char *start = line;
        for (char *end; (end = strchr(start, '\n')); start = end + 1)
            count += wanted(start);
        length -= (size_t)(start - line);
        memmove(line, start, length);
    }
    CHECK_EQUAL(length, 0);
    return count;
}

static char *many;
#define MANY 6000

static int is_one_of_many(const char *line)
{
    unsigned long low, high;
    char *page = sscanf(line, "%lx-%lx", &low, &high) == 2 ? (char *)(uintptr_t)low : NULL;
    return page >= many && page < many + MANY * 4096L && high == low + 4096;
}

static int is_size(const char *line)
{
    return strncmp(line, "Size:", 5) == 0;
}

/* However many areas there are: all are listed, from wherever the list is read. */
static void thousands_of_areas_are_listed(void)
{
    many = mmap(NULL, MANY * 4096L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(many != MAP_FAILED);
    for (int i = 0; i < MANY; i += 2)
        CHECK(mprotect(many + i * 4096L, 4096, PROT_READ | PROT_WRITE) == 0);
    int maps = open("/proc/self/maps", O_RDONLY), smaps = open("/proc/self/smaps", O_RDONLY);
    CHECK(maps >= 0 && smaps >= 0);
    /* The last of them may be one with what lies behind. */
    CHECK(lines_of(maps, is_one_of_many) >= MANY - 2);
    CHECK(lines_of(smaps, is_one_of_many) >= MANY - 2);
    CHECK(lines_of(smaps, is_size) > MANY);
    char first[64], far[64], again[64];
    CHECK_EQUAL(pread(maps, first, sizeof first, 0), sizeof first);
    CHECK_EQUAL(pread(maps, far, sizeof far, 200000), sizeof far);
    CHECK(pread(maps, again, sizeof again, 0) == sizeof again && !memcmp(first, again, sizeof first));
    CHECK(pread(maps, again, sizeof again, 200000) == sizeof again && !memcmp(far, again, sizeof far));
    CHECK_EQUAL(pread(maps, far, sizeof far, 1L << 40), 0);
    close(maps);
    close(smaps);
    CHECK(munmap(many, MANY * 4096L) == 0);
}

static void command_line_and_environment(char **argv)
{
    char *text = slurp("/proc/self/cmdline", 0);
    CHECK(strcmp(text, argv[0]) == 0);
    CHECK(strcmp(text + strlen(text) + 1, "one") == 0);
    CHECK(strcmp(text + strlen(text) + 5, "two words") == 0);
    text = slurp("/proc/self/environ", 0);
    CHECK(strcmp(text, "FIRST=1") == 0 && strcmp(text + 8, "SECOND=2") == 0);
}

/* What the C library was told is what /proc tells. */
static void auxiliary_vector(void)
{
    unsigned long (*pairs)[2] = (void *)slurp("/proc/self/auxv", 0);
    int seen = 0;
    for (; (*pairs)[0] != 0; pairs++) {
        unsigned long kind = (*pairs)[0];
        if (kind == AT_PAGESZ || kind == AT_ENTRY || kind == AT_PHNUM || kind == AT_RANDOM) {
            CHECK_EQUAL((*pairs)[1], getauxval(kind));
            seen++;
        }
    }
    CHECK_EQUAL(seen, 4);
    CHECK_EQUAL((*pairs)[1], 0);
}

static void descriptors_are_listed(void)
{
    char path[64], target[256] = "";
    int file = open("described", O_RDWR | O_CREAT | O_TRUNC, 0644), ends[2];
    CHECK(file >= 0 && pipe(ends) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    CHECK(readlink(path, target, sizeof target - 1) > 0);
    CHECK(strcmp(strrchr(target, '/'), "/described") == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    memset(target, 0, sizeof target);
    CHECK(readlink(path, target, sizeof target - 1) > 0);
    CHECK(strncmp(target, "pipe:[", 6) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", 900);
    CHECK_FAILS(readlink(path, target, sizeof target), ENOENT);
    memset(target, 0, sizeof target);
    CHECK(readlink("/proc/self/cwd", target, sizeof target - 1) > 0);
    char now[256];
    CHECK(getcwd(now, sizeof now) != NULL && strcmp(now, target) == 0);
    close(file);
    close(ends[0]);
    close(ends[1]);
    CHECK(unlink("described") == 0);
}

static char state_of(pid_t pid)
{
    char *text = slurp("/proc/%d/stat", pid), *end = strrchr(text, ')');
    CHECK(end != NULL && strlen(end) > 2);
    return end[2];
}

static void await(pid_t pid, char state)
{
    long long deadline = now_ms() + 30000;
    while (state_of(pid) != state) {
        CHECK(now_ms() < deadline);
        pause_ms(1);
    }
}

/* Who waits for a child to go on to another program is told from who sleeps: no signal's handler runs before. */
static void waits_that_nothing_interrupts(void)
{
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
    CHECK(child >= 0);
    if (child == 0) {
        await(getppid(), 'D');
        _exit(0);
    }
    REAP_EXITED(child, 0);
}

static void children_and_their_states(void)
{
    int status;
    char path[64];
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        sleep_long(NULL);
    await(child, 'S');
    CHECK(kill(child, SIGSTOP) == 0);
    CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
    CHECK_EQUAL(state_of(child), 'T');
    CHECK_EQUAL(field(slurp("/proc/%d/status", child), "PPid"), getpid());
    CHECK(kill(child, SIGKILL) == 0);
    await(child, 'Z');
    CHECK(slurp("/proc/%d/cmdline", child)[0] == 0);
    REAP_KILLED(child, SIGKILL);
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    CHECK_FAILS(open(path, O_RDONLY), ENOENT);
}

static int listed(const char *wanted)
{
    int found = 0;
    DIR *directory = opendir("/proc");
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory));)
        found += strcmp(entry->d_name, wanted) == 0;
    closedir(directory);
    return found;
}

static void the_directory(void)
{
    char name[16];
    snprintf(name, sizeof name, "%d", getpid());
    CHECK_EQUAL(listed(name), 1);
    CHECK_EQUAL(listed("1"), 1);
    CHECK_EQUAL(listed("self"), 1);
    CHECK_EQUAL(listed("meminfo"), 1);
    CHECK_EQUAL(listed("1000000000"), 0);
    CHECK_FAILS(open("/proc/none", O_RDONLY), ENOENT);
    int file = open("/proc/none", O_WRONLY | O_CREAT, 0644);
    CHECK(file < 0);
    CHECK(mkdir("/proc/none", 0755) < 0);
}

static void the_system(void)
{
    char *text = slurp("/proc/meminfo", 0);
    long total = field(text, "MemTotal"), available = field(text, "MemAvailable");
    CHECK(total > 10000 && available > 0 && available <= total);
    CHECK(field(text, "MemFree") <= total);
    text = slurp("/proc/cpuinfo", 0);
    int processors = 0;
    for (char *at = text; (at = strstr(at, "processor\t")); at++)
        processors++;
    CHECK(processors >= sysconf(_SC_NPROCESSORS_ONLN));
    text = slurp("/proc/stat", 0);
    CHECK(strncmp(text, "cpu ", 4) == 0 && strstr(text, "\nbtime ") != NULL);
    double up, idle;
    CHECK(sscanf(slurp("/proc/uptime", 0), "%lf %lf", &up, &idle) == 2 && up > 0);
    double load;
    CHECK(sscanf(slurp("/proc/loadavg", 0), "%lf", &load) == 1 && load >= 0);
    CHECK(strncmp(slurp("/proc/version", 0), "Linux version ", 14) == 0);
    CHECK(strstr(slurp("/proc/mounts", 0), " /proc proc ") != NULL);
    CHECK(strstr(slurp("/proc/self/mountinfo", 0), " /proc ") != NULL);
    CHECK(strstr(slurp("/proc/filesystems", 0), "\tproc\n") != NULL);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        command_line_and_environment(argv);
        return 0;
    }
    RUN(the_executable);
    RUN(self_is_this_process);
    RUN(stat_fields);
    RUN(status_lines);
    RUN(memory_shows_in_status);
    RUN(maps_list_the_areas);
    RUN(smaps_tell_what_is_shared);
    RUN(the_rollup_is_of_all_areas);
    RUN(thousands_of_areas_are_listed);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execve("/proc/self/exe", (char *[]){"proc-again", "one", "two words", NULL},
               (char *[]){"FIRST=1", "SECOND=2", NULL});
        _exit(1);
    }
    REAP_EXITED(child, 0);
    say("command_line_and_environment: ok");
    RUN(auxiliary_vector);
    RUN(descriptors_are_listed);
    RUN(children_and_their_states);
    RUN(waits_that_nothing_interrupts);
    RUN(the_directory);
    RUN(the_system);
    return 0;
}
