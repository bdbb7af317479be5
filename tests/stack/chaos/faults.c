/* Makes a server's disk fail: preloaded into its process, steered through a file that both map.
 *
 *   CHAOS_CONTROL  the file: a `struct control`, written by tests/stack/chaos/shim.py, which has the same layout
 *   CHAOS_BELOW    only what lies below this folder fails; everything else goes its way, and sockets with it
 *
 * A rule of a call is in force while its bit in `armed` is set. It lets `skip` calls pass, then strikes `times` calls:
 *
 *   delay_ms   the call takes so much longer
 *   error      the call fails with this errno; 0: it does what it should, late
 *   keep > 0   of a write: the first one that is struck writes so many bytes and says so, as before a full disk
 *   keep < 0   of a write: it says that it has written, and has not: a page that will be lost
 *   top        only files that lie in the folder itself: journal and state files
 *   disarms    bits that are cleared with the first call that is struck: a sync that failed has lost what was lost
 *
 * A rule whose times are over clears its bit. `calls` and `hits` are counted for whoever wants to know.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { SYNC, FILE_SYNC, WRITE, TRUNCATE, RENAME, OPEN, KINDS };

struct rule {
    int32_t skip, times, error, delay_ms, keep, top, disarms, calls, hits;
};

struct control {
    int32_t armed;
    int32_t clock_offset_s;
    struct rule rules[KINDS];
};

static struct control *control;
static char below[PATH_MAX];
static size_t below_length;

#define REAL(type, name, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real)                                                                                                         \
    real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("CHAOS_CONTROL"), *folder = getenv("CHAOS_BELOW");
    int opened = file && folder ? open(file, O_RDWR | O_CLOEXEC) : -1;
    if (opened < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    close(opened);
    snprintf(below, sizeof below, "%s", folder);
    below_length = strlen(below);
    if (mapped != MAP_FAILED)
        control = mapped;
}

/* 0: the path is not below the folder; 1: it is the folder or further down; 2: a file in the folder itself. */
static int place(const char *path) {
    if (strncmp(path, below, below_length) != 0 || (path[below_length] != '/' && path[below_length] != 0))
        return 0;
    return path[below_length] == '/' && !strchr(path + below_length + 1, '/') ? 2 : 1;
}

static int place_of_file(int file) {
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return place(path);
}

static int place_of_name(int folder, const char *name) {
    char link[32], path[2 * PATH_MAX];
    if (name[0] == '/' || folder == AT_FDCWD)
        return place(name);
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    snprintf(path + length, PATH_MAX, "/%s", name);
    return place(path);
}

/* The rule that strikes this call; NULL: it goes its way. */
static struct rule *struck(enum kind kind, int where) {
    struct rule *rule = &control->rules[kind];
    if (!where)
        return NULL;
    __atomic_add_fetch(&rule->calls, 1, __ATOMIC_SEQ_CST);
    if (!(__atomic_load_n(&control->armed, __ATOMIC_SEQ_CST) & 1 << kind) || (rule->top && where != 2))
        return NULL;
    if (__atomic_sub_fetch(&rule->skip, 1, __ATOMIC_SEQ_CST) >= 0)
        return NULL;
    if (__atomic_sub_fetch(&rule->times, 1, __ATOMIC_SEQ_CST) <= 0)
        __atomic_and_fetch(&control->armed, ~(1 << kind), __ATOMIC_SEQ_CST);
    __atomic_and_fetch(&control->armed, ~rule->disarms, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&rule->hits, 1, __ATOMIC_SEQ_CST);
    if (rule->delay_ms > 0)
        usleep((useconds_t)rule->delay_ms * 1000);
    return rule;
}

static int fails(enum kind kind, int where) {
    struct rule *rule = control && where ? struck(kind, where) : NULL;
    if (!rule || !rule->error)
        return 0;
    errno = rule->error;
    return 1;
}

/* Of a write of `size` bytes: how many to write; -1: fail; -2: none, and say that all were. */
static ssize_t part(int file, size_t size) {
    if (!control || !(__atomic_load_n(&control->armed, __ATOMIC_SEQ_CST) & 1 << WRITE))
        return (ssize_t)size;
    struct rule *rule = struck(WRITE, place_of_file(file));
    if (!rule)
        return (ssize_t)size;
    if (rule->keep < 0)
        return -2;
    if (rule->keep > 0) {
        size_t kept = (size_t)rule->keep < size ? (size_t)rule->keep : size;
        rule->keep = 0;
        return (ssize_t)kept;
    }
    if (!rule->error)
        return (ssize_t)size;
    errno = rule->error;
    return -1;
}

static size_t total(const struct iovec *parts, int count) {
    size_t size = 0;
    for (int number = 0; number < count; number++)
        size += parts[number].iov_len;
    return size;
}

int fsync(int file) {
    REAL(int, "fsync", int);
    return control && fails(SYNC, place_of_file(file)) ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(int, "fdatasync", int);
    return control && fails(FILE_SYNC, place_of_file(file)) ? -1 : real(file);
}

ssize_t write(int file, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    ssize_t wanted = part(file, size);
    return wanted == -1 ? -1 : wanted == -2 ? (ssize_t)size : real(file, data, (size_t)wanted);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    ssize_t wanted = part(file, size);
    return wanted == -1 ? -1 : wanted == -2 ? (ssize_t)size : real(file, data, (size_t)wanted, at);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) { return pwrite64(file, data, size, at); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    size_t size = total(parts, count);
    ssize_t wanted = part(file, size);
    if (wanted > 0 && (size_t)wanted < size)
        return real(file, parts, 1); /* short by whole parts */
    return wanted == -1 ? -1 : wanted == -2 ? (ssize_t)size : real(file, parts, count);
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t at) {
    REAL(ssize_t, "pwritev64", int, const struct iovec *, int, off64_t);
    size_t size = total(parts, count);
    ssize_t wanted = part(file, size);
    if (wanted > 0 && (size_t)wanted < size)
        return real(file, parts, 1, at);
    return wanted == -1 ? -1 : wanted == -2 ? (ssize_t)size : real(file, parts, count, at);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) { return pwritev64(file, parts, count, at); }

int ftruncate64(int file, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    return control && fails(TRUNCATE, place_of_file(file)) ? -1 : real(file, size);
}

int ftruncate(int file, off_t size) { return ftruncate64(file, size); }

int renameat(int folder, const char *name, int target, const char *new_name) {
    REAL(int, "renameat", int, const char *, int, const char *);
    return control && fails(RENAME, place_of_name(target, new_name)) ? -1 : real(folder, name, target, new_name);
}

int rename(const char *name, const char *new_name) { return renameat(AT_FDCWD, name, AT_FDCWD, new_name); }

static mode_t mode_of(int flags, va_list more) { return flags & O_CREAT ? va_arg(more, mode_t) : 0; }

int openat64(int folder, const char *name, int flags, ...) {
    REAL(int, "openat64", int, const char *, int, ...);
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return control && fails(OPEN, place_of_name(folder, name)) ? -1 : real(folder, name, flags, mode);
}

#define OPENS(name, where, ...)                                                                                        \
    int name(__VA_ARGS__, int flags, ...) {                                                                            \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = mode_of(flags, more);                                                                            \
        va_end(more);                                                                                                  \
        return openat64(where, path, flags, mode);                                                                     \
    }
OPENS(openat, folder, int folder, const char *path)
OPENS(open64, AT_FDCWD, const char *path)
OPENS(open, AT_FDCWD, const char *path)

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    int result = real(clock, now);
    if (control && clock == CLOCK_REALTIME && !result)
        now->tv_sec += control->clock_offset_s;
    return result;
}
