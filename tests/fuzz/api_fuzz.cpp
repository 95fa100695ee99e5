// Sequences of calls on a runtime with a small adopted file. Every byte chooses a call or one of
// its arguments, also wrong ones. Held to be true whatever is called: an address that was granted
// shows the file's bytes, an accepted request completes exactly once, and the runtime closes.
#include "base/abi.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fuzz/input.hpp"
#include "unit/store/scratch.hpp"

namespace {

constexpr uint32_t rows = 3, columns = 4, parts = 3;
constexpr uint32_t lockers = rows * columns;
constexpr size_t calls_max = 200;
// Of the table beside the experts: floats, in pages of 13 rows, the last of 12.
constexpr uint32_t table_rows = 350, table_row_bytes = 5 * 4;

/// The file all runs adopt, with its bytes.
struct model {
  scratch::folder folder;
  std::string bytes, path;

  model() {
    scratch::gguf file;
    for (uint32_t layer = 0; layer < rows; layer++)
      for (const char *part : {"gate", "up", "down"})
        file.floats("blk." + std::to_string(layer) + ".ffn_" + std::string(part) + "_exps.weight",
                    {64, 20 + 3 * layer, columns});
    file.floats("token_embd.weight", {5, table_rows});
    bytes = file.bytes();
    path = folder.write("m.gguf", bytes);
  }
};

/// Numbers out of the input; zeros when it is used up.
class chooser {
 public:
  chooser(const uint8_t *data, size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  uint8_t byte() { return empty() ? uint8_t{0} : *at_++; }
  uint32_t below(uint32_t count) { return byte() % count; }
  /// One of those listed, or, rarely, a number that is none.
  uint64_t handle(const std::vector<uint64_t> &known) {
    const uint8_t choice = byte();
    if (known.empty() || choice >= 0xf0) return uint64_t{choice} * 0x0101010101010101u;
    return known[choice % known.size()];
  }

 private:
  const uint8_t *at_, *end_;
};

/// What a request may write to until it completes; it lives until the runtime is closed.
struct request {
  std::vector<cubby_item> items;
  std::vector<int8_t> status;
  std::vector<const void *> addresses;
  std::vector<uint64_t> table_rows;  // of a gather, which writes them to `into`
  std::vector<char> into;
  cubby_ticket ticket = 0;
  cubby_pins pins = 0;
  bool queued = false;  // its completion goes to the queue
  bool pinned = false;
};

class sequence {
 public:
  sequence(const model &file, chooser &choose) : file_(file), choose_(choose) {}
  void run();

 private:
  void open();
  void close();
  void call();
  void add_tier();
  void adopt();
  void pin();
  void unpin();
  void prefetch();
  void gather();
  void look();
  void unsupported();
  void take();
  void hint();
  void resize();
  void map_region();
  cubby_item item();
  cubby_how how(request &made);
  void settle(request &made, cubby_status status);
  bool shows_file(const request &made);
  bool shows_rows(const request &made) const;

  const model &file_;
  chooser &choose_;
  cubby_handle *rt_ = nullptr;
  cubby_cq *cq_ = nullptr;
  std::vector<uint64_t> tiers_, banks_, tables_, tickets_, regions_;
  std::vector<char> lent_ = std::vector<char>(1 << 16);
  std::deque<request> requests_;
  std::map<cubby_ticket, uint32_t> owed_;  // completions that the queue has yet to give
  bool shrinking_ = false;                 // a budget has been lowered and need not hold yet
  uint32_t last_call_ = 0;
  cubby_status last_ = CUBBY_OK;
};

void sequence::open() {
  cubby_config config = {};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_ABI_VERSION;
  config.pump = choose_.below(4) == 0 ? CUBBY_PUMP_THREAD : CUBBY_PUMP_CALLER;
  config.tickets_max = 1 + choose_.below(32);
  config.log_lines_max = 1 + choose_.below(8);
  fuzz::require(cubby_open(&config, &rt_) == CUBBY_OK, "the runtime does not open");
  fuzz::require(cubby_cq_add(rt_, 1 + choose_.below(16), &cq_) == CUBBY_OK, "no queue");
}

void sequence::add_tier() {
  static const char *const names[] = {"host:0", "device:0", "x", ""};
  static const char *const backends[] = {"host", "host", "host", "none"};
  static constexpr uint64_t budgets[] = {0, 4096, 1u << 17, 1u << 21, 1u << 23, ~uint64_t{0}};
  cubby_tier_desc desc = {};
  desc.struct_size = choose_.below(16) == 0 ? choose_.byte() : sizeof desc;
  desc.backend = backends[choose_.below(4)];
  desc.name = names[choose_.below(4)];
  desc.rank = choose_.below(3);
  desc.flags = choose_.below(2);
  desc.budget_bytes = budgets[choose_.below(6)];
  if (choose_.below(4) == 0) desc.emulated_bytes_per_s = uint64_t{1} << 30;
  cubby_tier tier = 0;
  last_ = cubby_tier_add(rt_, &desc, &tier);
  if (last_ == CUBBY_OK) tiers_.push_back(tier);
}

void sequence::adopt() {
  cubby_adopt_desc desc = {};
  desc.struct_size = sizeof desc;
  cubby_bank bank = 0;
  const std::string path = choose_.below(8) == 0 ? file_.path + "x" : file_.path;
  last_ = cubby_bank_adopt(rt_, path.c_str(), choose_.below(2) ? &desc : nullptr, &bank);
  if (last_ == CUBBY_OK) banks_.push_back(bank);
}

cubby_item sequence::item() {
  cubby_item made = {};
  const auto bank = static_cast<cubby_bank>(choose_.handle(banks_));
  made.id = CUBBY_ID(bank, choose_.below(lockers + 1));
  if (choose_.below(32) == 0) made.space = choose_.byte();
  return made;
}

cubby_how sequence::how(request &made) {
  cubby_how how = {};
  how.struct_size = sizeof how;
  how.flags = choose_.below(8);
  how.io_class = static_cast<uint8_t>(choose_.below(5));
  how.priority = choose_.byte();
  if (choose_.below(8) == 0) how.deadline_ns = 1 + choose_.byte();
  made.queued = choose_.below(2) == 0;
  if (made.queued) how.cq = cq_;
  if (choose_.below(4) != 0) how.item_status = made.status.data();
  return how;
}

/// What the answer of a call that makes a request means for us.
void sequence::settle(request &made, cubby_status status) {
  last_ = status;
  if (status != CUBBY_PENDING) made.ticket = 0;
  if (made.ticket == 0) return;
  tickets_.push_back(made.ticket);
  if (!made.queued) return;
  fuzz::require(owed_.emplace(made.ticket, 1u).second, "two requests have one ticket");
}

/// Do all addresses that were granted show the bytes of the file?
bool sequence::shows_file(const request &made) {
  for (size_t i = 0; i < made.items.size(); i++) {
    const auto bank = static_cast<cubby_bank>(made.items[i].id >> 48);
    const uint64_t number = made.items[i].id & ((uint64_t{1} << 48) - 1);
    for (uint32_t part = 0; part < parts; part++) {
      const void *address = made.addresses[i * parts + part];
      if (made.status[i] != CUBBY_OK || address == nullptr) continue;
      cubby_extent extent = {};
      if (cubby_bank_extent(rt_, bank, number, part, &extent) != CUBBY_OK) continue;
      const char *expected = file_.bytes.data() + extent.offset_bytes;
      if (memcmp(address, expected, extent.bytes) != 0) return false;
    }
  }
  return true;
}

void sequence::pin() {
  request &made = requests_.emplace_back();
  const uint32_t count = choose_.below(6);
  for (uint32_t i = 0; i < count; i++) made.items.push_back(item());
  made.status.assign(count, CUBBY_PENDING);
  made.addresses.assign(size_t{count} * parts, nullptr);
  cubby_how how_made = how(made);
  how_made.item_status = made.status.data();
  const auto tier = static_cast<cubby_tier>(choose_.handle(tiers_));
  const bool plain = choose_.below(8) == 0;  // without a word on how
  if (plain) made.queued = false;
  const cubby_status status =
      cubby_pin(rt_, made.items.data(), count, tier, plain ? nullptr : &how_made, &made.pins,
                made.addresses.data(), &made.ticket);
  if (status < 0) made.pins = 0;
  if (status == CUBBY_OK && count > 0) {
    made.status.assign(count, CUBBY_OK);
    fuzz::require(shows_file(made), "a resident locker has other bytes than the file");
  }
  settle(made, status);
}

/// Are all rows that came those of the file? The table is its last tensor.
bool sequence::shows_rows(const request &made) const {
  const char *table = file_.bytes.data() + file_.bytes.size() - table_rows * table_row_bytes;
  for (size_t i = 0; i < made.table_rows.size(); i++) {
    if (made.status[i] != CUBBY_OK) continue;
    const char *expected = table + made.table_rows[i] * table_row_bytes;
    if (memcmp(&made.into[i * table_row_bytes], expected, table_row_bytes) != 0) return false;
  }
  return true;
}

void sequence::gather() {
  if (tables_.empty() || (tables_.size() < 4 && choose_.below(16) == 0)) {
    cubby_adopt_desc desc = {};
    desc.struct_size = sizeof desc;
    desc.kind = choose_.below(8) == 0 ? choose_.byte() : uint32_t{CUBBY_BANK_ROWS};
    desc.tensors = choose_.below(8) == 0 ? "*" : "token_embd.*";
    desc.page_bytes = 13 * table_row_bytes;
    cubby_bank bank = 0;
    last_ = cubby_bank_adopt(rt_, file_.path.c_str(), &desc, &bank);
    if (last_ == CUBBY_OK && desc.kind == CUBBY_BANK_ROWS) tables_.push_back(bank);
    return;
  }
  request &made = requests_.emplace_back();
  const uint32_t count = 1 + choose_.below(8);
  for (uint32_t i = 0; i < count; i++) made.table_rows.push_back(choose_.byte() * 7u % 351u);
  made.status.assign(count, CUBBY_PENDING);
  made.into.assign(size_t{count} * table_row_bytes, 0);
  cubby_how how_made = how(made);
  how_made.item_status = made.status.data();
  cubby_span span = {};
  span.offset_bytes = reinterpret_cast<uintptr_t>(made.into.data());
  span.bytes = choose_.below(16) == 0 ? choose_.byte() : made.into.size();
  const auto bank = static_cast<cubby_bank>(choose_.handle(tables_));
  settle(made,
         cubby_gather(rt_, bank, made.table_rows.data(), count, &span, &how_made, &made.ticket));
  if (last_ != CUBBY_PENDING)
    fuzz::require(shows_rows(made), "a row has other bytes than the file");
}

void sequence::unpin() {
  if (requests_.empty()) return;
  request &made = requests_[choose_.byte() % requests_.size()];
  const uint64_t pins = choose_.below(16) == 0 ? choose_.handle({}) : made.pins;
  const uint32_t first = choose_.below(4) == 0 ? choose_.below(8) : 0;
  const uint32_t count = choose_.below(4) == 0 ? choose_.below(8) : 0;
  last_ = cubby_unpin(rt_, pins, first, count, nullptr);
  // What was released may be written again at any time.
  if (last_ == CUBBY_OK) std::fill(made.addresses.begin(), made.addresses.end(), nullptr);
  if (last_ == CUBBY_OK && first == 0 && count == 0) made.pins = 0;
}

void sequence::prefetch() {
  request &made = requests_.emplace_back();
  const uint32_t count = choose_.below(6);
  for (uint32_t i = 0; i < count; i++) made.items.push_back(item());
  made.status.assign(count, CUBBY_PENDING);
  const cubby_how how_made = how(made);
  const auto tier = static_cast<cubby_tier>(choose_.handle(tiers_));
  // Fire and forget completes to nobody.
  const bool forget = !made.queued && choose_.below(2) == 0;
  const cubby_status status = cubby_prefetch(rt_, made.items.data(), count, tier, &how_made,
                                             forget ? nullptr : &made.ticket);
  settle(made, status);
}

void sequence::take() {
  cubby_done done[4];
  const uint32_t count = cubby_cq_take(cq_, done, 1 + choose_.below(4));
  for (uint32_t i = 0; i < count; i++) {
    const auto owed = owed_.find(done[i].ticket);
    fuzz::require(owed != owed_.end(), "a completion of no request, or a second one");
    owed_.erase(owed);
    fuzz::require(done[i].status != CUBBY_PENDING, "a completion that is pending");
  }
}

void sequence::look() {
  cubby_stats_block block = {};
  block.struct_size = sizeof block;
  cubby_tier_stats tiers[4] = {};
  for (auto &tier : tiers) tier.struct_size = sizeof tier;
  last_ = cubby_stats(rt_, &block, tiers, choose_.below(5));
  for (const auto &tier : tiers)
    if (tier.budget_bytes > 0 && !shrinking_)
      fuzz::require(tier.used_bytes <= std::max(tier.budget_bytes, tier.pinned_bytes),
                    "a budget does not hold");
  const auto bank = static_cast<cubby_bank>(choose_.handle(banks_));
  cubby_bank_desc desc = {};
  desc.struct_size = sizeof desc;
  cubby_bank_info(rt_, bank, &desc);
  cubby_file_info file = {};
  file.struct_size = sizeof file;
  cubby_bank_file(rt_, bank, choose_.below(3), &file);
  cubby_part_info part = {};
  part.struct_size = sizeof part;
  cubby_bank_part(rt_, bank, choose_.below(rows + 1), choose_.below(parts + 1), &part);
  cubby_extent extent = {};
  cubby_bank_extent(rt_, bank, choose_.below(lockers + 1), choose_.below(parts + 1), &extent);
  cubby_tier_info info = {};
  info.struct_size = sizeof info;
  cubby_tier_describe(rt_, static_cast<cubby_tier>(choose_.handle(tiers_)), &info);
  cubby_log_line line = {};
  cubby_log_take(rt_, &line, 1);
}

void sequence::hint() {
  const uint16_t chosen[] = {static_cast<uint16_t>(choose_.below(columns + 1)), choose_.byte()};
  cubby_routed routed = {};
  routed.row = choose_.below(rows + 1);
  routed.column_count = choose_.below(3);
  routed.columns = chosen;
  const auto bank = static_cast<cubby_bank>(choose_.handle(banks_));
  if (choose_.below(2) == 0) {
    last_ = cubby_visit(rt_, bank, &routed, 1);
    return;
  }
  cubby_hint_item item_made = {};
  item_made.struct_size = sizeof item_made;
  item_made.kind = choose_.below(5);
  item_made.bank = bank;
  item_made.route = routed;
  item_made.ahead = choose_.byte();
  uint8_t outcome = 0;
  last_ = cubby_hint(rt_, &item_made, 1, &outcome);
}

void sequence::resize() {
  static constexpr uint64_t budgets[] = {0, 1, 1u << 17, 1u << 21, 1u << 23};
  request &made = requests_.emplace_back();
  last_ = cubby_tier_resize(rt_, static_cast<cubby_tier>(choose_.handle(tiers_)),
                            budgets[choose_.below(5)], &made.ticket);
  shrinking_ = shrinking_ || last_ == CUBBY_PENDING;
  settle(made, last_);
}

void sequence::map_region() {
  if (choose_.below(2) == 0) {
    last_ = cubby_region_remove(rt_, static_cast<cubby_region>(choose_.handle(regions_)));
    return;
  }
  cubby_region_desc desc = {};
  desc.struct_size = sizeof desc;
  desc.kind = choose_.below(5);
  desc.base = lent_.data();
  desc.bytes = lent_.size();
  if (choose_.below(2) == 0) {
    desc.piece_bytes = 1u << choose_.below(16);
    desc.stride_bytes = uint64_t{choose_.byte()} << choose_.below(12);
    desc.piece_count = choose_.byte();
  }
  cubby_region region = 0;
  last_ = cubby_region_add(rt_, &desc, &region);
  if (last_ == CUBBY_OK) regions_.push_back(region);
}

/// Calls that have nothing to do yet must say so and harm nothing.
void sequence::unsupported() {
  cubby_item one = item();
  cubby_key key = {"k", 1};
  cubby_ticket ticket = 0;
  cubby_pins pins = 0;
  uint32_t hits = 0;
  void *address[parts] = {};
  cubby_status status = CUBBY_OK;
  switch (choose_.below(5)) {
    case 0:
      status = cubby_put(rt_, &one, 1, nullptr, &ticket);
      break;
    case 1:
      status = cubby_match(rt_, choose_.byte(), &key, 1, nullptr, &hits, nullptr);
      break;
    case 2:
      status = cubby_lease(rt_, choose_.byte(), &key, 1, 10, &pins);
      break;
    case 3:
      status = cubby_reserve(rt_, &one, 1, 0, nullptr, &pins, address, &ticket);
      break;
    default:
      status = cubby_gather(rt_, 0, nullptr, 0, nullptr, nullptr, &ticket);
      break;
  }
  fuzz::require(status < 0, "a call on nothing succeeded");
}

void sequence::call() {
  const cubby_item one = {};
  last_call_ = choose_.below(20);
  switch (last_call_) {
    case 0:
      return add_tier();
    case 1:
      return adopt();
    case 2:
      return unsupported();
    case 3:
      return unpin();
    case 4:
      last_ = cubby_wait(rt_, choose_.handle(tickets_), choose_.below(2) ? 1'000'000 : 0);
      return;
    case 5:
      last_ = cubby_poll(rt_, 0, nullptr);
      return;
    case 6:
    case 7:
      return prefetch();
    case 8: {
      const cubby_item dropped = choose_.below(8) == 0 ? one : item();
      last_ = cubby_drop(rt_, &dropped, 1, static_cast<cubby_tier>(choose_.handle(tiers_)));
      return;
    }
    case 9:
      last_ = cubby_cancel(rt_, choose_.handle(tickets_));
      return;
    case 10:
      return take();
    case 11:
      return resize();
    case 12:
      return hint();
    case 13:
      return look();
    case 14:
      last_ = cubby_drain(rt_, 0);
      return;
    case 15:
      return map_region();
    case 16:
      last_ = cubby_bank_remove(rt_, static_cast<cubby_bank>(choose_.handle(banks_)));
      return;
    case 17:
      return gather();
    default:
      return pin();
  }
}

/// What is still held is right; without pins that keep others waiting, everything in flight ends
/// and every completion can be taken.
void sequence::close() {
  for (const request &made : requests_) {
    if (made.pins == 0) continue;
    // A set that failed or was canceled holds nothing, and its memory may have been used again.
    const bool right = shows_file(made);
    const bool held = cubby_unpin(rt_, made.pins, 0, 0, nullptr) == CUBBY_OK;
    fuzz::require(right || !held, "a pinned locker has other bytes than the file");
  }
  fuzz::require(cubby_drain(rt_, 10'000'000'000) == CUBBY_OK, "the runtime does not drain");
  for (const request &made : requests_)
    fuzz::require(shows_rows(made), "a row that came has other bytes than the file");
  for (uint32_t i = 0; i < calls_max && !owed_.empty(); i++) take();
  fuzz::require(owed_.empty(), "a request never completed");
  fuzz::require(cubby_cq_remove(cq_) == CUBBY_OK, "a drained queue cannot be removed");
  fuzz::require(cubby_close(rt_) == CUBBY_OK, "the runtime does not close");
}

void sequence::run() {
  open();
  adopt();
  add_tier();
  for (size_t i = 0; i < calls_max && !choose_.empty(); i++) {
    call();
    if (last_ >= 0) {
      fuzz::accepted = true;
      continue;
    }
    char text[512] = {};
    cubby_error failure = {};
    failure.struct_size = sizeof failure;
    cubby_explain(&failure, text, sizeof text);
    if (text[0] == 0)
      fuzz::broken((std::string("a failure without words: ") + cubby_status_name(last_) +
                    " of call " + std::to_string(last_call_))
                       .c_str());
    last_ = CUBBY_OK;
  }
  close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const model file;
  chooser choose(data, size);
  sequence(file, choose).run();
  return 0;
}
