// A device's memory, as far as the library's own interface reaches it: copies from host memory.
#pragma once

#include <memory>

#include "cli/characterize/pin_stream.hpp"
#include "cli/characterize/plan.hpp"
#include "cli/characterize/steps.hpp"

namespace cubby_cli::characterize {

struct device_place {
  std::string backend = "cuda";
  int32_t ordinal = 0;
  uint64_t emulated_bytes_per_s = 0;  // for tests: host memory behind a link
  /// Of its energy; for tests. Without a place on the PCI bus the CUDA driver is asked for it.
  std::string energy_library = gpu_energy::nvml, pci_id = {};
};

class device_tier {
 public:
  explicit device_tier(const device_place &which) : which_(which) {}
  ~device_tier();
  device_tier(const device_tier &) = delete;
  device_tier &operator=(const device_tier &) = delete;

  /// Trouble, with the library's own sentence, where there is no such device. Lockers are blocks of
  /// the file at `path`, which may change until the first step runs.
  done open(const std::string &path, uint64_t file_bytes);
  void plan(steps &to);
  [[nodiscard]] profile::tier result() const;
  [[nodiscard]] std::optional<profile::link> link_from(const std::string &host) const;
  [[nodiscard]] std::string name() const { return "device:" + std::to_string(which_.ordinal); }

 private:
  done add_tiers();
  void open_energy();
  done map();
  done load_host();
  done give_up(const trouble &why);
  done copy(uint32_t depth, double seconds);

  const device_place which_;
  std::unique_ptr<gpu_energy> energy_;
  cubby_handle *rt_ = nullptr;
  cubby_tier host_ = 0, device_ = 0;
  cubby_bank bank_ = 0;
  uint32_t count_ = 0;
  std::string path_;
  std::unique_ptr<pin_stream> pins_;
  profile::tier made_;
};

}  // namespace cubby_cli::characterize
