#include "support/kernel_twins.hpp"

#include <cstring>

#include "cuda/kernels/work.cuh"
#include "support/fake_cuda.hpp"

namespace cubby_test {
namespace {
using namespace cubby_kernels;

struct fake_reach {
  fake_cuda &driver;
  void *operator()(uint64_t address, uint64_t bytes) const { return driver.reach(address, bytes); }
};

template <class Work>
Work read_work(const void *from) {
  Work out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

void run_acquire(fake_cuda &driver, const void *work) {
  acquire(read_work<acquire_work>(work), fake_reach{driver});
}
void run_leave(fake_cuda &driver, const void *work) {
  leave(read_work<leave_work>(work), fake_reach{driver});
}
void run_gemv(fake_cuda &driver, const void *from) {
  const auto work = read_work<gemv_work>(from);
  for (uint32_t item = 0; item < work.count; ++item) {
    for (uint32_t row = 0; row < work.rows; ++row) gemv(work, item, row, fake_reach{driver});
  }
}
void run_copy(fake_cuda &driver, const void *from) {
  const auto work = read_work<copy_work>(from);
  for (uint32_t i = 0; i < work.count; ++i) copy_span(work, i, fake_reach{driver});
}
void run_digest(fake_cuda &driver, const void *from) {
  const auto work = read_work<digest_work>(from);
  for (uint32_t i = 0; i < work.count; ++i) digest(work, i, fake_reach{driver});
}

constexpr kernel_twin twins[] = {
    {"cubby_acquire", sizeof(acquire_work), run_acquire},
    {"cubby_leave", sizeof(leave_work), run_leave},
    {"cubby_gemv", sizeof(gemv_work), run_gemv},
    {"cubby_copy_spans", sizeof(copy_work), run_copy},
    {"cubby_digest", sizeof(digest_work), run_digest},
};

}  // namespace

const kernel_twin *find_twin(const char *name) {
  for (const kernel_twin &one : twins) {
    if (std::strcmp(one.name, name) == 0) return &one;
  }
  return nullptr;
}

}  // namespace cubby_test
