// A runtime with a bank of KV blocks, in memory and perhaps on disk, for `cubby bench kv` and
// `cubby replay --io`.
#pragma once

#include <cubby/cubby.hpp>

#include <functional>
#include <string>
#include <vector>

#include "cli/bench/reader.hpp"

namespace cubby_cli::bench {

/// What bytes a block has follows from its number alone, so that any read can be checked.
void write_content(void *to, uint64_t bytes, uint64_t number);
bool has_content(const void *at, uint64_t bytes, uint64_t number);

/// Of the rows of `bench kv` that have one size.
inline constexpr uint64_t usual_block_bytes = 256u << 10;

struct kv_shape {
  uint64_t block_bytes = 0, host_bytes = 0;
  uint32_t columns = 0;
  std::string directory;     // of the store; empty: there is none
  uint64_t store_bytes = 0;  // its budget
  bool verified = true;
  uint32_t pump = CUBBY_PUMP_THREAD;
  std::string policy = "auto";
  uint64_t seed = 0;            // of the policy
  std::string space = "bench";  // its fingerprint
};

/// Blocks of one number in two series have the same bytes under different keys.
struct kv_key {
  uint64_t series = 0, number = 0;
  [[nodiscard]] cubby_key named() const { return {this, sizeof *this}; }
};

class kv_bank {
 public:
  kv_bank() = default;
  ~kv_bank() { cubby_close(rt_); }
  kv_bank(const kv_bank &) = delete;
  kv_bank &operator=(const kv_bank &) = delete;
  done open(const kv_shape &shape);

  [[nodiscard]] cubby_handle *rt() const { return rt_; }
  [[nodiscard]] cubby_space space() const { return space_; }
  [[nodiscard]] const kv_shape &shape() const { return shape_; }
  /// Both are read during a call only, and must live that long.
  [[nodiscard]] cubby_item item(const kv_key &key, const cubby_span *span) const;
  [[nodiscard]] outcome<cubby_tier_stats> host_stats() const { return stats_of(host_); }
  /// Of the store's tier.
  [[nodiscard]] outcome<cubby_tier_stats> disk_stats() const { return stats_of(disk_); }
  /// Of a series' numbers below `count`, those that no memory has.
  [[nodiscard]] outcome<std::vector<uint32_t>> on_disk_alone(uint64_t series, uint32_t count) const;
  /// Everywhere, until the store has done it, too.
  done drop(uint64_t series, uint64_t first, uint64_t count);

 private:
  done add_tier(const char *backend, uint32_t rank, uint64_t budget_bytes, cubby_tier *made);
  done add_bank();
  [[nodiscard]] outcome<cubby_tier_stats> stats_of(cubby_tier tier) const;

  kv_shape shape_;
  cubby_handle *rt_ = nullptr;
  cubby_bank bank_ = 0;
  cubby_space space_ = 0;
  cubby_tier host_ = 0, disk_ = 0;
};

/// Puts or gets in batches, some tickets in flight.
class kv_stream {
 public:
  struct shape {
    uint32_t batch_items = 64, tickets = 4;
    [[nodiscard]] uint32_t slots() const { return batch_items * tickets; }
  };
  enum class verb { put, get };
  /// CUBBY_KEEP_* is of puts; `flags`: of cubby_how.
  kv_stream(const kv_bank &bank, const shape &of, verb what, uint8_t keep = 0, uint32_t flags = 0);
  /// `memory(slot, i)` is where block i goes or comes from; of blocks that are on their way at one
  /// time no two have the same slot. Over when all are.
  done run(const std::vector<kv_key> &keys,
           const std::function<cubby_span(uint32_t slot, size_t i)> &memory);
  /// As large as the memory allows: nothing in flight may wait for what comes behind it.
  static shape fitting(const kv_shape &bank, uint32_t batch_items, uint32_t tickets);

 private:
  done start(uint32_t t, uint32_t count);
  done finish(uint32_t t);

  const kv_bank &bank_;
  const shape shape_;
  const verb verb_;
  cubby_how how_{};
  std::vector<cubby_item> items_;  // [slot]
  std::vector<cubby_span> spans_;
  std::vector<cubby_ticket> tickets_;
};

/// Memory of a computation that blocks are got into: [layer][slot][piece], so that the pieces of a
/// block lie far apart, but where there is one layer. A region a slot.
class kv_tensor {
 public:
  kv_tensor(uint64_t block_bytes, uint32_t slots, uint64_t layers);
  done lend_to(const kv_bank &bank);
  [[nodiscard]] cubby_span span(uint32_t slot) const {
    return {regions_[slot], 0, 0, block_bytes_};
  }
  [[nodiscard]] bool has_content(uint32_t slot, uint64_t number) const;

 private:
  const uint64_t block_bytes_;
  const uint32_t slots_;
  const uint64_t layers_;
  huge_buffer memory_;
  std::vector<cubby_region> regions_;
};

/// Series 0, numbers below `count`, into the store.
done fill_store(const kv_bank &bank, uint32_t count);

}  // namespace cubby_cli::bench
