// Two tiers together: what one gives up the other takes, and the file is read for neither.
#include <cstdlib>

#include "unit/api/runtime_fixture.hpp"

namespace tiers_test {

namespace {
using namespace api_test;

constexpr uint64_t mib = 1 << 20;
constexpr uint64_t link_bytes_per_s = 20'000'000'000;

/// Bytes that the files gave.
uint64_t read_bytes(const runtime_fixture &h) {
  cubby_stats_block block{};
  block.struct_size = sizeof block;
  cubby_tier_stats all[8]{};
  for (auto &one : all) one.struct_size = sizeof one;
  REQUIRE(cubby_stats(h.rt, &block, all, 8) == CUBBY_OK);
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < block.tier_count; ++i) {
    if (all[i].budget_bytes == 0) bytes += all[i].bytes_out;
  }
  return bytes;
}

void use(runtime_fixture &h, const std::vector<uint32_t> &numbers, cubby_tier tier) {
  cubby_pins pins = 0;
  std::vector<const void *> addr;
  INFO(explain());
  REQUIRE(h.pin(numbers, tier, pins, addr) == CUBBY_OK);
  CHECK(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_poll(h.rt, 0, nullptr) == CUBBY_OK);
}

}  // namespace

TEST_CASE("all victims of a set go down, however many there are at once") {
  const std::string policy = GENERATE("lru", "moe");
  weights w;
  cubby_config config{};
  config.struct_size = sizeof config;
  config.pump = CUBBY_PUMP_CALLER;
  config.policy = policy.c_str();
  cubby_handle *rt = nullptr;
  REQUIRE(cubby_open(&config, &rt) == CUBBY_OK);
  runtime_fixture h(rt);
  h.routed_count = 4;
  h.map(w);
  const cubby_tier device = h.tier("device:0", 0, 5 * mib, link_bytes_per_s);
  h.tier("host:0", 1, 12 * mib, 0, CUBBY_TIER_EXCLUSIVE);
  uint64_t read_once = 0;
  for (uint32_t round = 0; round < 3; ++round) {
    for (uint32_t first = 0; first < weights::rows * weights::columns; first += 4)
      use(h, {first, first + 1, first + 2, first + 3}, device);
    if (round == 0) read_once = read_bytes(h);
  }
  INFO(policy);
  CHECK(read_bytes(h) == read_once);
}

namespace {

cubby_handle *open_with(const char *policy) {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.pump = CUBBY_PUMP_CALLER;
  config.policy = policy;
  cubby_handle *rt = nullptr;
  REQUIRE(cubby_open(&config, &rt) == CUBBY_OK);
  return rt;
}

/// What is read from the file while tokens use two of eight in each row, some far more often.
uint64_t read_by_tokens(runtime_fixture &h, cubby_tier tier) {
  cubby::base::prng random(7);
  for (uint32_t token = 0; token < 600; ++token) {
    for (uint32_t row = 0; row < weights::rows; ++row) {
      const auto often = static_cast<uint32_t>(random.below(4));
      const auto seldom =
          static_cast<uint32_t>(random.below(3) == 0 ? 4 + random.below(4) : (often + 1) % 4);
      const uint32_t first = row * weights::columns;
      use(h, {first + often, first + seldom}, tier);
    }
  }
  return read_bytes(h);
}

}  // namespace

/// Less what is on its way: two come up for a visit; with lru two go down meanwhile.
TEST_CASE("an exclusive tier and the nearer one keep what one tier of both sizes would") {
  const bool learned = GENERATE(false, true);
  const char *policy = learned ? "moe" : "lru";
  weights w;
  constexpr uint64_t locker_bytes = 400'000;
  uint64_t alone = 0, together = 0;
  {
    runtime_fixture h(open_with(policy));
    h.routed_count = 2;
    h.map(w);
    alone = read_by_tokens(h, h.tier("host:0", 0, (learned ? 14 : 12) * locker_bytes));
  }
  {
    runtime_fixture h(open_with(policy));
    h.routed_count = 2;
    h.map(w);
    const cubby_tier device = h.tier("device:0", 0, 7 * locker_bytes, link_bytes_per_s);
    h.tier("host:0", 1, 9 * locker_bytes, 0, CUBBY_TIER_EXCLUSIVE);
    together = read_by_tokens(h, device);
  }
  INFO(policy << ": " << alone << " and " << together << " bytes");
  CHECK(together < alone + alone / 10);
}

TEST_CASE("a locker pinned for long is admitted from probation") {
  weights w;
  runtime_fixture h(open_with("moe"));
  h.routed_count = 1;
  h.map(w);
  // Room for six, one of them on probation.
  const cubby_tier host = h.tier("host:0", 0, 2'400'000);
  for (uint32_t round = 0; round < 4; ++round) {
    for (const uint32_t number : {0U, 1U, 2U, 3U, 4U}) use(h, {number}, host);
  }
  cubby_pins held = 0;
  std::vector<const void *> addr;
  REQUIRE(h.pin({5}, host, held, addr) == CUBBY_OK);
  const auto switches = [&] {  // of those whose unpin has to be looked at
    uint64_t before = h.stats(host).evict_count;
    for (uint32_t i = 0; i < 400; ++i) use(h, {i % 4}, host);
    return h.stats(host).evict_count - before;
  };
  switches();
  // It is admitted now, so that another locker finds room on probation without an eviction.
  const uint64_t before = h.stats(host).evict_count;
  use(h, {6}, host);
  CHECK(h.stats(host).evict_count == before);
  CHECK(cubby_unpin(h.rt, held, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE(
    "a copy for one use leaves when its part of a set was let go of before the rest had come") {
  weights w;
  runtime_fixture h(open_with("lru"));
  h.map(w);
  const cubby_tier host = h.tier("host:0", 0, 4'000'000);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_BYPASS;
  const auto both = h.items({1, 2});
  cubby_pins first = 0, second = 0;
  std::vector<const void *> addr(2 * weights::parts);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_pin(h.rt, both.data(), 1, host, &how, &first, addr.data(), &ticket) ==
          CUBBY_PENDING);
  REQUIRE(cubby_wait(h.rt, ticket, 10'000'000'000) == CUBBY_OK);
  REQUIRE(cubby_pin(h.rt, both.data(), 2, host, &how, &second, addr.data(), &ticket) ==
          CUBBY_PENDING);
  CHECK(cubby_unpin(h.rt, first, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_unpin(h.rt, second, 0, 1, nullptr) == CUBBY_OK);
  cubby_wait(h.rt, ticket, 10'000'000'000);
  CHECK(cubby_poll(h.rt, 0, nullptr) == CUBBY_OK);
  how.flags = CUBBY_NO_WAIT | CUBBY_NO_VISIT;
  cubby_pins third = 0;
  CHECK(cubby_pin(h.rt, both.data(), 1, host, &how, &third, nullptr, nullptr) == CUBBY_MISS);
  CHECK(cubby_unpin(h.rt, second, 1, 1, nullptr) == CUBBY_OK);
}

/// Behind a link of 10 MB/s host memory is slower than any file.
TEST_CASE("a tier that is slower than the file is gone past, and says so") {
  weights w;
  runtime_fixture h(open_with("lru"));
  h.map(w);
  const cubby_tier near = h.tier("near", 0, 1'600'000);
  const cubby_tier far = h.tier("far", 1, 6'000'000, 10'000'000, CUBBY_TIER_EXCLUSIVE);
  const std::string is_far = R"({tier="far",backend="host"} )";
  const auto metric = [&](const std::string &name) {
    std::string text(64 << 10, '\0');
    size_t needed = 0;
    REQUIRE(cubby_metrics(h.rt, text.data(), text.size(), &needed) == CUBBY_OK);
    const size_t at = text.find("\n" + name + is_far);
    REQUIRE(at != std::string::npos);
    return std::strtoull(text.c_str() + at + 1 + name.size() + is_far.size(), nullptr, 10);
  };
  CHECK(metric("cubby_tier_stood_aside_total") == 0);
  // Eight are used in turn, which both tiers hold together, and now and then one that neither has.
  uint32_t uses = 0;
  for (; uses < 600 && metric("cubby_tier_stood_aside_total") == 0; ++uses) {
    use(h, {uses % 3 == 2 ? 8 + uses / 3 % 16 : uses % 8}, near);
  }
  CHECK(metric("cubby_tier_stood_aside_total") == 1);
  CHECK(h.stats(far).health == 0);  // nothing is wrong with it
  const uint64_t moved = h.stats(far).bytes_in, read = metric("cubby_tier_passed_lockers_total");
  for (uint32_t i = 0; i < 64; ++i) {
    const uint32_t number = i % 8;
    cubby_pins held = 0;
    std::vector<const void *> addr;
    REQUIRE(h.pin({number}, near, held, addr) == CUBBY_OK);
    for (uint32_t part = 0; part < weights::parts; ++part) CHECK(w.same(addr[part], number, part));
    REQUIRE(cubby_unpin(h.rt, held, 0, 0, nullptr) == CUBBY_OK);
  }
  CHECK(h.stats(far).bytes_in <= moved + 400'000);  // nothing goes down but what was on its way
  CHECK(metric("cubby_tier_passed_lockers_total") > read);
  bool said = false;
  cubby_log_line line{};
  while (cubby_log_take(h.rt, &line, 1) == 1)
    said = said || std::string(line.text).find("tier far stands aside") != std::string::npos;
  CHECK(said);
}

TEST_CASE("memory is lent once: regions with a byte in common are refused, interleaved ones not") {
  runtime_fixture h(CUBBY_PUMP_CALLER);
  std::vector<unsigned char> memory(mib + 4096);
  auto *const base = memory.data() + (4096 - reinterpret_cast<uintptr_t>(memory.data()) % 4096);
  const auto add = [&](uint64_t offset, uint64_t bytes, uint64_t stride, uint64_t count) {
    cubby_region_desc desc{};
    desc.struct_size = sizeof desc;
    desc.base = base + offset;
    desc.bytes = count == 0 ? bytes : 0;
    desc.piece_bytes = count == 0 ? 0 : bytes;
    desc.stride_bytes = stride;
    desc.piece_count = count;
    cubby_region made = 0;
    REQUIRE(cubby_region_add(h.rt, &desc, &made) == CUBBY_OK);  // overlapping ones are no harm yet
    return made;
  };
  uint32_t names = 0;
  const auto lend = [&](const std::vector<cubby_region> &regions) {
    const std::string name = "lent:" + std::to_string(names++);
    cubby_tier_desc tier{};
    tier.struct_size = sizeof tier;
    tier.backend = "host";
    tier.name = name.c_str();
    tier.device = -1;
    tier.memory = regions.data();
    tier.memory_count = static_cast<uint32_t>(regions.size());
    cubby_tier made = 0;
    const cubby_status status = cubby_tier_add(h.rt, &tier, &made);
    if (status != CUBBY_OK) {
      CHECK(status == CUBBY_ERR_INVALID);
      CHECK(explain().find("lend each byte once") != std::string::npos);
    }
    return status == CUBBY_OK;
  };
  // Parts of a tensor, one behind the other in each slot.
  const auto first = add(0, 8192, 32768, 8), second = add(8192, 8192, 32768, 8);
  CHECK_FALSE(lend({first, first}));
  CHECK_FALSE(lend({first, add(4096, 8192, 32768, 8)}));
  CHECK(lend({first, second}));
  CHECK_FALSE(lend({first}));
  CHECK_FALSE(lend({add(7 * 32768 + 16383, 1, 32768, 1)}));  // the last byte of the last piece
  CHECK_FALSE(lend({add(16384, 8192, 24576, 9)}));           // of another stride
  CHECK_FALSE(lend({add(0, mib, 0, 0)}));
  CHECK(lend({add(16384, 16384, 32768, 8)}));  // between the pieces
  CHECK(lend({add(8 * 32768, mib - 8 * 32768, 0, 0)}));
  CHECK_FALSE(lend({add(mib - 4096, 4096, 0, 0)}));
}

}  // namespace tiers_test
