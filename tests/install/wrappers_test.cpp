// The C++ interface over the shared library: what each call of cubby.h does is tested elsewhere,
// here that every one has its face, and that the faces own, order and answer as they say. The
// device is a driver that needs no GPU, which this program is linked with, so that the library
// finds it.
#include <cubby/cubby.hpp>

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"

#include <cubby/cubby_device.cuh>

// Of the driver, as a program calls it.
extern "C" {
int cuDevicePrimaryCtxRetain(void **context, int device);
int cuCtxPushCurrent_v2(void *context);
int cuStreamCreateWithPriority(uint64_t *stream, unsigned flags, int priority);
int cuStreamSynchronize(uint64_t stream);
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, uint64_t stream);
int cuMemAlloc_v2(uint64_t *out, size_t bytes);
void cubby_fake_hold(int on);
uint64_t cubby_fake_host_syncs();
void cubby_fake_flip(uint64_t at);
}

namespace {

using namespace std::chrono_literals;

constexpr uint64_t mib = 1 << 20;
constexpr uint32_t rows = 2, columns = 6;
constexpr uint64_t gate_bytes = 48 << 10, up_bytes = 16 << 10;

uint64_t address_of(const void *at) { return reinterpret_cast<uintptr_t>(at); }
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

/// A file with the lockers of a bank of two parts.
struct model_file {
  std::string path = "wrappers_" + std::to_string(getpid());
  std::string bytes;

  model_file() {
    uint64_t state = 7;
    while (bytes.size() < rows * columns * (gate_bytes + up_bytes)) {
      state = state * 6364136223846793005 + 1442695040888963407;
      bytes.append(reinterpret_cast<const char *>(&state), sizeof state);
    }
    std::ofstream(path, std::ios::binary) << bytes;
  }
  model_file(const model_file &) = delete;
  model_file &operator=(const model_file &) = delete;
  ~model_file() {
    std::remove(path.c_str());
    std::remove((path + ".seal").c_str());
  }

  [[nodiscard]] static uint64_t offset(uint64_t number, uint32_t part) {
    return number * (gate_bytes + up_bytes) + part * gate_bytes;
  }
  [[nodiscard]] std::string part(uint64_t number, uint32_t part) const {
    return bytes.substr(offset(number, part), part == 0 ? gate_bytes : up_bytes);
  }
};

/// A runtime whose bank reads the file.
struct fixture {
  model_file file;
  cubby::runtime rt = cubby::runtime::open().value();
  cubby::tier host;
  cubby::bank bank;
  std::array<uint64_t, 2> part_bytes = {gate_bytes, up_bytes};

  explicit fixture(const char *device = nullptr) {
    if (device != nullptr) {
      host = rt.add_tier({.backend = "cuda", .name = device, .device = 0, .budget_bytes = 4 * mib})
                 .value();
    } else {
      host = rt.add_tier({.name = "host:0", .budget_bytes = 4 * mib}).value();
    }
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "weights";
    desc.rows = rows;
    desc.columns = columns;
    desc.locker_bytes = gate_bytes + up_bytes;
    desc.part_count = 2;
    desc.part_bytes = part_bytes.data();
    bank = rt.add_bank(desc).value();
    std::vector<cubby_extent> extents;
    for (uint64_t n = 0; n < bank.locker_count(); ++n) {
      extents.push_back({bank.id(n), 0, 0, model_file::offset(n, 0), gate_bytes});
      extents.push_back({bank.id(n), 1, 0, model_file::offset(n, 1), up_bytes});
    }
    const char *path = file.path.c_str();
    rt.map(bank, {&path, 1}, extents).value();
  }
  void pin_and_go(std::span<const uint64_t> numbers) {
    rt.pin(bank, numbers, host).value().wait().value();
  }
};

/// A runtime with blocks by key, of 64 KiB, and room for 16.
struct kv_fixture {
  static constexpr uint64_t block_bytes = 64 << 10;
  cubby::runtime rt = cubby::runtime::open().value();
  cubby::tier host = rt.add_tier({.name = "host:0", .budget_bytes = 2 * mib}).value();
  cubby::bank bank;
  cubby_space space = 0;
  std::string memory = std::string(block_bytes, '\0');

  kv_fixture() {
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_KV;
    desc.name = "kv";
    desc.rows = 1;
    desc.columns = 64;
    desc.locker_bytes = block_bytes;
    bank = rt.add_bank(desc).value();
    space = rt.add_space(bank, "model, fp16").value();
  }
  [[nodiscard]] cubby_item item(const char *key) const {
    cubby_item made{};
    made.space = space;
    made.key = cubby::key_of(key);
    return made;
  }
  void put(const char *key, char fill) {
    memory.assign(memory.size(), fill);
    const cubby_span span = cubby::span_of(std::as_bytes(std::span(memory)));
    cubby_item one = item(key);
    one.spans = &span;
    one.span_count = 1;
    rt.wait(rt.put({&one, 1}).value()).value();
  }
  [[nodiscard]] uint64_t used_bytes() {
    std::array<cubby_tier_stats, 1> of{};
    (void)rt.stats(of).value();
    return of[0].used_bytes;
  }
  [[nodiscard]] uint32_t hits(const char *key) {
    const cubby_key one = cubby::key_of(key);
    return rt.match(space, {&one, 1}).value();
  }
};

/// The calling thread's context and a stream, as a program that computes has them.
uint64_t make_stream() {
  void *context = nullptr;
  uint64_t made = 0;
  REQUIRE(cuDevicePrimaryCtxRetain(&context, 0) == 0);
  REQUIRE(cuCtxPushCurrent_v2(context) == 0);
  REQUIRE(cuStreamCreateWithPriority(&made, 1, 0) == 0);
  return made;
}

/// What is at an address of the device when the stream gets there.
struct later {
  std::string bytes;
  later(uint64_t at, uint64_t size, uint64_t stream) : bytes(size, '\0') {
    REQUIRE(cuMemcpyDtoHAsync_v2(bytes.data(), at, size, stream) == 0);
  }
};

}  // namespace

TEST_CASE("where a bank's bytes lie, and digests of its file") {
  fixture f;
  const cubby_file_info file = f.rt.file(f.bank, 0).value();
  CHECK(file.path == f.file.path);
  CHECK(file.bytes == f.file.bytes.size());
  CHECK(f.rt.file(f.bank, 1).why().status() == CUBBY_MISS);
  CHECK(f.rt.part(f.bank, 1, 1).value().bytes == up_bytes);
  CHECK_FALSE(f.rt.part(f.bank, 1, 2));
  const cubby_extent at = f.rt.extent(f.bank, 5, 1).value();
  CHECK(at.offset_bytes == model_file::offset(5, 1));
  CHECK(at.bytes == up_bytes);

  const std::string digests = f.file.path + ".seal";
  cubby_adopt_desc how{};
  how.struct_size = sizeof how;
  how.tensors = "a*";
  how.seal_path = digests.c_str();
  CHECK(f.rt.seal("not there", &how).why().status() < 0);
  const std::string model = f.file.path + ".safetensors";
  const std::string head = R"({"ab":{"dtype":"U8","shape":[64],"data_offsets":[0,64]}})";
  const uint64_t head_bytes = head.size();
  std::ofstream(model, std::ios::binary)
      << std::string(reinterpret_cast<const char *>(&head_bytes), 8) << head
      << std::string(64, 'x');
  const auto sealing = f.rt.seal(model.c_str(), &how);
  INFO(sealing.why().text());
  REQUIRE(sealing);
  const auto seen = f.rt.progress(*sealing);
  CHECK(seen.value().ticket == sealing->handle());
  CHECK(f.rt.wait(*sealing, 30s));
  CHECK(std::ifstream(digests).good());
  CHECK(f.rt.progress(*sealing).why().status() == CUBBY_ERR_STALE);
  std::remove(model.c_str());
}

TEST_CASE("lockers by items as by numbers; verified where they lie") {
  fixture f;
  const std::array<uint64_t, 2> numbers = {3, 8};
  std::array<cubby_item, 2> items{};
  for (size_t i = 0; i < 2; ++i) items[i].id = f.bank.id(numbers[i]);
  f.rt.wait(f.rt.prefetch(items, f.host).value()).value();
  {
    auto held = f.rt.pin(f.bank, items, f.host).value();
    held.wait().value();
    CHECK(text_of(held.bytes(1, 1)) == f.file.part(8, 1));
    CHECK(f.rt.drop(items, f.host).why().status() == CUBBY_ERR_BUSY);
  }
  std::array<uint64_t, 2> ready_ns = {1, 1};
  f.rt.estimate(items, f.host, ready_ns).value();
  CHECK(ready_ns == std::array<uint64_t, 2>{0, 0});
  CHECK_FALSE(f.rt.estimate(items, f.host, std::span(ready_ns).first(1)));

  std::array<int8_t, 3> statuses{};
  const std::array<uint64_t, 3> looked_at = {3, 8, 9};
  const auto verified =
      f.rt.wait(f.rt.verify(f.bank, looked_at, f.host, {.item_status = statuses.data()}).value());
  CHECK(verified.why().status() == CUBBY_PARTIAL);
  CHECK(statuses == std::array<int8_t, 3>{CUBBY_OK, CUBBY_OK, CUBBY_MISS});
  CHECK(f.rt.drop(items));
  const auto gone = f.rt.verify(items, f.host);
  CHECK((gone ? f.rt.wait(*gone) : cubby::result<void>(gone.why())).why().status() == CUBBY_MISS);
}

TEST_CASE("blocks that are written in place have one owner") {
  kv_fixture f;
  const std::array<cubby_item, 3> items = {f.item("a"), f.item("b"), f.item("c")};
  {
    cubby::reservation made = f.rt.reserve(f.bank, items, f.host).value();
    CHECK(made.size() == 3);
    for (uint32_t i = 0; i < 3; ++i) {
      REQUIRE(made.bytes(i).size() == kv_fixture::block_bytes);
      std::memset(made.bytes(i).data(), 'A' + static_cast<int>(i), made.bytes(i).size());
    }
    CHECK(made.bytes(3).empty());
    CHECK(made.bytes(0, 1).empty());
    CHECK(f.hits("a") == 0);
    f.rt.wait(made.commit({}, 1, 1).value()).value();
    CHECK(f.hits("b") == 1);
    CHECK_FALSE(made.commit({}, 1, 1));  // each once
    CHECK(made.abandon(0, 1));
    cubby::reservation other = std::move(made);
    CHECK(made.size() == 0);  // NOLINT(bugprone-use-after-move): that is what is looked at
    CHECK(other.size() == 3);
  }
  CHECK(f.hits("a") == 0);
  CHECK(f.hits("c") == 0);
  CHECK(f.used_bytes() < 2 * kv_fixture::block_bytes);  // abandoned by its owner: "b" is left
  auto held = f.rt.pin(f.bank, std::span(items).subspan(1, 1), f.host).value();
  CHECK(text_of(held.bytes(0)) == std::string(kv_fixture::block_bytes, 'B'));
  // A key that is known has no frame to be written.
  cubby::reservation again = f.rt.reserve(f.bank, std::span(items).first(2), f.host).value();
  CHECK(again.bytes(1).empty());
  CHECK(again.bytes(0).size() == kv_fixture::block_bytes);
  CHECK(f.rt.reserve(f.bank, {}, f.host).why().status() == CUBBY_ERR_INVALID);
  held = {};
  CHECK(f.rt.close());
  CHECK(again.commit().why().status() == CUBBY_ERR_SHUTDOWN);
}

TEST_CASE("leases, splits, and blocks by key") {
  kv_fixture f;
  f.put("a", 'x');
  const cubby_key key = cubby::key_of("a");
  const cubby_item item = f.item("a");
  {
    cubby::lease held = f.rt.add_lease(f.space, {&key, 1}).value();
    CHECK(f.rt.drop({&item, 1}).why().status() == CUBBY_ERR_BUSY);
    cubby::lease moved = std::move(held);
    CHECK(f.rt.drop({&item, 1}).why().status() == CUBBY_ERR_BUSY);
  }
  const std::array<uint64_t, 1> recompute_ns = {1'000'000'000};
  const cubby_split_result split = f.rt.split(f.space, {&key, 1}, recompute_ns, f.host).value();
  CHECK(split.load_count == 1);
  CHECK(f.rt.split(f.space, {&key, 1}, {}, f.host).why().status() == CUBBY_ERR_INVALID);
  CHECK(f.rt.wait(f.rt.verify({&item, 1}, f.host).value()));
  {
    auto pinned = f.rt.pin(f.bank, std::span(&item, 1), f.host).value();
    CHECK(text_of(pinned.bytes(0)) == f.memory);
  }
  CHECK(f.rt.drop({&item, 1}));  // the lease is over
  CHECK(f.hits("a") == 0);
  CHECK(f.rt.add_lease(f.space, {&key, 1}).why().status() == CUBBY_MISS);
  cubby::lease none;
  CHECK(none.end());
}

TEST_CASE("of the library; a profile that is none") {
  CHECK(cubby::version() == cubby_version());
  std::array<const char *, 64> names{};
  const uint32_t count = cubby::policies(names);
  REQUIRE(count != 0);
  REQUIRE(count <= names.size());
  const std::set<std::string> found(names.begin(), names.begin() + count);
  CHECK(found.count("lru") == 1);
  std::array<cubby_log_line, 4> lines{};
  CHECK(cubby::take_process_log(lines) <= lines.size());
  CHECK_FALSE(cubby::runtime::open({.profile = "no such profile"}));
}

TEST_CASE("pins in the order of a stream: it waits for the bytes, the host does not") {
  fixture f("device:0");
  const uint64_t stream = make_stream();
  const uint64_t syncs = cubby_fake_host_syncs();
  cubby_fake_hold(1);
  const std::array<uint64_t, 1> number = {4};
  auto held = f.rt.pin(f.bank, number, f.host, {.sync = cubby::stream_order(stream)}).value();
  held.wait(30s).value();  // the copies are submitted; none can have begun
  const later seen(address_of(held.addresses()[0]), gate_bytes, stream);
  CHECK(seen.bytes != f.file.part(4, 0));
  cubby_fake_hold(0);
  REQUIRE(cuStreamSynchronize(stream) == 0);
  CHECK(seen.bytes == f.file.part(4, 0));

  // What a stream refuses leaves the set as it is.
  CHECK(held.release(cubby::stream_order(0x12345)).why().status() == CUBBY_ERR_INVALID);
  CHECK(held.size() == 1);
  const cubby_item item = {f.bank.id(4), 0, 0, {}, nullptr, nullptr, 0};
  CHECK(f.rt.drop({&item, 1}, f.host).why().status() == CUBBY_ERR_BUSY);
  cubby_fake_hold(1);
  later reads(address_of(held.addresses()[0]), gate_bytes, stream);
  held.release(cubby::stream_order(stream)).value();
  CHECK(held.size() == 0);
  CHECK(held.release(cubby::stream_order(stream)));                       // holds nothing any more
  CHECK(f.rt.drop({&item, 1}, f.host).why().status() == CUBBY_ERR_BUSY);  // the stream reads
  cubby_fake_hold(0);
  REQUIRE(cuStreamSynchronize(stream) == 0);
  CHECK(reads.bytes == f.file.part(4, 0));
  // Synchronised, and read from, by this program alone.
  CHECK(cubby_fake_host_syncs() - syncs == 2 + 2);
}

TEST_CASE("blocks into memory of a device, in the order of a stream") {
  kv_fixture f;
  f.put("a", 'q');
  REQUIRE(
      f.rt.add_tier({.backend = "cuda", .name = "device:0", .device = 0, .budget_bytes = 2 * mib}));
  const uint64_t stream = make_stream();
  uint64_t tensor = 0;
  REQUIRE(cuMemAlloc_v2(&tensor, 4 * mib) == 0);
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_MEMORY_DEVICE;
  desc.fd = -1;
  desc.base = reinterpret_cast<void *>(tensor);
  desc.bytes = 4 * mib;
  const cubby::region region = f.rt.add_region(desc).value();
  const cubby_span into = cubby::span_of(region, mib, kv_fixture::block_bytes);
  cubby_item item = f.item("a");
  item.spans = &into;
  item.span_count = 1;
  cubby_fake_hold(1);
  const auto asked = f.rt.get({&item, 1}, {.sync = cubby::stream_order(stream)}).value();
  f.rt.wait(asked, 30s).value();
  const later seen(tensor + mib, kv_fixture::block_bytes, stream);
  cubby_fake_hold(0);
  REQUIRE(cuStreamSynchronize(stream) == 0);
  CHECK(seen.bytes == f.memory);
  item.key = cubby::key_of("b");
  f.rt.wait(f.rt.put({&item, 1}, {.sync = cubby::stream_order(stream)}).value()).value();
  const cubby_item found = f.item("b");
  auto held = f.rt.pin(f.bank, std::span(&found, 1), f.host).value();
  held.wait().value();
  CHECK(text_of(held.bytes(0)) == f.memory);
}

TEST_CASE("slot tables and verifications of a device's memory") {
  fixture f("device:0");
  const uint64_t stream = make_stream();
  const std::array<uint64_t, 2> numbers = {2, 7};
  f.pin_and_go(numbers);
  const cubby_slots table = f.rt.add_slots(f.bank, f.host).value();
  CHECK(table.rows * table.columns == rows * columns);
  CHECK(f.rt.add_slots(f.bank, f.host).why().status() == CUBBY_ERR_BUSY);
  // The entry of locker 7, once the device has it.
  uint64_t word = 0;
  for (int i = 0; i < 3000 && !cubby_device::is_there(word); ++i) {
    std::this_thread::sleep_for(1ms);
    const later entry(table.entries + 7 * sizeof(uint64_t), sizeof word, stream);
    std::memcpy(&word, entry.bytes.data(), sizeof word);
  }
  REQUIRE(cubby_device::is_there(word));
  const later offset(table.part_offsets + (table.part_count + 1) * sizeof(uint64_t), 8, stream);
  uint64_t in_frame = 0;
  std::memcpy(&in_frame, offset.bytes.data(), sizeof in_frame);
  const uint64_t at =
      table.base[1] + cubby_device::frame_of(word) * table.stride_bytes[1] + in_frame;
  CHECK(later(at, up_bytes, stream).bytes == f.file.part(7, 1));

  std::array<int8_t, 3> statuses{};
  const std::array<uint64_t, 3> looked_at = {2, 7, 11};
  const auto verify = [&] {
    const auto asked = f.rt.verify(f.bank, looked_at, f.host, {.item_status = statuses.data()});
    return asked ? f.rt.wait(*asked).why().status() : asked.why().status();
  };
  CHECK(verify() == CUBBY_PARTIAL);
  CHECK(statuses == std::array<int8_t, 3>{CUBBY_OK, CUBBY_OK, CUBBY_MISS});
  cubby_fake_flip(at + 100);
  CHECK(verify() == CUBBY_PARTIAL);
  CHECK(statuses == std::array<int8_t, 3>{CUBBY_OK, CUBBY_ERR_CORRUPT, CUBBY_MISS});
  CHECK(f.rt.remove(f.bank).why().status() == CUBBY_ERR_BUSY);
  CHECK(f.rt.remove_slots(f.bank, f.host));
  CHECK(f.rt.remove_slots(f.bank, f.host).why().status() == CUBBY_MISS);
  CHECK(f.rt.remove(f.bank));
}
