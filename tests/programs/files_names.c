/* Names: open's flags, directories, links, renaming, the working directory, and the *at calls. */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void touch(const char *name)
{
    int file = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    CHECK(file >= 0);
    close(file);
}

static int exists(const char *name)
{
    struct stat status;
    if (lstat(name, &status) == 0)
        return 1;
    CHECK(errno == ENOENT);
    return 0;
}

static void open_flags(void)
{
    CHECK_FAILS(open("file", O_RDONLY), ENOENT);
    touch("file");
    CHECK_FAILS(open("file", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
    CHECK_FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_FAILS(open("file/", O_RDONLY), ENOTDIR);
    CHECK_FAILS(open("file/x", O_RDONLY), ENOTDIR);
    CHECK_FAILS(open(".", O_WRONLY), EISDIR);
    CHECK_FAILS(open(".", O_RDWR | O_CREAT, 0644), EISDIR);
    CHECK_FAILS(open("", O_RDONLY), ENOENT);
    CHECK_FAILS(open("none/file", O_WRONLY | O_CREAT, 0644), ENOENT);
    CHECK_FAILS(open(BAD, O_RDONLY), EFAULT);
    char name[300];
    memset(name, 'n', sizeof name);
    name[256] = 0;
    CHECK_FAILS(open(name, O_RDONLY), ENAMETOOLONG);
    name[255] = 0;
    touch(name);
    CHECK(unlink(name) == 0);
    static char path[5000];
    for (size_t i = 0; i < sizeof path - 1; i++)
        path[i] = i % 2 ? '/' : '.';
    CHECK_FAILS(open(path, O_RDONLY), ENAMETOOLONG);
    int file = open("file", O_RDONLY), directory = open(".", O_RDONLY | O_DIRECTORY);
    CHECK(file >= 0 && directory >= 0);
    CHECK_FAILS(write(file, "x", 1), EBADF);
    CHECK_FAILS(read(directory, name, 1), EISDIR);
    close(file);
    close(directory);
    file = open("file", O_WRONLY);
    CHECK(file >= 0);
    CHECK_FAILS(read(file, name, 1), EBADF);
    close(file);
    CHECK(unlink("file") == 0);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of a directory, sorted, with their types, on one line. */
static void list(const char *path, char *out, size_t size)
{
    char *names[64];
    int count = 0;
    DIR *directory = opendir(path);
    CHECK(directory != NULL);
    for (struct dirent *entry; errno = 0, (entry = readdir(directory));) {
        CHECK(entry->d_ino != 0 && count < 64);
        const char *kind = entry->d_type == DT_DIR   ? "/"
                           : entry->d_type == DT_LNK ? "@"
                           : entry->d_type == DT_REG ? ""
                                                     : "?";
        CHECK(asprintf(&names[count++], "%s%s", entry->d_name, kind) > 0);
    }
    CHECK_EQUAL(errno, 0);
    CHECK(closedir(directory) == 0);
    qsort(names, (size_t)count, sizeof *names, compare);
    out[0] = 0;
    for (int i = 0; i < count; i++) {
        snprintf(out + strlen(out), size - strlen(out), "%s%s", i ? " " : "", names[i]);
        free(names[i]);
    }
}

static void directories(void)
{
    char names[1024];
    CHECK(mkdir("dir", 0755) == 0);
    CHECK_FAILS(mkdir("dir", 0755), EEXIST);
    CHECK_FAILS(mkdir("none/dir", 0755), ENOENT);
    CHECK(mkdir("dir/sub/", 0700) == 0);
    touch("dir/b");
    touch("dir/a");
    CHECK(symlink("a", "dir/link") == 0);
    list("dir", names, sizeof names);
    CHECK(strcmp(names, "../ ./ a b link@ sub/") == 0);
    say("%s", names);
    CHECK_FAILS(rmdir("dir"), ENOTEMPTY);
    CHECK_FAILS(rmdir("dir/a"), ENOTDIR);
    CHECK_FAILS(unlink("dir/sub"), EISDIR);
    CHECK_FAILS(rmdir("dir/."), EINVAL);
    CHECK_FAILS(rmdir("dir/none"), ENOENT);
    CHECK(rmdir("dir/sub") == 0);
    CHECK(unlink("dir/a") == 0 && unlink("dir/b") == 0 && unlink("dir/link") == 0);
    list("dir", names, sizeof names);
    CHECK(strcmp(names, "../ ./") == 0);
    struct stat status;
    CHECK(stat("dir", &status) == 0 && S_ISDIR(status.st_mode));
    CHECK(rmdir("dir") == 0);
    CHECK(!exists("dir"));
}

static void many_entries(void)
{
    enum { ENTRIES = 500 };
    static char seen[ENTRIES];
    char name[64];
    CHECK(mkdir("many", 0755) == 0);
    for (int i = 0; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "many/entry-with-a-longer-name-%d", i);
        touch(name);
    }
    DIR *directory = opendir("many");
    CHECK(directory != NULL);
    for (int pass = 0; pass < 2; pass++) {
        int others = 0, number;
        memset(seen, 0, sizeof seen);
        for (struct dirent *entry; (entry = readdir(directory));)
            if (sscanf(entry->d_name, "entry-with-a-longer-name-%d", &number) == 1) {
                CHECK(number >= 0 && number < ENTRIES && !seen[number]);
                seen[number] = 1;
            } else
                others++;
        CHECK_EQUAL(others, 2);
        for (int i = 0; i < ENTRIES; i++)
            CHECK(seen[i]);
        rewinddir(directory);
    }
    CHECK(closedir(directory) == 0);
    for (int i = 0; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "many/entry-with-a-longer-name-%d", i);
        CHECK(unlink(name) == 0);
    }
    CHECK(rmdir("many") == 0);
}

static void symbolic_links(void)
{
    char target[64];
    CHECK(symlink("file", "link") == 0);
    CHECK_FAILS(symlink("file", "link"), EEXIST);
    CHECK_EQUAL(readlink("link", target, sizeof target), 4);
    CHECK(memcmp(target, "file", 4) == 0);
    CHECK_EQUAL(readlink("link", target, 2), 2);
    /* By number: musl puts a byte of its own in place of nothing. */
    CHECK_FAILS(syscall(SYS_readlinkat, AT_FDCWD, "link", target, 0), EINVAL);
    CHECK_FAILS(open("link", O_RDONLY), ENOENT);
    CHECK_FAILS(open("link", O_WRONLY | O_CREAT | O_EXCL, 0644), EEXIST);
    /* Created through the link. */
    int file = open("link", O_WRONLY | O_CREAT, 0644);
    CHECK(file >= 0 && write(file, "text", 4) == 4);
    close(file);
    struct stat status;
    CHECK(stat("link", &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 4);
    CHECK(lstat("link", &status) == 0 && S_ISLNK(status.st_mode) && status.st_size == 4);
    CHECK_FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK_FAILS(readlink("file", target, sizeof target), EINVAL);
    CHECK(unlink("link") == 0);
    CHECK(exists("file"));
    CHECK(symlink("loop-b", "loop-a") == 0 && symlink("loop-a", "loop-b") == 0);
    CHECK_FAILS(open("loop-a", O_RDONLY), ELOOP);
    CHECK_FAILS(stat("loop-b", &status), ELOOP);
    CHECK(unlink("loop-a") == 0 && unlink("loop-b") == 0);
    /* Through directories, upwards and in the middle of a path. */
    CHECK(mkdir("dir", 0755) == 0 && symlink("../dir/../file", "dir/up") == 0);
    CHECK(symlink("dir", "to-dir") == 0);
    CHECK(stat("to-dir/up", &status) == 0 && status.st_size == 4);
    CHECK(stat("to-dir/", &status) == 0 && S_ISDIR(status.st_mode));
    CHECK_FAILS(rmdir("to-dir"), ENOTDIR);
    CHECK(unlink("dir/up") == 0 && unlink("to-dir") == 0 && rmdir("dir") == 0);
    CHECK(unlink("file") == 0);
}

static void renaming(void)
{
    struct stat before, after;
    touch("a");
    CHECK(stat("a", &before) == 0);
    CHECK(rename("a", "b") == 0);
    CHECK(!exists("a") && stat("b", &after) == 0 && before.st_ino == after.st_ino);
    touch("a");
    int open_one = open("b", O_RDWR);
    CHECK(open_one >= 0 && write(open_one, "old", 3) == 3);
    /* Over an existing file: an open one lives on. */
    CHECK(rename("a", "b") == 0);
    CHECK(stat("b", &after) == 0 && after.st_size == 0);
    CHECK(fstat(open_one, &after) == 0 && after.st_size == 3 && after.st_nlink == 0);
    close(open_one);
    CHECK(rename("b", "b") == 0 && exists("b"));
    CHECK(mkdir("d1", 0755) == 0 && mkdir("d2", 0755) == 0);
    CHECK_FAILS(rename("b", "d1"), EISDIR);
    CHECK_FAILS(rename("d1", "b"), ENOTDIR);
    CHECK(rename("b", "d1/b") == 0);
    CHECK_FAILS(rename("d2", "d1"), ENOTEMPTY);
    CHECK(rename("d1", "d2") == 0);
    CHECK(exists("d2/b") && !exists("d1"));
    CHECK_FAILS(rename("d2", "d2/inside"), EINVAL);
    CHECK_FAILS(rename("none", "x"), ENOENT);
    CHECK(unlink("d2/b") == 0 && rmdir("d2") == 0);
}

static void the_working_directory(void)
{
    char start[PATH_MAX], now[PATH_MAX], expected[PATH_MAX + 16];
    CHECK(getcwd(start, sizeof start) != NULL);
    CHECK(mkdir("dir", 0755) == 0 && mkdir("dir/sub", 0755) == 0);
    CHECK(chdir("dir/sub") == 0);
    snprintf(expected, sizeof expected, "%s/dir/sub", start);
    CHECK(getcwd(now, sizeof now) != NULL && strcmp(now, expected) == 0);
    CHECK(chdir("../../dir/./sub/..") == 0);
    touch("here");
    CHECK(chdir("..") == 0 && exists("dir/here"));
    IN_CHILD(CHECK(chdir("/") == 0));
    CHECK(getcwd(now, sizeof now) != NULL && strcmp(now, start) == 0);
    CHECK(getcwd(now, 2) == NULL && errno == ERANGE);
    CHECK_FAILS(chdir("dir/here"), ENOTDIR);
    CHECK_FAILS(chdir("none"), ENOENT);
    CHECK(chdir("/..") == 0);
    CHECK(getcwd(now, sizeof now) != NULL && strcmp(now, "/") == 0);
    CHECK(chdir(start) == 0);
    CHECK(unlink("dir/here") == 0 && rmdir("dir/sub") == 0);
    /* A directory that is gone has no path. */
    CHECK(chdir("dir") == 0 && rmdir("../dir") == 0);
    CHECK(getcwd(now, sizeof now) == NULL && errno == ENOENT);
    CHECK_FAILS(open("file", O_WRONLY | O_CREAT, 0644), ENOENT);
    CHECK(chdir(start) == 0);
}

static void relative_to_a_directory(void)
{
    struct stat status;
    char target[8];
    CHECK(mkdir("dir", 0755) == 0);
    int dir = open("dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(dir >= 0);
    int file = openat(dir, "file", O_RDWR | O_CREAT, 0600);
    CHECK(file >= 0);
    CHECK(exists("dir/file"));
    CHECK(mkdirat(dir, "sub", 0755) == 0 && exists("dir/sub"));
    CHECK(symlinkat("file", dir, "link") == 0);
    CHECK_EQUAL(readlinkat(dir, "link", target, sizeof target), 4);
    CHECK(fstatat(dir, "link", &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode));
    CHECK(fstatat(dir, "link", &status, 0) == 0 && S_ISREG(status.st_mode));
    CHECK(fstatat(file, "", &status, AT_EMPTY_PATH) == 0 && S_ISREG(status.st_mode));
    CHECK(renameat(dir, "file", AT_FDCWD, "moved") == 0 && exists("moved"));
    CHECK(faccessat(AT_FDCWD, "moved", R_OK, 0) == 0);
    CHECK_FAILS(faccessat(dir, "moved", R_OK, 0), ENOENT);
    CHECK_FAILS(unlinkat(dir, "sub", 0), EISDIR);
    CHECK(unlinkat(dir, "sub", AT_REMOVEDIR) == 0 && unlinkat(dir, "link", 0) == 0);
    CHECK_FAILS(openat(file, "x", O_RDONLY), ENOTDIR);
    CHECK_FAILS(openat(99, "x", O_RDONLY), EBADF);
    CHECK(fchdir(dir) == 0 && chdir("..") == 0);
    close(file);
    close(dir);
    CHECK(unlink("moved") == 0 && rmdir("dir") == 0);
}

static void permissions_and_umask(void)
{
    struct stat status;
    umask(027);
    touch("file");
    CHECK(mkdir("dir", 0777) == 0);
    CHECK(stat("file", &status) == 0);
    CHECK_EQUAL(status.st_mode & 07777, 0640);
    CHECK(stat("dir", &status) == 0);
    CHECK_EQUAL(status.st_mode & 07777, 0750);
    CHECK_EQUAL(umask(022), 027);
    CHECK(access("file", F_OK) == 0 && access("file", R_OK | W_OK) == 0);
    CHECK_FAILS(access("file", X_OK), EACCES);
    CHECK_FAILS(access("none", F_OK), ENOENT);
    CHECK_FAILS(access("file", 99), EINVAL);
    CHECK(rmdir("dir") == 0 && unlink("file") == 0);
}

static void open_files_outlive_their_names(void)
{
    struct stat status;
    char text[8];
    int file = open("file", O_RDWR | O_CREAT | O_EXCL, 0644);
    CHECK(file >= 0 && write(file, "still", 5) == 5);
    CHECK(unlink("file") == 0 && !exists("file"));
    CHECK(fstat(file, &status) == 0);
    CHECK_EQUAL(status.st_nlink, 0);
    CHECK_EQUAL(pread(file, text, sizeof text, 0), 5);
    CHECK(write(file, "more", 4) == 4);
    close(file);
    CHECK_FAILS(unlink("file"), ENOENT);
}

int main(void)
{
    RUN(open_flags);
    RUN(directories);
    RUN(many_entries);
    RUN(symbolic_links);
    RUN(renaming);
    RUN(the_working_directory);
    RUN(relative_to_a_directory);
    RUN(permissions_and_umask);
    RUN(open_files_outlive_their_names);
    return 0;
}
