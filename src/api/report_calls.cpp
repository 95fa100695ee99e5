// Looking: statistics, descriptions, the log.
#include <cstdio>
#include <cstring>

#include "api/guard.hpp"
#include "api/metrics.hpp"
#include "api/runtime.hpp"

using namespace cubby;
using namespace cubby::api;

cubby_status cubby_stats(cubby_handle *rt, cubby_stats_block *out, cubby_tier_stats *tiers,
                         uint32_t tier_max) {
  CUBBY_ENTER(rt);
  if (out == nullptr) CUBBY_REFUSE("cubby_stats: out is NULL");
  const uint32_t named = tiers == nullptr ? 0 : tiers->struct_size;
  if (named != 0 && (named < offsetof(cubby_tier_stats, budget_bytes) ||
                     named % alignof(cubby_tier_stats) != 0)) {
    CUBBY_REFUSE("cubby_tier_stats.struct_size is %u; set it to sizeof(cubby_tier_stats)", named);
  }
  if (self.engine().pump.has_news()) self.kick();  // what was released before is seen
  return guarded([&]() -> cubby_status {
    cubby_stats_block block{};
    std::vector<cubby_tier_stats> all;
    {
      const auto lock = self.hold_pump();
      self.engine().numbers.report(block, all);
    }
    block.log_dropped_count = self.log_lines.dropped();
    write_struct(block, out);
    if (tiers == nullptr) return CUBBY_OK;
    // The caller's stride is its own size of the struct.
    auto *at = reinterpret_cast<std::byte *>(tiers);
    const uint32_t stride = tiers->struct_size == 0 ? sizeof *tiers : tiers->struct_size;
    for (uint32_t i = 0; i < all.size() && i < tier_max; ++i, at += stride) {
      auto *to = reinterpret_cast<cubby_tier_stats *>(at);
      to->struct_size = stride;
      write_struct(all[i], to);
    }
    return CUBBY_OK;
  });
}

cubby_status cubby_metrics(cubby_handle *rt, char *text, size_t text_bytes, size_t *needed_bytes) {
  CUBBY_ENTER(rt);
  if (text == nullptr && text_bytes != 0) CUBBY_REFUSE("cubby_metrics: text is NULL");
  if (text == nullptr && needed_bytes == nullptr) {
    CUBBY_REFUSE("cubby_metrics: text and needed_bytes are NULL; nothing can be answered");
  }
  if (self.engine().pump.has_news()) self.kick();  // what was released before is seen
  return guarded([&]() -> cubby_status {
    std::string made;
    {
      const auto lock = self.hold_pump();
      write_metrics(self.engine(), self.log_lines.dropped(), made);
    }
    const size_t needed = made.size() + 1;
    if (needed_bytes != nullptr) *needed_bytes = needed;
    if (text == nullptr) return CUBBY_OK;
    if (needed > text_bytes) {
      if (text_bytes != 0) text[0] = 0;
      error why = fail(CUBBY_ERR_INVALID,
                       "the metrics take %zu bytes and the text has room for %zu; lend more",
                       needed, text_bytes);
      why.needed_bytes = needed;
      return keep_error(why);
    }
    std::memcpy(text, made.c_str(), needed);
    return CUBBY_OK;
  });
}

cubby_status cubby_publish(cubby_handle *rt, uint32_t interval_ms) {
  CUBBY_ENTER(rt);
  constexpr uint32_t interval_ms_max = 3'600'000;
  if (interval_ms > interval_ms_max) {
    CUBBY_REFUSE("cubby_publish: interval_ms %u is more than an hour; 0 ends it", interval_ms);
  }
  return guarded([&]() -> cubby_status {
    {
      const auto lock = self.hold_pump();
      if (auto begun = self.published.begin(interval_ms); !begun) {
        return keep_error(begun.failure());
      }
      self.published.renew(self.engine(), self.log_lines);
    }
    self.wake_waiters();  // a sleep ends in time from here on
    return CUBBY_OK;
  });
}

cubby_status cubby_tier_describe(cubby_handle *rt, cubby_tier tier, cubby_tier_info *out) {
  CUBBY_ENTER(rt);
  if (out == nullptr) CUBBY_REFUSE("cubby_tier_describe: out is NULL");
  return guarded([&]() -> cubby_status {
    const auto lock = self.hold_pump();
    const uint32_t index = self.engine().state.tiers.find(tier);
    if (index == engine::no_tier) {
      return keep_error(fail(CUBBY_ERR_STALE, "tier %u is not one of this runtime", tier));
    }
    engine::tier_slot &slot = self.engine().state.tiers[index];
    tier::backend_instance &backend = slot.io_backend();
    const cubby_backend_info &seen = backend.refresh_info();
    cubby_tier_info info{};
    info.tier = slot.handle;
    info.rank = slot.rank;
    info.emulated = seen.emulated;
    info.registered = seen.registered;
    info.queue_depth = seen.queue_depth;
    if (slot.memory != nullptr) {
      for (const cubby_backend_memory &block : slot.memory->blocks()) {
        info.memory_bytes += block.bytes;
        info.huge_bytes += block.huge_bytes;
        info.numa_nodes |= block.numa_nodes;
      }
    }
    base::cut_into(info.name, sizeof info.name, slot.name);
    base::cut_into(info.backend, sizeof info.backend, slot.backend);
    base::cut_into(info.io, sizeof info.io, seen.io);
    base::cut_into(info.why, sizeof info.why, slot.note.empty() ? seen.why : slot.note.c_str());
    write_struct(info, out);
    return CUBBY_OK;
  });
}

uint32_t cubby_log_take(cubby_handle *rt, cubby_log_line *out, uint32_t max_count) {
  // Without a runtime there are no lines: the library has no state of its own.
  if (rt == nullptr || out == nullptr || rt->self.forked()) return 0;
  return rt->self.log_lines.take(out, max_count);
}
