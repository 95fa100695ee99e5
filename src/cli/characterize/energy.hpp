// Joules: of the processors' packages by the counters that the kernel shows of RAPL, of a GPU by
// its driver's management library, NVML.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cubby_cli::characterize {

/// For one thread.
class energy_source {
 public:
  virtual ~energy_source() = default;
  /// That were taken so far, from whenever on; nothing where there are no counters.
  [[nodiscard]] virtual std::optional<double> joules() = 0;
  /// Why there are none, and what would change that; empty where there are.
  [[nodiscard]] const std::string &why() const { return why_; }

 protected:
  std::string why_;
};

class energy_counters final : public energy_source {
 public:
  /// `root` is a parameter for tests.
  explicit energy_counters(const std::string &root = "/sys/class/powercap");
  /// Since it was made, over all packages.
  [[nodiscard]] std::optional<double> joules() override;

 private:
  struct package {
    std::string path;
    uint64_t last_uj = 0, range_uj = 0;  // a counter begins again behind its range
  };
  std::vector<package> packages_;
  double joules_ = 0;
};

/// The whole board, its memory and its idle power included.
class gpu_energy final : public energy_source {
 public:
  static constexpr const char *nvml = "libnvidia-ml.so.1";
  /// The GPU is named by its place on the PCI bus ("0000:3b:00.0"), for NVML numbers them in
  /// another order than CUDA. `library` is a parameter for tests.
  explicit gpu_energy(const std::string &pci_id, const std::string &library = nvml);
  ~gpu_energy() override;
  gpu_energy(const gpu_energy &) = delete;
  gpu_energy &operator=(const gpu_energy &) = delete;
  /// Since its driver was loaded.
  [[nodiscard]] std::optional<double> joules() override;

 private:
  struct entries;
  bool load(const std::string &library);
  bool find(const std::string &pci_id);
  bool read(unsigned long long &millijoules);

  void *library_ = nullptr;
  std::unique_ptr<entries> calls_;  // nothing before NVML has started
  void *device_ = nullptr;
};

}  // namespace cubby_cli::characterize
