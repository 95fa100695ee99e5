// The reference kernels without a GPU: the same bodies, run on the processor over the memory of a
// fake driver.
#pragma once
#include <cstdint>

namespace cubby_test {

class fake_cuda;

struct kernel_twin {
  const char *name;
  uint64_t parameter_bytes;
  void (*run)(fake_cuda &driver, const void *work);
};

/// nullptr: there is no kernel of that name.
const kernel_twin *find_twin(const char *name);

}  // namespace cubby_test
