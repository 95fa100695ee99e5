// A tier with frames: its memory (own or lent), which of it is free, and its budget. It knows
// nothing of lockers.
#pragma once

#include <cubby/backend.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "tier/backend_instance.hpp"
#include "tier/extent_allocator.hpp"

namespace cubby::tier {

inline constexpr uint64_t frame_align_bytes = 4096;

/// Where the frames of a tier lie: part p of frame f begins at base[p] + f * stride[p].
struct frame_address {
  std::array<uintptr_t, CUBBY_PARTS_MAX> base{};
  std::array<uint64_t, CUBBY_PARTS_MAX> stride{};
};

/// All frames of a tier: where they lie, and what their places allow.
struct frame_places {
  frame_address address;
  /// Of each part's piece, where parts lie apart in strided memory; else 0.
  std::array<uint64_t, CUBBY_PARTS_MAX> piece_bytes{};
  /// Largest power of two that every frame's address is a multiple of.
  uint64_t align_bytes = frame_align_bytes;

  [[nodiscard]] bool strided() const { return piece_bytes[0] != 0; }
  [[nodiscard]] std::byte *at(uint64_t frame, uint32_t part) const {
    return reinterpret_cast<std::byte *>(address.base[part] + frame * address.stride[part]);
  }
};

/// One piece of lent memory: count pieces of piece_bytes, stride_bytes apart.
struct lent_memory {
  std::byte *base = nullptr;
  uint64_t bytes = 0;  // of a plain region
  uint64_t stride_bytes = 0, piece_bytes = 0, piece_count = 0;
};

class memory_tier {
 public:
  /// The library's own memory, `budget_bytes` of it, reserved from the backend at once.
  static result<std::unique_ptr<memory_tier>> own(std::unique_ptr<backend_instance> backend,
                                                  std::string name, uint64_t budget_bytes);
  /// Lent memory: one plain region holds packed frames; several strided ones hold slot i of part p
  /// in piece i of region p.
  static result<std::unique_ptr<memory_tier>> lent(std::unique_ptr<backend_instance> backend,
                                                   std::string name, uint64_t budget_bytes,
                                                   const std::vector<lent_memory> &memory);
  memory_tier(const memory_tier &) = delete;
  memory_tier &operator=(const memory_tier &) = delete;
  ~memory_tier();

  /// A frame for `bytes`; nothing when no hole is large enough or the budget is used up.
  std::optional<uint64_t> take(uint64_t bytes);
  void give(uint64_t frame, uint64_t bytes);
  /// Could take(bytes) succeed now, or once this frame were given back?
  [[nodiscard]] bool fits(uint64_t bytes);
  [[nodiscard]] bool would_fit(uint64_t frame, uint64_t frame_bytes, uint64_t bytes);
  /// What a frame for `bytes` costs of the budget.
  [[nodiscard]] uint64_t cost_bytes(uint64_t bytes) const { return units(bytes) * unit_bytes_; }

  /// Raising takes more memory where needed; lowering only lowers the bound: the caller evicts.
  result<void> set_budget(uint64_t budget_bytes);
  /// Gives memory back that no frame lies in and the budget does not need; `before` is called with
  /// each block while it still stands.
  void trim(const std::function<void(const cubby_backend_memory &)> &before);

  /// The processor may read and write the frames. Any thread.
  [[nodiscard]] bool host_addressable() const { return host_addressable_; }
  /// The processor may read the frames (an emulated device's too: its memory is the host's). Any
  /// thread.
  [[nodiscard]] bool readable() const { return host_addressable_ || emulated_; }
  [[nodiscard]] bool is_lent() const { return lent_; }
  [[nodiscard]] const frame_places &places() const { return places_; }

  [[nodiscard]] backend_instance &backend() { return *backend_; }
  [[nodiscard]] const backend_instance &backend() const { return *backend_; }
  [[nodiscard]] const std::string &name() const { return name_; }
  [[nodiscard]] uint64_t budget_bytes() const { return budget_bytes_; }
  /// Less than the budget only after a merge() that failed.
  [[nodiscard]] uint64_t memory_bytes() const { return memory_bytes_; }
  [[nodiscard]] uint64_t used_bytes() const { return used_bytes_; }
  [[nodiscard]] uint64_t peak_bytes() const { return peak_bytes_; }
  /// More blocks than the budget needs, as after several resizes, or fewer bytes than it allows.
  [[nodiscard]] bool in_pieces() const;
  /// Is there a block for frames of so many bytes at once, as far as the budget goes? No frame lies
  /// across two blocks.
  [[nodiscard]] bool has_block_for(uint64_t bytes) const;
  /// Gives all memory back, each block after `before`, and takes what the budget allows anew, with
  /// a first block for frames of so many bytes together. Only while no frame is taken. After an
  /// error there may be no such block, or less memory than the budget, perhaps none.
  result<void> merge(const std::function<void(const cubby_backend_memory &)> &before,
                     uint64_t together_bytes = 0);
  [[nodiscard]] const std::vector<cubby_backend_memory> &blocks() const { return blocks_; }
  /// The same of memory that was lent.
  [[nodiscard]] const std::vector<cubby_backend_memory> &lent_blocks() const {
    return lent_blocks_;
  }

 private:
  memory_tier(std::unique_ptr<backend_instance> backend, std::string name, bool lent);
  result<void> add_memory(uint64_t bytes, uint64_t first_block_bytes);
  [[nodiscard]] uint64_t block_bytes_for(uint64_t bytes) const;
  void release_last_block();
  void note_lent(std::byte *base, uint64_t bytes);
  result<void> lend_packed(const lent_memory &memory);
  result<void> lend_strided(const std::vector<lent_memory> &memory);
  [[nodiscard]] uint64_t units(uint64_t bytes) const {
    return places_.strided() ? 1 : (bytes + frame_align_bytes - 1) / frame_align_bytes;
  }

  std::unique_ptr<backend_instance> backend_;
  std::string name_;
  const bool lent_;
  const bool host_addressable_, emulated_;  // as the backend said when it was opened
  std::vector<cubby_backend_memory> blocks_, lent_blocks_;
  extent_allocator frames_;
  frame_places places_;
  uint32_t piece_parts_ = 0;
  uint64_t unit_bytes_ = frame_align_bytes;  // of strided memory: a slot's
  uint64_t memory_bytes_ = 0;
  uint64_t budget_bytes_ = 0, used_bytes_ = 0, peak_bytes_ = 0;
};

/// Files may read straight into the frames, which are pages of their own.
[[nodiscard]] inline bool is_direct(const memory_tier &memory) {
  return !memory.is_lent() && memory.host_addressable();
}

}  // namespace cubby::tier
