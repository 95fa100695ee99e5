// The engine's units that all others work on, over backends whose I/O the test ends itself.
#pragma once

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "engine/blocks.hpp"
#include "engine/direct_reads.hpp"
#include "engine/set_up.hpp"
#include "support/fake_backend.hpp"

namespace cubby_test {

struct recording_sink final : cubby::engine::completion_sink {
  std::vector<uint32_t> indices;
  void completed(uint32_t index, bool) override { indices.push_back(index); }
};

/// Tiers and banks come as in a runtime, through set_up; which of the other units there are is for
/// the test to say.
struct engine_fixture {
  static constexpr uint32_t host_capabilities = CUBBY_CAP_MEMORY | CUBBY_CAP_HOST_ADDRESSABLE;

  explicit engine_fixture(bool verify = true) : state(config_of(verify), services) {
    state.now_ns = 1000;
  }
  engine_fixture(const engine_fixture &) = delete;
  engine_fixture &operator=(const engine_fixture &) = delete;

  uint32_t add_host(const char *name, uint32_t rank, uint64_t budget_bytes, uint32_t flags = 0) {
    return add_memory(name, rank, budget_bytes, flags, host_capabilities);
  }
  /// Its memory is out of reach for files.
  uint32_t add_device(const char *name, uint32_t rank, uint64_t budget_bytes, uint32_t flags = 0) {
    return add_memory(name, rank, budget_bytes, flags, CUBBY_CAP_MEMORY);
  }
  uint32_t add_disk() {
    auto added = setup.add_file_tier("disk", 9, {}, open_fake(worlds.emplace_back()), {});
    REQUIRE(added.ok());
    return *added;
  }
  /// The backend of a tier.
  fake_world &world(uint32_t tier) { return worlds[tier]; }

  /// A row of lockers, which no file has yet.
  cubby::engine::locker_bank &add_bank(uint32_t columns, uint64_t locker_bytes) {
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "weights";
    desc.rows = 1;
    desc.columns = columns;
    desc.locker_bytes = locker_bytes;
    desc.chunk_bytes = 65536;
    auto made = cubby::engine::locker_bank::describe(desc);
    REQUIRE(made.ok());
    auto added = setup.add_bank(std::move(*made));
    REQUIRE(added.ok());
    return **added;
  }
  /// The lockers lie one after the other in `content`, a file of the tier, from byte 64 on.
  void map(cubby::engine::locker_bank &bank, uint32_t file_tier) {
    const uint64_t bytes = bank.locker_bytes(0);
    content.resize(cubby::base::align_up(64 + bank.count() * bytes, 4096));
    uint32_t seed = 1;
    for (std::byte &one : content)
      one = static_cast<std::byte>((seed = seed * 1664525 + 1013904223) >> 24);
    cubby::catalog::bank_file file;
    file.path = "/models/weights.bin";
    file.number = 1;
    file.bytes = world(file_tier).file.bytes = content.size();
    std::vector<cubby_extent> extents;
    for (uint32_t number = 0; number < bank.count(); ++number) {
      extents.push_back({CUBBY_ID(bank.handle, number), 0, 0, 64 + number * bytes, bytes});
    }
    auto mapped = setup.map_bank(bank, {file}, file_tier, extents.data(), extents.size());
    REQUIRE(mapped.ok());
  }
  [[nodiscard]] const std::byte *content_of(const cubby::engine::locker_bank &bank,
                                            uint32_t number) const {
    return content.data() + 64 + number * bank.locker_bytes(number);
  }
  /// Where the locker, which is resident, begins.
  std::byte *bytes_in(const cubby::engine::locker_bank &bank, uint32_t tier, uint32_t number) {
    const uint64_t frame = bank.word(tier, number).look().frame;
    return state.tiers.address(bank, tier, frame, number, 0);
  }

  /// The locker is resident, with a right copy where its file says what is right.
  void land(cubby::engine::locker_bank &bank, uint32_t tier, uint32_t number) {
    const auto frame = state.tiers[tier].memory->take(bank.frame_bytes_in(tier, number));
    REQUIRE(frame.has_value());
    bank.word(tier, number).begin_fill(0, 1);
    bank.word(tier, number).publish(*frame, 0);
    copies.admit(tier, bank, number);
    if (!bank.mapped()) return;
    std::memcpy(bytes_in(bank, tier, number), content_of(bank, number), bank.locker_bytes(number));
  }
  /// A reserved fill, which has its frame and its word.
  uint32_t reserve(cubby::engine::locker_bank &bank, uint32_t tier, uint32_t number,
                   const cubby::transfer::urgency &order = {}) {
    const auto frame = state.tiers[tier].memory->take(bank.frame_bytes_in(tier, number));
    REQUIRE(frame.has_value());
    const uint32_t index = table.create(bank, number, tier, *frame, order);
    bank.word(tier, number).begin_fill(index, 1);
    return index;
  }
  /// An accepted request for these lockers; a pin has its set. open.open() takes it up.
  uint32_t make_request(cubby::engine::request_verb verb, uint32_t tier,
                        cubby::engine::locker_bank &bank, const std::vector<uint32_t> &numbers,
                        uint32_t io_class = CUBBY_DEMAND) {
    const uint32_t index = requests.take(false);
    REQUIRE(index != cubby::engine::no_index);
    cubby::engine::request &r = requests[index];
    r.verb = std::move(verb);
    r.tier = tier;
    r.io_class = io_class;
    r.issued_ns = state.now_ns;
    r.flags = 0;
    r.deadline_ns = 0;
    for (const uint32_t number : numbers) {
      r.items.emplace_back().bank = &bank;
      r.items.back().number = number;
    }
    if (r.is_pin()) take_set(r);
    return index;
  }

  bool no_host_memory = false;  // for staging
  std::vector<std::string> logged;
  std::deque<fake_world> worlds;  // in the order of the tiers
  std::vector<std::byte> content;
  const cubby_backend_services services = services_of(*this);
  cubby::engine::engine_state state;
  cubby::engine::request_table requests{16, 5};
  cubby::engine::fill_table table{state};
  cubby::engine::residents copies{state, table};
  cubby::engine::stored_blocks stored{state, copies};
  cubby::engine::blocks puts{state, copies, stored};
  cubby::transfer::io_table store_ios;
  cubby::engine::source_files files{state};
  cubby::engine::policy_feed feed{state, copies};
  recording_sink sink;
  cubby::transfer::work_queue work;
  cubby::engine::block_deliveries deliveries{state, work};
  cubby::engine::region_copies regions{state, table, copies, store_ios, work};
  cubby::engine::open_requests open{state, requests, deliveries, regions, sink};
  cubby::engine::direct_reads direct{state, table, stored, store_ios, work};
  cubby::engine::set_up setup{state, copies, stored, feed, files, requests, open, table, store_ios};

 private:
  static cubby::engine::engine_config config_of(bool verify) {
    cubby::engine::engine_config config;
    config.tickets_max = 16;
    config.policy = cubby_policy_find("lru");
    config.verify = verify;
    return config;
  }
  static cubby_backend_services services_of(engine_fixture &self) {
    cubby_backend_services made{};
    made.struct_size = sizeof made;
    made.context = &self;
    made.memory_take = [](void *context, uint64_t bytes, uint64_t, cubby_backend_memory *out) {
      if (static_cast<engine_fixture *>(context)->no_host_memory) return -ENOMEM;
      return fake::memory_reserve(nullptr, bytes, out);
    };
    made.memory_give = [](void *, const cubby_backend_memory *memory) {
      fake::memory_release(nullptr, memory);
    };
    made.log = [](void *context, uint32_t, const char *text) {
      static_cast<engine_fixture *>(context)->logged.emplace_back(text);
    };
    return made;
  }
  uint32_t add_memory(const char *name, uint32_t rank, uint64_t budget_bytes, uint32_t flags,
                      uint32_t capabilities) {
    fake_world &world = worlds.emplace_back();
    world.capabilities = capabilities;
    cubby::engine::set_up::memory_tier_request wanted;
    wanted.name = name;
    wanted.rank = rank;
    wanted.flags = flags;
    wanted.budget_bytes = budget_bytes;
    auto added = setup.add_memory_tier(wanted, open_fake(world));
    REQUIRE(added.ok());
    return *added;
  }
  void take_set(cubby::engine::request &r) {
    cubby::residency::pin_set *const set = state.pins.take(0);
    REQUIRE(set != nullptr);
    const auto count = static_cast<uint32_t>(r.items.size());
    set->describe(count, r.tier, false);
    state.pins.hold_loading(*set, {nullptr, count, r.tier, 0, 0, nullptr});
    r.pin().set = set->index;
  }
};

}  // namespace cubby_test
