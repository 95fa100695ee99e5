/* A third-party tier backend: files by pread and pwrite through the page cache, each I/O carried out inside submit(). It sees
 * <cubby/backend.h> alone and links nothing of cubby. docs/backend.md explains; `cubby conformance libpread_backend.so` checks.
 * The BROKEN_* definitions each put in one mistake, for the test that the command finds it. */
#define _GNU_SOURCE /* ppoll, O_CLOEXEC, st_mtim */
#include <cubby/backend.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 256u
#define FILES_MAX 256u /* numbers 1..FILES_MAX */

struct cubby_backend {
  int fds[FILES_MAX]; /* -1 = not open */
  cubby_backend_done done[DEPTH_MAX]; /* what completed and was not reaped: a ring */
  uint32_t head, count, depth;
#ifdef BROKEN_KEEPS_CONFIG
  const char *name;
#endif
};

static int32_t backend_open(const cubby_backend_services *services, const cubby_backend_config *config, cubby_backend **out) {
  cubby_backend_config with = {0};
  if (services == NULL || config == NULL || out == NULL) return -EINVAL;
#ifdef BROKEN_CANNOT_OPEN
  if (services->struct_size > offsetof(cubby_backend_services, log) && services->log != NULL)
    services->log(services->context, 1, "pread: this machine is not one that it runs on");
  return -ENOTSUP;
#endif
  /* An older library knows fewer fields: those beyond struct_size count as zero. */
  memcpy(&with, config, config->struct_size < sizeof with ? config->struct_size : sizeof with);
  cubby_backend *self = calloc(1, sizeof *self);
  if (self == NULL) return -ENOMEM;
  for (uint32_t i = 0; i < FILES_MAX; ++i) self->fds[i] = -1;
  self->depth = with.queue_depth == 0 || with.queue_depth > DEPTH_MAX ? DEPTH_MAX : with.queue_depth;
#ifdef BROKEN_KEEPS_CONFIG
  self->name = with.name; /* stands only during this call */
#endif
  *out = self;
  return 0;
}

static void backend_close(cubby_backend *self) {
  for (uint32_t i = 0; i < FILES_MAX; ++i) {
    if (self->fds[i] >= 0) close(self->fds[i]);
  }
  free(self);
}

/* Structs grow at the end: no more is written than the caller has room for. */
static void answer(void *out, const void *value, uint32_t size) {
  uint32_t room = *(uint32_t *)out;
  if (room == 0 || room > size) room = size;
  memcpy((char *)out + sizeof room, (const char *)value + sizeof room, room - sizeof room);
}

static int32_t backend_describe(cubby_backend *self, cubby_backend_info *out) {
  cubby_backend_info info = {.capabilities = CUBBY_CAP_FILES, .align_bytes = 1, .queue_depth = self->depth, .io_bytes_max = 1u << 30};
  snprintf(info.io, sizeof info.io, "pread");
  snprintf(info.why, sizeof info.why, "an example: pread through the page cache, on the thread that submits");
#ifdef BROKEN_KEEPS_CONFIG
  snprintf(info.io, sizeof info.io, "pread %.8s", self->name);
#endif
  answer(out, &info, sizeof info);
  return 0;
}

static int fd_of(const cubby_backend *self, uint32_t file) {
  return file == 0 || file > FILES_MAX ? -1 : self->fds[file - 1];
}

static int32_t file_stat(cubby_backend *self, uint32_t file, cubby_backend_file *out) {
  struct stat seen;
  const int fd = fd_of(self, file);
  if (fd < 0) return -EBADF;
  if (fstat(fd, &seen) != 0) return -errno;
  const cubby_backend_file value = {.file = file,
                                    .bytes = (uint64_t)seen.st_size,
                                    .device = seen.st_dev,
                                    .inode = seen.st_ino,
                                    .mtime_ns = (uint64_t)seen.st_mtim.tv_sec * 1000000000u + (uint64_t)seen.st_mtim.tv_nsec};
  answer(out, &value, sizeof value);
  return 0;
}

static int32_t file_open(cubby_backend *self, const char *path, uint32_t flags, cubby_backend_file *out) {
  const int reads = (flags & CUBBY_BACKEND_FILE_READ) != 0, writes = (flags & CUBBY_BACKEND_FILE_WRITE) != 0;
  if (path == NULL || out == NULL || (!reads && !writes)) return -EINVAL;
  uint32_t slot = 0;
  while (slot < FILES_MAX && self->fds[slot] >= 0) ++slot;
  if (slot == FILES_MAX) return -EMFILE;
  const int create = (flags & CUBBY_BACKEND_FILE_CREATE) != 0 ? O_CREAT : 0;
  const int fd = open(path, (reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY) | create | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  self->fds[slot] = fd;
  return file_stat(self, slot + 1, out);
}

static void file_close(cubby_backend *self, uint32_t file) {
  if (fd_of(self, file) < 0) return;
  close(self->fds[file - 1]);
  self->fds[file - 1] = -1;
}

/* One read or write to its end: the kernel may do less than it was asked for, the caller of a backend never sees that. */
static int32_t move_bytes(int fd, const cubby_backend_io *io, uint64_t *moved) {
  while (*moved < io->bytes) {
    char *at = (char *)io->memory + *moved;
    const off_t offset = (off_t)(io->offset_bytes + *moved);
    const size_t left = (size_t)(io->bytes - *moved);
    const ssize_t got = io->op == CUBBY_BACKEND_READ ? pread(fd, at, left, offset) : pwrite(fd, at, left, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) break; /* the file ends here */
    *moved += (uint64_t)got;
  }
#ifdef BROKEN_SHORT_IS_FULL
  if (*moved != 0) *moved = io->bytes;
#endif
  return io->op == CUBBY_BACKEND_WRITE && *moved < io->bytes ? EIO : 0;
}

static cubby_backend_done carry_out(cubby_backend *self, const cubby_backend_io *io) {
  cubby_backend_done done = {.cookie = io->cookie};
  const int fd = fd_of(self, io->file);
  if (io->op > CUBBY_BACKEND_FLUSH) done.error = EINVAL;
  else if (fd < 0) done.error = EBADF;
  else if (io->op == CUBBY_BACKEND_FLUSH) done.error = fdatasync(fd) == 0 ? 0 : errno;
  else done.error = move_bytes(fd, io, &done.bytes);
  return done;
}

/* What is wrong with an I/O is said by its completion, never by not accepting it: fewer accepted means that the queue is full. */
static uint32_t backend_submit(cubby_backend *self, uint64_t now_ns, const cubby_backend_io *ios, uint32_t count) {
  uint32_t accepted = 0;
  (void)now_ns;
  for (; accepted < count && self->count < self->depth; ++accepted) {
    const cubby_backend_done done = carry_out(self, &ios[accepted]);
#ifdef BROKEN_DROPS
    if (ios[accepted].cookie % 100 == 99) continue;
#endif
    self->done[(self->head + self->count++) % DEPTH_MAX] = done;
#ifdef BROKEN_TWICE
    if (ios[accepted].cookie % 100 == 99 && self->count < self->depth) self->done[(self->head + self->count++) % DEPTH_MAX] = done;
#endif
  }
  return accepted;
}

static uint32_t backend_reap(cubby_backend *self, uint64_t now_ns, cubby_backend_done *out, uint32_t max_count, uint64_t *next_ns) {
  uint32_t reaped = 0;
  for (; reaped < max_count && self->count != 0; ++reaped, --self->count) {
    out[reaped] = self->done[self->head];
    self->head = (self->head + 1) % DEPTH_MAX;
  }
  *next_ns = self->count != 0 ? now_ns : ~(uint64_t)0; /* there is no event_fd, so this has to tell */
  return reaped;
}

static uint64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int32_t backend_wait(cubby_backend *self, uint64_t timeout_ns, int wake_fd) {
  const uint64_t start = clock_ns();
#ifdef BROKEN_SLEEPS
  if (timeout_ns == 0) timeout_ns = ~(uint64_t)0;
#endif
  while (self->count == 0) {
    const uint64_t spent = clock_ns() - start, left = timeout_ns > spent ? timeout_ns - spent : 0;
    const struct timespec time = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN}; /* poll passes over a descriptor of -1 */
    const int ready = ppoll(&wake, 1, timeout_ns == ~(uint64_t)0 ? NULL : &time, NULL);
    if (ready >= 0) return 0; /* wake_fd stays readable: its owner drains it */
    if (errno != EINTR) return -errno;
  }
  return 0;
}

static const cubby_backend_ops operations = {.struct_size = sizeof operations,
                                             .abi_version = CUBBY_BACKEND_ABI_VERSION,
                                             .name = "pread",
                                             .capabilities = CUBBY_CAP_FILES,
                                             .open = backend_open,
                                             .close = backend_close,
                                             .describe = backend_describe,
                                             .file_open = file_open,
                                             .file_stat = file_stat,
                                             .file_close = file_close,
                                             .submit = backend_submit,
                                             .reap = backend_reap,
                                             .wait = backend_wait};

__attribute__((visibility("default"))) const cubby_backend_ops *cubby_backend_entry(void) { return &operations; }
