// The file of a store on the simulated disk: what of its writes a power cut leaves.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.hpp"
#include "sim/world.hpp"
#include "support/store_disk.hpp"

namespace sim {

/// How a runtime's life ends.
enum class ending : uint32_t { closed, killed, power_cut };

class power final : public cubby_sim::write_watcher {
 public:
  explicit power(std::string path) : path_(std::move(path)) {}

  /// The file is there, and all of it is on the device.
  void begin();
  /// What the file is to hold after such an end; what was on its way then is lost, or torn.
  [[nodiscard]] store_disk::image left(ending how, cubby::base::prng &random) const;
  /// The file holds this from here on, and goes on with it.
  void restore(ending how, const store_disk::image &left);

  void write_begins(const std::string &path, const cubby_backend_io &io) override;
  void write_ends(const std::string &path, const cubby_backend_io &io, bool failed) override;
  uint64_t flush_begins(const std::string &path) override;
  void flush_ends(const std::string &path, uint64_t mark, bool failed) override;

  [[nodiscard]] bool buffer_changed() const { return buffer_changed_; }
  /// In this life.
  [[nodiscard]] bool flush_failed() const { return flush_failed_; }

 private:
  const std::string path_;
  std::unique_ptr<store_disk::disk> disk_;
  std::map<uint64_t, store_disk::disk::write> on_the_way_;  // by cookie
  bool buffer_changed_ = false, flush_failed_ = false;
};

}  // namespace sim
