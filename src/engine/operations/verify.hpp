// Verifications: are the bytes of lockers, where they lie in a tier of memory, those that came
// there? What lies in a device is copied to host memory for it, chunk by chunk, behind everything
// else; nothing is loaded, and a frame stays where it is meanwhile.
#pragma once

#include <array>
#include <memory>

#include "engine/chunk_run.hpp"
#include "engine/operations/operation.hpp"
#include "transfer/io_table.hpp"
#include "transfer/staging.hpp"
#include "transfer/work_queue.hpp"

namespace cubby::engine {

class verify_operation final : public operation, public transfer::io_owner {
 public:
  verify_operation(const operation_units &units, transfer::io_table &ios)
      : operation(units), ios_(ios) {
    waiting_.reserve(units.requests.size());
  }

  bool grant(uint32_t index) override;
  void withdraw(uint32_t index, bool all) override;
  void io_done(uint32_t tag, const cubby_backend_done &done) override;
  /// Starts what there are buffers for; true when something was done.
  bool step();

 private:
  static constexpr uint32_t buffers_max = 4;  // it never takes much of a link

  /// One locker that is looked at; it is pinned. Those behind it are not, and may leave meanwhile.
  struct check {
    uint32_t request = no_index, item = 0;  // no_index: this place is free
    uint64_t frame = 0;
    uint32_t next_part = 0, next_chunk = 0;
    uint32_t in_flight = 0;
    bool stopped = false;  // no more of it is looked at
    error failure{.status = CUBBY_OK, .text = {}};
  };
  /// Consecutive chunks of it on their way out of the device.
  struct piece {
    uint32_t check = 0;
    chunk_run run;
    std::byte *buffer = nullptr;
  };

  bool begin_checks();
  bool begin_next(check &into);
  bool begin_item(uint32_t index, uint32_t item, check &into);
  bool look_at(uint32_t check_index);
  bool look_at_next_run(uint32_t check_index);
  bool start_copy(uint32_t check_index, const chunk_run &run);
  void compare(check &of, const chunk_run &run, const std::byte *bytes);
  void stop(check &of, const error &why);
  void end(uint32_t check_index);
  transfer::staging_pool &buffers_of(uint32_t tier);

  transfer::io_table &ios_;
  std::vector<uint32_t> waiting_;  // requests with items that were not looked at, as they came
  std::array<check, buffers_max> checks_;
  std::vector<piece> pieces_;
  std::vector<uint32_t> free_pieces_;
  std::vector<uint64_t> digests_;
  std::array<std::unique_ptr<transfer::staging_pool>, tiers_max> buffers_;
};

}  // namespace cubby::engine
