// One store on disk, driven over the channel of its file tier: hands out what the store asks to be
// written and flushed, and brings back how it went.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine_state.hpp"
#include "store/durable/block_store.hpp"
#include "store/durable/open_store.hpp"
#include "transfer/io_table.hpp"

namespace cubby::engine {

class disk_store final : public transfer::io_owner {
 public:
  /// Opens the store's files through the tier's backend, too. INVALID where another file has taken
  /// the place of one that was opened before.
  static result<std::unique_ptr<disk_store>> open(engine_state &state, transfer::io_table &ios,
                                                  uint32_t tier, store::opened_store &&from);
  disk_store(const disk_store &) = delete;
  disk_store &operator=(const disk_store &) = delete;
  ~disk_store();

  [[nodiscard]] store::block_store &content() { return content_; }
  [[nodiscard]] const store::block_store &content() const { return content_; }
  [[nodiscard]] uint32_t tier() const { return tier_; }
  /// The backend's number of a file of the store, and its path.
  [[nodiscard]] uint32_t backend_file(uint32_t file) const { return numbers_[file]; }
  [[nodiscard]] const std::string &path(uint32_t file) const { return files_[file].path(); }

  /// Starts what the store asks for, while there is room. True when something was started,
  /// or requests have failed.
  bool step();
  [[nodiscard]] bool idle() const {
    return content_.is_idle() && free_.size() == operations_.size();
  }
  /// When a read-only store is tried again, or how far the journal goes is noted; never_ns where
  /// nothing waits for that.
  [[nodiscard]] uint64_t next_ns() const { return std::min(restore_at_ns_, note_at_ns_); }
  void io_done(uint32_t tag, const cubby_backend_done &done) override;

 private:
  static constexpr uint32_t merged_max = 16;
  static constexpr uint64_t restore_pause_min_ns = 1'000'000'000;
  /// One of the store's, in one or more I/Os; or several writes that lie one behind the other, in
  /// memory as on disk, in one I/O.
  struct operation {
    store::store_operation what;
    std::array<uint64_t, merged_max> more;  // cookies, beside that of `what`
    uint32_t more_count = 0;
    uint64_t started_bytes = 0;  // of what is to be written
    uint32_t in_flight = 0;
    int native = 0;
  };

  disk_store(engine_state &state, transfer::io_table &ios, uint32_t tier,
             store::opened_store &&from);
  result<void> open_files();
  bool look_after_failure();
  void note_end();
  bool take_operation();
  bool next_operation(store::store_operation &out);
  void merge_into(operation &one);
  void start_io(uint32_t index, uint64_t bytes_max);

  static constexpr uint32_t none = ~uint32_t{0};

  engine_state &state_;
  transfer::io_table &ios_;
  const uint32_t tier_;
  std::vector<store::store_file> files_;  // locked as long as this lives
  std::vector<uint32_t> numbers_;         // of the backend, one a file
  store::block_store content_;
  uint64_t io_bytes_max_ = 0;
  uint64_t demand_seen_ns_ = 0;
  std::vector<operation> operations_;
  std::vector<uint32_t> free_;
  uint32_t starting_ = none;                     // of operations_: not all of it was started
  std::optional<store::store_operation> ahead_;  // taken from the store, and not yet begun
  uint32_t in_flight_ = 0;
  uint64_t in_flight_bytes_ = 0;
  // Of a store that has become read-only: it is tried again after pauses.
  bool failure_said_ = false;
  uint64_t restore_at_ns_ = base::never_ns, restore_pause_ns_ = restore_pause_min_ns;
  uint64_t note_at_ns_ = base::never_ns;
};

}  // namespace cubby::engine
