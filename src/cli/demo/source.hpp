// Where experts come from while decoding: the runtime, or one of the ways it is compared with.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/model/blocks.hpp"
#include "cli/outcome.hpp"

namespace cubby_cli::demo {

/// The experts of a model file: their place and kind.
struct expert_file {
  std::string path;
  uint64_t file_bytes = 0, expert_bytes = 0;  // of all experts together
  uint32_t layers = 0, experts = 0, top_k = 0, hidden = 0, ffn = 0;
  struct part {
    model::weight_type type = model::weight_type::q8_0;
    uint64_t bytes = 0;
    std::vector<uint64_t> offsets;  // [expert]
  };
  std::vector<part> parts;  // [layer * 3 + gate, up, down]
  [[nodiscard]] const part &at(uint32_t layer, uint32_t p) const { return parts[layer * 3 + p]; }
  [[nodiscard]] uint64_t locker_bytes(uint32_t layer) const {
    return at(layer, 0).bytes + at(layer, 1).bytes + at(layer, 2).bytes;
  }
};

/// One layer's experts of one token, in the order in which they land.
class expert_source {
 public:
  virtual ~expert_source() = default;
  /// Asks for them; false when the source has failed (see failure()).
  virtual bool begin(uint32_t layer, const uint16_t *experts, uint32_t count) = 0;
  /// The place in `experts` of one that is there now, its three parts in `parts`; waits for the
  /// next. -1 when the source has failed.
  virtual int next(const void *parts[3]) = 0;
  virtual void end() = 0;
  /// What a coming layer is going to ask for; `certain`: its router has chosen.
  virtual void forecast(uint32_t /*layer*/, const uint16_t * /*experts*/, uint32_t /*count*/,
                        bool /*certain*/) {}
  [[nodiscard]] virtual uint64_t waited_ns() const { return 0; }
  /// Of a source that has everything in memory of its own.
  [[nodiscard]] virtual std::span<std::byte> memory() const { return {}; }
  [[nodiscard]] const std::string &failure() const { return failure_; }

 protected:
  std::string failure_;
};

/// Reads where the experts lie, through the library. Trouble when they are of no format that the
/// loop has products for: on the processor q8_0 and q4_0, on a device also MXFP4 and BF16.
outcome<expert_file> look_at_model(const std::string &path, bool on_device = false);

/// The ways to compare with. `bytes` is what a cache may hold.
std::unique_ptr<expert_source> make_resident(const expert_file &file);
std::unique_ptr<expert_source> make_mapped(const expert_file &file);
std::unique_ptr<expert_source> make_pread(const expert_file &file, uint64_t bytes);

}  // namespace cubby_cli::demo
