// A model on two devices: both are read, either one may fail, be damaged or be changed, and what is
// delivered is right or an error.
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <list>
#include <thread>

#include "fault/failing_backend.hpp"
#include "residency/locker_bank.hpp"
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
  std::string replaced, by;  // once the next one is opened, where they are set
  std::array<failing::faults, cubby::residency::tiers_max> of;
  uint32_t opened_count = 0;
};

struct device : failing::instance {
  void set_user(void *user) {
    auto *all = static_cast<devices *>(user);
    injected = &all->of.at(all->opened_count++);
    if (!all->by.empty()) std::filesystem::rename(all->by, all->replaced);
    all->by.clear();
  }
};

/// A layer of experts, a tensor each.
std::string model_text(uint32_t count = experts, uint64_t bytes = expert_bytes) {
  scratch::safetensors model;
  for (uint32_t expert = 0; expert < count; ++expert) {
    std::string data;
    for (uint64_t i = 0; i < bytes; i++) data += static_cast<char>(expert * 31 + i * 7 + (i >> 8));
    model.add("layers.0.experts." + std::to_string(expert) + ".up_proj.weight", data);
  }
  return model.bytes();
}

/// The model in one folder, a copy in another, and a runtime that reads both.
struct copies_fixture {
  devices world;
  scratch::folder first, second;
  const std::string bytes;
  const std::string path = first.write("m.safetensors", bytes);
  const std::string copy = second.write("m.safetensors", bytes);
  runtime_fixture h{CUBBY_PUMP_CALLER};
  cubby_tier host = 0;

  explicit copies_fixture(std::string model = model_text()) : bytes(std::move(model)) {
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
  void add_files_tier(const char *name, const std::string &folder) const {
    const char *paths[] = {folder.c_str()};
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "file";
    desc.name = name;
    desc.rank = 2;
    desc.device = -1;
    desc.paths = paths;
    desc.path_count = 1;
    cubby_tier made = 0;
    const cubby_status added = cubby_tier_add(h.rt, &desc, &made);
    INFO(explain());
    REQUIRE(added == CUBBY_OK);
  }
  [[nodiscard]] uint32_t tier_count() const {
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    REQUIRE(cubby_stats(h.rt, &block, nullptr, 0) == CUBBY_OK);
    return block.tier_count;
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
  refused(f.second.path("none"), "could not be opened");
  refused(f.second.write("short", f.bytes.substr(0, f.bytes.size() - 1)), "content differs");
  std::string other = f.bytes;
  for (size_t i = f.bytes.size() / 2; i < f.bytes.size(); ++i) other[i] ^= 1;
  refused(f.second.write("other", other), "content differs");
  other = f.bytes;
  other.back() ^= 1;  // as of a copy that is not finished
  refused(f.second.write("end", other), "content differs");
  CHECK(cubby_bank_add_copy(f.h.rt, f.h.bank, nullptr) == CUBBY_ERR_INVALID);
  CHECK(cubby_bank_add_copy(f.h.rt, 77, f.copy.c_str()) == CUBBY_ERR_STALE);
  weights w;
  runtime_fixture mapped(CUBBY_PUMP_CALLER);
  mapped.map(w);
  CHECK(cubby_bank_add_copy(mapped.rt, mapped.bank, w.path.c_str()) == CUBBY_ERR_INVALID);
  CHECK(explain().find("not adopted") != std::string::npos);
  CHECK(f.failed_in_a_round() == 0);
}

TEST_CASE("a copy that is no file is refused at once, and so is one that is read already") {
  copies_fixture f;
  f.adopt();
  const std::string pipe = f.second.path("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(f.add_copy(pipe) == CUBBY_ERR_INVALID);
  CHECK(explain().find("not a regular file") != std::string::npos);
  CHECK(f.add_copy("/dev/zero") == CUBBY_ERR_INVALID);
  const std::string folder = std::filesystem::path(f.copy).parent_path().string();
  CHECK(f.add_copy(folder) == CUBBY_ERR_INVALID);
  CHECK(explain().find("not a regular file") != std::string::npos);
  f.add_copy();
  CHECK(f.add_copy(f.copy) == CUBBY_ERR_INVALID);
  CHECK(explain().find("reads already") != std::string::npos);
  const std::string link = f.first.path("link");
  std::filesystem::create_symlink(f.copy, link);
  CHECK(f.add_copy(link) == CUBBY_ERR_INVALID);
  CHECK(f.failed_in_a_round() == 0);
}

TEST_CASE("a copy of another file, put where the bank's own was, is refused") {
  copies_fixture f;
  f.adopt();
  std::string other = f.bytes;
  other[f.bytes.size() / 2] ^= 1;
  const std::string made = f.first.write("new", other);
  std::filesystem::rename(made, f.path);
  CHECK(f.add_copy(f.second.write("other", other)) == CUBBY_ERR_INVALID);
  INFO(explain());
  CHECK(explain().find(f.path) != std::string::npos);
  CHECK(f.failed_in_a_round() == 0);
}

TEST_CASE("a copy that is replaced once it was looked at is not read") {
  copies_fixture f;
  f.adopt();
  std::string other = f.bytes;
  for (size_t i = f.bytes.size() / 2; i < f.bytes.size(); ++i) other[i] ^= 1;
  f.world.by = f.second.write("other", other);
  f.world.replaced = f.copy;
  CHECK(f.add_copy(f.copy) == CUBBY_ERR_CORRUPT);
  INFO(explain());
  CHECK(explain().find(f.copy + " changed while it was being opened") != std::string::npos);
  CHECK(f.failed_in_a_round() == 0);
  CHECK(f.add_copy(f.copy) == CUBBY_ERR_INVALID);
  CHECK(explain().find("content differs") != std::string::npos);
}

TEST_CASE("there are no more copies than tiers, and the error says so") {
  copies_fixture f;
  f.adopt();
  std::list<scratch::folder> folders;
  uint32_t added = 0;
  for (; added < 16; ++added)
    if (f.add_copy(folders.emplace_back().write("m.safetensors", f.bytes)) != CUBBY_OK) break;
  CHECK(added == cubby::residency::tiers_max - 2);
  CHECK(f.add_copy(f.copy) == CUBBY_ERR_INVALID);
  CHECK(explain().find("tiers") != std::string::npos);
  CHECK(explain().find(f.copy) != std::string::npos);
  CHECK(f.failed_in_a_round() == 0);
}

TEST_CASE("a tier of other folders does not read a copy, so what fails there leaves it alone") {
  copies_fixture f;
  const scratch::folder elsewhere;
  const std::string own = std::filesystem::path(f.path).parent_path().string();
  f.add_files_tier("elsewhere", std::filesystem::path(elsewhere.path("x")).parent_path().string());
  f.add_files_tier("own", own);
  f.adopt();
  f.add_copy();
  CHECK(f.tier_count() == 4);
  CHECK(f.failed_in_a_round() == 0);
  CHECK(f.stats("elsewhere").read_count == 0);
  CHECK(f.stats("own").read_count > 0);
  CHECK(f.stats("copy:0").read_count > 0);
}

TEST_CASE("copies that are added at the same time have a tier each, and all are read") {
  for (int round = 0; round < 8; ++round) {
    copies_fixture f;
    f.adopt();
    const std::string another = f.second.write("another", f.bytes);
    cubby_status of_other = CUBBY_MISS;
    std::thread other([&] { of_other = f.add_copy(another); });
    const cubby_status of_this = f.add_copy(f.copy);
    other.join();
    CHECK(of_this == CUBBY_OK);
    CHECK(of_other == CUBBY_OK);
    CHECK(f.tier_count() == 4);
    CHECK(f.failed_in_a_round() == 0);
    CHECK(f.stats("copy:1").read_count > 0);
  }
}

TEST_CASE("a copy that is cut short is left out, and its device is not called failing") {
  copies_fixture f;
  f.adopt();
  f.add_copy();
  CHECK(f.failed_in_a_round() == 0);
  std::filesystem::resize_file(f.copy, f.bytes.size() / 20);
  // Nothing has looked at its identity since: the short reads find out.
  CHECK(f.failed_in_a_round() == 0);
  CHECK(f.stats("copy:0").health == 0);
  CHECK(f.failed_in_a_round() == 0);
}

TEST_CASE("files that changed are not read because the others changed as well") {
  constexpr uint32_t many = 100;  // more than are in flight at once
  copies_fixture f(model_text(many, 5000));
  f.adopt();
  f.add_copy();
  f.overwrite(f.path, f.bytes.size() - many * 5000, many * 5000);
  const auto change = [](const std::string &path) {
    usleep(20'000);  // identities are looked at every 10 ms
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now());
  };
  change(f.path);
  f.world.of[1].what = fault::held;
  std::vector<uint32_t> all;
  for (uint32_t i = 0; i < many; ++i) all.push_back(i);
  const auto items = f.h.items(all);
  std::array<const void *, many> addr{};
  std::array<int8_t, many> status{};
  cubby_how how{};
  how.struct_size = sizeof how;
  how.item_status = status.data();
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  REQUIRE(cubby_pin(f.h.rt, items.data(), many, f.host, &how, &pins, addr.data(), &ticket) ==
          CUBBY_PENDING);
  CHECK(cubby_wait(f.h.rt, ticket, 30'000'000) == CUBBY_ERR_TIMEOUT);
  change(f.copy);
  usleep(20'000);
  f.world.of[1].release = true;
  CHECK(cubby_wait(f.h.rt, ticket, 20'000'000'000) == CUBBY_PARTIAL);
  uint32_t failed = 0;
  for (uint32_t i = 0; i < many; ++i) {
    cubby_extent here{};
    REQUIRE(cubby_bank_extent(f.h.rt, f.h.bank, i, 0, &here) == CUBBY_OK);
    failed += status[i] == CUBBY_OK ? 0U : 1U;
    if (status[i] == CUBBY_OK)
      CHECK(std::memcmp(addr[i], f.bytes.data() + here.offset_bytes, here.bytes) == 0);
  }
  CHECK(failed > 0);
  CHECK(failed < many);
  CHECK(explain().find("changed since it was adopted") != std::string::npos);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
}

}  // namespace copies_test
