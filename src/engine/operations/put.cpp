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
    begin_item(index, i);
  }
  units_.open.complete_if_over(index);
  return true;
}

void put_operation::begin_item(uint32_t index, uint32_t i) try {
  const put_verb &put = std::get<put_verb>(at(index).verb);
  put.comes_from_device(i) ? copy_from_device(index, i) : publish_or_store(index, i);
} catch (const std::bad_alloc &) {
  give_up(index, i, no_memory());
}

void put_operation::copy_from_device(uint32_t index, uint32_t i) {
  const request &r = at(index);
  put_verb &put = std::get<put_verb>(at(index).verb);
  const block_place &place = put.items[i].block->at;
  region_copies::wanted what;
  what.request = index;
  what.item = i;
  what.device = put.from[i].tier;
  what.bank = place.bank;
  what.number = place.number;
  what.tier = place.tier;
  what.frame = place.frame;
  what.out = true;
  what.memory = put.from[i].pieces;
  what.order = r.order;
  what.mark = r.mark;
  auto begun = units_.regions.begin(what, put.from[i].in_use, *this);
  if (!begun) return give_up(index, i, begun.failure());
  put.from[i].in_use.release();  // the copy, which is made once, holds them
}

void put_operation::copied(uint32_t index, uint32_t i, const error *why) {
  const put_verb &put = std::get<put_verb>(at(index).verb);
  try {
    if (why != nullptr) {
      give_up(index, i, *why);
    } else {
      units_.puts.settle_written(put.items[i].block->at, transfer::bytes_of(put.from[i].pieces));
      publish_or_store(index, i);
    }
  } catch (const std::bad_alloc &) {
    give_up(index, i, no_memory());
  }
  units_.open.complete_if_over(index);
}

/// The block's bytes are settled.
void put_operation::publish_or_store(uint32_t index, uint32_t i) {
  auto &block = std::get<put_verb>(at(index).verb).items[i].block;
  if (block->keep >= CUBBY_KEEP_RESTART) {
    const uint32_t job = units_.stored.begin_write(std::move(*block));
    units_.stored.claim(job, *this, index, i);
    block.reset();
    return;
  }
  units_.puts.publish_and_write(std::move(*block));
  block.reset();
  units_.open.mark_stored(index, i);
}

void put_operation::let_go(uint32_t index, uint32_t i) noexcept {
  auto &block = std::get<put_verb>(at(index).verb).items[i].block;
  if (!block) return;
  units_.puts.abandon(*block);
  block.reset();
}

void put_operation::give_up(uint32_t index, uint32_t i, const error &why) {
  let_go(index, i);
  units_.open.mark_failed(index, i, why);
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
