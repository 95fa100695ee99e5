// The spaces of a runtime by handle: which bank each is of, and its handle in that bank's
// directory.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/abi.hpp"
#include "residency/locker_bank.hpp"

namespace cubby::api {

class space_list {
 public:
  static constexpr uint32_t spaces_max = 1024;

  struct named {
    residency::locker_bank *bank = nullptr;  // nullptr: the handle is stale
    uint32_t space = 0;                      // of the bank's directory
  };

  /// Any thread. What it gives stands until the call that asked has ended.
  [[nodiscard]] named find(cubby_space handle) const noexcept {
    const uint32_t index = (handle & 0xFFFF) - 1;
    if (index >= spaces_max) return {};
    const slot &one = slots_[index];
    if (one.handle.load(std::memory_order_acquire) != handle) return {};
    return {one.bank.load(std::memory_order_relaxed), one.space.load(std::memory_order_relaxed)};
  }

  // Pump held.

  /// 0 when there are as many as can be.
  cubby_space add(residency::locker_bank &bank, uint32_t space) noexcept {
    for (uint32_t i = 0; i < spaces_max; ++i) {
      slot &one = slots_[i];
      if (one.taken) continue;
      one.taken = true;
      one.bank.store(&bank, std::memory_order_relaxed);
      one.space.store(space, std::memory_order_relaxed);
      const cubby_space handle = (++one.generation & 0xFFFF) << 16 | (i + 1);
      one.handle.store(handle, std::memory_order_release);
      return handle;
    }
    return 0;
  }
  /// It is found by no call that begins from here on; forget() follows once those before are over.
  void hide(cubby_space handle) noexcept { of(handle).handle.store(0, std::memory_order_seq_cst); }
  void forget(cubby_space handle) noexcept { of(handle).taken = false; }
  [[nodiscard]] bool any_of(const residency::locker_bank &bank) const noexcept {
    for (const slot &one : slots_) {
      if (one.taken && one.bank.load(std::memory_order_relaxed) == &bank) return true;
    }
    return false;
  }

 private:
  struct slot {
    std::atomic<cubby_space> handle{0};
    std::atomic<uint32_t> space{0};
    std::atomic<residency::locker_bank *> bank{nullptr};
    uint32_t generation = 0;
    bool taken = false;
  };
  slot &of(cubby_space handle) noexcept { return slots_[(handle & 0xFFFF) - 1]; }

  std::array<slot, spaces_max> slots_;
};

}  // namespace cubby::api
