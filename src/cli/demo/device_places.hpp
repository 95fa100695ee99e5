// Where the experts of a decode loop on a device are: in lockers that its kernels find by number,
// all of them in the device's memory, or in a cache that the host fills, and waits for, at each
// miss.
#pragma once

#include "cli/demo/cubby_source.hpp"
#include "cli/demo/device_layers.hpp"

namespace cubby_cli::demo {

class device_place {
 public:
  virtual ~device_place() = default;
  /// A run begins, or is over: the device is at rest.
  virtual void begin_run() {}
  virtual void end_run() {}
  /// Puts into the stream what makes the experts of a layer be there, or makes them be there.
  virtual found_experts bring(uint32_t token, uint32_t layer) = 0;
  /// Behind the last kernel that uses them.
  virtual void let_go() {}
  /// The device is done with a token.
  virtual void token_over(uint32_t) {}
  /// The host has nothing to do just now.
  virtual void rest();

  struct counts {
    uint64_t hits = 0, misses = 0;  // of experts, when their layer looked
    uint64_t evictions = 0;
    uint64_t waited_ns = 0;  // of the device, for those it missed
  };
  /// Since it was made. The device is at rest.
  virtual counts seen() { return {}; }
  /// Trouble where work did not get what it asked for.
  virtual done check() { return nothing{}; }
};

/// Lockers of a runtime, by a slot table.
class locker_place final : public device_place {
 public:
  locker_place(device_here &on, const expert_file &file, const routes &chosen,
               cubby_options settings);
  locker_place(const locker_place &) = delete;
  locker_place &operator=(const locker_place &) = delete;
  ~locker_place() override;

  found_experts bring(uint32_t token, uint32_t layer) override;
  void let_go() override;
  void token_over(uint32_t token) override;
  void rest() override;
  counts seen() override;
  done check() override;
  [[nodiscard]] cubby_source &source() { return source_; }
  [[nodiscard]] const std::string &failure() const { return failure_; }

 private:
  [[nodiscard]] uint64_t chosen_at(uint32_t token, uint32_t layer) const {
    return choices_ + (uint64_t{token} * chosen_.layers + layer) * chosen_.top_k * sizeof(int32_t);
  }

  device_here &on_;
  const routes &chosen_;
  const cubby_options settings_;
  cubby_source source_;
  cubby_slots slots_{};
  uint64_t choices_ = 0;   // int32_t[tokens][layers][top_k]: the router's
  uint64_t words_ = 0;     // uint64_t[top_k]
  uint64_t outcomes_ = 0;  // int32_t[tokens][layers]
  uint64_t waits_ = 0;     // cubby_kernels::wait_counts
  uint64_t looked_ = 0;    // for so many experts
  std::string failure_;
};

/// Everything in the device's memory.
std::unique_ptr<device_place> make_resident_place(device_here &on, const expert_file &file,
                                                  const routes &chosen, expert_source &from);
/// So many bytes of frames. A miss takes the frame that was used longest ago, is copied from
/// `from`, which has everything in host memory, and waited for. `registered`: that memory is
/// registered for DMA during its runs, so that no driver's buffer is between.
std::unique_ptr<device_place> make_copying_place(device_here &on, const expert_file &file,
                                                 const routes &chosen, expert_source &from,
                                                 uint64_t bytes, bool registered);

}  // namespace cubby_cli::demo
