// Gets past the tiers of memory (CUBBY_BYPASS): the same bytes as by way of them, wherever the
// caller's memory lies, and no copy that stays.
#include <thread>

#include "unit/api/past_memory.hpp"

namespace past_memory_gets_test {

using namespace api_test;

namespace {

cubby_status get_past(const block_fixture &f, uint32_t number, std::vector<cubby_span> into,
                      uint64_t at_bytes = 0) {
  block_item one(f.space, key_of(number), {}, std::move(into));
  one.item.at_bytes = at_bytes;
  const cubby_how how = past_memory();
  return cubby_get(f.h.rt, &one.item, 1, &how, nullptr);
}

}  // namespace

TEST_CASE("a get past memory brings the bytes that were put, wherever they are to go") {
  const store_directory there;
  constexpr uint64_t bytes = 256 << 10;
  const block_tiers tiers{there.path, 32 * mib, 4 * mib};
  const uint32_t pump = GENERATE(0u, 1u);
  constexpr uint32_t count = 6;
  {
    block_fixture f(pump, 64, 0, tiers, bytes);
    for (uint32_t i = 1; i <= count; ++i) {
      REQUIRE(put(f, i, content_of(i, bytes), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
    }
  }
  // Digests of the chunks are seen for the first time, and then known.
  block_fixture f(pump, 64, 0, tiers, bytes);
  struct form {
    uint64_t piece_bytes, gap_bytes, shift_bytes;
  };
  const form forms[] = {{bytes, 0, 0},           {bytes, 0, 1},      {64 << 10, page, 0},
                        {64 << 10, 24, 8},       {8 << 10, page, 0}, {96 << 10, page, 0},
                        {128 << 10, 2 * page, 0}};
  for (uint32_t pass = 0; pass < 2; ++pass) {
    for (uint32_t i = 0; i < std::size(forms); ++i) {
      const form &of = forms[i];
      const uint64_t pieces = (bytes + of.piece_bytes - 1) / of.piece_bytes;
      const uint64_t all_bytes = bytes + (pieces - 1) * of.gap_bytes + of.shift_bytes;
      const guarded_memory memory(all_bytes);
      char *const first = memory.at_end(all_bytes);
      const auto spans = pieces_of(first, bytes, of.piece_bytes, of.gap_bytes);
      const uint32_t number = 1 + i % count;
      const cubby_status status = get_past(f, number, spans);
      INFO(pass << ", form " << i << ": " << explain());
      REQUIRE(status == CUBBY_OK);
      CHECK(joined(spans) == content_of(number, bytes));
      for (size_t s = 0; s + 1 < spans.size(); ++s) {
        const char *const gap =
            reinterpret_cast<const char *>(spans[s].offset_bytes) + spans[s].bytes;
        CHECK(std::string(gap, of.gap_bytes) == std::string(of.gap_bytes, 'x'));
      }
    }
  }
  CHECK(f.h.stats(f.host).bytes_in == 0);
  CHECK(f.h.stats(f.host).used_bytes == 0);
  std::vector<uint8_t> states;
  match(f, numbers_to(count), &states);
  CHECK(states == std::vector<uint8_t>(count, CUBBY_STATE_FILE));
  CHECK(f.h.stats(f.disk).bytes_out == 2 * std::size(forms) * bytes);
}

TEST_CASE("short blocks, blocks of parts and ranges are got past memory, too") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  const uint32_t parts = GENERATE(0u, 3u);
  const std::vector<uint64_t> lengths = {1, 511, 4096, 40 << 10, (40 << 10) + 3, 61441, 64 << 10};
  {
    block_fixture f(0, 64, parts, tiers);
    for (uint32_t i = 0; i < lengths.size(); ++i) {
      REQUIRE(put(f, i, content_of(i).substr(0, lengths[i]), {}, 0, CUBBY_KEEP_RESTART) ==
              CUBBY_OK);
    }
  }
  block_fixture f(0, 64, parts, tiers);
  for (uint32_t i = 0; i < lengths.size(); ++i) {
    const guarded_memory memory(lengths[i]);
    char *const at = memory.at_end(lengths[i]);
    REQUIRE(get_past(f, i, {plain(at, lengths[i])}) == CUBBY_OK);
    CHECK(std::string(at, lengths[i]) == content_of(i).substr(0, lengths[i]));
    std::string longer(lengths[i] + 1, 'x');
    CHECK(get_past(f, i, {plain(longer.data(), longer.size())}) == CUBBY_ERR_INVALID);
  }
  std::string some(100, 'x');
  REQUIRE(get_past(f, 5, {plain(some.data(), some.size())}, 5000) == CUBBY_OK);
  CHECK(some == content_of(5).substr(5000, 100));
}

TEST_CASE("damaged bytes are an error past memory, too") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  {
    block_fixture f(0, 64, 0, tiers);
    put_chain(f, 3, CUBBY_KEEP_RESTART);
  }
  there.damage(content_of(2), 50000, 4);
  block_fixture f(GENERATE(0u, 1u), 64, 0, tiers);
  const guarded_memory memory(block_bytes);
  char *const at = memory.at_end(block_bytes);
  CHECK(get_past(f, 2, {plain(at, block_bytes)}) == CUBBY_ERR_CORRUPT);
  CHECK(explain().find("put it again") != std::string::npos);
  REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
  CHECK(match(f, numbers_to(3)) == 1);
  for (const uint32_t number : {1u, 3u}) {
    REQUIRE(get_past(f, number, {plain(at, block_bytes)}) == CUBBY_OK);
    CHECK(std::string(at, block_bytes) == content_of(number));
  }
}

TEST_CASE("threads put, drop and get past memory at once: right bytes or a miss") {
  const store_directory there;
  block_fixture f(0, 200, 0, {there.path, 8 * mib, mib});
  std::atomic<uint32_t> wrong{0}, failed{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      cubby::base::prng random(t + 11);
      alignas(page) static thread_local char bytes[4][block_bytes];
      for (uint32_t i = 0; i < 300; ++i) {
        const auto number = static_cast<uint32_t>(random.next() % 250);
        if (i % 3 == 0) {
          const auto keep = static_cast<uint8_t>(random.next() % 4);
          const uint32_t flags = i % 2 == 0 ? uint32_t{CUBBY_BYPASS} : 0u;
          const std::string content = content_of(number);
          std::memcpy(bytes[0], content.data(), block_bytes);
          const block_item one(f.space, key_of(number), {}, {plain(bytes[0], block_bytes)});
          cubby_how how = past_memory();
          how.flags = flags;
          how.keep = keep;
          const cubby_status status = cubby_put(f.h.rt, &one.item, 1, &how, nullptr);
          if (status < 0 && status != CUBBY_ERR_BUSY) ++failed;
          continue;
        }
        if (i % 20 == 1) {
          const block_item one(f.space, key_of(number), {}, {});
          static_cast<void>(cubby_drop(f.h.rt, &one.item, 1, 0));
          continue;
        }
        std::vector<std::unique_ptr<block_item>> named;
        std::vector<cubby_item> items;
        for (uint32_t k = 0; k < 4; ++k) {
          named.push_back(
              std::make_unique<block_item>(f.space, key_of(number + k), std::string(),
                                           std::vector<cubby_span>{plain(bytes[k], block_bytes)}));
          items.push_back(named.back()->item);
        }
        int8_t status[4] = {};
        cubby_how how = past_memory();
        how.item_status = status;
        cubby_ticket ticket = 0;
        if (cubby_get(f.h.rt, items.data(), 4, &how, &ticket) == CUBBY_PENDING) {
          if (i % 7 == 0) static_cast<void>(cubby_cancel(f.h.rt, ticket));
          static_cast<void>(cubby_wait(f.h.rt, ticket, -1));
        }
        for (uint32_t k = 0; k < 4; ++k) {
          if (status[k] == CUBBY_OK &&
              std::string(bytes[k], block_bytes) != content_of(number + k)) {
            ++wrong;
          }
          if (status[k] < 0 && status[k] != CUBBY_ERR_CANCELED) ++failed;
        }
      }
    });
  }
  for (std::thread &one : threads) one.join();
  CHECK(wrong == 0);
  CHECK(failed == 0);
}

}  // namespace past_memory_gets_test
