// Plays requests of KV blocks against a cache driver.
#pragma once

#include "cli/replay/walk/event_log.hpp"
#include "cli/replay/walk/cache_driver.hpp"

namespace cubby_cli::replay {

template <class Driver>
class request_player {
 public:
  /// `log` may be none.
  request_player(const request_schedule &of, const cubby_policy_ops &ops, Driver &driver,
                 event_log *log)
      : of_(of), ops_(ops), driver_(driver), log_(log) {}
  /// How many hits there were.
  uint32_t play(uint64_t number) {
    const kv_request &request = of_.requests[number];
    const cubby_object *blocks = of_.blocks.data() + request.first_block;
    uint32_t run = 0;
    while (run < request.block_count && driver_.resident(blocks[run])) ++run;
    if (log_ != nullptr)
      log_->used(number, {blocks, request.block_count}, {blocks + run, request.block_count - run});
    driver_.unpin();
    touch(request, blocks, number);
    if (log_ != nullptr) log_->ended();
    return run;
  }

 private:
  void touch(const kv_request &request, const cubby_object *blocks, uint64_t number) {
    // Copies that no call can change, so that they stay in registers.
    const cubby_policy_ops &ops = ops_;
    cubby_policy *const policy = driver_.policy();
    const bool offline = (ops.flags & CUBBY_POLICY_OFFLINE) != 0;
    const bool head_first = (ops.flags & CUBBY_POLICY_HEAD_FIRST) != 0;
    cubby_policy_access access = {};
    access.struct_size = sizeof access;
    access.next_use = CUBBY_NEVER_USED;
    access.now_ns = request.at_ns;
    access.number = number;
    for (uint32_t n = 0; n < request.block_count; ++n) {
      const uint32_t i = head_first ? n : request.block_count - 1 - n;
      access.object = blocks[i];
      access.parent = i == 0 ? CUBBY_NO_OBJECT : blocks[i - 1];
      access.depth = i;
      access.last = i + 1 == request.block_count ? 1 : 0;
      if (offline) access.next_use = from_next(of_.next[request.first_block + i]);
      const bool hit = driver_.resident(blocks[i]);
      ops.access(policy, &access);
      if (!hit && !driver_.bring(blocks[i], access.now_ns)) return;
    }
  }

  const request_schedule &of_;
  const cubby_policy_ops &ops_;
  Driver &driver_;
  event_log *const log_;
};

}  // namespace cubby_cli::replay
