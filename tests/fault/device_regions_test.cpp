// KV blocks between the library and an engine's own memory of a device, over a driver that needs no
// GPU: right bytes in the named spans and nowhere else, in the order of the engine's stream,
// without a host thread that waits for the device; and what is said when region, copy or device
// fail.
#include <atomic>
#include <thread>

#include "api/in_process.hpp"
#include "cuda/cuda.hpp"
#include "support/fake_cuda.hpp"
#include "unit/api/block_fixture.hpp"

using namespace api_test;
using cubby_test::fake_cuda;

namespace {

constexpr int64_t region_long_ns = 30'000'000'000, region_short_ns = 30'000'000;
constexpr uint32_t part_count = 3;

/// An engine's paged KV tensor in device memory: layers × (K, V) × pages, a page of a layer being
/// `page_bytes`. A block is one page of every layer, so twice as many spans as there are layers.
struct paged_tensor {
  static constexpr uint32_t layers = 8, pages = 6;
  static constexpr uint64_t page_bytes = block_bytes / (2 * layers);
  static constexpr uint64_t bytes = 2 * layers * pages * page_bytes;
  static constexpr char guard = 0x5A;

  fake_cuda &driver;
  char *base;
  cubby_region plain_region = 0, strided_region = 0;

  paged_tensor(fake_cuda &in, cubby_handle *rt, int32_t device = 0)
      : driver(in), base(static_cast<char *>(in.allocate(bytes, device))) {
    clear();
    cubby_region_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_MEMORY_DEVICE;
    desc.device = device;
    desc.base = base;
    desc.bytes = bytes;
    REQUIRE(cubby_region_add(rt, &desc, &plain_region) == CUBBY_OK);
    // Page 0 of all layers, and nothing else.
    desc.bytes = 0;
    desc.stride_bytes = pages * page_bytes;
    desc.piece_bytes = page_bytes;
    desc.piece_count = 2 * layers;
    REQUIRE(cubby_region_add(rt, &desc, &strided_region) == CUBBY_OK);
  }
  void clear() {
    const std::string fill(bytes, guard);
    driver.write(base, fill.data(), bytes);
  }
  [[nodiscard]] static uint64_t offset(uint32_t span, uint32_t page) {
    return (uint64_t{span} * pages + page) * page_bytes;
  }
  [[nodiscard]] std::vector<cubby_span> spans(uint32_t page) const {
    std::vector<cubby_span> all;
    for (uint32_t i = 0; i < 2 * layers; ++i) {
      all.push_back({plain_region, 0, offset(i, page), page_bytes});
    }
    return all;
  }
  [[nodiscard]] std::vector<cubby_span> strided() const {
    return {{strided_region, 0, 0, block_bytes}};
  }
  [[nodiscard]] std::string all() const {
    std::string seen(bytes, '\0');
    driver.read(base, seen.data(), bytes);
    return seen;
  }
  [[nodiscard]] std::string page(uint32_t which) const {
    std::string out(block_bytes, '\0');
    for (uint32_t i = 0; i < 2 * layers; ++i) {
      driver.read(base + offset(i, which), out.data() + i * page_bytes, page_bytes);
    }
    return out;
  }
  /// The page is as given, and every byte of all others is as clear() left it.
  void check_only(uint32_t which, const std::string &content) const {
    std::string expected(bytes, guard);
    for (uint32_t i = 0; i < 2 * layers; ++i) {
      expected.replace(offset(i, which), page_bytes, content, i * page_bytes, page_bytes);
    }
    CHECK(all() == expected);
  }
  void write_page(uint32_t which, const std::string &content) const {
    for (uint32_t i = 0; i < 2 * layers; ++i) {
      driver.write(base + offset(i, which), content.data() + i * page_bytes, page_bytes);
    }
  }
};

struct region_fixture {
  fake_cuda driver;
  store_directory disk;
  block_fixture f;
  cubby_tier device = 0;
  uint64_t stream = 0;

  explicit region_fixture(const cubby_test::fake_cuda_options &with = {},
                          uint32_t pump = CUBBY_PUMP_CALLER, bool store = false,
                          uint64_t host_bytes = 4 * mib, uint32_t parts = part_count)
      : driver(with), f(pump, 64, parts, {disk.path, store ? 32 * mib : 0, host_bytes, "file", 1}) {
    auto *table = const_cast<cubby_cuda::driver_table *>(driver.table());
    REQUIRE(cubby::api::register_backend(f.h.rt, cubby_cuda_backend(), table) == CUBBY_OK);
    device = add_device(0);
    stream = driver.make_stream();
  }
  cubby_tier add_device(int32_t ordinal) {
    const std::string name = "device:" + std::to_string(ordinal);
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "cuda";
    desc.name = name.c_str();
    desc.device = ordinal;
    desc.budget_bytes = 2 * mib;
    cubby_tier made = 0;
    const cubby_status added = cubby_tier_add(f.h.rt, &desc, &made);
    INFO(explain());
    REQUIRE(added == CUBBY_OK);
    return made;
  }
  [[nodiscard]] cubby_sync in_stream() const {
    cubby_sync sync{};
    sync.struct_size = sizeof sync;
    sync.stream = stream;
    return sync;
  }
  /// With a ticket where it goes on; without, the call waits.
  cubby_status get_into(uint32_t number, std::vector<cubby_span> spans, const cubby_how *how,
                        cubby_ticket *ticket) {
    const block_item one(f.space, key_of(number), {}, std::move(spans));
    return cubby_get(f.h.rt, &one.item, 1, how, ticket);
  }
  cubby_status put_from(uint32_t number, std::vector<cubby_span> spans, const cubby_how *how,
                        cubby_ticket *ticket) {
    const block_item one(f.space, key_of(number), {}, std::move(spans));
    return cubby_put(f.h.rt, &one.item, 1, how, ticket);
  }
  /// A bit of the block's copy in host memory flips.
  void damage(uint32_t number) {
    const block_item one(f.space, key_of(number), {}, {});
    cubby_pins pins = 0;
    std::vector<const void *> addr(part_count);
    cubby_how how{};
    how.struct_size = sizeof how;
    how.flags = CUBBY_NO_WAIT;
    REQUIRE(cubby_pin(f.h.rt, &one.item, 1, f.host, &how, &pins, addr.data(), nullptr) == CUBBY_OK);
    static_cast<char *>(const_cast<void *>(addr[1]))[77] ^= 1;
    REQUIRE(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  }
  void run_all() {
    while (driver.step(64) != 0) {
    }
  }
  /// Blocks leave host memory, so that they are on disk alone.
  void drop_from_memory(uint32_t count) {
    REQUIRE(cubby_drain(f.h.rt, region_long_ns) == CUBBY_OK);
    for (uint32_t i = 1; i <= count; ++i) {
      const block_item one(f.space, key_of(i), {}, {});
      REQUIRE(cubby_drop(f.h.rt, &one.item, 1, f.host) == CUBBY_OK);
    }
  }
};

cubby_how how_of(const cubby_sync *sync, uint8_t keep = CUBBY_KEEP_SESSION, uint32_t flags = 0) {
  cubby_how how{};
  how.struct_size = sizeof how;
  how.sync = sync;
  how.keep = keep;
  how.flags = flags;
  return how;
}

}  // namespace

TEST_CASE("a block lands in the pages of an engine's tensor, and in nothing beside them") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool threads = GENERATE(false, true);
  const bool strided = GENERATE(false, true);
  region_fixture r({.seed = 3, .threads = threads}, pump);
  paged_tensor tensor(r.driver, r.f.h.rt);
  REQUIRE(put(r.f, 1, content_of(1)) == CUBBY_OK);
  const auto before = r.driver.count();
  const uint32_t page = strided ? 0 : 4;
  const cubby_status status =
      r.get_into(1, strided ? tensor.strided() : tensor.spans(page), nullptr, nullptr);
  INFO(explain());
  REQUIRE(status == CUBBY_OK);
  tensor.check_only(page, content_of(1));
  const auto after = r.driver.count();
  CHECK(after.host_syncs == before.host_syncs);
  CHECK(after.unregistered_copies == 0);

  // A part of a block lands alone.
  tensor.clear();
  const block_item middle(
      r.f.space, key_of(1), {},
      {{tensor.plain_region, 0, 100, 50'000}, {tensor.plain_region, 0, 60'000, 7}});
  cubby_item item = middle.item;
  item.at_bytes = 3'333;
  REQUIRE(cubby_get(r.f.h.rt, &item, 1, nullptr, nullptr) == CUBBY_OK);
  std::string expected(paged_tensor::bytes, paged_tensor::guard);
  expected.replace(100, 50'000, content_of(1), 3'333, 50'000);
  expected.replace(60'000, 7, content_of(1), 53'333, 7);
  CHECK(tensor.all() == expected);
  CHECK(r.get_into(9, tensor.spans(1), nullptr, nullptr) == CUBBY_MISS);
  CHECK(tensor.all() == expected);
}

TEST_CASE("a block is put from the pages of an engine's tensor") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool threads = GENERATE(false, true);
  const auto keep = GENERATE(as<uint8_t>{}, CUBBY_KEEP_CACHE, CUBBY_KEEP_SESSION,
                             CUBBY_KEEP_RESTART, CUBBY_KEEP_DURABLE);
  region_fixture r({.seed = 4, .threads = threads}, pump, keep >= CUBBY_KEEP_RESTART);
  paged_tensor tensor(r.driver, r.f.h.rt);
  const auto before = r.driver.count();
  for (uint32_t i = 1; i <= 5; ++i) {
    tensor.write_page(i, content_of(i));
    const cubby_how how = how_of(nullptr, keep);
    const cubby_status status = r.put_from(i, tensor.spans(i), &how, nullptr);
    INFO(explain());
    REQUIRE(status == CUBBY_OK);
  }
  const std::string as_put = tensor.all();
  CHECK(r.driver.count().host_syncs == before.host_syncs);
  CHECK(r.driver.count().unregistered_copies == 0);
  for (uint32_t i = 1; i <= 5; ++i) check_bytes(r.f, i);
  if (keep >= CUBBY_KEEP_RESTART) {
    r.drop_from_memory(5);
    for (uint32_t i = 1; i <= 5; ++i) check_bytes(r.f, i);
  }
  CHECK(tensor.all() == as_put);
  // A known key moves nothing; one that is shorter has no bytes of an earlier block behind it.
  const auto copies = r.driver.count().copies_out;
  CHECK(r.put_from(1, tensor.spans(2), nullptr, nullptr) == CUBBY_OK);
  CHECK(r.driver.count().copies_out == copies);
  REQUIRE(r.put_from(6, {{tensor.plain_region, 0, 0, 41'000}}, nullptr, nullptr) == CUBBY_OK);
  std::string shorter(41'000, 'x'), longer(41'001, 'x');
  REQUIRE(get(r.f, 6, shorter) == CUBBY_OK);
  CHECK(shorter == tensor.all().substr(0, 41'000));
  CHECK(get(r.f, 6, longer) == CUBBY_ERR_INVALID);
  if (keep >= CUBBY_KEEP_RESTART) r.drop_from_memory(6);
  REQUIRE(r.get_into(6, {{tensor.plain_region, 0, 1000, 41'000}}, nullptr, nullptr) == CUBBY_OK);
  CHECK(tensor.all() == as_put.substr(0, 1000) + shorter + as_put.substr(42'000));
}

TEST_CASE("blocks on disk alone come to the tensor through host memory, many at once") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool threads = GENERATE(false, true);
  const uint32_t flags = GENERATE(0u, uint32_t{CUBBY_BYPASS});
  // Host memory for fewer blocks than are asked for.
  region_fixture r({.seed = 5, .threads = threads}, pump, true, 256 << 10);
  paged_tensor tensor(r.driver, r.f.h.rt);
  for (uint32_t i = 1; i <= 6; ++i) {
    REQUIRE(put(r.f, i, content_of(i), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  r.drop_from_memory(6);
  const auto before = r.driver.count();
  std::vector<std::unique_ptr<block_item>> named;
  std::vector<cubby_item> items;
  for (uint32_t i = 1; i <= 6; ++i) {
    named.push_back(
        std::make_unique<block_item>(r.f.space, key_of(i), std::string(), tensor.spans(i - 1)));
    items.push_back(named.back()->item);
  }
  const cubby_how how = how_of(nullptr, CUBBY_KEEP_SESSION, flags);
  const cubby_status status = cubby_get(r.f.h.rt, items.data(), 6, &how, nullptr);
  INFO(explain());
  REQUIRE(status == CUBBY_OK);
  for (uint32_t i = 1; i <= 6; ++i) CHECK(tensor.page(i - 1) == content_of(i));
  CHECK(r.driver.count().host_syncs == before.host_syncs);
  CHECK(r.driver.count().unregistered_copies == 0);
}

TEST_CASE("the disk is read while copies to the device are under way") {
  region_fixture r({.seed = 14}, CUBBY_PUMP_CALLER, true);
  paged_tensor tensor(r.driver, r.f.h.rt);
  for (uint32_t i = 1; i <= 6; ++i) {
    REQUIRE(put(r.f, i, content_of(i), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  r.drop_from_memory(6);
  const auto copies = r.driver.count().copies_in;
  const auto read = r.f.h.stats(r.f.disk).read_count;
  r.driver.hold(true);  // the first copy never ends, meanwhile
  std::array<cubby_ticket, 6> tickets{};
  for (uint32_t i = 1; i <= 6; ++i) {
    REQUIRE(r.get_into(i, tensor.spans(i - 1), nullptr, &tickets[i - 1]) == CUBBY_PENDING);
  }
  CHECK(cubby_wait(r.f.h.rt, tickets[0], region_short_ns) == CUBBY_ERR_TIMEOUT);
  CHECK(r.f.h.stats(r.f.disk).read_count - read >= 6);
  CHECK(r.driver.count().copies_in - copies >= 6 * 2 * paged_tensor::layers);
  r.driver.hold(false);
  for (uint32_t i = 1; i <= 6; ++i) {
    CHECK(cubby_wait(r.f.h.rt, tickets[i - 1], region_long_ns) == CUBBY_OK);
    CHECK(tensor.page(i - 1) == content_of(i));
  }
}

TEST_CASE(
    "a get in a stream's order begins behind what the stream was given, and ends before what it is "
    "given") {
  region_fixture r({.seed = 6});
  paged_tensor tensor(r.driver, r.f.h.rt);
  REQUIRE(put(r.f, 1, content_of(1)) == CUBBY_OK);
  r.driver.hold(true);
  const auto before = r.driver.count();
  std::string seen_before, seen_after;
  r.driver.launch(r.stream, [&] { seen_before = tensor.page(2); });
  const cubby_sync sync = r.in_stream();
  const cubby_how how = how_of(&sync);
  cubby_ticket ticket = 0;
  REQUIRE(r.get_into(1, tensor.spans(2), &how, &ticket) == CUBBY_PENDING);
  // Its answer is there before any of its bytes.
  REQUIRE(cubby_wait(r.f.h.rt, ticket, region_long_ns) == CUBBY_OK);
  r.driver.launch(r.stream, [&] { seen_after = tensor.page(2); });
  CHECK(r.driver.count().stream_waits > before.stream_waits);
  CHECK(tensor.page(2) == std::string(block_bytes, paged_tensor::guard));
  // The region is in use, and the block pinned, until the copies have been made.
  CHECK(cubby_region_remove(r.f.h.rt, tensor.plain_region) == CUBBY_ERR_BUSY);
  const block_item one(r.f.space, key_of(1), {}, {});
  CHECK(cubby_drop(r.f.h.rt, &one.item, 1, 0) == CUBBY_ERR_BUSY);
  r.driver.hold(false);
  r.run_all();
  CHECK(seen_before == std::string(block_bytes, paged_tensor::guard));
  CHECK(seen_after == content_of(1));
  REQUIRE(cubby_drain(r.f.h.rt, region_long_ns) == CUBBY_OK);
  CHECK(r.driver.count().host_syncs == before.host_syncs);
  CHECK(cubby_region_remove(r.f.h.rt, tensor.plain_region) == CUBBY_OK);
  CHECK(cubby_drop(r.f.h.rt, &one.item, 1, 0) == CUBBY_OK);
}

TEST_CASE("a put in a stream's order reads what the stream has written by then") {
  const bool threads = GENERATE(false, true);
  region_fixture r({.seed = 7, .threads = threads});
  paged_tensor tensor(r.driver, r.f.h.rt);
  const auto before = r.driver.count();
  r.driver.hold(true);
  r.driver.launch(r.stream, [&] { tensor.write_page(1, content_of(1)); });
  const cubby_sync sync = r.in_stream();
  const cubby_how how = how_of(&sync);
  cubby_ticket ticket = 0;
  REQUIRE(r.put_from(1, tensor.spans(1), &how, &ticket) == CUBBY_PENDING);
  CHECK(cubby_wait(r.f.h.rt, ticket, region_short_ns) == CUBBY_ERR_TIMEOUT);
  CHECK(match(r.f, {1}) == 0);  // nobody finds what has not come
  r.driver.hold(false);
  REQUIRE(cubby_wait(r.f.h.rt, ticket, region_long_ns) == CUBBY_OK);
  check_bytes(r.f, 1);
  CHECK(r.driver.count().host_syncs == before.host_syncs);
}

TEST_CASE("a stream that stands still holds up its own copies, and no others'") {
  region_fixture r({.seed = 8, .threads = true});
  paged_tensor tensor(r.driver, r.f.h.rt);
  for (uint32_t i = 1; i <= 2; ++i) REQUIRE(put(r.f, i, content_of(i)) == CUBBY_OK);
  std::atomic<bool> go_on = false;
  r.driver.launch(r.stream, [&] {
    while (!go_on) std::this_thread::yield();
  });
  const cubby_sync sync = r.in_stream();
  const cubby_how how = how_of(&sync);
  cubby_ticket ticket = 0;
  REQUIRE(r.get_into(1, tensor.spans(1), &how, &ticket) == CUBBY_PENDING);
  REQUIRE(cubby_wait(r.f.h.rt, ticket, region_long_ns) == CUBBY_OK);
  const cubby_status other = r.get_into(2, tensor.spans(2), nullptr, nullptr);
  INFO(explain());
  CHECK(other == CUBBY_OK);
  CHECK(tensor.page(2) == content_of(2));
  CHECK(tensor.page(1) == std::string(block_bytes, paged_tensor::guard));
  go_on = true;
  REQUIRE(cubby_drain(r.f.h.rt, region_long_ns) == CUBBY_OK);
  CHECK(tensor.page(1) == content_of(1));
}

TEST_CASE("a damaged copy in memory never reaches the device") {
  const bool stored = GENERATE(false, true);
  region_fixture r({.seed = 9}, CUBBY_PUMP_CALLER, stored);
  paged_tensor tensor(r.driver, r.f.h.rt);
  const uint8_t keep = stored ? CUBBY_KEEP_RESTART : CUBBY_KEEP_SESSION;
  REQUIRE(put(r.f, 1, content_of(1), {}, 0, keep) == CUBBY_OK);
  r.damage(1);
  const cubby_status status = r.get_into(1, tensor.spans(3), nullptr, nullptr);
  INFO(explain());
  CHECK(r.f.h.stats(r.f.host).corrupt_count == 1);
  if (stored) {
    REQUIRE(status == CUBBY_OK);  // from the disk
    tensor.check_only(3, content_of(1));
  } else {
    CHECK(status == CUBBY_ERR_CORRUPT);
    CHECK(tensor.all() == std::string(paged_tensor::bytes, paged_tensor::guard));
    CHECK(r.get_into(1, tensor.spans(3), nullptr, nullptr) == CUBBY_MISS);
  }
}

TEST_CASE("a region stays in use while a damaged block is brought once more") {
  region_fixture r({.seed = 15}, CUBBY_PUMP_CALLER, true);
  paged_tensor tensor(r.driver, r.f.h.rt);
  REQUIRE(put(r.f, 1, content_of(1), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  r.damage(1);
  r.driver.hold(true);
  cubby_ticket ticket = 0;
  REQUIRE(r.get_into(1, tensor.spans(3), nullptr, &ticket) == CUBBY_PENDING);
  const auto copies = r.driver.count().copies_in;
  CHECK(cubby_wait(r.f.h.rt, ticket, region_short_ns) == CUBBY_ERR_TIMEOUT);
  CHECK(r.f.h.stats(r.f.host).corrupt_count == 1);
  CHECK(r.driver.count().copies_in > copies);  // of the bytes from the disk
  CHECK(cubby_region_remove(r.f.h.rt, tensor.plain_region) == CUBBY_ERR_BUSY);
  r.driver.hold(false);
  REQUIRE(cubby_wait(r.f.h.rt, ticket, region_long_ns) == CUBBY_OK);
  tensor.check_only(3, content_of(1));
  CHECK(cubby_region_remove(r.f.h.rt, tensor.plain_region) == CUBBY_OK);
}

TEST_CASE("regions that cannot be copied to are refused with what to do") {
  region_fixture r({.devices = 2});
  paged_tensor tensor(r.driver, r.f.h.rt), other(r.driver, r.f.h.rt, 1);
  REQUIRE(put(r.f, 1, content_of(1)) == CUBBY_OK);
  CHECK(r.get_into(1, other.spans(1), nullptr, nullptr) == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(explain().find("no tier is") != std::string::npos);
  r.add_device(1);
  CHECK(r.get_into(1, other.spans(1), nullptr, nullptr) == CUBBY_OK);
  CHECK(other.page(1) == content_of(1));

  // Memory that is said to be another device's, the host's, or has been freed.
  std::string host_bytes(paged_tensor::bytes, 'h');
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_MEMORY_DEVICE;
  desc.device = 1;
  desc.base = tensor.base;
  desc.bytes = paged_tensor::bytes;
  cubby_region wrong = 0, of_host = 0;
  REQUIRE(cubby_region_add(r.f.h.rt, &desc, &wrong) == CUBBY_OK);
  desc.device = 0;
  desc.base = host_bytes.data();
  REQUIRE(cubby_region_add(r.f.h.rt, &desc, &of_host) == CUBBY_OK);
  for (const cubby_region named : {wrong, of_host}) {
    CHECK(r.get_into(1, {{named, 0, 0, block_bytes}}, nullptr, nullptr) == CUBBY_ERR_INVALID);
    CHECK(r.put_from(2, {{named, 0, 0, block_bytes}}, nullptr, nullptr) == CUBBY_ERR_INVALID);
    CHECK(explain().find("is not memory of device") != std::string::npos);
  }
  r.driver.free(other.base);
  CHECK(r.get_into(1, other.spans(1), nullptr, nullptr) == CUBBY_ERR_INVALID);
  CHECK(r.put_from(2, other.spans(1), nullptr, nullptr) == CUBBY_ERR_INVALID);

  // One item is of one place; a stream is of its device; rows are gathered into host memory.
  std::string buffer(block_bytes, '\0');
  CHECK(r.get_into(1, {plain(buffer.data(), 100), {tensor.plain_region, 0, 0, 100}}, nullptr,
                   nullptr) == CUBBY_ERR_INVALID);
  CHECK(r.get_into(1, {{tensor.plain_region, 0, 0, 100}, plain(buffer.data(), 100)}, nullptr,
                   nullptr) == CUBBY_ERR_INVALID);
  cubby_sync sync = r.in_stream();
  const cubby_how how = how_of(&sync);
  sync.device = 1;
  CHECK(r.get_into(1, tensor.spans(1), &how, nullptr) == CUBBY_ERR_INVALID);
  sync.device = 0;
  CHECK(r.get_into(1, {plain(buffer.data(), block_bytes)}, &how, nullptr) ==
        CUBBY_ERR_NOT_SUPPORTED);
  r.driver.capture(r.stream, true);
  CHECK(r.get_into(1, tensor.spans(1), &how, nullptr) == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(r.put_from(2, tensor.spans(1), &how, nullptr) == CUBBY_ERR_NOT_SUPPORTED);
  r.driver.capture(r.stream, false);
  sync.stream = 77'777;
  CHECK(r.get_into(1, tensor.spans(1), &how, nullptr) == CUBBY_ERR_INVALID);
  CHECK(tensor.all() == std::string(paged_tensor::bytes, paged_tensor::guard));
  CHECK(match(r.f, {2}) == 0);
  REQUIRE(cubby_region_remove(r.f.h.rt, tensor.plain_region) == CUBBY_OK);
  CHECK(r.get_into(1, tensor.spans(1), nullptr, nullptr) == CUBBY_ERR_STALE);
}

TEST_CASE("a copy that fails is one block's error") {
  region_fixture r({.seed = 10});
  paged_tensor tensor(r.driver, r.f.h.rt);
  tensor.write_page(1, content_of(1));
  r.driver.refuse_copy(5);
  CHECK(r.put_from(1, tensor.spans(1), nullptr, nullptr) == CUBBY_ERR_IO);
  CHECK(match(r.f, {1}) == 0);
  REQUIRE(r.put_from(1, tensor.spans(1), nullptr, nullptr) == CUBBY_OK);
  const cubby_sync sync = r.in_stream();
  for (const cubby_sync *order : {static_cast<const cubby_sync *>(nullptr), &sync}) {
    const cubby_how how = how_of(order);
    r.driver.refuse_copy(7);
    // Nobody hears, and no stream, that bytes are there which are not.
    CHECK(r.get_into(1, tensor.spans(2), &how, nullptr) == CUBBY_ERR_IO);
    CHECK(explain().find("could not be copied") != std::string::npos);
    REQUIRE(r.get_into(1, tensor.spans(2), &how, nullptr) == CUBBY_OK);
    REQUIRE(cubby_drain(r.f.h.rt, region_long_ns) == CUBBY_OK);
    CHECK(tensor.page(2) == content_of(1));
  }
  CHECK(r.f.h.stats(r.device).error_count == 3);
}

TEST_CASE("slow copies and events that are not signalled leave the request under way") {
  region_fixture r({.seed = 11});
  paged_tensor tensor(r.driver, r.f.h.rt);
  REQUIRE(put(r.f, 1, content_of(1)) == CUBBY_OK);
  r.driver.slow_copies(20);
  REQUIRE(r.get_into(1, tensor.spans(1), nullptr, nullptr) == CUBBY_OK);
  CHECK(tensor.page(1) == content_of(1));
  r.driver.slow_copies(0);
  r.driver.hold(true);
  cubby_ticket ticket = 0, put_ticket = 0;
  REQUIRE(r.get_into(1, tensor.spans(2), nullptr, &ticket) == CUBBY_PENDING);
  REQUIRE(r.put_from(2, tensor.spans(1), nullptr, &put_ticket) == CUBBY_PENDING);
  CHECK(cubby_wait(r.f.h.rt, ticket, region_short_ns) == CUBBY_ERR_TIMEOUT);
  CHECK(cubby_cancel(r.f.h.rt, ticket) == CUBBY_OK);  // too late: a device writes there
  CHECK(cubby_region_remove(r.f.h.rt, tensor.plain_region) == CUBBY_ERR_BUSY);
  check_bytes(r.f, 1);  // host memory goes on
  r.driver.hold(false);
  CHECK(cubby_wait(r.f.h.rt, ticket, region_long_ns) == CUBBY_OK);
  CHECK(cubby_wait(r.f.h.rt, put_ticket, region_long_ns) == CUBBY_OK);
  CHECK(tensor.page(2) == content_of(1));
}

TEST_CASE("a lost device fails what is copied from and to it, and blocks in memory go on") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  region_fixture r({.seed = 12, .threads = pump == CUBBY_PUMP_THREAD}, pump);
  paged_tensor tensor(r.driver, r.f.h.rt);
  REQUIRE(put(r.f, 1, content_of(1)) == CUBBY_OK);
  r.driver.hold(true);
  cubby_ticket get_ticket = 0, put_ticket = 0;
  const cubby_sync sync = r.in_stream();
  const cubby_how how = how_of(&sync);
  REQUIRE(r.get_into(1, tensor.spans(1), nullptr, &get_ticket) == CUBBY_PENDING);
  REQUIRE(r.put_from(2, tensor.spans(1), &how, &put_ticket) == CUBBY_PENDING);
  CHECK(cubby_wait(r.f.h.rt, get_ticket, region_short_ns) == CUBBY_ERR_TIMEOUT);
  r.driver.lose_device();
  CHECK(cubby_wait(r.f.h.rt, get_ticket, region_long_ns) == CUBBY_ERR_DEVICE);
  CHECK(cubby_wait(r.f.h.rt, put_ticket, region_long_ns) == CUBBY_ERR_DEVICE);
  CHECK(match(r.f, {2}) == 0);
  CHECK(r.get_into(1, tensor.spans(1), nullptr, nullptr) == CUBBY_ERR_DEVICE);
  CHECK(r.put_from(2, tensor.spans(1), &how, nullptr) == CUBBY_ERR_DEVICE);
  CHECK(r.f.h.stats(r.device).health == 3);
  check_bytes(r.f, 1);
  REQUIRE(put(r.f, 2, content_of(2)) == CUBBY_OK);
  CHECK(cubby_drain(r.f.h.rt, region_long_ns) == CUBBY_OK);
  CHECK(cubby_region_remove(r.f.h.rt, tensor.plain_region) == CUBBY_OK);
}

TEST_CASE("threads put and get blocks of one tensor, each in a stream of its own") {
  constexpr uint32_t thread_count = 3, rounds = 12;
  region_fixture r({.seed = 13, .threads = true}, CUBBY_PUMP_THREAD);
  paged_tensor tensor(r.driver, r.f.h.rt);
  const auto before = r.driver.count();
  std::atomic<uint32_t> right = 0, failed = 0;
  const auto work = [&](uint32_t which) {
    cubby_sync sync = r.in_stream();
    sync.stream = r.driver.make_stream();
    const cubby_how how = how_of(&sync);
    for (uint32_t i = 0; i < rounds; ++i) {
      const uint32_t number = 1 + which * rounds + i;
      // The engine computes a page, which is put; then it is got into another.
      r.driver.launch(sync.stream,
                      [&tensor, number, which] { tensor.write_page(which, content_of(number)); });
      if (r.put_from(number, tensor.spans(which), &how, nullptr) != CUBBY_OK) ++failed;
      if (r.get_into(number, tensor.spans(thread_count + which), &how, nullptr) != CUBBY_OK) {
        ++failed;
      }
      r.driver.launch(sync.stream, [&tensor, &right, number, which, pages_below = thread_count] {
        if (tensor.page(pages_below + which) == content_of(number)) ++right;
      });
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < thread_count; ++i) threads.emplace_back(work, i);
  for (std::thread &one : threads) one.join();
  REQUIRE(cubby_drain(r.f.h.rt, region_long_ns) == CUBBY_OK);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (right != thread_count * rounds && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  CHECK(failed == 0);
  CHECK(right == thread_count * rounds);
  CHECK(r.driver.count().host_syncs == before.host_syncs);
}
