#include "engine/operations/put.hpp"

#include <new>

namespace cubby::engine {

void put_operation::take_over(uint32_t index) noexcept {
  request &r = at(index);
  const auto &of_call = std::get<put_verb>(r.verb).items;
  for (uint32_t i = 0; i < of_call.size(); ++i) {
    if (of_call[i].job == no_index) continue;
    r.items[i].state = item_state::loading;
    auto how = units_.stored.claim(of_call[i].job, *this, index, i);
    if (!how.over) continue;
    if (how.why) {
      units_.open.mark_failed(index, i, std::move(*how.why));
    } else {
      units_.open.mark_stored(index, i);
    }
  }
}

bool put_operation::grant(uint32_t index) {
  request &r = at(index);
  auto &of_call = std::get<put_verb>(r.verb).items;
  for (uint32_t &i = r.next_item; i < r.items.size(); ++i) {
    if (r.items[i].state != item_state::waiting || !of_call[i].block) continue;
    r.items[i].state = item_state::loading;
    try {
      units_.stored.write_and_publish(std::move(*of_call[i].block), *this, index, i);
    } catch (const std::bad_alloc &) {
      units_.puts.abandon(*of_call[i].block);
      units_.open.mark_failed(index, i, no_memory());
    }
    of_call[i].block.reset();
  }
  units_.open.complete_if_over(index);
  return true;
}

void put_operation::block_stored(uint32_t index, uint32_t i, const error *why) {
  if (why != nullptr) {
    units_.open.mark_failed(index, i, *why);
  } else {
    units_.open.mark_stored(index, i);
  }
  units_.open.complete_if_over(index);
}

}  // namespace cubby::engine
