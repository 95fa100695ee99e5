// What the parts of gpu_check share: the machine's driver with its waits counted, a runtime with a
// tier on the device, and facts that are written as JSON and as a table.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/abi.hpp"
#include "cuda/driver.hpp"

namespace gpu {

inline constexpr uint64_t mib = uint64_t{1} << 20;

/// The machine's driver; the calls in which a host thread waits for the device are counted.
const cubby_cuda::driver_table &counted_driver();
uint64_t host_sync_count();

/// "name: value" lines, in the order they were added; a failed one makes the program fail. Each is
/// in the part's file, FOLDER/NAME.json, and on stdout as soon as it is added: what comes later may
/// hang or crash.
class facts {
 public:
  facts(std::string folder, std::string name);
  void text(const std::string &name, const std::string &value);
  void number(const std::string &name, double value);
  void check(const std::string &name, bool good, const std::string &detail = "");
  /// The exit status.
  [[nodiscard]] int end();

 private:
  void add(const std::string &name, const std::string &json, const std::string &shown);
  void write(bool over);

  const std::string file_;
  std::string lines_;  // of the file
  bool failed_ = false, written_ = true;
};

/// The part ends here and fails, with this among its facts where there are any.
[[noreturn]] void give_up(const std::string &what, const std::string &why);
/// With the library's own sentence where a call fails that may not.
void need(cubby_status status, const char *call);
void need_driver(cubby_cuda::status came, const char *call);

/// The device's context is the thread's while it lives.
class in_device {
 public:
  in_device();
  in_device(const in_device &) = delete;
  in_device &operator=(const in_device &) = delete;
  ~in_device();

 private:
  cubby_cuda::device_id id_ = 0;
};

/// Memory of the device, as its driver hands it out.
class device_memory {
 public:
  /// A multiple of 2 MiB.
  explicit device_memory(uint64_t bytes);
  device_memory(const device_memory &) = delete;
  device_memory &operator=(const device_memory &) = delete;
  ~device_memory();
  [[nodiscard]] cubby_cuda::device_pointer at() const { return at_; }

 private:
  cubby_cuda::device_pointer at_ = 0;
  uint64_t bytes_;
};

/// A file of lockers of one size with known bytes, in the working folder.
struct model_file {
  explicit model_file(uint32_t locker_count, uint64_t locker_bytes);
  model_file(const model_file &) = delete;
  model_file &operator=(const model_file &) = delete;
  ~model_file();
  [[nodiscard]] uint64_t word_of(uint32_t number, uint64_t at) const;

  std::string path = "gpu_check_model.bin";
  uint32_t count;
  uint64_t bytes;
};

/// A runtime whose nearest tier is device 0.
struct device_runtime {
  device_runtime(const model_file &model, uint64_t device_bytes, uint64_t host_bytes,
                 bool exclusive_host, bool verify);
  device_runtime(const device_runtime &) = delete;
  device_runtime &operator=(const device_runtime &) = delete;
  ~device_runtime();

  /// Pins and waits for it; in the stream's order where there is one.
  cubby_pins pin(const std::vector<uint32_t> &numbers, cubby_tier tier,
                 std::vector<const void *> &addr, const cubby_sync *sync = nullptr);
  void unpin(cubby_pins pins, const cubby_sync *sync = nullptr);
  /// Into the tier, without a pin; waits for it.
  void prefetch(const std::vector<uint32_t> &numbers, cubby_tier tier);

  cubby_handle *rt = nullptr;
  cubby_tier device = 0, host = 0;
  cubby_bank bank = 0;
};

uint64_t now_ns();
double median(std::vector<double> values);

void run_conformance(facts &out);
void run_lockers(facts &out);
void run_kernels(facts &out);
void run_slots(facts &out);
void run_figures(facts &out);

}  // namespace gpu
