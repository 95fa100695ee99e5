// Gathers: rows of a table, copied one behind the other to where the caller wants them.
//
// The calling thread copies what is in memory, a few pages at a time, each batch through a pin set
// as any other pin; it takes no lock and, as long as nothing is missing, no memory. Pages that are
// missing come by a request, each once, in the order of the file.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "api/block_requests.hpp"
#include "api/guard.hpp"
#include "api/spans.hpp"
#include "base/checked.hpp"
#include "base/mutant.hpp"
#include "engine/gather_plan.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

using ull = unsigned long long;
using residency::locker_bank;
using residency::pinning;

/// A batch is one visit of the policies, and its pins one small set.
constexpr uint32_t batch_pages = engine::access_event::numbers_max;
constexpr uint32_t batch_rows = 64;
static_assert(batch_pages <= residency::pin_set::inline_items);

/// What a caller asks for.
struct gather_order {
  const locker_bank &bank;
  std::span<const uint64_t> rows;
  const cubby_how &how;
  uint32_t shard;

  [[nodiscard]] uint32_t row_bytes() const { return bank.desc().table_row_bytes; }
  [[nodiscard]] uint64_t page_rows() const { return bank.desc().locker_bytes / row_bytes(); }
  [[nodiscard]] uint64_t bytes() const { return rows.size() * row_bytes(); }
};

result<void> check_order(const gather_order &of, const cubby_span &into) {
  const cubby_bank_desc &desc = of.bank.desc();
  if (into.bytes != of.bytes()) {
    error why =
        fail(CUBBY_ERR_INVALID,
             "cubby_gather: into has %llu bytes, and %zu rows of bank %s take %llu, %u each",
             static_cast<ull>(into.bytes), of.rows.size(), desc.name, static_cast<ull>(of.bytes()),
             desc.table_row_bytes);
    why.needed_bytes = of.bytes();
    return why;
  }
  const auto bad =
      std::ranges::find_if(of.rows, [&](uint64_t row) { return row >= desc.table_row_count; });
  if (bad == of.rows.end()) return {};
  return fail(CUBBY_ERR_INVALID,
              "cubby_gather: table_rows[%td] is %llu, and the table of bank %s has %llu rows; "
              "number them from 0",
              bad - of.rows.begin(), static_cast<ull>(*bad), desc.name,
              static_cast<ull>(desc.table_row_count));
}

/// Where the rows go. Memory in no region is one piece, and needs no list.
class gather_memory {
 public:
  gather_memory(runtime &self, const cubby_span &into) : span_(into) {
    const bool ends = base::checked_add(into.offset_bytes, into.bytes).has_value();
    if (into.region == 0 && into.flags == 0 && into.offset_bytes != 0 && ends) {
      one_ = {reinterpret_cast<std::byte *>(into.offset_bytes), into.bytes};
      one_end_ = into.bytes;
      return;
    }
    cubby_item item{};
    item.spans = &span_;
    item.span_count = 1;
    listed_.emplace(self, item, 0);
    if (listed_->pieces) listed_ends_ = transfer::ends_of(*listed_->pieces);
  }

  [[nodiscard]] result<void> check() const {
    if (listed_ && !listed_->pieces) return listed_->pieces.failure();
    return {};
  }
  [[nodiscard]] transfer::indexed_pieces pieces() const {
    if (listed_) return {*listed_->pieces, listed_ends_};
    return {std::span(&one_, 1), std::span(&one_end_, 1)};
  }
  void lend_to(engine::region_uses &in_use) {
    if (listed_) listed_->lend_to(in_use);
  }

 private:
  const cubby_span span_;
  memory_piece one_;
  uint64_t one_end_ = 0;
  std::optional<item_memory> listed_;
  std::vector<uint64_t> listed_ends_;
};

/// Copies what is in memory, and keeps a list of the rows that are not.
class resident_rows {
 public:
  resident_rows(runtime &self, const gather_order &of, const transfer::indexed_pieces &into)
      : self_(self), of_(of), into_(into), page_rows_(of.page_rows()) {}

  result<void> copy() {
    engine::tier_set &tiers = self_.engine().state.tiers;
    for (uint32_t tier = 0; tier < tiers.count(); ++tier) {
      if (tiers[tier].memory == nullptr || !tiers[tier].memory->readable()) continue;
      if (looked_ && missing.empty()) break;
      if (auto copied = copy_from(tier); !copied) return copied;
    }
    if (looked_) return {};
    for (uint32_t i = 0; i < of_.rows.size(); ++i) missing.push_back(i);
    return {};
  }

  std::vector<uint32_t> missing;  // which of the asked rows; in their order

 private:
  struct batch {
    std::array<cubby_item, batch_pages> pages{};
    std::array<const void *, batch_pages> addresses{};
    uint32_t page_count = 0, row_count = 0;
    struct row {
      uint32_t index = 0, page = 0;  // page: of the batch
    };
    std::array<row, batch_rows> rows{};
  };

  result<void> copy_from(uint32_t tier) {
    const bool all = !std::exchange(looked_, true);
    const std::vector<uint32_t> sought = std::exchange(missing, {});
    const size_t count = all ? of_.rows.size() : sought.size();
    batch now;
    for (size_t i = 0; i < count;) {
      const uint32_t index = all ? static_cast<uint32_t>(i) : sought[i];
      const bool fits = add(now, index);
      if (fits) ++i;
      if (fits && i != count) continue;
      if (all) note_visit(now);
      if (auto copied = copy_batch(now, tier); !copied) return copied;
      now.page_count = now.row_count = 0;
    }
    return {};
  }

  /// False where the batch is full.
  [[nodiscard]] bool add(batch &to, uint32_t index) const {
    if (to.row_count == batch_rows) return false;
    const cubby_id page = CUBBY_ID(of_.bank.handle, of_.rows[index] / page_rows_);
    uint32_t at = 0;
    while (at < to.page_count && to.pages[at].id != page) ++at;
    if (at == to.page_count) {
      if (at == batch_pages) return false;
      to.pages[to.page_count++].id = page;
    }
    to.rows[to.row_count++] = {index, at};
    return true;
  }

  void note_visit(const batch &of) const {
    if ((of_.how.flags & CUBBY_NO_VISIT) != 0) return;
    engine::record_visit(self_.engine().feed.shard(of_.shard), of_.bank.handle, of.page_count,
                         [&](size_t i) { return static_cast<uint32_t>(of.pages[i].id); });
  }

  result<void> copy_batch(batch &of, uint32_t tier) {
    pinning &pins = self_.engine().state.pins;
    residency::pin_set *const set = pins.take(of_.shard);
    if (set == nullptr) {
      return fail(CUBBY_ERR_BUSY, "as many pin sets are held as there is room for; unpin some");
    }
    const residency::pin_order order = {of.pages.data(), of.page_count, tier,
                                        of_.shard,       CUBBY_NO_WAIT, of.addresses.data()};
    set->describe(of.page_count, tier, false);
    const pinning::rest found = pins.pin_rest(*set, order, {});
    if (found.wake) self_.kick();
    if (found.what == pinning::found::refused) {
      pins.give_back(*set, of_.shard);
      return bank_went();
    }
    if (found.pinned == 0) {
      pins.give_back(*set, of_.shard);
      for (uint32_t i = 0; i < of.row_count; ++i) missing.push_back(of.rows[i].index);
      return {};
    }
    const cubby_pins held = pins.hold(*set, order, found.pinned);
    try {
      copy_rows(of);
    } catch (...) {  // the list of what is missing could not grow
      release(held);
      throw;
    }
    release(held);
    self_.engine().feed.shard(of_.shard).hits[tier].fetch_add(found.pinned,
                                                              std::memory_order_relaxed);
    return {};
  }

  void copy_rows(const batch &of) {
    for (uint32_t i = 0; i < of.row_count; ++i) {
      const auto &[index, page] = of.rows[i];
      if (of.addresses[page] == nullptr) {
        missing.push_back(index);
        continue;
      }
      const uint64_t wanted = CUBBY_MUTANT(neighbour_bytes) ? of_.rows[index] ^ 1 : of_.rows[index];
      const auto *from = static_cast<const std::byte *>(of.addresses[page]) +
                         wanted % page_rows_ * of_.row_bytes();
      transfer::copy_to(into_, uint64_t{index} * of_.row_bytes(), from, of_.row_bytes());
      engine::set_status_at(of_.how.item_status, index, CUBBY_OK);
    }
  }

  void release(cubby_pins held) const {
    pinning &pins = self_.engine().state.pins;
    bool wake = false;
    if (!pins.unpin_whole(held, 0, 0, of_.shard, wake)) {
      wake = pins.unpin(held, 0, 0, of_.shard).wake;
    }
    if (wake) self_.kick();
  }

  runtime &self_;
  const gather_order &of_;
  const transfer::indexed_pieces into_;
  const uint64_t page_rows_;
  bool looked_ = false;
};

/// What a call comes to that brings nothing more.
cubby_status end_here(const gather_order &of, std::span<const uint32_t> missing, const error &why) {
  for (const uint32_t row : missing) engine::set_status_at(of.how.item_status, row, why.status);
  keep_error(why);
  const bool some = missing.size() < of.rows.size() && of.how.item_status != nullptr;
  return some ? CUBBY_PARTIAL : why.status;
}

/// Which rows of which pages are to come; the pages are the items.
std::unique_ptr<engine::gather_plan> plan_of(const gather_order &of, std::vector<uint32_t> missing,
                                             const transfer::indexed_pieces &into,
                                             std::vector<engine::request_item> &pages) {
  auto plan = std::make_unique<engine::gather_plan>();
  plan->into.assign(into.pieces.begin(), into.pieces.end());
  plan->into_ends.assign(into.ends.begin(), into.ends.end());
  plan->row_bytes = of.row_bytes();
  plan->row_count = static_cast<uint32_t>(of.rows.size());
  plan->copied_count = plan->row_count - static_cast<uint32_t>(missing.size());
  std::ranges::sort(missing, {}, [&](uint32_t index) { return of.rows[index]; });
  pages.clear();
  plan->rows.reserve(missing.size());
  const uint64_t page_rows = of.page_rows();
  for (const uint32_t index : missing) {
    const uint64_t row = of.rows[index];
    const auto page = static_cast<uint32_t>(row / page_rows);
    if (pages.empty() || pages.back().number != page) {
      pages.emplace_back().bank = const_cast<locker_bank *>(&of.bank);
      pages.back().number = page;
      plan->ends.push_back(0);
    }
    plan->rows.push_back({index, row % page_rows * of.row_bytes()});
    plan->ends.back() = static_cast<uint32_t>(plan->rows.size());
  }
  return plan;
}

/// Hands what is missing to the controller.
cubby_status bring(runtime &self, const gather_order &of, std::vector<uint32_t> &&missing,
                   gather_memory &memory, cubby_ticket *ticket) {
  const uint32_t tier = reading_tier(self.engine());
  if (tier == engine::no_tier) {
    return end_here(of, missing,
                    fail(CUBBY_ERR_NOT_SUPPORTED,
                         "cubby_gather: rows are copied from host memory, and no tier has any; add "
                         "one of backend \"host\""));
  }
  rest_of_call rest(self, of.how);
  if (auto wanted = rest.want(); !wanted) return end_here(of, missing, wanted.failure());
  engine::request &r = rest.request();
  engine::gather_verb verb;
  verb.plan = plan_of(of, missing, memory.pieces(), r.items);
  const auto fits =
      check_frame(self.engine(), tier, {r.items.front().bank, r.items.front().number});
  if (!fits) return end_here(of, missing, fits.failure());
  memory.lend_to(verb.in_use);
  for (const uint32_t row : missing) {
    engine::set_status_at(of.how.item_status, row, CUBBY_PENDING);
  }
  return rest.submit(std::move(verb), tier, ticket);
}

cubby_status gather(runtime &self, const gather_order &of, const cubby_span &into,
                    cubby_ticket *ticket) {
  if (auto right = check_order(of, into); !right) return keep_error(right.failure());
  gather_memory memory(self, into);
  if (auto right = memory.check(); !right) return keep_error(right.failure());
  resident_rows here(self, of, memory.pieces());
  if (auto copied = here.copy(); !copied) return keep_error(copied.failure());
  if (here.missing.empty()) return CUBBY_OK;
  if ((of.how.flags & CUBBY_NO_WAIT) != 0) {
    return end_here(of, here.missing,
                    fail(CUBBY_MISS, "%zu of %zu rows of bank %s are not in memory",
                         here.missing.size(), of.rows.size(), of.bank.desc().name));
  }
  return bring(self, of, std::move(here.missing), memory, ticket);
}

}  // namespace

cubby_status cubby_gather(cubby_handle *rt, cubby_bank bank, const uint64_t *table_rows,
                          uint32_t count, const cubby_span *into, const cubby_how *how,
                          cubby_ticket *ticket) {
  if (ticket != nullptr) *ticket = 0;
  cubby_ticket made = 0;
  bool waits = false;
  const auto begun = [&]() -> cubby_status {
    CUBBY_ENTER(rt);
    if (table_rows == nullptr || into == nullptr || count == 0 || count > items_max) {
      CUBBY_REFUSE("cubby_gather: table_rows or into is NULL, or count %u is not 1 to %u", count,
                   items_max);
    }
    return guarded([&]() -> cubby_status {
      const locker_bank *found = self.engine().state.banks.find(bank);
      if (found == nullptr) {
        return keep_error(no_bank(self, bank));
      }
      if (found->desc().kind != CUBBY_BANK_ROWS) {
        CUBBY_REFUSE(
            "cubby_gather: bank %s is no table of rows; add or adopt it as CUBBY_BANK_ROWS",
            found->desc().name);
      }
      auto asked = read_how(self, how);
      if (!asked) return keep_error(asked.failure());
      waits = ticket == nullptr && asked->cq == nullptr;
      return gather(self, {*found, {table_rows, count}, *asked, entered.shard_index}, *into, &made);
    });
  }();
  if (begun == CUBBY_PENDING && waits) return wait_for_end(rt, made);
  if (ticket != nullptr) *ticket = made;
  return begun;
}
