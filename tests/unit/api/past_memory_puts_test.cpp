// Puts past the tiers of memory (CUBBY_BYPASS): written to the store from the caller's memory, and
// found there.
#include "unit/api/past_memory.hpp"

namespace past_memory_puts_test {

using namespace api_test;

namespace {

constexpr uint64_t large_bytes = 256 << 10;

cubby_status put_past(const block_fixture &f, uint32_t number, std::vector<cubby_span> from,
                      uint8_t keep = CUBBY_KEEP_RESTART) {
  const block_item one(f.space, key_of(number), {}, std::move(from));
  cubby_how how = past_memory();
  how.keep = keep;
  return cubby_put(f.h.rt, &one.item, 1, &how, nullptr);
}

/// The block's bytes in spans that end where nothing may be touched.
struct lying_memory {
  guarded_memory memory;
  std::vector<cubby_span> spans;

  lying_memory(uint32_t number, uint64_t bytes, uint64_t piece_bytes, uint64_t gap_bytes,
               uint64_t shift_bytes)
      : memory(spread(bytes, piece_bytes, gap_bytes) + shift_bytes),
        spans(pieces_of(memory.at_end(spread(bytes, piece_bytes, gap_bytes) + shift_bytes), bytes,
                        piece_bytes, gap_bytes)) {
    const std::string content = content_of(number, bytes);
    uint64_t behind = 0;
    for (const cubby_span &one : spans) {
      std::memcpy(reinterpret_cast<char *>(one.offset_bytes), content.data() + behind, one.bytes);
      behind += one.bytes;
    }
  }
  static uint64_t spread(uint64_t bytes, uint64_t piece_bytes, uint64_t gap_bytes) {
    return bytes + ((bytes + piece_bytes - 1) / piece_bytes - 1) * gap_bytes;
  }
};

}  // namespace

TEST_CASE("a put past memory stores the caller's bytes, wherever they lie") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 4 * mib};
  const uint32_t pump = GENERATE(0u, 1u);
  const uint8_t keep = GENERATE(uint8_t{CUBBY_KEEP_RESTART}, uint8_t{CUBBY_KEEP_DURABLE});
  struct form {
    uint64_t bytes, piece_bytes, gap_bytes, shift_bytes;
    bool past;
  };
  const form forms[] = {
      {large_bytes, large_bytes, 0, 0, true}, {large_bytes, large_bytes, 0, 8, false},
      {large_bytes, 64 << 10, page, 0, true}, {large_bytes, 8 << 10, page, 0, false},
      {large_bytes, 64 << 10, 24, 0, false},  {large_bytes - page, 128 << 10, page, 0, true}};
  {
    block_fixture f(pump, 64, 0, tiers, large_bytes);
    uint64_t in_memory_bytes = 0;
    for (uint32_t i = 0; i < std::size(forms); ++i) {
      const form &of = forms[i];
      const lying_memory from(i, of.bytes, of.piece_bytes, of.gap_bytes, of.shift_bytes);
      const cubby_status status = put_past(f, i, from.spans, keep);
      INFO("form " << i << ": " << explain());
      REQUIRE(status == CUBBY_OK);
      if (!of.past) in_memory_bytes += large_bytes;
      CHECK(f.h.stats(f.host).used_bytes == in_memory_bytes);
      std::vector<uint8_t> states;
      match(f, {i}, &states);
      CHECK(states[0] == (of.past ? CUBBY_STATE_FILE : CUBBY_STATE_HOST));
    }
    std::string got(large_bytes, 'x');
    REQUIRE(get(f, 2, got) == CUBBY_OK);
    CHECK(got == content_of(2, large_bytes));
  }
  block_fixture f(pump, 64, 0, tiers, large_bytes);
  for (uint32_t i = 0; i < std::size(forms); ++i) {
    std::string got(forms[i].bytes, 'x');
    const cubby_status status = get(f, i, got);
    INFO("form " << i << ": " << explain());
    REQUIRE(status == CUBBY_OK);
    CHECK(got == content_of(i, forms[i].bytes));
  }
}

TEST_CASE("a block's last page may be the caller's in part") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 4 * mib};
  const std::vector<uint64_t> lengths = {1, 4095, 4097, (64 << 10) + 1, large_bytes - 1};
  {
    block_fixture f(0, 64, 0, tiers, large_bytes);
    for (uint32_t i = 0; i < lengths.size(); ++i) {
      // On pages in front, so that it is not the guard that begins where the bytes end.
      const guarded_memory memory((lengths[i] + page - 1) / page * page);
      char *const at = memory.at_end((lengths[i] + page - 1) / page * page);
      std::memcpy(at, content_of(i, large_bytes).data(), lengths[i]);
      REQUIRE(put_past(f, i, {plain(at, lengths[i])}) == CUBBY_OK);
    }
    CHECK(f.h.stats(f.host).used_bytes == 0);
  }
  block_fixture f(0, 64, 0, tiers, large_bytes);
  for (uint32_t i = 0; i < lengths.size(); ++i) {
    std::string got(lengths[i], 'x');
    REQUIRE(get(f, i, got) == CUBBY_OK);
    CHECK(got == content_of(i, large_bytes).substr(0, lengths[i]));
  }
}

TEST_CASE("a batch past memory, from a strided region that cannot go before it is over") {
  const store_directory there;
  block_fixture f(1, 64, 0, {there.path, 64 * mib, mib}, large_bytes);
  constexpr uint32_t count = 40;  // ten times what memory holds
  const guarded_memory memory(count * large_bytes);
  char *const first = memory.at_end(count * large_bytes);
  // [layer][block][piece]
  constexpr uint64_t piece = 64 << 10, layers = large_bytes / piece;
  std::vector<cubby_region> regions(count);
  std::vector<std::unique_ptr<block_item>> named;
  std::vector<cubby_item> items;
  for (uint32_t i = 0; i < count; ++i) {
    const std::string content = content_of(i, large_bytes);
    for (uint64_t layer = 0; layer < layers; ++layer) {
      std::memcpy(first + (layer * count + i) * piece, content.data() + layer * piece, piece);
    }
    cubby_region_desc desc{};
    desc.struct_size = sizeof desc;
    desc.base = first + i * piece;
    desc.piece_bytes = piece;
    desc.stride_bytes = count * piece;
    desc.piece_count = layers;
    REQUIRE(cubby_region_add(f.h.rt, &desc, &regions[i]) == CUBBY_OK);
    named.push_back(
        std::make_unique<block_item>(f.space, key_of(i), i == 0 ? std::string() : key_of(i - 1),
                                     std::vector<cubby_span>{{regions[i], 0, 0, large_bytes}}));
    items.push_back(named.back()->item);
  }
  cubby_how how = past_memory();
  how.keep = CUBBY_KEEP_DURABLE;
  cubby_ticket ticket = 0;
  REQUIRE(cubby_put(f.h.rt, items.data(), count, &how, &ticket) == CUBBY_PENDING);
  REQUIRE(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
  for (const cubby_region region : regions) CHECK(cubby_region_remove(f.h.rt, region) == CUBBY_OK);
  std::vector<uint32_t> numbers(count);
  for (uint32_t i = 0; i < count; ++i) numbers[i] = i;
  std::vector<uint8_t> states;
  CHECK(match(f, numbers, &states) == count);
  CHECK(states == std::vector<uint8_t>(count, CUBBY_STATE_FILE));
  std::string got(large_bytes, 'x');
  for (uint32_t i = 0; i < count; i += 7) {
    REQUIRE(get(f, i, got) == CUBBY_OK);
    CHECK(got == content_of(i, large_bytes));
  }
}

TEST_CASE("a region stays while a put past memory reads it") {
  const store_directory there;
  block_fixture f(0, 64, 0, {there.path, 32 * mib, mib}, large_bytes);
  const guarded_memory memory(large_bytes);
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.base = memory.at_end(large_bytes);
  desc.bytes = large_bytes;
  cubby_region region = 0;
  REQUIRE(cubby_region_add(f.h.rt, &desc, &region) == CUBBY_OK);
  const block_item one(f.space, key_of(1), {}, {{region, 0, 0, large_bytes}});
  cubby_how how = past_memory();
  how.keep = CUBBY_KEEP_RESTART;
  cubby_ticket ticket = 0;
  REQUIRE(cubby_put(f.h.rt, &one.item, 1, &how, &ticket) == CUBBY_PENDING);
  CHECK(cubby_region_remove(f.h.rt, region) == CUBBY_ERR_BUSY);
  REQUIRE(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
  CHECK(cubby_region_remove(f.h.rt, region) == CUBBY_OK);
}

TEST_CASE("bytes that change while they are written are not delivered") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, mib};
  {
    block_fixture f(0, 64, 0, tiers, large_bytes);
    const lying_memory from(1, large_bytes, large_bytes, 0, 0);
    const block_item one(f.space, key_of(1), {}, from.spans);
    cubby_how how = past_memory();
    how.keep = CUBBY_KEEP_RESTART;
    cubby_ticket ticket = 0;
    REQUIRE(cubby_put(f.h.rt, &one.item, 1, &how, &ticket) == CUBBY_PENDING);
    *reinterpret_cast<char *>(from.spans[0].offset_bytes + 100000) ^= 1;
    REQUIRE(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
  }
  block_fixture f(0, 64, 0, tiers, large_bytes);
  std::string got(large_bytes, 'x');
  CHECK(get(f, 1, got) == CUBBY_ERR_CORRUPT);
}

TEST_CASE("a put past memory that is late, or finds no room in the store, ends like any other") {
  const store_directory there;
  block_fixture f(0, 512, 0, {there.path, 16 * mib, mib}, large_bytes);
  const lying_memory from(1, large_bytes, large_bytes, 0, 0);
  block_item one(f.space, key_of(1), {}, from.spans);
  cubby_how how = past_memory();
  how.keep = CUBBY_KEEP_DURABLE;
  how.deadline_ns = 1;
  REQUIRE(cubby_put(f.h.rt, &one.item, 1, &how, nullptr) == CUBBY_OK);
  how.deadline_ns = 0;
  cubby_pins lease = 0;
  REQUIRE(cubby_lease(f.h.rt, f.space, &one.item.key, 1, 0, &lease) == CUBBY_OK);
  // Until no block may go any more: a lease holds each.
  cubby_status status = CUBBY_OK;
  for (uint32_t i = 2; i < 100 && status == CUBBY_OK; ++i) {
    const lying_memory other(i, large_bytes, large_bytes, 0, 0);
    const block_item next(f.space, key_of(i), {}, other.spans);
    status = cubby_put(f.h.rt, &next.item, 1, &how, nullptr);
    if (status == CUBBY_OK) {
      REQUIRE(cubby_lease(f.h.rt, f.space, &next.item.key, 1, 0, &lease) == CUBBY_OK);
    }
  }
  CHECK(status == CUBBY_ERR_NO_SPACE);
  std::string got(large_bytes, 'x');
  REQUIRE(get(f, 1, got) == CUBBY_OK);
  CHECK(got == content_of(1, large_bytes));
}

}  // namespace past_memory_puts_test
