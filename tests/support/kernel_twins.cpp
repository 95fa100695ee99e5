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
void run_foresee(fake_cuda &driver, const void *work) {
  foresee(read_work<foresee_work>(work), fake_reach{driver});
}
void run_gate(fake_cuda &driver, const void *from) {
  const auto work = read_work<gate_work>(from);
  for (uint32_t i = 0; i < work.count; ++i) gate(work, i, fake_reach{driver});
}
void run_next_state(fake_cuda &driver, const void *work) {
  next_state(read_work<state_work>(work), fake_reach{driver});
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
    {"cubby_foresee", sizeof(foresee_work), run_foresee},
    {"cubby_gemv", sizeof(gemv_work), run_gemv},
    {"cubby_gate", sizeof(gate_work), run_gate},
    {"cubby_next_state", sizeof(state_work), run_next_state},
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
