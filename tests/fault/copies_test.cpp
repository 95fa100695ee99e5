// A model on two devices: both are read, either one may fail, be damaged or be changed, and what is
// delivered is right or an error.
#include <array>
#include <cstring>
#include <filesystem>

#include "fault/failing_backend.hpp"
#include "threadpool/threadpool.hpp"
#include "unit/api/runtime_fixture.hpp"
#include "unit/store/scratch.hpp"

namespace copies_test {

using namespace api_test;
using failing::extent;
using failing::fault;

namespace {

constexpr uint32_t experts = 12;
constexpr uint64_t expert_bytes = 300'001;

/// Two devices, in the order in which their tiers are opened: the model's own, the copy's.
struct devices {
  std::array<failing::faults, 2> of;
  uint32_t opened_count = 0;
};

struct device : failing::instance {
  void set_user(void *user) {
    auto *all = static_cast<devices *>(user);
    injected = &all->of.at(all->opened_count++);
  }
};

/// A layer of experts, a tensor each.
std::string model_text() {
  scratch::safetensors model;
  for (uint32_t expert = 0; expert < experts; ++expert) {
    std::string data;
    for (uint64_t i = 0; i < expert_bytes; i++)
      data += static_cast<char>(expert * 31 + i * 7 + (i >> 8));
    model.add("layers.0.experts." + std::to_string(expert) + ".up_proj.weight", data);
  }
  return model.bytes();
}

/// The model in one folder, a copy in another, and a runtime that reads both.
struct copies_fixture {
  devices world;
  scratch::folder first, second;
  const std::string bytes = model_text();
  const std::string path = first.write("m.safetensors", bytes);
  const std::string copy = second.write("m.safetensors", bytes);
  runtime_fixture h{CUBBY_PUMP_CALLER};
  cubby_tier host = 0;

  copies_fixture() {
    static const cubby_backend_ops ops =
        cubby_test::wrapped_backend<device, cubby_threadpool_backend>("device_files");
    REQUIRE(cubby::api::register_backend(h.rt, &ops, &world) == CUBBY_OK);
    host = h.tier("host:0", 0, experts * (expert_bytes + 8192) / 2);
  }
  void adopt() {
    const cubby_status adopted = cubby_bank_adopt(h.rt, path.c_str(), nullptr, &h.bank);
    INFO(explain());
    REQUIRE(adopted == CUBBY_OK);
  }
  void seal() {
    cubby_ticket ticket = 0;
    cubby_status status = cubby_seal(h.rt, path.c_str(), nullptr, nullptr, &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(h.rt, ticket, 20'000'000'000);
    REQUIRE(status == CUBBY_OK);
  }
  cubby_status add_copy(const std::string &named) {
    return cubby_bank_add_copy(h.rt, h.bank, named.c_str());
  }
  void add_copy() {
    const cubby_status added = add_copy(copy);
    INFO(explain());
    REQUIRE(added == CUBBY_OK);
  }
  /// Four at a time, each read anew and held against the model; lockers that did not come.
  uint32_t failed_in_a_round() {
    uint32_t failed = 0;
    for (uint32_t expert = 0; expert < experts; expert += 4) {
      const auto items = h.items({expert, expert + 1, expert + 2, expert + 3});
      std::array<const void *, 4> addr{};
      std::array<int8_t, 4> status{};
      cubby_how how{};
      how.struct_size = sizeof how;
      how.item_status = status.data();
      cubby_pins pins = 0;
      cubby_ticket ticket = 0;
      cubby_status ended =
          cubby_pin(h.rt, items.data(), 4, host, &how, &pins, addr.data(), &ticket);
      if (ended == CUBBY_PENDING) ended = cubby_wait(h.rt, ticket, 20'000'000'000);
      for (uint32_t i = 0; i < 4; ++i) {
        cubby_extent here{};
        REQUIRE(cubby_bank_extent(h.rt, h.bank, expert + i, 0, &here) == CUBBY_OK);
        const bool came = ended == CUBBY_OK || status[i] == CUBBY_OK;
        failed += came ? 0 : 1;
        if (came) CHECK(std::memcmp(addr[i], bytes.data() + here.offset_bytes, here.bytes) == 0);
      }
      const bool any = ended == CUBBY_OK || ended == CUBBY_PARTIAL;
      if (any) CHECK(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
      for (const cubby_item &one : items) (void)cubby_drop(h.rt, &one, 1, host);
    }
    return failed;
  }
  cubby_tier_stats stats(const std::string &name) const {
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    std::array<cubby_tier_stats, 8> all{};
    for (auto &one : all) one.struct_size = sizeof one;
    REQUIRE(cubby_stats(h.rt, &block, all.data(), 8) == CUBBY_OK);
    for (uint32_t i = 0; i < block.tier_count; ++i) {
      cubby_tier_info info{};
      info.struct_size = sizeof info;
      REQUIRE(cubby_tier_describe(h.rt, all[i].tier, &info) == CUBBY_OK);
      if (name == info.name) return all[i];
    }
    FAIL("no tier " << name);
    return {};
  }
  void overwrite(const std::string &file, uint64_t offset, size_t count) const {
    const auto time = std::filesystem::last_write_time(file);
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(static_cast<std::streamoff>(offset));
    out << std::string(count, '\x55');
    out.close();
    std::filesystem::last_write_time(file, time);
  }
};

}  // namespace

TEST_CASE("lockers of a model with a copy come from both devices") {
  copies_fixture f;
  f.adopt();
  f.add_copy();
  CHECK(f.failed_in_a_round() == 0);
  const uint64_t of_first = f.stats("file:0").read_count, of_copy = f.stats("copy:0").read_count;
  CHECK(of_first + of_copy >= experts);
  CHECK(of_first >= experts / 4);
  CHECK(of_copy >= experts / 4);
}

TEST_CASE("what one device cannot read comes from the other one, whichever fails") {
  const uint32_t bad = GENERATE(0U, 1U);
  copies_fixture f;
  f.adopt();
  f.add_copy();
  f.world.of[bad].what = fault::eio;
  f.world.of[bad].how_much = extent::reads;
  for (int round = 0; round < 3; ++round) CHECK(f.failed_in_a_round() == 0);
  CHECK(f.world.of[bad].hit_count > 0);
  // After four failures it is left alone.
  CHECK(f.stats(bad == 0 ? "file:0" : "copy:0").health == 3);
  CHECK(f.world.of[bad].hit_count <= 2 * 6);
}

TEST_CASE("where both devices fail the error is of the device, and all is well once they do not") {
  copies_fixture f;
  f.adopt();
  f.add_copy();
  for (auto &one : f.world.of) {
    one.what = fault::eio;
    one.how_much = extent::reads;
  }
  CHECK(f.failed_in_a_round() == experts);
  for (auto &one : f.world.of) one.what = fault::none;
  CHECK(f.failed_in_a_round() == 0);
}

TEST_CASE("a copy that is damaged is found by the model's seal, and the other one is read") {
  copies_fixture f;
  f.seal();
  f.adopt();
  f.add_copy();
  const uint64_t head = f.bytes.size() - experts * expert_bytes;
  // Where check_copy() did not look: the copy is damaged after it was added, its times as they
  // were.
  for (uint32_t expert = 0; expert < experts; ++expert)
    f.overwrite(f.copy, head + expert * expert_bytes + 1000, 100);
  CHECK(f.failed_in_a_round() == 0);
  CHECK(f.stats("copy:0").corrupt_count > 0);
}

TEST_CASE("a copy that changes is left out, and so is the model's own file") {
  const bool own = GENERATE(false, true);
  copies_fixture f;
  f.adopt();
  f.add_copy();
  CHECK(f.failed_in_a_round() == 0);
  const std::string &changed = own ? f.path : f.copy;
  std::filesystem::last_write_time(changed, std::filesystem::file_time_type::clock::now());
  usleep(20'000);  // identities are looked at every 10 ms
  const uint64_t before = f.stats(own ? "file:0" : "copy:0").read_count;
  CHECK(f.failed_in_a_round() == 0);
  CHECK(f.stats(own ? "file:0" : "copy:0").read_count == before);
  std::filesystem::last_write_time(own ? f.copy : f.path,
                                   std::filesystem::file_time_type::clock::now());
  usleep(20'000);
  CHECK(f.failed_in_a_round() == experts);
  CHECK(explain().find("changed since it was adopted") != std::string::npos);
}

TEST_CASE("what is no copy is refused by what it is") {
  copies_fixture f;
  f.adopt();
  const auto refused = [&](const std::string &path, const char *why) {
    CAPTURE(path);
    CHECK(f.add_copy(path) != CUBBY_OK);
    INFO(explain());
    CHECK(explain().find(why) != std::string::npos);
  };
  refused(f.path, "is the file that the bank reads already");
  refused(f.second.path("none"), "cannot be opened");
  refused(f.second.write("short", f.bytes.substr(0, f.bytes.size() - 1)), "content differs");
  std::string other = f.bytes;
  for (size_t i = f.bytes.size() / 2; i < f.bytes.size(); ++i) other[i] ^= 1;
  refused(f.second.write("other", other), "content differs");
  CHECK(cubby_bank_add_copy(f.h.rt, f.h.bank, nullptr) == CUBBY_ERR_INVALID);
  CHECK(cubby_bank_add_copy(f.h.rt, 77, f.copy.c_str()) == CUBBY_ERR_STALE);
  weights w;
  runtime_fixture mapped(CUBBY_PUMP_CALLER);
  mapped.map(w);
  CHECK(cubby_bank_add_copy(mapped.rt, mapped.bank, w.path.c_str()) == CUBBY_ERR_INVALID);
  CHECK(explain().find("not adopted") != std::string::npos);
  CHECK(f.failed_in_a_round() == 0);
}

}  // namespace copies_test
