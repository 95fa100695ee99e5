/* Loaded before everything else in programs that `cubby run` starts. Two things that the backend
 * cannot do itself:
 *   - llama.cpp maps a model with MAP_POPULATE and asks for all of it (WILLNEED), which reads the
 * whole file into the page cache at start. Here a mapping of a GGUF file is left to be read as it
 * is used.
 *   - a program that never calls ggml_backend_load_all() (the Python binding) would not look at
 * GGML_BACKEND_PATH. Here the backend is loaded when libllama asks for the first time how many
 * devices there are. Programs that do neither run as without it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { mappings_max = 64 };

/* Where GGUF files have been mapped. An entry is never taken back: it only makes an advice unheard.
 */
static struct {
  _Atomic(char *) first;
  _Atomic size_t bytes;
} mappings[mappings_max];
static atomic_uint mapping_count;

static int is_gguf(int fd) {
  char begin[4];
  return pread(fd, begin, sizeof begin, 0) == sizeof begin &&
         memcmp(begin, "GGUF", sizeof begin) == 0;
}

static void remember(char *first, size_t bytes) {
  const unsigned at = atomic_fetch_add(&mapping_count, 1);
  if (at >= mappings_max) return;
  atomic_store(&mappings[at].bytes, bytes);
  atomic_store(&mappings[at].first, first);
}

static int is_remembered(const char *address) {
  for (unsigned i = 0; i < mappings_max; ++i) {
    const char *first = atomic_load(&mappings[i].first);
    if (first != NULL && address >= first && address < first + atomic_load(&mappings[i].bytes))
      return 1;
  }
  return 0;
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  const int whole_model =
      fd >= 0 && (flags & MAP_POPULATE) != 0 && protection == PROT_READ && is_gguf(fd);
  if (whole_model) flags &= ~MAP_POPULATE;
  void *mapped = (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
  if (whole_model && mapped != MAP_FAILED) remember(mapped, bytes);
  return mapped;
}

void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return mmap(address, bytes, protection, flags, fd, offset);
}

int posix_madvise(void *address, size_t bytes, int advice) {
  if (advice == POSIX_MADV_WILLNEED && is_remembered(address)) return 0;
  /* As in the C library: DONTNEED is not the kernel's, which would throw bytes away. */
  if (advice == POSIX_MADV_DONTNEED) return 0;
  return syscall(SYS_madvise, address, bytes, advice) == 0 ? 0 : errno;
}

/* The function of that name that the caller would have found without us. */
static void *behind(const char *name, const void *caller) {
  Dl_info info;
  if (dladdr(caller, &info) != 0 && info.dli_fname != NULL) {
    void *library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (library != NULL) {
      void *found = dlsym(library, name);
      if (found != NULL) return found;
    }
  }
  return dlsym(RTLD_NEXT, name);
}

typedef size_t (*count_function)(void);
typedef void *(*load_function)(const char *);

size_t ggml_backend_dev_count(void) {
  static _Atomic(count_function) real;
  static atomic_flag loaded = ATOMIC_FLAG_INIT;
  const void *caller = __builtin_return_address(0);
  count_function count = atomic_load(&real);
  if (count == NULL) {
    *(void **)&count = behind("ggml_backend_dev_count", caller);
    atomic_store(&real, count);
  }
  const char *path = getenv("GGML_BACKEND_PATH");
  if (path != NULL && !atomic_flag_test_and_set(&loaded)) {
    load_function load;
    *(void **)&load = behind("ggml_backend_load", caller);
    if (load != NULL) load(path);
  }
  return count == NULL ? 0 : count();
}
