/* A file layer under one folder: it writes down what was written and what was synced, and fails calls on demand. Loaded by LD_PRELOAD.
 *
 * CRASH_LAYER_FOLDER   the folder
 * CRASH_LAYER_LOG      where the records go
 * CRASH_LAYER_SWALLOW  set: syncs are answered and not done, as with synchronous=OFF
 * CRASH_LAYER_FAULT    KIND:ERRNO:FROM:COUNT, KIND being write, sync or open: of these calls, so many fail
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FDS 1024
#define NAME 128

static char folder[4096];
static size_t folder_len;
static int log_fd = -1;
static int swallow;
static char fault_kind[16];
static int fault_errno;
static long fault_from, fault_count, fault_seen;
/* The name within the folder; the folder itself is "."; empty: not ours. */
static char names[MOST_FDS][NAME];

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void start(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    const char *path = getenv("CRASH_LAYER_FOLDER"), *log = getenv("CRASH_LAYER_LOG"), *fault = getenv("CRASH_LAYER_FAULT");
    if (!path || !log) return;
    snprintf(folder, sizeof folder, "%s", path);
    folder_len = strlen(folder);
    swallow = getenv("CRASH_LAYER_SWALLOW") != NULL;
    if (fault) sscanf(fault, "%15[a-z]:%d:%ld:%ld", fault_kind, &fault_errno, &fault_from, &fault_count);
    log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
}

static const char *within(const char *path) {
    if (log_fd < 0 || strncmp(path, folder, folder_len) != 0) return NULL;
    if (path[folder_len] == 0) return ".";
    if (path[folder_len] != '/') return NULL;
    return path[folder_len + 1] ? path + folder_len + 1 : ".";
}

static const char *ours(int fd) {
    return fd >= 0 && fd < MOST_FDS && names[fd][0] ? names[fd] : NULL;
}

/* One record: kind, length of the name, offset, length of the data, name, data. */
static void record(char kind, const char *name, uint64_t offset, const void *data, uint64_t length) {
    unsigned char head[18];
    size_t name_length = strlen(name);
    head[0] = (unsigned char)kind;
    head[1] = (unsigned char)name_length;
    memcpy(head + 2, &offset, 8);
    memcpy(head + 10, &length, 8);
    struct iovec parts[3] = {{head, sizeof head}, {(void *)name, name_length}, {(void *)data, data ? length : 0}};
    ssize_t all = (ssize_t)(sizeof head + name_length + (data ? length : 0));
    if (writev(log_fd, parts, 3) != all) abort();
}

static int fails(const char *kind) {
    if (strcmp(kind, fault_kind) != 0) return 0;
    long seen = __atomic_fetch_add(&fault_seen, 1, __ATOMIC_SEQ_CST);
    if (seen < fault_from || seen >= fault_from + fault_count) return 0;
    errno = fault_errno;
    return 1;
}

static int opened(int fd, const char *name, int flags) {
    if (fd >= 0 && fd < MOST_FDS) {
        snprintf(names[fd], NAME, "%s", name);
        if (flags & O_CREAT) record('C', name, 0, NULL, 0);
        if (flags & O_TRUNC) record('T', name, 0, NULL, 0);
    }
    return fd;
}

static int open_any(const char *path, int flags, mode_t mode) {
    const char *name = within(path);
    if (name && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails("open")) return -1;
    int fd = real_open(path, flags, mode);
    return name ? opened(fd, name, flags) : fd;
}

#define MODE(flags, mode)                                   \
    mode_t mode = 0;                                        \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                  \
        va_list list;                                       \
        va_start(list, flags);                              \
        mode = va_arg(list, mode_t);                        \
        va_end(list);                                       \
    }

int open(const char *path, int flags, ...) { MODE(flags, mode) return open_any(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return open_any(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return path[0] == '/' ? open_any(path, flags, mode) : real_openat(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return path[0] == '/' ? open_any(path, flags, mode) : real_openat(at, path, flags, mode);
}

int close(int fd) {
    if (ours(fd)) names[fd][0] = 0;
    return real_close(fd);
}

static ssize_t write_at(int fd, const char *name, const void *data, size_t length, off64_t offset) {
    if (fails("write")) return -1;
    record('W', name, (uint64_t)offset, data, length);
    return real_pwrite(fd, data, length, offset);
}

ssize_t write(int fd, const void *data, size_t length) {
    const char *name = ours(fd);
    if (!name) return real_write(fd, data, length);
    off64_t offset = lseek64(fd, 0, SEEK_CUR);
    ssize_t written = write_at(fd, name, data, length, offset);
    if (written > 0) lseek64(fd, offset + written, SEEK_SET);
    return written;
}

static ssize_t pwrite_any(int fd, const void *data, size_t length, off64_t offset) {
    const char *name = ours(fd);
    return name ? write_at(fd, name, data, length, offset) : real_pwrite(fd, data, length, offset);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite_any(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite_any(fd, data, length, offset); }

static int ftruncate_any(int fd, off64_t length) {
    const char *name = ours(fd);
    if (name) {
        if (fails("write")) return -1;
        record('T', name, (uint64_t)length, NULL, 0);
    }
    return real_ftruncate(fd, length);
}
int ftruncate(int fd, off_t length) { return ftruncate_any(fd, length); }
int ftruncate64(int fd, off64_t length) { return ftruncate_any(fd, length); }

int unlink(const char *path) {
    const char *name = within(path);
    if (name) record('U', name, 0, NULL, 0);
    return real_unlink(path);
}

/* The disk is the model's: what is recorded as synced is on it, so nothing is really synced. */
static int sync_any(int fd) {
    const char *name = ours(fd);
    if (!name) return 0;
    if (fails("sync")) {
        /* The kernel takes the pages for clean afterwards: a later sync does not write them. */
        record('F', name, 0, NULL, 0);
        return -1;
    }
    /* A disk takes its time, in which power can go. */
    usleep(1000);
    if (!swallow) record(strcmp(name, ".") == 0 ? 'D' : 'S', name, 0, NULL, 0);
    return 0;
}
int fsync(int fd) { return sync_any(fd); }
int fdatasync(int fd) { return sync_any(fd); }
