// The Nth allocation of a call fails, for every N: the call says NO_MEMORY and has done nothing, or
// it is done all the same. An accepted request completes once. Nothing stays taken.
#include <array>
#include <atomic>
#include <functional>

#include "support/replaced_new.hpp"
#include "unit/api/block_fixture.hpp"
#include "unit/store/scratch.hpp"

namespace {

std::atomic<int64_t> left{-1};  // allocations until the one that fails; negative: none does
std::atomic<bool> has_failed{false};

bool may_allocate() noexcept {
  if (left.load(std::memory_order_relaxed) < 0 || left.fetch_sub(1) != 0) return true;
  has_failed = true;
  return false;
}

}  // namespace

using namespace api_test;

namespace {

constexpr int64_t patience_ns = 10'000'000'000;
constexpr uint64_t short_block_bytes = 5000, large_block_bytes = mib;
constexpr uint32_t row_bytes = 300;
#if defined(__SANITIZE_THREAD__)
constexpr int64_t exact_count = 2;  // each takes twenty times as long
#elif defined(__SANITIZE_ADDRESS__)
constexpr int64_t exact_count = 8;  // each takes several times as long
#else
constexpr int64_t exact_count = 24;
#endif

const std::array<char, short_block_bytes> &block_content() {
  static const std::array<char, short_block_bytes> content = [] {
    std::array<char, short_block_bytes> made{};
    for (size_t i = 0; i < made.size(); ++i) made[i] = static_cast<char>(i * 7);
    return made;
  }();
  return content;
}

/// A model of a few experts, and a copy of it in another folder.
struct copied_model {
  static constexpr uint32_t experts = 6;
  static constexpr uint64_t expert_bytes = 5000;
  scratch::folder first, second;
  std::string bytes, path, copy;

  copied_model() {
    scratch::safetensors model;
    for (uint32_t i = 0; i < experts; ++i) {
      const std::string name = "layers.0.experts." + std::to_string(i) + ".up_proj.weight";
      model.add(name, std::string(expert_bytes, static_cast<char>('a' + i)));
    }
    bytes = model.bytes();
    path = first.write("m.safetensors", bytes);
    copy = second.write("m.safetensors", bytes);
  }
};
const copied_model &the_model() {
  static const copied_model one;
  return one;
}

/// A runtime with two tiers and a bank, from which each call starts.
struct world {
  store_directory directory;
  weights &w;
  runtime_fixture h;
  cubby_tier near = 0, far = 0;
  cubby_cq *queue = nullptr;
  cubby_bank other = 0;  // described, not mapped
  cubby_bank blocks = 0;
  cubby_bank adopted = 0;  // with a copy, once it was asked for
  cubby_bank table = 0;    // of rows that lie in the same file
  cubby_space space = 0;
  cubby_space large_space = 0;

  world(uint32_t pump, weights &shared, bool stored) : w(shared), h(pump, 16) {
    if (stored) add_store();
    near = h.tier("device:0", 0, 4 * mib, uint64_t{8} << 30);
    far = h.tier("host:0", 1, 4 * mib, 0, CUBBY_TIER_EXCLUSIVE);
    h.map(w);
    REQUIRE(cubby_cq_add(h.rt, 8, &queue) == CUBBY_OK);
    REQUIRE(describe_bank(&other) == CUBBY_OK);
    REQUIRE(add_table() == CUBBY_OK);
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_KV;
    desc.name = "blocks";
    desc.rows = 1;
    desc.columns = 8;
    desc.locker_bytes = short_block_bytes;
    REQUIRE(cubby_bank_add(h.rt, &desc, &blocks) == CUBBY_OK);
    REQUIRE(add_space(&space) == CUBBY_OK);
  }
  world(const world &) = delete;
  world &operator=(const world &) = delete;
  ~world() { cubby_cq_remove(queue); }

  void add_store() const {
    cubby_tier made = 0;
    REQUIRE(api_test::add_store(h.rt, {directory.path, 6 * mib, 0}, &made) == CUBBY_OK);
  }
  cubby_status add_space(cubby_space *out) const {
    cubby_space_desc desc{};
    desc.struct_size = sizeof desc;
    desc.bank = blocks;
    return cubby_space_add(h.rt, &desc, out);
  }
  [[nodiscard]] cubby_status put_block(const cubby_key &key, const cubby_key *parent,
                                       uint8_t keep) const {
    const cubby_span span = {0, 0, reinterpret_cast<uintptr_t>(block_content().data()),
                             short_block_bytes};
    cubby_item item{};
    item.space = space;
    item.key = key;
    item.parent = parent;
    item.spans = &span;
    item.span_count = 1;
    cubby_how how{};
    how.struct_size = sizeof how;
    how.keep = keep;
    return cubby_put(h.rt, &item, 1, &how, nullptr);
  }
  [[nodiscard]] uint32_t hits_of(const std::array<cubby_key, 2> &keys, uint32_t count) const {
    uint32_t hits = 0;
    const cubby_status status =
        cubby_match(h.rt, space, keys.data(), count, nullptr, &hits, nullptr);
    return status == CUBBY_OK ? hits : 0;
  }
  /// A chain of two stored blocks; their space is removed, and found again with them.
  [[nodiscard]] cubby_status find_stored_blocks() {
    const std::array<cubby_key, 2> keys = {{{"one", 3}, {"two", 3}}};
    const int64_t until_failure = left.exchange(-1);
    if (space != 0) {
      if (put_block(keys[0], nullptr, CUBBY_KEEP_RESTART) != CUBBY_OK ||
          put_block(keys[1], &keys[0], CUBBY_KEEP_RESTART) != CUBBY_OK ||
          cubby_space_remove(h.rt, space) != CUBBY_OK) {
        return CUBBY_MISS;
      }
      space = 0;
    }
    left = until_failure;
    const cubby_status status = add_space(&space);
    left = -1;
    return status == CUBBY_OK && hits_of(keys, 2) != 2 ? cubby_status{CUBBY_MISS} : status;
  }
  /// A stored block is to live longer: whatever comes of that, it is there.
  [[nodiscard]] cubby_status make_live_longer() const {
    const std::array<cubby_key, 2> keys = {{{"one", 3}, {}}};
    const int64_t until_failure = left.exchange(-1);
    if (put_block(keys[0], nullptr, CUBBY_KEEP_RESTART) != CUBBY_OK) return CUBBY_MISS;
    left = until_failure;
    const cubby_status status = put_block(keys[0], nullptr, CUBBY_KEEP_DURABLE);
    left = -1;
    return hits_of(keys, 1) == 1 ? status : cubby_status{CUBBY_MISS};
  }
  /// Puts a block, finds it, holds it against what was put, and drops it.
  [[nodiscard]] cubby_status use_block(uint8_t keep = CUBBY_KEEP_CACHE) const {
    const std::array<char, short_block_bytes> &content = block_content();
    std::array<char, short_block_bytes> into{};
    cubby_span span = {0, 0, reinterpret_cast<uintptr_t>(content.data()), short_block_bytes};
    cubby_item item{};
    item.space = space;
    item.key = {"one", 3};
    item.spans = &span;
    item.span_count = 1;
    cubby_how how{};
    how.struct_size = sizeof how;
    how.keep = keep;
    cubby_status status = cubby_put(h.rt, &item, 1, &how, nullptr);
    if (status != CUBBY_OK) return status;
    uint32_t hits = 0;
    status = cubby_match(h.rt, space, &item.key, 1, nullptr, &hits, nullptr);
    if (status != CUBBY_OK) return status;
    if (hits != 1) return CUBBY_MISS;
    span.offset_bytes = reinterpret_cast<uintptr_t>(into.data());
    status = cubby_get(h.rt, &item, 1, nullptr, nullptr);
    if (status != CUBBY_OK) return status;
    if (into != content) return CUBBY_ERR_CORRUPT;
    return cubby_drop(h.rt, &item, 1, 0);
  }

  [[nodiscard]] cubby_status add_large_blocks() {
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_KV;
    desc.name = "large blocks";
    desc.rows = 1;
    desc.columns = 8;
    desc.locker_bytes = large_block_bytes;
    cubby_bank made = 0;
    const cubby_status status = cubby_bank_add(h.rt, &desc, &made);
    if (status != CUBBY_OK) return status;
    cubby_space_desc space_desc{};
    space_desc.struct_size = sizeof space_desc;
    space_desc.bank = made;
    return cubby_space_add(h.rt, &space_desc, &large_space);
  }
  /// Blocks of one call, the first of which are written while the others are copied: each is stored
  /// and found, or not found and said to have failed.
  [[nodiscard]] cubby_status put_large_blocks() {
    const std::array<cubby_key, 3> keys = {{{"one", 3}, {"two", 3}, {"six", 3}}};
    const int64_t until_failure = left.exchange(-1);
    static const std::vector<char> content(large_block_bytes, 'l');
    if (large_space == 0 && add_large_blocks() != CUBBY_OK) return CUBBY_MISS;
    const cubby_span span = {0, 0, reinterpret_cast<uintptr_t>(content.data()), content.size()};
    std::array<cubby_item, 3> items{};
    std::array<int8_t, 3> statuses = {77, 77, 77};
    for (size_t i = 0; i < items.size(); ++i) {
      items[i].space = large_space;
      items[i].key = keys[i];
      items[i].spans = &span;
      items[i].span_count = 1;
    }
    cubby_how how{};
    how.struct_size = sizeof how;
    how.keep = CUBBY_KEEP_RESTART;
    how.item_status = statuses.data();
    left = until_failure;
    const cubby_status status =
        cubby_put(h.rt, items.data(), static_cast<uint32_t>(items.size()), &how, nullptr);
    left = -1;
    bool right = true;
    for (size_t i = 0; i < items.size(); ++i) {
      uint32_t hits = 0;
      right = right && cubby_match(h.rt, large_space, &keys[i], 1, nullptr, &hits, nullptr) == 0;
      const bool stored =
          status == CUBBY_OK || (status == CUBBY_PARTIAL && statuses[i] == CUBBY_OK);
      right = right && (hits == 1) == stored;
    }
    if (cubby_drop(h.rt, items.data(), static_cast<uint32_t>(items.size()), 0) != CUBBY_OK) {
      return CUBBY_ERR_BUSY;
    }
    return right ? status : cubby_status{CUBBY_ERR_CORRUPT};
  }

  cubby_status add_table() {
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_ROWS;
    desc.name = "table";
    desc.rows = 1;
    desc.columns = 8;
    desc.locker_bytes = 8 * row_bytes;
    desc.table_row_bytes = row_bytes;
    cubby_status status = cubby_bank_add(h.rt, &desc, &table);
    std::array<cubby_extent, 8> extents;
    for (uint32_t i = 0; i < 8; ++i) {
      extents[i] = {CUBBY_ID(table, i), 0, 0, uint64_t{i} * 8 * row_bytes, 8 * row_bytes};
    }
    const char *file = w.path.c_str();
    if (status == CUBBY_OK) status = cubby_bank_map(h.rt, table, &file, 1, extents.data(), 8);
    return status;
  }
  /// Rows of some pages, held against the file.
  [[nodiscard]] cubby_status use_rows() const {
    constexpr std::array<uint64_t, 5> rows = {63, 0, 17, 1, 63};
    std::array<char, rows.size() * row_bytes> into{};
    const cubby_span span = {0, 0, reinterpret_cast<uintptr_t>(into.data()), into.size()};
    cubby_ticket ticket = 0;
    cubby_status status =
        cubby_gather(h.rt, table, rows.data(), rows.size(), &span, nullptr, &ticket);
    if (status == CUBBY_PENDING) status = end_of(ticket);
    for (size_t i = 0; i < rows.size() && status == CUBBY_OK; ++i) {
      const char *right = w.bytes.data() + rows[i] * row_bytes;
      if (std::memcmp(&into[i * row_bytes], right, row_bytes) != 0) return CUBBY_ERR_CORRUPT;
    }
    return status;
  }

  /// Adds the copy of an adopted model, and holds what is read from both against it. Adopted while
  /// there is memory: the destructor of the JSON library takes some.
  [[nodiscard]] cubby_status use_copies() {
    const copied_model &model = the_model();
    cubby_status status = CUBBY_OK;
    const int64_t until_failure = left.exchange(-1);
    if (adopted == 0) status = cubby_bank_adopt(h.rt, model.path.c_str(), nullptr, &adopted);
    left = until_failure;
    if (status == CUBBY_OK) status = cubby_bank_add_copy(h.rt, adopted, model.copy.c_str());
    if (status != CUBBY_OK) return status;
    for (uint32_t i = 0; i < copied_model::experts; ++i) {
      cubby_item item{};
      item.id = CUBBY_ID(adopted, i);
      const void *addr = nullptr;
      cubby_pins pins = 0;
      cubby_ticket ticket = 0;
      status = cubby_pin(h.rt, &item, 1, near, nullptr, &pins, &addr, &ticket);
      if (status == CUBBY_PENDING) status = end_of(ticket);
      if (status != CUBBY_OK) break;
      const auto *read = static_cast<const char *>(addr);
      const bool right = read[0] == static_cast<char>('a' + i) &&
                         read[copied_model::expert_bytes - 1] == static_cast<char>('a' + i);
      cubby_unpin(h.rt, pins, 0, 0, nullptr);
      if (!right) return CUBBY_ERR_CORRUPT;
    }
    // Another time it is added anew.
    const cubby_status removed = cubby_bank_remove(h.rt, std::exchange(adopted, 0));
    return status == CUBBY_OK ? removed : status;
  }

  cubby_status describe_bank(cubby_bank *out) const {
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "other";
    desc.rows = 2;
    desc.columns = 3;
    desc.locker_bytes = 5000;
    return cubby_bank_add(h.rt, &desc, out);
  }
  [[nodiscard]] cubby_status map_bank(cubby_bank which) const {
    std::array<cubby_extent, 6> extents;
    for (uint32_t i = 0; i < 6; ++i) {
      extents[i] = {CUBBY_ID(which, i), 0, 0, (uint64_t{i} * i + 1) * 5000, 5000};
    }
    const char *file = w.path.c_str();
    return cubby_bank_map(h.rt, which, &file, 1, extents.data(), extents.size());
  }
  /// The end of a request. In caller pump a wait may say for itself that there was no memory.
  [[nodiscard]] cubby_status end_of(cubby_ticket ticket) const {
    cubby_status status = cubby_wait(h.rt, ticket, patience_ns);
    if (status != CUBBY_ERR_NO_MEMORY) return status;
    const cubby_status again = cubby_wait(h.rt, ticket, patience_ns);
    return again == CUBBY_ERR_STALE ? status : again;
  }
  /// Pins, waits, holds the bytes against the file, and lets go.
  cubby_status use(const std::vector<uint32_t> &numbers, cubby_tier tier, uint32_t flags = 0) {
    cubby_item items[weights::columns]{};
    const void *addr[weights::columns * weights::parts]{};
    int8_t item_status[weights::columns]{};
    const auto count = static_cast<uint32_t>(numbers.size());
    for (uint32_t i = 0; i < count; ++i) items[i].id = CUBBY_ID(h.bank, numbers[i]);
    cubby_how how{};
    how.struct_size = sizeof how;
    how.flags = flags;
    how.item_status = item_status;
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status = cubby_pin(h.rt, items, count, tier, &how, &pins, addr, &ticket);
    if (status == CUBBY_PENDING) status = end_of(ticket);
    if (status != CUBBY_OK && status != CUBBY_PARTIAL) return status;
    for (uint32_t i = 0; i < count; ++i) {
      if (item_status[i] != CUBBY_OK) continue;
      for (uint32_t part = 0; part < weights::parts; ++part) {
        if (!w.same(addr[i * weights::parts + part], numbers[i], part)) return CUBBY_ERR_CORRUPT;
      }
    }
    const cubby_status released = cubby_unpin(h.rt, pins, 0, 0, nullptr);
    return released == CUBBY_OK ? status : released;
  }
};

struct call {
  const char *name;
  std::function<cubby_status(world &)> make;
  bool stored = false;  // over a store
};

// The test itself takes no memory in a call.
const std::vector<uint32_t> &row(uint32_t which) {
  static const std::vector<std::vector<uint32_t>> all = [] {
    std::vector<std::vector<uint32_t>> made(weights::rows);
    for (uint32_t i = 0; i < weights::rows * weights::columns; ++i) {
      made[i / weights::columns].push_back(i);
    }
    return made;
  }();
  return all[which];
}

std::array<cubby_item, 3> three_items(const world &in) {
  std::array<cubby_item, 3> items{};
  for (uint32_t i = 0; i < 3; ++i) items[i].id = CUBBY_ID(in.h.bank, 3 + 7 * i);
  return items;
}

cubby_status add_tier(const world &in, const char *backend, const char *name) {
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = backend;
  desc.name = name;
  desc.rank = 2;
  desc.device = -1;
  desc.budget_bytes = mib;
  cubby_tier made = 0;
  return cubby_tier_add(in.h.rt, &desc, &made);
}

const std::vector<call> calls = {
    {"tier_add", [](world &in) { return add_tier(in, "host", "host:1"); }},
    {"tier_add of files", [](world &in) { return add_tier(in, "threadpool", "nvme:0"); }},
    {"bank_add",
     [](world &in) {
       cubby_bank made = 0;
       const cubby_status status = in.describe_bank(&made);
       return status != CUBBY_OK ? status : in.map_bank(made);
     }},
    {"bank_map", [](world &in) { return in.map_bank(in.other); }},
    {"bank_remove", [](world &in) { return cubby_bank_remove(in.h.rt, in.other); }},
    {"pin", [](world &in) { return in.use(row(1), in.near); }},
    {"pin after pin",  // what is there leaves, some of it downwards
     [](world &in) {
       for (const uint32_t which : {0u, 1u, 2u}) {
         const cubby_status status = in.use(row(which), in.near);
         if (status != CUBBY_OK) return status;
       }
       return CUBBY_OK;
     }},
    {"pin in the far tier", [](world &in) { return in.use(row(1), in.far); }},
    {"pin without keeping", [](world &in) { return in.use(row(1), in.near, CUBBY_BYPASS); }},
    {"prefetch",
     [](world &in) {
       const auto items = three_items(in);
       cubby_ticket ticket = 0;
       const cubby_status status =
           cubby_prefetch(in.h.rt, items.data(), 3, in.near, nullptr, &ticket);
       return status == CUBBY_PENDING ? in.end_of(ticket) : status;
     }},
    {"prefetch to a queue",
     [](world &in) {
       const auto items = three_items(in);
       cubby_how how{};
       how.struct_size = sizeof how;
       how.cq = in.queue;
       cubby_status status = cubby_prefetch(in.h.rt, items.data(), 1, in.near, &how, nullptr);
       if (status != CUBBY_PENDING) return status;
       do {
         status = cubby_cq_wait(in.queue, patience_ns);
       } while (status == CUBBY_ERR_NO_MEMORY);
       cubby_done done{};
       if (cubby_cq_take(in.queue, &done, 1) != 1) return CUBBY_ERR_TIMEOUT;
       return static_cast<cubby_status>(done.status);
     }},
    {"hint",
     [](world &in) {
       const uint16_t columns[] = {1, 2};
       cubby_hint_item hint{};
       hint.struct_size = sizeof hint;
       hint.bank = in.h.bank;
       hint.route.columns = columns;
       hint.route.column_count = 2;
       return cubby_hint(in.h.rt, &hint, 1, nullptr);
     }},
    {"visit",
     [](world &in) {
       const uint16_t columns[] = {1, 2};
       cubby_routed routed{};
       routed.columns = columns;
       routed.column_count = 2;
       routed.slot = 3;
       return cubby_visit(in.h.rt, in.h.bank, &routed, 1);
     }},
    {"resize",
     [](world &in) {
       cubby_ticket ticket = 0;
       const cubby_status status = cubby_tier_resize(in.h.rt, in.near, 6 * mib, &ticket);
       return status == CUBBY_PENDING ? in.end_of(ticket) : status;
     }},
    {"drop",
     [](world &in) {
       const auto items = three_items(in);
       return cubby_drop(in.h.rt, items.data(), 2, 0);
     }},
    {"stats",
     [](world &in) {
       cubby_stats_block block{};
       block.struct_size = sizeof block;
       return cubby_stats(in.h.rt, &block, nullptr, 0);
     }},
    {"tier_describe",
     [](world &in) {
       cubby_tier_info info{};
       info.struct_size = sizeof info;
       return cubby_tier_describe(in.h.rt, in.near, &info);
     }},
    {"cq_add",
     [](world &in) {
       cubby_cq *made = nullptr;
       const cubby_status status = cubby_cq_add(in.h.rt, 4, &made);
       return status == CUBBY_OK ? cubby_cq_remove(made) : status;
     }},
    {"region_add",
     [](world &in) {
       static char memory[4096];
       cubby_region_desc desc{};
       desc.struct_size = sizeof desc;
       desc.base = memory;
       desc.bytes = sizeof memory;
       cubby_region made = 0;
       const cubby_status status = cubby_region_add(in.h.rt, &desc, &made);
       return status == CUBBY_OK ? cubby_region_remove(in.h.rt, made) : status;
     }},
    {"space_add",
     [](world &in) {
       cubby_space made = 0;
       const cubby_status status = in.add_space(&made);
       return status == CUBBY_OK ? cubby_space_remove(in.h.rt, made) : status;
     }},
    {"space_add of stored blocks", [](world &in) { return in.find_stored_blocks(); }, true},
    {"put to live longer", [](world &in) { return in.make_live_longer(); }, true},
    {"put, match, get, drop", [](world &in) { return in.use_block(); }},
    {"put to be stored first, match, get, drop",
     [](world &in) { return in.use_block(CUBBY_KEEP_RESTART); }, true},
    {"put of blocks while others are written", [](world &in) { return in.put_large_blocks(); },
     true},
    {"gather", [](world &in) { return in.use_rows(); }},
    {"gather after gather",
     [](world &in) {
       const cubby_status status = in.use_rows();
       return status == CUBBY_OK ? in.use_rows() : status;
     }},
    {"bank_add_copy, pin, bank_remove", [](world &in) { return in.use_copies(); }},
    {"drain", [](world &in) { return cubby_drain(in.h.rt, patience_ns); }},
};

/// Everything works, and once it is dropped nothing is taken.
std::string what_is_wrong(world &in) {
  for (const cubby_tier tier : {in.near, in.far}) {
    for (uint32_t which = 0; which < weights::rows; ++which) {
      if (in.use(row(which), tier) != CUBBY_OK) return "pin: " + explain();
    }
  }
  if (cubby_drain(in.h.rt, patience_ns) != CUBBY_OK) return "drain: " + explain();
  if (in.use_block() != CUBBY_OK) return "blocks: " + explain();
  if (in.use_rows() != CUBBY_OK) return "rows: " + explain();
  if (cubby_bank_remove(in.h.rt, in.table) != CUBBY_OK) return "table: " + explain();
  std::vector<uint32_t> all;
  for (uint32_t i = 0; i < weights::rows * weights::columns; ++i) all.push_back(i);
  const auto items = in.h.items(all);
  const auto count = static_cast<uint32_t>(items.size());
  if (cubby_drop(in.h.rt, items.data(), count, 0) != CUBBY_OK) return "drop: " + explain();
  for (const cubby_tier tier : {in.near, in.far}) {
    const cubby_tier_stats stats = in.h.stats(tier);
    if (stats.used_bytes != 0 || stats.pinned_bytes != 0) return "frames are lost";
  }
  if (cubby_bank_remove(in.h.rt, in.h.bank) != CUBBY_OK) return "bank_remove: " + explain();
  return {};
}

}  // namespace

TEST_CASE("a call whose Nth allocation fails has done nothing, or all") {
  row(0);  // made before anything fails
  the_model();
  cubby_test::before_allocation = may_allocate;
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  weights w;
  for (const call &one : calls) {
    bool failed = true;
    int64_t n = 0;
    for (; failed && n < 5000; n += 1 + n / exact_count) {  // the first all, then fewer
      world in(pump, w, one.stored);
      has_failed = false;
      left = n;
      const cubby_status first = one.make(in);
      left = -1;
      failed = has_failed;
      cubby_status last = first;
      if (failed && (first == CUBBY_ERR_NO_MEMORY || first == CUBBY_PARTIAL)) last = one.make(in);
      CAPTURE(one.name, pump, n, first, last);
      const bool served = last == CUBBY_OK;
      INFO(explain());
      CHECK(served);
      CHECK(what_is_wrong(in) == "");
      if (!served) break;
    }
    CHECK(n > 0);
    CHECK(n < 5000);
  }
}

TEST_CASE("a runtime is opened whole, or not at all") {
  cubby_test::before_allocation = may_allocate;
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  bool failed = true;
  for (int64_t n = 0; failed && n < 500; ++n) {
    cubby_config config{};
    config.struct_size = sizeof config;
    config.pump = pump;
    config.tickets_max = 16;
    cubby_handle *rt = nullptr;
    has_failed = false;
    left = n;
    const cubby_status status = cubby_open(&config, &rt);
    left = -1;
    failed = has_failed;
    CAPTURE(n, pump);
    CHECK(status == (failed ? CUBBY_ERR_NO_MEMORY : CUBBY_OK));
    CHECK((rt == nullptr) == failed);
    if (rt != nullptr) CHECK(cubby_close(rt) == CUBBY_OK);
  }
}
