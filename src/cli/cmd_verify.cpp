// cubby verify: reads every locker of a model through the runtime, as a pin would, and tells which
// ones do not have the bytes that were sealed.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/opened_model.hpp"
#include "cli/support.hpp"
#include "platform/memory_left.hpp"

namespace cubby_cli {
namespace {

using nlohmann::json;

constexpr uint64_t budget_bytes_most = 256u << 20;
/// Beside the frames themselves: they lie in huge pages.
constexpr uint64_t frame_slack_bytes = 4u << 20;
/// What the rest of the process takes: code, tables, staging.
constexpr uint64_t process_bytes = 24u << 20;
constexpr uint32_t sets_in_flight = 4;
constexpr uint32_t set_items_max = 16;

struct options {
  model_choice model;
  bool json = false;
};

struct bad_locker {
  uint64_t number = 0;
  int32_t status = 0;
  // Where in it; not known when it was good once it was asked for alone.
  std::optional<uint32_t> part;
  uint64_t offset_bytes = 0;
};

/// No more than all the lockers, nor than a container leaves beside the process itself.
uint64_t budget_for(uint64_t all_bytes) {
  uint64_t budget = std::min(budget_bytes_most, all_bytes);
  if (const auto left = cubby::platform::cgroup_left_bytes())
    budget = std::min(budget, (*left - std::min(*left, process_bytes)) / 2);
  return budget;
}

/// One set of lockers on its way.
struct pin_set {
  std::vector<cubby_item> items;
  std::vector<int8_t> status;
  std::vector<const void *> addresses;
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  bool busy = false;
};

class verifier {
 public:
  explicit verifier(opened_model &of)
      : rt_(of.runtime), bank_(of.bank), part_count_(of.bank.part_count()) {}

  /// A host tier large enough for the sets in flight, and the queue.
  cubby::result<void> prepare();
  cubby_status run(progress_line &line);

  uint64_t locker_count() const { return bank_.locker_count(); }
  uint64_t bytes() const { return bytes_; }
  uint64_t budget_bytes() const { return budget_bytes_; }
  const std::vector<bad_locker> &bad() const { return bad_; }
  uint64_t unverified_bytes() const;

 private:
  uint64_t locker_bytes(uint64_t number) const {
    const uint64_t bytes = bank_.locker_bytes(static_cast<uint32_t>(number / bank_.columns()));
    if (bank_.table_row_bytes() == 0) return bytes;  // the last page of a table may be shorter
    return std::min(bytes, bank_.table_row_count() * bank_.table_row_bytes() - number * bytes);
  }
  cubby_how how_of(size_t set);
  cubby_status start(size_t index);
  void finish(pin_set &set);
  cubby_status take_completions();
  cubby_status examine();
  cubby_status examine(bad_locker &one);

  cubby::runtime &rt_;
  const cubby::bank bank_;
  const uint32_t part_count_;
  uint32_t set_items_ = 1;
  cubby::tier tier_;
  cubby::completion_queue queue_;
  std::vector<pin_set> sets_;
  std::vector<bad_locker> bad_;
  uint64_t next_ = 0;
  uint64_t bytes_ = 0, budget_bytes_ = 0;
};

cubby::result<void> verifier::prepare() {
  uint64_t largest = 0, all = 0;
  for (uint32_t row = 0; row < bank_.rows(); row++) {
    largest = std::max(largest, bank_.locker_bytes(row));
    all += bank_.locker_bytes(row) * bank_.columns();
  }
  // Frames hold whole pages of the file, hence some more than the parts; and come in few sizes.
  const uint64_t frame_bytes = (largest + part_count_ * 8192ull) * 5 / 4;
  const uint64_t room_bytes = budget_for(all);
  const uint64_t lockers =
      std::clamp<uint64_t>(room_bytes / frame_bytes, 2, uint64_t{sets_in_flight} * set_items_max);
  set_items_ = static_cast<uint32_t>(std::max<uint64_t>(1, lockers / sets_in_flight));
  sets_.resize(std::min<uint64_t>(sets_in_flight, lockers / set_items_));
  cubby::tier_options tier;
  tier.name = "host:0";
  tier.budget_bytes = budget_bytes_ = lockers * frame_bytes + frame_slack_bytes;
  auto added = rt_.add_tier(tier);
  if (!added) return added.why();
  tier_ = *added;
  auto queue = rt_.add_queue(static_cast<uint32_t>(sets_.size()));
  if (!queue) return queue.why();
  queue_ = std::move(*queue);
  return {};
}

cubby_how verifier::how_of(size_t set) {
  cubby_how how = {};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_VISIT | CUBBY_BYPASS;
  how.user = set;
  how.cq = queue_.handle();
  how.item_status = sets_[set].status.data();
  return how;
}

/// Asks for the next lockers. BUSY leaves them for later.
cubby_status verifier::start(size_t index) {
  pin_set &set = sets_[index];
  const uint64_t count = std::min<uint64_t>(set_items_, locker_count() - next_);
  set.items.assign(count, cubby_item{});
  for (uint64_t i = 0; i < count; i++) set.items[i].id = bank_.id(next_ + i);
  set.status.assign(count, CUBBY_PENDING);
  set.addresses.assign(count * part_count_, nullptr);
  const cubby_how how = how_of(index);
  const cubby_status status =
      cubby_pin(rt_.handle(), set.items.data(), static_cast<uint32_t>(count), tier_.handle(), &how,
                &set.pins, set.addresses.data(), &set.ticket);
  if (status < 0) return status;
  next_ += count;
  set.busy = status == CUBBY_PENDING;
  if (!set.busy) {
    set.status.assign(count, CUBBY_OK);  // all of it was there
    cubby_unpin(rt_.handle(), set.pins, 0, 0, nullptr);
    finish(set);
  }
  return CUBBY_OK;
}

void verifier::finish(pin_set &set) {
  set.busy = false;
  for (size_t i = 0; i < set.items.size(); i++) {
    const uint64_t number = set.items[i].id & ((uint64_t{1} << 48) - 1);
    bytes_ += locker_bytes(number);
    if (set.status[i] != CUBBY_OK) bad_.push_back({number, set.status[i], {}, 0});
  }
}

cubby_status verifier::take_completions() {
  cubby_done done[sets_in_flight];
  const uint32_t count = queue_.take(done);
  for (uint32_t i = 0; i < count; i++) {
    pin_set &set = sets_[done[i].user];
    if (done[i].status == CUBBY_OK || done[i].status == CUBBY_PARTIAL) {
      const cubby_status status = cubby_unpin(rt_.handle(), set.pins, 0, 0, nullptr);
      if (status != CUBBY_OK) return status;
    } else if (std::none_of(set.status.begin(), set.status.end(), [](int8_t s) { return s < 0; })) {
      return static_cast<cubby_status>(done[i].status);  // a failure that is not the items'
    }
    finish(set);
  }
  return CUBBY_OK;
}

cubby_status verifier::run(progress_line &line) {
  const uint64_t start_ns = clock_ns();
  for (;;) {
    const pin_set *oldest = nullptr;
    bool full = false;
    for (size_t i = 0; i < sets_.size(); i++) {
      if (!sets_[i].busy && !full && next_ < locker_count()) {
        const cubby_status status = start(i);
        full = status == CUBBY_ERR_BUSY;
        if (status != CUBBY_OK && !full) return status;
      }
      const bool older = sets_[i].busy && (!oldest || sets_[i].items[0].id < oldest->items[0].id);
      if (older) oldest = &sets_[i];
    }
    if (!oldest && next_ == locker_count()) return examine();
    // Waiting advances the runtime; its answer is the set's, which the queue has too.
    if (oldest) cubby_wait(rt_.handle(), oldest->ticket, 100'000'000);
    const cubby_status status = take_completions();
    if (status != CUBBY_OK) return status;
    if (line.due())
      line.show("verifying: " + count_text(next_) + " of " + count_text(locker_count()) +
                " lockers, " + std::to_string(bad_.size()) + " bad, " +
                speed_text(static_cast<double>(bytes_) / seconds_since(start_ns)));
  }
}

/// A set says which lockers are bad; the place in a locker is reported when it is asked for alone.
cubby_status verifier::examine() {
  std::sort(bad_.begin(), bad_.end(),
            [](const bad_locker &a, const bad_locker &b) { return a.number < b.number; });
  for (bad_locker &one : bad_) {
    const cubby_status status = examine(one);
    if (status != CUBBY_OK) return status;
  }
  return CUBBY_OK;
}

cubby_status verifier::examine(bad_locker &one) {
  cubby_item item = {};
  item.id = bank_.id(one.number);
  cubby_how how = {};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_VISIT | CUBBY_BYPASS;
  std::vector<const void *> addresses(part_count_);
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  cubby_status status =
      cubby_pin(rt_.handle(), &item, 1, tier_.handle(), &how, &pins, addresses.data(), &ticket);
  if (status == CUBBY_PENDING) status = cubby_wait(rt_.handle(), ticket, -1);
  std::optional<uint64_t> at;
  if (status < 0 || status == CUBBY_PARTIAL) at = cubby::error::last(status).details().offset_bytes;
  if (status == CUBBY_OK || status == CUBBY_PARTIAL) cubby_unpin(rt_.handle(), pins, 0, 0, nullptr);
  for (uint32_t part = 0; part < part_count_; part++) {
    cubby_extent extent = {};
    status = cubby_bank_extent(rt_.handle(), bank_.handle(), one.number, part, &extent);
    if (status != CUBBY_OK) return status;
    const bool inside =
        at && *at >= extent.offset_bytes && *at - extent.offset_bytes < extent.bytes;
    if (!inside) continue;
    one.part = part;
    one.offset_bytes = *at;
  }
  return CUBBY_OK;
}

uint64_t verifier::unverified_bytes() const {
  const auto block = rt_.stats();
  return block ? block->unverified_bytes : 0;
}

void print_report(const verifier &checked, const std::string &bank, double speed) {
  json bad = json::array();
  for (const bad_locker &one : checked.bad())
    bad.push_back({{"bank", bank},
                   {"number", one.number},
                   {"part", one.part ? json(*one.part) : json()},
                   {"offset_bytes", one.part ? json(one.offset_bytes) : json()},
                   {"status", cubby_status_name(static_cast<cubby_status>(one.status))}});
  const json object = {{"lockers", checked.locker_count()},
                       {"bytes", checked.bytes()},
                       {"unverified", checked.unverified_bytes()},
                       {"budget_bytes", checked.budget_bytes()},
                       {"bad", std::move(bad)},
                       {"gb_per_s", speed / 1e9}};
  print_json(object);
}

void print_text(const verifier &checked, const cubby_bank_desc &desc, double speed) {
  std::cout << count_text(checked.locker_count()) << " lockers, " << bytes_text(checked.bytes())
            << " read at " << speed_text(speed) << "\n";
  const uint64_t unverified = checked.unverified_bytes();
  if (unverified > 0)
    std::cout << "NOT VERIFIED: " << bytes_text(unverified)
              << " had no digest to be held against; `cubby seal` writes them\n";
  if (checked.bad().empty()) {
    if (unverified == 0) std::cout << "all bytes are those that were sealed\n";
    return;
  }
  std::cout << checked.bad().size() << " bad:\n";
  std::vector<std::vector<std::string>> lines = {
      {"bank", "locker", "row", "column", "part", "at byte", "why"}};
  for (const bad_locker &one : checked.bad())
    lines.push_back({desc.name ? desc.name : "", std::to_string(one.number),
                     std::to_string(one.number / desc.columns),
                     std::to_string(one.number % desc.columns),
                     one.part ? std::to_string(*one.part) : "?",
                     one.part ? std::to_string(one.offset_bytes) : "not known",
                     cubby_status_name(static_cast<cubby_status>(one.status))});
  print_table(lines);
}

int run(const options &chosen) {
  auto opened = open_model(chosen.model);
  if (!opened) return report_failure("verify", opened.why(), chosen.json);
  verifier checked(*opened);
  if (auto ready = checked.prepare(); !ready)
    return report_failure("verify", ready.why(), chosen.json);
  const uint64_t start_ns = clock_ns();
  cubby_status status = CUBBY_OK;
  {
    progress_line line(chosen.json);
    status = checked.run(line);
  }
  if (status != CUBBY_OK) return report_failure("verify", cubby::error::last(status), chosen.json);
  const cubby_bank_desc &desc = opened->bank.info();
  const double seconds = seconds_since(start_ns);
  const double speed = seconds > 0 ? static_cast<double>(checked.bytes()) / seconds : 0;
  if (chosen.json)
    print_report(checked, desc.name ? desc.name : "", speed);
  else
    print_text(checked, desc, speed);
  return checked.bad().empty() ? exit_good : exit_bad;
}

}  // namespace

void add_verify(command &program) {
  command one = program.subcommand(
      "verify",
      "Hold every byte of a model's lockers (its experts, or what --tensors names) against its "
      "seal; what else is in the file is not sealed and not looked at");
  auto chosen = std::make_shared<options>();
  chosen->model.add_options(one, "The seal, where not beside the file");
  one.flag("--json", chosen->json, "One JSON object on stdout");
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
