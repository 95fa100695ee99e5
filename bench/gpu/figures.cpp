// How fast: copies of bare loops over the driver, and the same bytes as lockers of a runtime; the
// time of pins. One run, one machine: compare within it.
#include <algorithm>

#include "gpu.hpp"

namespace gpu {
namespace {

constexpr uint32_t locker_count = 512;
constexpr uint64_t locker_bytes = 2 * mib;
constexpr int rounds = 5;

double gb_per_s(uint64_t bytes, uint64_t ns) {
  return static_cast<double>(bytes) / static_cast<double>(ns);
}

/// 2 MiB copies between registered host memory and the device, by the driver alone.
struct bare_copies {
  explicit bare_copies(uint64_t size) : bytes(size), host(size, std::byte{1}), device(size) {
    const cubby_cuda::driver_table &driver = counted_driver();
    const uint64_t start = now_ns();
    need_driver(driver.host_register(host.data(), bytes, 0), "cuMemHostRegister");
    register_ns = now_ns() - start;
    for (auto *one : {&in, &out}) {
      need_driver(driver.stream_create(one, cubby_cuda::stream_non_blocking, 0), "cuStreamCreate");
    }
  }
  bare_copies(const bare_copies &) = delete;
  bare_copies &operator=(const bare_copies &) = delete;
  ~bare_copies() {
    const cubby_cuda::driver_table &driver = counted_driver();
    driver.stream_destroy(in);
    driver.stream_destroy(out);
    driver.host_unregister(host.data());
  }
  /// GB/s of both ways together.
  [[nodiscard]] double run(bool do_in, bool do_out) {
    const cubby_cuda::driver_table &driver = counted_driver();
    const uint64_t half = bytes / 2;  // the two ways do not touch each other's
    const uint64_t start = now_ns();
    for (uint64_t at = 0; at < half; at += locker_bytes) {
      if (do_in) {
        need_driver(driver.copy_in(device.at() + at, host.data() + at, locker_bytes, in),
                    "copy in");
      }
      if (do_out) {
        need_driver(
            driver.copy_out(host.data() + half + at, device.at() + half + at, locker_bytes, out),
            "copy out");
      }
    }
    need_driver(driver.stream_synchronize(in), "cuStreamSynchronize");
    need_driver(driver.stream_synchronize(out), "cuStreamSynchronize");
    return gb_per_s((do_in ? half : 0) + (do_out ? half : 0), now_ns() - start);
  }

  uint64_t bytes, register_ns = 0;
  std::vector<std::byte> host;
  device_memory device;
  cubby_cuda::stream in = nullptr, out = nullptr;
};

std::vector<uint32_t> numbers_of(uint32_t first, uint32_t count) {
  std::vector<uint32_t> all(count);
  for (uint32_t i = 0; i < count; ++i) all[i] = first + i;
  return all;
}

/// From a tier below to the device, half of the model each time: what was there makes room.
double locker_rate(device_runtime &on, const model_file &model) {
  std::vector<double> rates;
  const uint32_t half = model.count / 2;
  for (int round = 0; round < rounds; ++round) {
    const auto numbers = numbers_of(round % 2 == 0 ? 0 : half, half);
    std::vector<const void *> addr;
    const uint64_t start = now_ns();
    const cubby_pins pins = on.pin(numbers, on.device, addr);
    rates.push_back(gb_per_s(half * model.bytes, now_ns() - start));
    on.unpin(pins);
  }
  return median(rates);
}

void measure_bare(facts &out) {
  bare_copies bare(locker_count * locker_bytes);
  struct direction {
    const char *name;
    bool in, out;
  };
  for (const auto &[name, do_in, do_out] : {direction{"bare copies in, GB/s", true, false},
                                            direction{"bare copies out, GB/s", false, true},
                                            direction{"bare copies both ways, GB/s", true, true}}) {
    std::vector<double> rates;
    for (int i = 0; i < rounds; ++i) rates.push_back(bare.run(do_in, do_out));
    out.number(name, median(rates));
  }
  out.number("registration of 1 GiB, ms", static_cast<double>(bare.register_ns) / 1e6);
}

void measure_lockers(facts &out, const model_file &model) {
  const uint64_t all = model.count * model.bytes;
  for (const bool verify : {true, false}) {
    const std::string with = verify ? "verified" : "not verified";
    {
      device_runtime on(model, all / 2, all + 64 * mib, false, verify);
      on.prefetch(numbers_of(0, model.count), on.host);
      out.number("lockers host to device, " + with + ", GB/s", locker_rate(on, model));
    }
    device_runtime on(model, all / 2, 0, false, verify);
    out.number("lockers file to device, " + with + ", GB/s", locker_rate(on, model));
  }
}

void measure_pins(facts &out, const model_file &model) {
  const cubby_cuda::driver_table &driver = counted_driver();
  device_runtime on(model, 128 * mib, 0, false, true);
  const auto eight = numbers_of(0, 8);
  on.prefetch(eight, on.device);
  cubby_cuda::stream own = nullptr;
  need_driver(driver.stream_create(&own, cubby_cuda::stream_non_blocking, 0), "cuStreamCreate");
  cubby_sync sync{};
  sync.struct_size = sizeof sync;
  sync.stream = reinterpret_cast<uintptr_t>(own);
  std::vector<double> pins, unpins;
  std::vector<const void *> addr;
  for (int i = 0; i < 2000; ++i) {
    const uint64_t start = now_ns();
    const cubby_pins held = on.pin(eight, on.device, addr, &sync);
    const uint64_t pinned = now_ns();
    on.unpin(held, &sync);
    pins.push_back(static_cast<double>(pinned - start));
    unpins.push_back(static_cast<double>(now_ns() - pinned));
  }
  out.number("pin of 8 resident lockers on a stream, host ns", median(pins));
  out.number("unpin of 8 lockers on a stream, host ns", median(unpins));
  driver.stream_destroy(own);
}

}  // namespace

void run_figures(facts &out) {
  const model_file model(locker_count, locker_bytes);
  const in_device here;
  measure_bare(out);
  measure_lockers(out, model);
  measure_pins(out, model);
}

}  // namespace gpu
