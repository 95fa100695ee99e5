// Experts through the runtime: pinned for as long as they are computed with, hits first.
#pragma once

#include <cubby/cubby.hpp>

#include <nlohmann/json.hpp>

#include "cli/demo/lookahead.hpp"
#include "cli/demo/recording.hpp"
#include "cli/demo/source.hpp"
#include "cli/opened_model.hpp"

namespace cubby_cuda {
struct driver_table;
}

namespace cubby_cli::demo {

struct cubby_options {
  uint64_t device_bytes = 0, host_bytes = 0;  // 0 = no such tier
  std::string policy = "auto";
  lookahead_choice ahead;
  cubby::pump pump = cubby::pump::thread;
  recording *record = nullptr;  // visits go there; may be none
  /// The first tier is memory of a GPU, by this driver; none: it is an emulated device.
  const cubby_cuda::driver_table *driver = nullptr;
  int32_t ordinal = 0;  // of the GPU
};

class cubby_source final : public expert_source {
 public:
  cubby_source(const expert_file &file, const cubby_options &chosen);
  cubby_source(const cubby_source &) = delete;
  cubby_source &operator=(const cubby_source &) = delete;

  bool begin(uint32_t layer, const uint16_t *experts, uint32_t count) override;
  int next(const void *parts[3]) override;
  void end() override;
  void forecast(uint32_t layer, const uint16_t *experts, uint32_t count, bool certain) override;
  [[nodiscard]] uint64_t waited_ns() const override { return waited_ns_; }
  /// What of it was seen after the last call, for the recording where there is one.
  void drain_recording();
  /// For those that find experts by number.
  [[nodiscard]] cubby_handle *handle() const { return rt_; }
  [[nodiscard]] cubby_bank bank() const { return bank_; }
  [[nodiscard]] cubby_tier nearest() const { return nearest_; }
  /// Of the nearest tier.
  [[nodiscard]] uint64_t evictions() const;
  /// The fields of the demo's JSON that the runtime knows.
  [[nodiscard]] nlohmann::json report() const;
  /// "device:0 98% host:0 …": a line per tier for people.
  [[nodiscard]] std::string live() const;
  [[nodiscard]] std::vector<std::string> warnings() const;
  /// Ends the recording, where there is one.
  done finish_recording();

 private:
  bool open(const cubby_options &chosen);
  bool add_device(uint64_t bytes);
  bool add_host(uint64_t bytes);
  bool add_tier(const cubby::tier_options &how, cubby_tier &made);
  /// Into a tier that all of it fits in, before the first token: so it is with what is compared.
  bool load_everything(cubby_tier into);
  bool failed(const char *what);
  void finish_wait(cubby_status status);

  const expert_file &file_;
  const cubby_options chosen_;
  std::optional<opened_model> model_;
  cubby_handle *rt_ = nullptr;  // of the model, once it is opened
  cubby_bank bank_ = 0;
  cubby_tier nearest_ = 0, host_ = 0;
  cubby_pins pins_ = 0;
  cubby_ticket ticket_ = 0;
  std::string why_;  // of the last request that did not end well
  uint32_t count_ = 0;
  std::vector<cubby_item> items_;
  std::vector<int8_t> status_;
  std::vector<bool> given_;
  std::vector<const void *> addr_;
  uint64_t waited_ns_ = 0, loading_ns_ = 0, loaded_bytes_ = 0;
  uint32_t visits_since_drain_ = 0;
};

}  // namespace cubby_cli::demo
