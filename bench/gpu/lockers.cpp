// A whole runtime on the device: right bytes in its memory, by way of files and host memory, and in
// the order of a stream that reads them while frames change hands.
#include <cstring>

#include "gpu.hpp"

namespace gpu {
namespace {

constexpr uint32_t locker_count = 96;
constexpr uint64_t locker_bytes = 2 * mib;

/// Host memory that the device copies to; a stream of the program's own.
struct reader {
  explicit reader(uint64_t bytes) : memory(bytes) {
    const cubby_cuda::driver_table &driver = counted_driver();
    need_driver(driver.stream_create(&own, cubby_cuda::stream_non_blocking, 0), "cuStreamCreate");
    need_driver(driver.host_register(memory.data(), memory.size(), 0), "cuMemHostRegister");
    sync.struct_size = sizeof sync;
    sync.stream = reinterpret_cast<uintptr_t>(own);
  }
  reader(const reader &) = delete;
  reader &operator=(const reader &) = delete;
  ~reader() {
    counted_driver().host_unregister(memory.data());
    counted_driver().stream_destroy(own);
  }
  void copy_out(const void *from, uint64_t to, uint64_t bytes) {
    need_driver(counted_driver().copy_out(memory.data() + to, reinterpret_cast<uintptr_t>(from),
                                          bytes, own),
                "cuMemcpyDtoHAsync");
  }
  /// The program's own wait, which is none of the library's.
  void finish() {
    need_driver(cubby_cuda::machine_driver().table.stream_synchronize(own), "cuStreamSynchronize");
  }

  cubby_cuda::stream own = nullptr;
  cubby_sync sync{};
  std::vector<std::byte> memory;
};

bool right(const model_file &model, const std::byte *seen, uint32_t number) {
  for (uint64_t at = 0; at + 8 <= model.bytes; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, seen + at, 8);
    if (word != model.word_of(number, at)) return false;
  }
  return true;
}

void check_each(facts &out, const char *name, const model_file &model, device_runtime &on,
                reader &by) {
  uint32_t wrong = 0;
  for (int round = 0; round < 2; ++round) {
    for (uint32_t number = 0; number < model.count; ++number) {
      std::vector<const void *> addr;
      const cubby_pins pins = on.pin({number}, on.device, addr);
      by.copy_out(addr[0], 0, model.bytes);
      by.finish();
      if (!right(model, by.memory.data(), number)) ++wrong;
      on.unpin(pins);
    }
  }
  out.check(name, wrong == 0, std::to_string(wrong) + " lockers had other bytes");
}

/// Reads are enqueued and frames given up without a look at the device until the end.
void check_stream(facts &out, const model_file &model, device_runtime &on, reader &by) {
  const uint64_t before = host_sync_count();
  std::vector<uint32_t> read;
  uint64_t at = 0;
  for (uint32_t step = 0; step < 64; ++step) {
    std::vector<const void *> addr;
    const std::vector<uint32_t> numbers = {step * 7 % model.count, (step * 7 + 31) % model.count};
    const cubby_pins pins = on.pin(numbers, on.device, addr, &by.sync);
    for (size_t i = 0; i < numbers.size(); ++i, at += model.bytes) {
      by.copy_out(addr[i], at, model.bytes);
      read.push_back(numbers[i]);
    }
    on.unpin(pins, &by.sync);
  }
  const uint64_t syncs = host_sync_count() - before;
  by.finish();
  uint32_t wrong = 0;
  for (size_t i = 0; i < read.size(); ++i) {
    if (!right(model, by.memory.data() + i * model.bytes, read[i])) ++wrong;
  }
  out.check("stream order: right bytes", wrong == 0, std::to_string(wrong) + " reads were wrong");
  out.check("stream order: 0 host synchronisations", syncs == 0, std::to_string(syncs));
}

}  // namespace

void run_lockers(facts &out) {
  const model_file model(locker_count, locker_bytes);
  const in_device here;
  reader by(128 * locker_bytes);
  {
    device_runtime on(model, 48 * mib, 0, false, true);
    check_each(out, "file to device", model, on, by);
    check_stream(out, model, on, by);
  }
  {
    device_runtime on(model, 48 * mib, 512 * mib, false, true);
    check_each(out, "file to host to device", model, on, by);
    check_stream(out, model, on, by);
  }
  device_runtime on(model, 48 * mib, 512 * mib, true, true);
  check_each(out, "device to exclusive host and back", model, on, by);
}

}  // namespace gpu
