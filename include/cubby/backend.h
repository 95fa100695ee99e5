/* backend.h: what a tier backend gives to cubby, and what it gets from cubby. C11 and C++20.
 *
 * A backend makes one kind of memory (host DRAM, device HBM) or one kind of file path (io_uring, pread) usable as a tier. It links
 * nothing of this library: it exports one function, cubby_backend_entry(), which returns a cubby_backend_ops; all it needs of the
 * library comes at open as a cubby_backend_services. The library's own backends have no other door.
 *
 * Conventions
 *   - Structs start with struct_size; fields are only ever appended; a field beyond struct_size counts as zero.
 *   - Sizes end in _bytes, times in _ns, counts in _count. Functions that can fail return 0 or a negative errno.
 *   - One instance is driven by one thread at a time (the controller's); calls on one instance never overlap, except wake-ups
 *     through the descriptor handed to wait(). The thread may change between calls.
 *   - No call throws, prints, installs signal handlers or calls back later than its return.
 *   - Every accepted I/O completes exactly once through reap(), also after an error; close() is only called when none is in flight.
 */
#ifndef CUBBY_BACKEND_H
#define CUBBY_BACKEND_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

/** Version of this header; a backend says which one it was compiled against. */
#define CUBBY_BACKEND_ABI_VERSION 1u

/** An open instance; the backend defines what it points to. */
typedef struct cubby_backend cubby_backend;

/** Capabilities: what a backend can do. A backend has MEMORY or FILES, never both. */
enum {
  CUBBY_CAP_MEMORY = 1u << 0,             /**< has frames: memory_reserve and copies                                         */
  CUBBY_CAP_FILES = 1u << 1,              /**< opens files and moves bytes between them and host memory                      */
  CUBBY_CAP_HOST_ADDRESSABLE = 1u << 2,   /**< its frames can be read and written by the CPU, so files may read into them    */
  CUBBY_CAP_DEVICE_ADDRESSABLE = 1u << 3, /**< its frames can be read by a device                                            */
  CUBBY_CAP_VIRTUAL_CLOCK = 1u << 4,      /**< time is what the caller says; wait() is never called (simulators)             */
  CUBBY_CAP_FILES_APART = 1u << 5         /**< file_open may be called while another thread makes any other call              */
};

/** Memory made known by address and size, with what was asked for and read back. */
typedef struct cubby_backend_memory {
  uint32_t struct_size;
  uint32_t registered; /**< 1 when registered with the I/O path or the device, else 0                                        */
  void *base;          /**< first byte; aligned to 2 MiB when bytes is at least 2 MiB, else to 4096                          */
  uint64_t bytes;      /**< usable size                                                                                      */
  uint64_t huge_bytes; /**< bytes backed by huge pages, as read back from the kernel                                         */
  uint64_t numa_nodes; /**< a bit a node the pages really are on, as read back; 0 = unknown                                  */
  uint64_t handle;     /**< the owner's own mark; hand the struct back unchanged                                             */
} cubby_backend_memory;

/** What a backend may ask of the library. Stands from open() until close() has returned; any thread may call it. */
typedef struct cubby_backend_services {
  uint32_t struct_size;
  uint32_t abi_version; /**< CUBBY_BACKEND_ABI_VERSION of the library                                                        */
  void *context; /**< first argument of every service                                                                        */
  /** Take zeroed, touched host memory: huge pages and the NUMA nodes (a bit a node; 0 = any) where possible; the struct says what
   * came of it. -ENOMEM when there is none. */
  int32_t (*memory_take)(void *context, uint64_t bytes, uint64_t numa_nodes, cubby_backend_memory *out);
  /** Give back what memory_take gave. */
  void (*memory_give)(void *context, const cubby_backend_memory *memory);
  /** NUMA nodes (a bit a node) beside a device; device < 0: every node with memory. */
  uint64_t (*nodes_near)(void *context, int32_t device);
  /** One line for the caller's log; level 0 error, 1 warning, 2 notice, 3 detail. Text is copied. */
  void (*log)(void *context, uint32_t level, const char *text);
  /** The library's clock: CLOCK_MONOTONIC, or virtual under a simulator. */
  uint64_t (*now_ns)(void *context);
} cubby_backend_services;

/** How an instance is opened. Strings and arrays stand only during the call. */
typedef struct cubby_backend_config {
  uint32_t struct_size;
  int32_t device;                  /**< ordinal of the device; -1 = none                                                      */
  const char *name;                /**< the tier's name, for messages                                                         */
  uint64_t numa_nodes;             /**< a bit a node; 0 = any                                                                 */
  uint64_t emulated_bytes_per_s;   /**< link speed an emulated device is held to; 0 = not limited                             */
  uint32_t emulated_latency_ns;    /**< link latency of an emulated device                                                    */
  uint32_t queue_depth;            /**< I/Os in flight at most; 0 = the backend's default                                     */
  void *user;                      /**< handed through to a backend registered in-process (a simulator's world); else NULL    */
} cubby_backend_config;

/** What an instance turned out to be. Filled by describe(). */
typedef struct cubby_backend_info {
  uint32_t struct_size;
  uint32_t capabilities;    /**< CUBBY_CAP_*                                                                                  */
  uint32_t align_bytes;     /**< file offsets, sizes and memory addresses of I/O are multiples of this; a power of two        */
  uint32_t queue_depth;     /**< I/Os accepted at once                                                                        */
  uint64_t io_bytes_max;    /**< largest single I/O; at least 2 MiB                                                           */
  uint32_t emulated;        /**< 1 when host memory stands in for a device                                                    */
  uint32_t registered;      /**< 1 when I/O buffers and files are registered with the kernel or driver                        */
  char io[32];              /**< the path in use: "io_uring", "threadpool", "memcpy", "cuda" …                                */
  char why[224];            /**< a sentence: why this path and, where something better exists, what would allow it            */
} cubby_backend_info;

enum {
  CUBBY_BACKEND_FILE_READ = 1u << 0,  /**< open for reading                                                                  */
  CUBBY_BACKEND_FILE_WRITE = 1u << 1, /**< open for writing                                                                  */
  CUBBY_BACKEND_FILE_CREATE = 1u << 2 /**< create when absent, mode 0600                                                     */
};

/** Writes that the kernel was given outlive a process that is killed: whoever opens its store next waits until they are over. To
 * be waited for, a backend whose writes can do so (io_uring; not write(2), which no process leaves behind) holds a shared lock
 * (F_OFD_SETLK, F_RDLCK) on this byte by every open file through which it writes, where the file was opened for reading and
 * writing. The open file of a write, and with it the lock, is let go by the kernel when the write is over. A forked child must not
 * have those open files: it may live longer. */
enum { CUBBY_BACKEND_FILE_LOCK_AT = 2 };

/** What is known of an open file; filled by file_open() and file_stat(). A file changed underneath when any field differs. */
typedef struct cubby_backend_file {
  uint32_t struct_size;
  uint32_t file;          /**< number for cubby_backend_io.file; 0 is never used                                              */
  uint32_t direct;        /**< 1 when I/O bypasses the page cache                                                             */
  uint32_t reserved_;
  uint64_t bytes;         /**< size of the file                                                                               */
  uint64_t device;        /**< st_dev                                                                                         */
  uint64_t inode;         /**< st_ino                                                                                         */
  uint64_t mtime_ns;      /**< last modification                                                                              */
} cubby_backend_file;

enum {
  CUBBY_BACKEND_READ = 0,     /**< file → memory                                                                              */
  CUBBY_BACKEND_WRITE = 1,    /**< memory → file                                                                              */
  CUBBY_BACKEND_FLUSH = 2,    /**< make completed writes of `file` durable; bytes and memory unused                           */
  CUBBY_BACKEND_COPY_IN = 3,  /**< host memory `source` → `memory`, a frame of this backend                                   */
  CUBBY_BACKEND_COPY_OUT = 4, /**< `source`, a frame of this backend → host memory `memory`                                   */
  CUBBY_BACKEND_COPY_PEER = 5 /**< `source`, a frame of another instance, of a device that copies_from() accepts → `memory`    */
};

/** One I/O. The struct is read before submit() returns; the memory is the backend's until completion. */
typedef struct cubby_backend_io {
  uint64_t cookie;        /**< handed back in cubby_backend_done                                                              */
  uint32_t op;            /**< CUBBY_BACKEND_READ …                                                                           */
  uint32_t file;          /**< number of the file, for READ, WRITE and FLUSH                                                  */
  uint64_t offset_bytes;  /**< in the file; a multiple of align_bytes. COPY_*: a mark of mark_record() behind which it begins, 0 =
                               at once; other than 0 only where the backend has stream_wait_marked                            */
  void *memory;           /**< where bytes go (READ, COPY_*) or come from (WRITE)                                             */
  const void *source;     /**< where bytes come from, for COPY_*                                                              */
  uint64_t bytes;         /**< READ and WRITE: a multiple of align_bytes, at most io_bytes_max; copies: any                   */
  uint64_t deadline_ns;   /**< 0 = none; advice only                                                                          */
  uint32_t io_class;      /**< CUBBY_DEMAND … of cubby.h; advice only                                                         */
  uint32_t reserved_;
} cubby_backend_io;

/** One completion. bytes < io.bytes with error 0 happens for reads only, and only because the file ends there: the backend itself
 * resumes short I/O. bytes counts the file's bytes from offset_bytes on; memory behind them is unspecified. */
typedef struct cubby_backend_done {
  uint64_t cookie;        /**< of the I/O                                                                                     */
  uint64_t bytes;         /**< bytes really moved                                                                             */
  int32_t error;          /**< 0, or a positive errno: EINVAL for an operation or a size that is not served, EBADF for a file that
                               is not open, EIO where the device failed, ENODEV where it is lost and will serve nothing more  */
  uint32_t reserved_;
} cubby_backend_done;

/** The operations. Members a capability does not need may be NULL: FILES needs file_*, MEMORY needs memory_reserve/release; all
 * need open, close, describe, submit, reap and wait. Checked once, at registration. */
typedef struct cubby_backend_ops {
  uint32_t struct_size;
  uint32_t abi_version;   /**< CUBBY_BACKEND_ABI_VERSION the backend was compiled against                                     */
  const char *name;       /**< "host", "uring" …; stands for ever                                                             */
  uint32_t capabilities;  /**< CUBBY_CAP_*                                                                                    */
  uint32_t reserved_;

  /** Open an instance. -ENOTSUP, -EPERM, -ENOSYS: not available on this machine; -EAGAIN: no thread. services->log says why. */
  int32_t (*open)(const cubby_backend_services *services, const cubby_backend_config *config, cubby_backend **out);
  /** Close it; nothing is in flight and every file and memory has been given back. */
  void (*close)(cubby_backend *backend);
  /** Fill *out. */
  int32_t (*describe)(cubby_backend *backend, cubby_backend_info *out);

  /** Reserve memory for frames, zeroed. */
  int32_t (*memory_reserve)(cubby_backend *backend, uint64_t bytes, cubby_backend_memory *out);
  /** Give it back. */
  void (*memory_release)(cubby_backend *backend, const cubby_backend_memory *memory);
  /** Make host memory known that I/O will name often (registered buffers, pinned copies). Optional; failure costs speed only. */
  int32_t (*memory_register)(cubby_backend *backend, void *base, uint64_t bytes);
  /** Forget it; no I/O on it is in flight. */
  void (*memory_unregister)(cubby_backend *backend, void *base, uint64_t bytes);

  /** Open a file; flags CUBBY_BACKEND_FILE_*. Never waits for another process: a pipe is -ESPIPE, a folder -EISDIR. */
  int32_t (*file_open)(cubby_backend *backend, const char *path, uint32_t flags, cubby_backend_file *out);
  /** Look at an open file again, to see whether it changed. Answers from what the system knows, without asking a file server: it
   * is called between I/Os, and a server that has died would hold up those of every other file. */
  int32_t (*file_stat)(cubby_backend *backend, uint32_t file, cubby_backend_file *out);
  /** Close it; no I/O on it is in flight. */
  void (*file_close)(cubby_backend *backend, uint32_t file);

  /** Start I/O. Returns how many of the leading ones were accepted (fewer when the queue is full); the rest were not looked at.
   * An I/O that cannot be started is accepted and completes with its error. Never blocks on the device. */
  uint32_t (*submit)(cubby_backend *backend, uint64_t now_ns, const cubby_backend_io *ios, uint32_t count);
  /** Collect completions, at most max_count; never blocks. *next_ns: when to look again at the latest if nothing wakes the caller
   * (emulated links and simulators know), ~0 = wait() or the event descriptor will tell. */
  uint32_t (*reap)(cubby_backend *backend, uint64_t now_ns, cubby_backend_done *out, uint32_t max_count, uint64_t *next_ns);
  /** Sleep until something could be reaped, wake_fd (-1 = none) is readable, or timeout_ns has passed (~0 = for ever). The caller
   * of wait() drains wake_fd, not the backend. */
  int32_t (*wait)(cubby_backend *backend, uint64_t timeout_ns, int wake_fd);
  /** A descriptor that is readable while something could be reaped, so that several backends can be waited for together; -1 =
   * none (what this backend does completes inside submit(), or at the time reap() names). Optional; NULL = -1. */
  int (*event_fd)(cubby_backend *backend);

  /** Of a device: is lent memory, all of it, memory of this instance's device? 0 or -EINVAL. Such memory may be named in copies
   * like a frame. May be called while another thread makes any other call. Optional; NULL = lent memory of a device is refused. */
  int32_t (*memory_check)(cubby_backend *backend, const void *base, uint64_t bytes);
  /* Order with streams of the device that the caller works on; optional, all three or none. A stream is its native handle as an
   * integer, 0 = the device's default stream. Nothing of this makes a thread wait for the device. mark_record and mark_passed may
   * be called while another thread makes any other call. They answer 0 (mark_passed 1 or 0), -ENODEV where the device is lost,
   * -EINVAL for what is no stream of the device or no mark, -ENOTSUP for a stream that a graph is being captured from. */
  /** Work that `stream` is given from now on waits for every COPY_IN without a mark that submit() has accepted. -EAGAIN: one of
   * them has failed, and its completion has not been reaped yet. */
  int32_t (*stream_wait)(cubby_backend *backend, uint64_t stream);
  /** A mark behind the work that `stream` has been given so far; never 0. It is the caller's until mark_passed has said 1 or an
   * error. */
  int32_t (*mark_record)(cubby_backend *backend, uint64_t stream, uint64_t *mark);
  /** Is the work before the mark over? 1: yes, and the mark is given back; 0: not yet. */
  int32_t (*mark_passed)(cubby_backend *backend, uint64_t mark);
  /** As stream_wait, for every COPY_IN that begins behind a mark: those that do not may go past them. Optional; NULL = copies
   * begin behind no marks. */
  int32_t (*stream_wait_marked)(cubby_backend *backend, uint64_t stream);
  /** Does COPY_PEER read frames that an instance of this backend has on this device (its own included)? 1 or 0. stream_wait is for
   * such copies, too. Optional; NULL = bytes go from device to device through the host. */
  int32_t (*copies_from)(cubby_backend *backend, int32_t device);
  /** Where the device finds host memory that memory_register() has made known: *address, of byte `base`, is for kernels alone, and
   * need not be the host's. 0 or a negative errno. Optional; NULL = by the host's own address. */
  int32_t (*memory_address)(cubby_backend *backend, const void *base, uint64_t *address);
} cubby_backend_ops;

/** The one symbol that a backend library exports; the result stands as long as the library is loaded. */
typedef const cubby_backend_ops *(*cubby_backend_entry_fn)(void);
/** Its name. */
#define CUBBY_BACKEND_ENTRY "cubby_backend_entry"

#ifdef __cplusplus
}
#endif
#endif
