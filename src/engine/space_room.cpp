#include "engine/space_room.hpp"

#include <algorithm>
#include <array>

namespace cubby::engine {
namespace {

/// So that one that is added need not wait.
constexpr uint32_t free_places = 8;
/// Blocks that were on their way, or pinned, when the others went.
constexpr uint64_t pass_pause_ns = 10'000'000;

struct candidate {
  uint32_t id = 0, block_count = 0;
  bool durable = false;
  uint64_t last_put = 0;  // generation of its newest block

  [[nodiscard]] bool goes_before(const candidate &other) const {
    if ((block_count == 0) != (other.block_count == 0)) return block_count == 0;
    if (durable != other.durable) return !durable;
    return last_put != other.last_put ? last_put < other.last_put : id < other.id;
  }
};

}  // namespace

bool space_room::may_come(const store_state &in, const open_test &is_open) {
  const auto &slots = in.disk->content().spaces().slots();
  const bool full =
      std::all_of(slots.begin(), slots.end(), [](const auto &one) { return one.body.id != 0; });
  return full && std::any_of(slots.begin(), slots.end(), [&](const auto &one) {
           return one.removing || !is_open(one.body.id);
         });
}

void space_room::choose(const store_state &in, const open_test &is_open) {
  const auto &slots = in.disk->content().spaces().slots();
  std::array<candidate, store::store_spaces_max> by_slot{};
  uint32_t taken = 0;
  for (uint32_t i = 0; i < slots.size(); ++i) {
    const uint32_t id = slots[i].body.id;
    const bool goes = std::find(going_.begin(), going_.end(), id) != going_.end();
    if (id == 0 || slots[i].removing || goes) continue;
    ++taken;
    if (!is_open(id)) by_slot[i] = {id, slots[i].block_count, false, 0};
  }
  const bool any =
      std::any_of(by_slot.begin(), by_slot.end(), [](const candidate &one) { return one.id != 0; });
  if (!any || taken + free_places <= slots.size()) return;
  const store::block_table &blocks = in.disk->content().blocks();
  for (uint32_t number = 0; number < blocks.end(); ++number) {
    const store::block_entry *entry = blocks.find(number);
    if (entry == nullptr) continue;
    candidate &of = by_slot[entry->space % by_slot.size()];
    if (of.id != entry->space) continue;
    of.durable = of.durable || entry->keep == CUBBY_KEEP_DURABLE;
    of.last_put = std::max(of.last_put, entry->generation);
  }
  const auto end = std::remove_if(by_slot.begin(), by_slot.end(),
                                  [](const candidate &one) { return one.id == 0; });
  std::sort(by_slot.begin(), end,
            [](const candidate &a, const candidate &b) { return a.goes_before(b); });
  const auto wanted = static_cast<ptrdiff_t>(taken + free_places - slots.size());
  const auto last = by_slot.begin() + std::min(end - by_slot.begin(), wanted);
  for (auto one = by_slot.begin(); one != last; ++one) {
    going_.push_back(one->id);
    if (one->block_count == 0) continue;
    state_.log(2, format_text("tier %s: its store has a place for %u spaces, and gives up one that "
                              "nobody has open, with %u blocks",
                              state_.tiers[in.disk->tier()].name.c_str(), store::store_spaces_max,
                              one->block_count));
  }
}

void space_room::erase_blocks(store_state &in) {
  if (!in.to_erase.empty() || in.erasing_count != 0 || state_.now_ns < next_pass_ns_) return;
  next_pass_ns_ = state_.now_ns + pass_pause_ns;
  const store::block_table &blocks = in.disk->content().blocks();
  in.spoken_for.resize(std::max<size_t>(in.spoken_for.size(), blocks.end()));
  for (uint32_t number = 0; number < blocks.end(); ++number) {
    const store::block_entry *entry = blocks.find(number);
    if (entry == nullptr || entry->state != store::block_state::live) continue;
    const bool goes = std::find(going_.begin(), going_.end(), entry->space) != going_.end();
    if (!goes || in.spoken_for[number]) continue;
    in.to_erase.push_back(number);
    in.spoken_for[number] = true;
  }
}

void space_room::step(store_state &in, const open_test &is_open) {
  if (!look_ && going_.empty()) return;
  store::block_store &content = in.disk->content();
  if (content.failure() != nullptr) return;
  if (look_) choose(in, is_open);
  look_ = false;
  bool has_blocks = false;
  std::erase_if(going_, [&](uint32_t id) {
    const auto *space = content.spaces().at(id);
    if (space == nullptr || space->removing || is_open(id)) return true;
    has_blocks = has_blocks || space->block_count != 0;
    return space->block_count == 0 && content.remove_space(id, of_space).operator bool();
  });
  if (has_blocks) erase_blocks(in);
}

}  // namespace cubby::engine
