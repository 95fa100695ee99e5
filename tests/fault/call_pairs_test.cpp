// Every pair of calls at the same time, on one runtime. What a call answers may depend on the other
// one; that nothing breaks, and that nothing stays taken, may not.
#include <atomic>
#include <functional>
#include <thread>

#include "support/sanitized.hpp"
#include "unit/api/block_fixture.hpp"
#include "unit/store/scratch.hpp"

using namespace api_test;

namespace {

constexpr uint64_t pair_block_bytes = 3000;
constexpr uint32_t experts = 4;
constexpr uint64_t expert_bytes = 5000;
constexpr uint32_t rounds = cubby_test::sanitized ? 6 : 60;

/// What the calls share: a bank and a tier that stay, and a bank and a queue that come and go.
struct world {
  store_directory directory;
  weights w;
  runtime_fixture h;
  cubby_tier tier = 0;
  std::atomic<cubby_bank> transient_bank{0};
  std::atomic<cubby_cq *> transient_queue{nullptr};
  std::atomic<uint32_t> serial{0};
  cubby_bank blocks = 0;
  cubby_space space = 0;
  std::atomic<cubby_space> transient_space{0};
  std::atomic<uint32_t> wrong_bytes{0};
  scratch::folder of_model, of_copy;
  std::string model, copy;
  std::atomic<cubby_bank> adopted{0};  // comes and goes, and so does its copy

  explicit world(uint32_t pump) : h(pump, 64) {
    tier = h.tier("host:0", 0, 2 * mib);
    add_store();
    h.map(w);
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_KV;
    desc.name = "blocks";
    desc.rows = 1;
    desc.columns = 4;  // fewer than keys: puts evict
    desc.locker_bytes = pair_block_bytes;
    REQUIRE(cubby_bank_add(h.rt, &desc, &blocks) == CUBBY_OK);
    REQUIRE(add_space(&space) == CUBBY_OK);
    remake_space();
    remake_bank();
    remake_queue();
    scratch::safetensors made;
    for (uint32_t i = 0; i < experts; ++i) {
      made.add("layers.0.experts." + std::to_string(i) + ".up_proj.weight",
               std::string(expert_bytes, static_cast<char>('a' + i)));
    }
    model = of_model.write("m.safetensors", made.bytes());
    copy = of_copy.write("m.safetensors", made.bytes());
    adopt();
  }
  world(const world &) = delete;
  world &operator=(const world &) = delete;
  ~world() { cubby_cq_remove(transient_queue.load()); }

  void add_store() const {
    cubby_tier made = 0;
    REQUIRE(api_test::add_store(h.rt, {directory.path, 4 * mib, 0}, &made) == CUBBY_OK);
  }
  cubby_status add_space(cubby_space *out) const {
    cubby_space_desc desc{};
    desc.struct_size = sizeof desc;
    desc.bank = blocks;
    return cubby_space_add(h.rt, &desc, out);
  }
  void remake_space() {
    cubby_space_remove(h.rt, transient_space.load());
    cubby_space made = 0;
    if (add_space(&made) == CUBBY_OK) transient_space = made;
  }
  /// Puts or gets one of six blocks, each filled with its key.
  void move_block(bool put, cubby_space in, uint8_t keep = CUBBY_KEEP_CACHE) {
    const char key = static_cast<char>('a' + serial.fetch_add(1) % 6);
    std::array<char, pair_block_bytes> bytes;
    bytes.fill(put ? key : '?');
    const cubby_span span = {0, 0, reinterpret_cast<uintptr_t>(bytes.data()), pair_block_bytes};
    cubby_item one{};
    one.space = in;
    one.key = {&key, 1};
    one.spans = &span;
    one.span_count = 1;
    if (put) {
      cubby_how how{};
      how.struct_size = sizeof how;
      how.keep = keep;
      cubby_put(h.rt, &one, 1, &how, nullptr);
      return;
    }
    const bool found = cubby_get(h.rt, &one, 1, nullptr, nullptr) == CUBBY_OK;
    for (const char byte : bytes) {
      if (byte != (found ? key : '?')) ++wrong_bytes;
    }
  }

  /// A block written in place, or given up.
  void reserve_block(bool commit) {
    const char key = static_cast<char>('a' + serial.fetch_add(1) % 6);
    cubby_item one{};
    one.space = space;
    one.key = {&key, 1};
    void *addr = nullptr;
    cubby_pins reserved = 0;
    if (cubby_reserve(h.rt, &one, 1, tier, nullptr, &reserved, &addr, nullptr) != CUBBY_OK) return;
    if (addr != nullptr) std::memset(addr, key, pair_block_bytes);
    cubby_commit(h.rt, reserved, 0, 0, commit ? 1 : 0, nullptr, nullptr);
  }
  /// Its first and last byte are to be `right`. False: it was not pinned.
  bool pin_and_compare(const cubby_item &one, char right, size_t size_bytes) {
    const void *addr = nullptr;
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status = cubby_pin(h.rt, &one, 1, tier, nullptr, &pins, &addr, &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(h.rt, ticket, -1);
    if (status != CUBBY_OK) return false;
    const auto *bytes = static_cast<const char *>(addr);
    if (bytes[0] != right || bytes[size_bytes - 1] != right) ++wrong_bytes;
    cubby_unpin(h.rt, pins, 0, 0, nullptr);
    return true;
  }
  void pin_block() {
    const char key = static_cast<char>('a' + serial.fetch_add(1) % 6);
    cubby_item one{};
    one.space = space;
    one.key = {&key, 1};
    pin_and_compare(one, key, pair_block_bytes);
  }

  void remake_bank() {
    cubby_bank_remove(h.rt, transient_bank.load());
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "passing";
    desc.rows = 1;
    desc.columns = 4;
    desc.locker_bytes = 4096;
    cubby_bank made = 0;
    if (cubby_bank_add(h.rt, &desc, &made) == CUBBY_OK) transient_bank = made;
  }
  void adopt() {
    cubby_bank made = 0;
    if (cubby_bank_adopt(h.rt, model.c_str(), nullptr, &made) == CUBBY_OK)
      cubby_bank_remove(h.rt, adopted.exchange(made));  // BUSY: it stays until the end
  }
  void pin_expert() {
    const uint32_t expert = serial.fetch_add(1) % experts;
    cubby_item one{};
    one.id = CUBBY_ID(adopted.load(), expert);
    if (pin_and_compare(one, static_cast<char>('a' + expert), expert_bytes))
      cubby_drop(h.rt, &one, 1, 0);
  }
  cubby_status map_transient() const {
    const cubby_bank bank = transient_bank.load();
    std::vector<cubby_extent> extents;
    for (uint32_t i = 0; i < 4; ++i) extents.push_back({CUBBY_ID(bank, i), 0, 0, i * 8192u, 4096});
    const char *file = w.path.c_str();
    return cubby_bank_map(h.rt, bank, &file, 1, extents.data(), extents.size());
  }
  void remake_queue() {
    cubby_cq *const old = transient_queue.load();
    if (old != nullptr && cubby_cq_remove(old) == CUBBY_ERR_BUSY) return;
    cubby_cq *made = nullptr;
    if (cubby_cq_add(h.rt, 4, &made) != CUBBY_OK) return;
    cubby_cq *const gone = transient_queue.exchange(made);  // stale, or the other thread's
    while (gone != nullptr && cubby_cq_remove(gone) == CUBBY_ERR_BUSY) {
      cubby_done done[4]{};
      cubby_cq_wait(gone, 100'000);
      cubby_cq_take(gone, done, 4);
    }
  }
  [[nodiscard]] cubby_item item() {
    cubby_item one{};
    one.id = CUBBY_ID(h.bank, serial.fetch_add(5) % (weights::rows * weights::columns));
    return one;
  }
  [[nodiscard]] cubby_item transient_item() const {
    cubby_item one{};
    one.id = CUBBY_ID(transient_bank.load(), 1);
    return one;
  }
  void pin(const cubby_item &which, uint32_t flags) {
    const void *addr[weights::parts]{};
    cubby_how how{};
    how.struct_size = sizeof how;
    how.flags = flags;
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status = cubby_pin(h.rt, &which, 1, tier, &how, &pins, addr, &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(h.rt, ticket, -1);
    if (status == CUBBY_OK) cubby_unpin(h.rt, pins, 0, 0, nullptr);
  }
};

struct call {
  const char *name;
  std::function<void(world &)> make;
};

const std::vector<call> calls = {
    {"pin", [](world &in) { in.pin(in.item(), 0); }},
    {"pin without keeping", [](world &in) { in.pin(in.item(), CUBBY_BYPASS); }},
    {"pin of a bank that goes", [](world &in) { in.pin(in.transient_item(), 0); }},
    {"withdrawn pin",
     [](world &in) {
       const cubby_item one = in.item();
       cubby_pins pins = 0;
       cubby_ticket ticket = 0;
       if (cubby_pin(in.h.rt, &one, 1, in.tier, nullptr, &pins, nullptr, &ticket) < 0) return;
       cubby_unpin(in.h.rt, pins, 0, 0, nullptr);
       cubby_wait(in.h.rt, ticket, -1);
     }},
    {"prefetch and cancel",
     [](world &in) {
       const cubby_item one = in.item();
       cubby_ticket ticket = 0;
       if (cubby_prefetch(in.h.rt, &one, 1, in.tier, nullptr, &ticket) < 0) return;
       cubby_done done{};
       cubby_progress(in.h.rt, ticket, &done);
       cubby_cancel(in.h.rt, ticket);
       cubby_wait(in.h.rt, ticket, -1);
     }},
    {"prefetch to a queue that goes",
     [](world &in) {
       const cubby_item one = in.item();
       cubby_how how{};
       how.struct_size = sizeof how;
       how.cq = in.transient_queue.load();
       if (cubby_prefetch(in.h.rt, &one, 1, in.tier, &how, nullptr) < 0) return;
       cubby_done done[4]{};
       cubby_cq_wait(how.cq, 1'000'000);
       cubby_cq_take(how.cq, done, 4);
     }},
    {"cq_wait", [](world &in) { cubby_cq_wait(in.transient_queue.load(), 100'000); }},
    {"cq_take",
     [](world &in) {
       cubby_done done[4]{};
       cubby_cq_take(in.transient_queue.load(), done, 4);
       cubby_cq_fd(in.transient_queue.load());
     }},
    {"cq_remove, cq_add", [](world &in) { in.remake_queue(); }},
    {"bank_remove, bank_add", [](world &in) { in.remake_bank(); }},
    {"bank_map", [](world &in) { in.map_transient(); }},
    {"bank_adopt, bank_remove", [](world &in) { in.adopt(); }},
    {"bank_add_copy",
     [](world &in) { cubby_bank_add_copy(in.h.rt, in.adopted.load(), in.copy.c_str()); }},
    {"pin of a bank with a copy", [](world &in) { in.pin_expert(); }},
    {"bank_info",
     [](world &in) {
       const cubby_bank bank = in.transient_bank.load();
       cubby_bank_desc desc{};
       cubby_file_info file{};
       cubby_part_info part{};
       cubby_extent extent{};
       cubby_bank_info(in.h.rt, bank, &desc);
       cubby_bank_file(in.h.rt, bank, 0, &file);
       cubby_bank_part(in.h.rt, bank, 0, 0, &part);
       cubby_bank_extent(in.h.rt, bank, 2, 0, &extent);
     }},
    {"resize",
     [](world &in) {
       cubby_ticket ticket = 0;
       const uint64_t bytes = in.serial.fetch_add(1) % 2 == 0 ? 2 * mib : mib;
       if (cubby_tier_resize(in.h.rt, in.tier, bytes, &ticket) == CUBBY_PENDING) {
         cubby_wait(in.h.rt, ticket, -1);
       }
     }},
    {"tier_add",  // the first few are served
     [](world &in) {
       const std::string name = "host:" + std::to_string(1 + in.serial.fetch_add(1));
       cubby_tier_desc desc{};
       desc.struct_size = sizeof desc;
       desc.backend = "host";
       desc.name = name.c_str();
       desc.rank = 1;
       desc.device = -1;
       desc.budget_bytes = mib;
       cubby_tier made = 0;
       cubby_tier_add(in.h.rt, &desc, &made);
     }},
    {"region_add, region_remove",
     [](world &in) {
       static char memory[4096];
       cubby_region_desc desc{};
       desc.struct_size = sizeof desc;
       desc.base = memory;
       desc.bytes = sizeof memory;
       cubby_region made = 0;
       cubby_region_add(in.h.rt, &desc, &made);
       cubby_region_remove(in.h.rt, made);
     }},
    {"hint",
     [](world &in) {
       const uint16_t columns[] = {1, 2};
       cubby_hint_item hint{};
       hint.struct_size = sizeof hint;
       hint.bank = in.transient_bank.load();
       hint.route.columns = columns;
       hint.route.column_count = 2;
       hint.ahead = in.serial.fetch_add(1) % 2;
       cubby_hint(in.h.rt, &hint, 1, nullptr);
     }},
    {"visit",
     [](world &in) {
       const uint16_t columns[] = {1, 2};
       cubby_routed routed{};
       routed.columns = columns;
       routed.column_count = 2;
       cubby_visit(in.h.rt, in.transient_bank.load(), &routed, 1);
     }},
    {"drop",
     [](world &in) {
       const cubby_item items[] = {in.item(), in.transient_item()};
       cubby_drop(in.h.rt, items, 2, 0);
     }},
    {"looking",
     [](world &in) {
       const cubby_item one = in.item();
       cubby_stats_block block{};
       cubby_tier_info info{};
       cubby_log_line line{};
       uint64_t ready_ns = 0;
       cubby_stats(in.h.rt, &block, nullptr, 0);
       size_t needed = 0;
       cubby_metrics(in.h.rt, nullptr, 0, &needed);
       cubby_tier_describe(in.h.rt, in.tier, &info);
       cubby_log_take(in.h.rt, &line, 1);
       cubby_estimate(in.h.rt, &one, 1, in.tier, &ready_ns);
     }},
    {"put", [](world &in) { in.move_block(true, in.space); }},
    {"get", [](world &in) { in.move_block(false, in.space); }},
    {"put into a space that goes",
     [](world &in) { in.move_block(true, in.transient_space.load()); }},
    {"put to be stored", [](world &in) { in.move_block(true, in.space, CUBBY_KEEP_SESSION); }},
    {"put to outlive the process",
     [](world &in) { in.move_block(true, in.space, CUBBY_KEEP_RESTART); }},
    {"put to outlive the process, into a space that goes",
     [](world &in) { in.move_block(true, in.transient_space.load(), CUBBY_KEEP_RESTART); }},
    {"reserve, commit", [](world &in) { in.reserve_block(true); }},
    {"reserve, give up", [](world &in) { in.reserve_block(false); }},
    {"pin by key", [](world &in) { in.pin_block(); }},
    {"lease, split",
     [](world &in) {
       const cubby_key key = {"a", 1};
       const uint64_t recompute_ns = 1000;
       cubby_split_result split{};
       cubby_split(in.h.rt, in.space, &key, 1, &recompute_ns, in.tier, &split);
       cubby_pins lease = 0;
       if (cubby_lease(in.h.rt, in.space, &key, 1, 1, &lease) != CUBBY_OK) return;
       cubby_lease_end(in.h.rt, lease, 0, 0);
     }},
    {"space_remove, space_add", [](world &in) { in.remake_space(); }},
    {"match, drop by key",
     [](world &in) {
       const cubby_key keys[] = {{"a", 1}, {"b", 1}};
       uint32_t hits = 0;
       uint8_t states[2];
       cubby_match(in.h.rt, in.space, keys, 2, nullptr, &hits, states);
       cubby_item one{};
       one.space = in.space;
       one.key = keys[0];
       cubby_drop(in.h.rt, &one, 1, 0);
     }},
    {"poll, drain",
     [](world &in) {
       uint64_t next_ns = 0;
       cubby_poll(in.h.rt, 0, &next_ns);
       cubby_drain(in.h.rt, 100'000);
     }},
};

}  // namespace

TEST_CASE("any two calls may be made at the same time") {
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  for (size_t a = 0; a < calls.size(); ++a) {
    world in(pump);
    for (size_t b = a; b < calls.size(); ++b) {
      std::thread other([&] {
        for (uint32_t i = 0; i < rounds; ++i) calls[b].make(in);
      });
      for (uint32_t i = 0; i < rounds; ++i) calls[a].make(in);
      other.join();
      CAPTURE(pump, calls[a].name, calls[b].name);
      REQUIRE(cubby_drain(in.h.rt, 20'000'000'000) == CUBBY_OK);
      cubby_done done[4]{};
      cubby_cq_take(in.transient_queue.load(), done, 4);
      CHECK(in.h.stats(in.tier).pinned_bytes == 0);
      CHECK(in.wrong_bytes.load() == 0);
    }
    cubby_pins pins = 0;
    std::vector<const void *> addr;
    REQUIRE(in.h.pin({3}, in.tier, pins, addr) == CUBBY_OK);
    CHECK(in.w.same(addr[0], 3, 0));
    CHECK(cubby_unpin(in.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  }
}
