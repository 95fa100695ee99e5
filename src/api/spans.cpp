#include "api/spans.hpp"

#include <algorithm>

#include "base/checked.hpp"

namespace cubby::api {
namespace {

using ull = unsigned long long;

error bad_span(uint32_t item, uint32_t span, const char *why) {
  return fail(CUBBY_ERR_INVALID, "item %u, span %u: %s", item, span, why);
}

/// Bytes of a region count through its pieces, as if they lay one behind the other.
void add_strided(const cubby_region_desc &of, uint64_t offset_bytes, uint64_t bytes,
                 std::vector<memory_piece> &out) {
  while (bytes != 0) {
    const uint64_t within = offset_bytes % of.piece_bytes;
    const uint64_t here = std::min(bytes, of.piece_bytes - within);
    auto *const base = static_cast<std::byte *>(of.base);
    out.push_back({base + offset_bytes / of.piece_bytes * of.stride_bytes + within, here});
    offset_bytes += here;
    bytes -= here;
  }
}

}  // namespace

region *find_region(runtime &self, cubby_region handle) {
  for (region &one : self.regions) {
    if (one.handle == handle && handle != 0) return &one;
  }
  return nullptr;
}

namespace {

class span_reader {
 public:
  span_reader(runtime &self, const cubby_item &item, uint32_t index, device_regions *devices)
      : self_(self), item_(item), index_(index), devices_(devices) {}

  /// The region_mutex is held where a span names a region.
  result<std::vector<memory_piece>> read() {
    if (item_.spans == nullptr || item_.span_count == 0) {
      return fail(CUBBY_ERR_INVALID, "item %u has no spans: say where its bytes are, or go",
                  index_);
    }
    std::vector<memory_piece> pieces;
    pieces.reserve(item_.span_count);
    for (uint32_t i = 0; i < item_.span_count; ++i) {
      if (auto added = add(i, pieces); !added) return added.failure();
    }
    return pieces;
  }

  uint32_t device_tier = engine::no_tier;

 private:
  result<void> add(uint32_t i, std::vector<memory_piece> &pieces) {
    const cubby_span &one = item_.spans[i];
    if (one.flags != 0) return bad_span(index_, i, "its flags are not known; set them to 0");
    if (one.bytes == 0) return bad_span(index_, i, "it has no bytes");
    const auto end = base::checked_add(one.offset_bytes, one.bytes);
    if (!end) return bad_span(index_, i, "it ends beyond every address");
    if (one.region == 0) {
      if (one.offset_bytes == 0) return bad_span(index_, i, "its address is NULL");
      if (device_tier != engine::no_tier) return mixed(i);
      pieces.push_back({reinterpret_cast<std::byte *>(one.offset_bytes), one.bytes});
      return {};
    }
    const region *known = find_region(self_, one.region);
    if (known == nullptr) {
      return fail(CUBBY_ERR_STALE, "item %u, span %u: region %u is not one of this runtime", index_,
                  i, one.region);
    }
    const cubby_region_desc &of = known->desc;
    const uint64_t size = of.piece_count == 0 ? of.bytes : of.piece_bytes * of.piece_count;
    if (*end > size) {
      return fail(CUBBY_ERR_INVALID, "item %u, span %u: bytes %llu to %llu, but region %u has %llu",
                  index_, i, static_cast<ull>(one.offset_bytes), static_cast<ull>(*end), one.region,
                  static_cast<ull>(size));
    }
    if (auto place = look_at_place(*known, i); !place) return place;
    if (of.piece_count == 0) {
      pieces.push_back({static_cast<std::byte *>(of.base) + one.offset_bytes, one.bytes});
    } else {
      add_strided(of, one.offset_bytes, one.bytes, pieces);
    }
    return {};
  }

  [[nodiscard]] error mixed(uint32_t i) const {
    return bad_span(index_, i,
                    "it is memory of another place than the spans before it; name memory of the "
                    "host, or of one device, in an item");
  }

  /// Is it where the spans before it are, and can bytes be copied there?
  result<void> look_at_place(const region &named, uint32_t i) {
    if (named.desc.kind != CUBBY_MEMORY_DEVICE) {
      return device_tier == engine::no_tier ? result<void>() : mixed(i);
    }
    if (devices_ == nullptr) {
      return fail(CUBBY_ERR_NOT_SUPPORTED,
                  "item %u, span %u: region %u is device memory, which rows are not gathered into; "
                  "name host memory",
                  index_, i, named.handle);
    }
    const uint32_t tier = tier_of_device(std::max(named.desc.device, 0));
    if (tier == engine::no_tier) {
      return fail(CUBBY_ERR_NOT_SUPPORTED,
                  "item %u, span %u: region %u is memory of device %d, and no tier is: add one of "
                  "backend \"cuda\" with that device first",
                  index_, i, named.handle, named.desc.device);
    }
    if (i != 0 && tier != device_tier) return mixed(i);
    device_tier = tier;
    const engine::tier_slot &slot = self_.engine().state.tiers[tier];
    if (slot.lost.load(std::memory_order_acquire)) return engine::lost_tier(slot);
    return hold_against_device(named, slot, i);
  }

  [[nodiscard]] uint32_t tier_of_device(int32_t device) const {
    const engine::tier_set &tiers = self_.engine().state.tiers;
    for (uint32_t t = 0; t < tiers.count(); ++t) {
      if (tiers[t].memory == nullptr || !tiers[t].memory->backend().takes_device_memory()) continue;
      if (std::max(tiers[t].memory->backend().device(), 0) == device) return t;
    }
    return engine::no_tier;
  }

  /// What a program has given back to the driver is noticed before it is written to.
  result<void> hold_against_device(const region &named, const engine::tier_slot &slot, uint32_t i) {
    if (std::find(devices_->begin(), devices_->end(), named.handle) != devices_->end()) return {};
    if (!slot.memory->backend().check_memory(named.desc.base, span_of(named.desc))) {
      return fail(
          CUBBY_ERR_INVALID,
          "item %u, span %u: region %u is not memory of device %d, or is not any more; look "
          "at its base, bytes and device, and remove it before its memory is freed",
          index_, i, named.handle, named.desc.device);
    }
    devices_->push_back(named.handle);
    return {};
  }

  runtime &self_;
  const cubby_item &item_;
  const uint32_t index_;
  device_regions *const devices_;
};

}  // namespace

item_memory::item_memory(runtime &self, const cubby_item &item, uint32_t index,
                         device_regions *devices) {
  bool names_region = false;
  for (uint32_t i = 0; i < item.span_count && item.spans != nullptr; ++i) {
    names_region = names_region || item.spans[i].region != 0;
  }
  const auto lock =
      names_region ? std::unique_lock(self.region_mutex) : std::unique_lock<std::mutex>();
  span_reader spans(self, item, index, devices);
  pieces = spans.read();
  device_tier = spans.device_tier;
  if (!names_region || !pieces) return;
  for (uint32_t i = 0; i < item.span_count; ++i) {
    region *const named = find_region(self, item.spans[i].region);
    if (named != nullptr) in_use_.add(named->used);
  }
}

}  // namespace cubby::api
