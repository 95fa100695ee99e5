// The cuda backend over a driver that needs no GPU: its streams run in threads, or step by step.
#include <cubby/backend.h>

#include <cstring>

#include "cuda/cuda.hpp"
#include "support/fake_cuda.hpp"

namespace {

template <bool threads>
const cubby_backend_ops *over_fake() {
  static cubby_test::fake_cuda driver{{.seed = 7, .threads = threads, .batches = threads}};
  static const cubby_backend_ops ops = [] {
    cubby_backend_ops made = *cubby_cuda_backend();
    made.open = [](const cubby_backend_services *services, const cubby_backend_config *config,
                   cubby_backend **out) {
      cubby_backend_config with{};  // an older caller's may be shorter
      std::memcpy(&with, config, std::min<size_t>(sizeof with, config->struct_size));
      with.struct_size = sizeof with;
      with.user = const_cast<cubby_cuda::driver_table *>(driver.table());
      return cubby_cuda_backend()->open(services, &with, out);
    };
    return made;
  }();
  return &ops;
}

}  // namespace

const cubby_backend_ops *cubby_cuda_threads_backend();
const cubby_backend_ops *cubby_cuda_steps_backend();

const cubby_backend_ops *cubby_cuda_threads_backend() { return over_fake<true>(); }
const cubby_backend_ops *cubby_cuda_steps_backend() { return over_fake<false>(); }
