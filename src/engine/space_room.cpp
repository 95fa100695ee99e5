#include "engine/space_room.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace cubby::engine {
namespace {

/// Blocks that were on their way, or pinned, may go a little later.
constexpr uint64_t pass_pause_ns = 10'000'000;

struct candidate {
  uint32_t id = 0, block_count = 0;
  bool durable = false;
  uint64_t last_put = 0;  // generation of its newest block

  [[nodiscard]] bool goes_before(const candidate &other) const {
    if ((id == 0) != (other.id == 0)) return id != 0;
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
  for (uint32_t i = 0; i < slots.size(); ++i) {
    const uint32_t id = slots[i].body.id;
    if (id == 0 || slots[i].removing) return;  // there is a place, or there will be
    if (!is_open(id)) by_slot[i] = {id, slots[i].block_count, false, 0};
  }
  const store::block_table &blocks = in.disk->content().blocks();
  for (uint32_t number = 0; number < blocks.end(); ++number) {
    const store::block_entry *entry = blocks.find(number);
    if (entry == nullptr) continue;
    candidate &of = by_slot[entry->space % by_slot.size()];
    if (of.id != entry->space) continue;
    of.durable = of.durable || entry->keep == CUBBY_KEEP_DURABLE;
    of.last_put = std::max(of.last_put, entry->generation);
  }
  const candidate &first =
      *std::min_element(by_slot.begin(), by_slot.end(),
                        [](const candidate &a, const candidate &b) { return a.goes_before(b); });
  going_ = first.id;
  if (first.block_count == 0) return;
  state_.log(2, format_text("tier %s: its store has a place for %u spaces, and gives up one that "
                            "nobody has open, with %u blocks",
                            state_.tiers[in.disk->tier()].name.c_str(), store::store_spaces_max,
                            first.block_count));
}

void space_room::erase_blocks(store_state &in) {
  if (!in.to_erase.empty() || in.erasing_count != 0) return;
  const store::block_table &blocks = in.disk->content().blocks();
  in.spoken_for.resize(std::max<size_t>(in.spoken_for.size(), blocks.end()));
  for (uint32_t number = 0; number < blocks.end(); ++number) {
    const store::block_entry *entry = blocks.find(number);
    if (entry == nullptr || entry->state != store::block_state::live) continue;
    if (entry->space != going_ || in.spoken_for[number]) continue;
    in.to_erase.push_back(number);
    in.spoken_for[number] = true;
  }
}

void space_room::step(store_state &in, const open_test &is_open) {
  if (!wanted_ && going_ == 0) return;
  if (going_ != 0 && state_.now_ns < next_pass_ns_) return;
  next_pass_ns_ = state_.now_ns + pass_pause_ns;
  store::block_store &content = in.disk->content();
  if (content.failure() != nullptr) return;
  const auto *space = going_ == 0 ? nullptr : content.spaces().at(going_);
  if (space == nullptr || space->removing || is_open(going_)) going_ = 0;
  if (going_ == 0 && std::exchange(wanted_, false)) choose(in, is_open);
  if (going_ == 0) return;
  if (content.spaces().at(going_)->block_count != 0) return erase_blocks(in);
  if (content.remove_space(going_, of_space)) going_ = 0;
}

}  // namespace cubby::engine
