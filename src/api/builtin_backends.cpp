#include "api/builtin_backends.hpp"

#include <cstring>

const cubby_backend_ops *cubby_host_backend();
const cubby_backend_ops *cubby_threadpool_backend();
const cubby_backend_ops *cubby_cuda_backend();
#ifdef CUBBY_HAVE_URING
const cubby_backend_ops *cubby_uring_backend();
#endif

namespace cubby::api {

const cubby_backend_ops *builtin_backend(const char *name) {
  if (std::strcmp(name, "host") == 0) return cubby_host_backend();
  if (std::strcmp(name, "threadpool") == 0) return cubby_threadpool_backend();
  if (std::strcmp(name, "cuda") == 0) return cubby_cuda_backend();
#ifdef CUBBY_HAVE_URING
  if (std::strcmp(name, "uring") == 0) return cubby_uring_backend();
#endif
  return nullptr;
}

}  // namespace cubby::api
