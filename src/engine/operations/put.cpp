#include "engine/operations/put.hpp"

#include <new>

namespace cubby::engine {

bool put_operation::grant(uint32_t index) {
  request &r = at(index);
  auto &blocks = std::get<put_verb>(r.verb).blocks;
  for (uint32_t &i = r.next_item; i < r.items.size(); ++i) {
    if (r.items[i].state != item_state::waiting || !blocks[i]) continue;
    r.items[i].state = item_state::loading;
    try {
      units_.stored.write_and_publish(std::move(*blocks[i]), *this, index, i);
    } catch (const std::bad_alloc &) {
      units_.puts.abandon(*blocks[i]);
      units_.open.mark_failed(index, i, no_memory());
    }
    blocks[i].reset();
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
