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

result<std::vector<memory_piece>> read_spans(runtime &self, const cubby_item &item,
                                             uint32_t index) {
  if (item.spans == nullptr || item.span_count == 0) {
    return fail(CUBBY_ERR_INVALID, "item %u has no spans: say where its bytes are, or go", index);
  }
  std::vector<memory_piece> pieces;
  pieces.reserve(item.span_count);
  for (uint32_t i = 0; i < item.span_count; ++i) {
    const cubby_span &one = item.spans[i];
    if (one.flags != 0) return bad_span(index, i, "its flags are not known; set them to 0");
    if (one.bytes == 0) return bad_span(index, i, "it has no bytes");
    const auto end = base::checked_add(one.offset_bytes, one.bytes);
    if (!end) return bad_span(index, i, "it ends beyond every address");
    if (one.region == 0) {
      if (one.offset_bytes == 0) return bad_span(index, i, "its address is NULL");
      pieces.push_back({reinterpret_cast<std::byte *>(one.offset_bytes), one.bytes});
      continue;
    }
    const region *known = find_region(self, one.region);
    if (known == nullptr) {
      return fail(CUBBY_ERR_STALE, "item %u, span %u: region %u is not one of this runtime", index,
                  i, one.region);
    }
    const cubby_region_desc &of = known->desc;
    if (of.kind == CUBBY_MEMORY_DEVICE) {
      return fail(CUBBY_ERR_NOT_SUPPORTED,
                  "item %u, span %u: region %u is device memory, which blocks are not copied to or "
                  "from yet; name host memory",
                  index, i, one.region);
    }
    const uint64_t size = of.piece_count == 0 ? of.bytes : of.piece_bytes * of.piece_count;
    if (*end > size) {
      return fail(CUBBY_ERR_INVALID, "item %u, span %u: bytes %llu to %llu, but region %u has %llu",
                  index, i, static_cast<ull>(one.offset_bytes), static_cast<ull>(*end), one.region,
                  static_cast<ull>(size));
    }
    if (of.piece_count == 0) {
      pieces.push_back({static_cast<std::byte *>(of.base) + one.offset_bytes, one.bytes});
    } else {
      add_strided(of, one.offset_bytes, one.bytes, pieces);
    }
  }
  return pieces;
}

item_memory::item_memory(runtime &self, const cubby_item &item, uint32_t index) {
  bool names_region = false;
  for (uint32_t i = 0; i < item.span_count && item.spans != nullptr; ++i) {
    names_region = names_region || item.spans[i].region != 0;
  }
  const auto lock =
      names_region ? std::unique_lock(self.region_mutex) : std::unique_lock<std::mutex>();
  pieces = read_spans(self, item, index);
  if (!names_region || !pieces) return;
  for (uint32_t i = 0; i < item.span_count; ++i) {
    region *const named = find_region(self, item.spans[i].region);
    if (named != nullptr) in_use_.add(named->used);
  }
}

}  // namespace cubby::api
