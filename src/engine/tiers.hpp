// The tiers of a runtime: memory with frames, or files; each with its channel and its counters.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <memory>
#include <string>
#include <vector>

#include "engine/failed_reads.hpp"
#include "engine/load_times.hpp"
#include "engine/names.hpp"
#include "store/machine_profile.hpp"
#include "tier/file_tier.hpp"
#include "tier/memory_tier.hpp"
#include "transfer/channel.hpp"
#include "transfer/pieces.hpp"
#include "transfer/staging.hpp"
#include "transfer/stand_aside.hpp"

namespace cubby::engine {

struct tier_slot {
  /// Of a file tier, until it has been read from.
  void assume_speed(const store::read_speed &from_elsewhere) const {
    path->assume_speed(from_elsewhere.bytes_per_s / 1e9, from_elsewhere.latency_ns);
  }

  cubby_tier handle = 0;
  std::string name, backend;
  std::string note;  // why it is not the better path that was asked for first
  uint32_t rank = 0, flags = 0;
  uint32_t demotes_to = no_tier;  // the exclusive memory tier below that takes what leaves this one
  bool has_memory_below = false;  // some memory tier is farther away
  std::unique_ptr<tier::memory_tier> memory;  // of a memory tier
  std::unique_ptr<tier::file_tier> files;     // of a file tier
  std::unique_ptr<transfer::channel> path;
  /// Of a file tier: for frames it cannot reach. Of a device: for what comes from another one.
  std::unique_ptr<transfer::staging_pool> staging;
  std::bitset<tiers_max> peers;  // of a device: tiers that it copies from by itself
  std::unique_ptr<transfer::staging_pool> read_buffers;  // and for gets past the tiers
  class failed_reads failed_reads;                       // of a file tier: of its store
  // Read by threads that pin.
  std::atomic<uint64_t> budget_bytes{0};
  std::atomic<bool> lost{false};      // its device is, for as long as the process lives
  uint64_t largest_set_bytes = 0;     // of what a token uses in a layer, over all banks
  uint64_t leaving_bytes = 0;         // of frames whose bytes are on their way down
  std::vector<cubby_region> regions;  // lent
  bool unexpected_reported = false;   // of completions that answer nothing
  uint64_t overstated_count = 0;      // of its channel, as counted here
  cubby_tier_stats stats{};
  load_times loads;               // of demand for the tier
  transfer::path_speed arrivals;  // in a memory tier, of demand from files: read, verified, copied
  transfer::way_cost way;         // from the tier to nearer ones
  transfer::stand_aside stand_aside;  // of a memory tier below others: files are quicker

  [[nodiscard]] bool is_exclusive() const { return (flags & CUBBY_TIER_EXCLUSIVE) != 0; }
  [[nodiscard]] tier::backend_instance &io_backend() {
    return memory != nullptr ? memory->backend() : files->backend();
  }
};

/// Tiers are added and never removed. Lookups may be made by any thread, add() by who holds the
/// pump.
class tier_set {
 public:
  ~tier_set();

  [[nodiscard]] uint32_t count() const { return count_.load(std::memory_order_acquire); }
  [[nodiscard]] tier_slot &operator[](uint32_t index) { return *slots_[index]; }
  [[nodiscard]] const tier_slot &operator[](uint32_t index) const { return *slots_[index]; }
  /// no_tier when the handle is stale.
  [[nodiscard]] uint32_t find(cubby_tier handle) const {
    const uint32_t index = (handle & 0xFF) - 1;
    return index < count() && slots_[index]->handle == handle ? index : no_tier;
  }
  [[nodiscard]] bool is_memory(uint32_t index) const { return slots_[index]->memory != nullptr; }
  [[nodiscard]] uint32_t memory_count() const { return memory_count_; }

  /// INVALID when there are as many as can be, or one of this name.
  result<void> check_new(const std::string &name) const;
  /// After check_new(); seen by others once publish() says so. Returns the index.
  uint32_t place(std::unique_ptr<tier_slot> slot, uint32_t salt);
  void publish(uint32_t index);
  /// Takes a tier back that was placed and not published.
  void withdraw(uint32_t index) { slots_[index].reset(); }

  /// The file tier that reads a file: the one whose directory it lies in, else the first; no_tier
  /// before there is one.
  [[nodiscard]] uint32_t file_tier_for(const std::string &path) const;
  /// Can bytes be copied from one memory tier to another?
  [[nodiscard]] bool connected(uint32_t from, uint32_t to) const;
  /// Only by way of host memory: out of one device, and into the other? Whether there is any is
  /// another question: what was begun that way ends that way.
  [[nodiscard]] bool staged(uint32_t from, uint32_t to) const;
  /// The device of `to` reads them by itself.
  [[nodiscard]] bool peers(uint32_t from, uint32_t to) const { return slots_[to]->peers[from]; }
  /// The channel that makes the copies from one memory tier to another, or the first of them.
  [[nodiscard]] transfer::channel &copy_path(uint32_t from, uint32_t to);
  /// Where a part of a locker begins in a frame of the tier; nullptr when its row lacks the part.
  [[nodiscard]] std::byte *address(const locker_bank &bank, uint32_t tier, uint64_t frame,
                                   uint32_t number, uint32_t part) const {
    if (bank.part_bytes(bank.row_of(number), part) == 0) return nullptr;
    return slots_[tier]->memory->places().at(frame, part) +
           bank.part_offset(bank.layout(tier), number, part);
  }

  /// The same of all parts, in their order; those that are not there have no bytes.
  [[nodiscard]] std::array<transfer::memory_piece, CUBBY_PARTS_MAX> pieces(const locker_bank &bank,
                                                                           uint32_t tier,
                                                                           uint64_t frame,
                                                                           uint32_t number) const {
    std::array<transfer::memory_piece, CUBBY_PARTS_MAX> all{};
    for (uint32_t p = 0; p < bank.part_count(); ++p) {
      all[p] = {address(bank, tier, frame, number, p), bank.part_bytes(bank.row_of(number), p)};
    }
    return all;
  }
  /// Has any memory tier, but for `except`, a copy of the locker, or one on its way?
  [[nodiscard]] bool have_in_memory(const locker_bank &bank, uint32_t number,
                                    uint32_t except = no_tier) const {
    for (uint32_t tier = 0; tier < count(); ++tier) {
      if (tier == except || !is_memory(tier) || bank.words(tier) == nullptr) continue;
      if (bank.word(tier, number).look().state != locker_state::absent) return true;
    }
    return false;
  }

  /// The memory tier stands aside, and the bank's files, by which it was not weighed alone, come
  /// sooner than what lies there.
  [[nodiscard]] bool goes_past(uint32_t tier, const locker_bank &bank) const {
    if (!slots_[tier]->stand_aside.aside() || bank.file_tier == no_tier) return false;
    const double file_ns = slots_[bank.file_tier]->way.ns_per_byte();
    return file_ns != 0 && file_ns < slots_[tier]->way.ns_per_byte();
  }
  /// Its frames are a device's own: bytes come there by copies alone.
  [[nodiscard]] bool is_device(uint32_t index) const {
    return is_memory(index) && !slots_[index]->memory->readable();
  }
  /// Tells the backends of files and of devices of a memory tier's blocks from number `first` on,
  /// so that they may register them; or one backend alone, of a tier that is new.
  void register_blocks(uint32_t tier, size_t first);
  void register_blocks(uint32_t tier, size_t first, uint32_t user);
  /// Host memory that files are read into on their way to devices is registered with the devices.
  void register_staging(uint32_t file_tier, uint32_t device_tier);
  /// Which of the devices copy from each other; those that do not get host memory between them.
  void connect_devices(uint32_t device_tier);
  /// Tells them of one that goes.
  void unregister_block(uint32_t tier, const cubby_backend_memory &block);

 private:
  void look_below(uint32_t tier);

  std::array<std::unique_ptr<tier_slot>, tiers_max> slots_;
  std::atomic<uint32_t> count_{0};
  uint32_t memory_count_ = 0;
};

/// Of a tier whose device is lost.
[[nodiscard]] error lost_tier(const tier_slot &slot);
/// Of a stored block that its tier is not asked for just now.
[[nodiscard]] error not_read_again(const locker_bank &bank, uint32_t number,
                                   const tier_slot &files);

}  // namespace cubby::engine
