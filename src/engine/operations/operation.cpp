#include "engine/operations/operation.hpp"

namespace cubby::engine {

void operation::begin(uint32_t) {}

bool operation::expire(uint32_t) { return false; }

void operation::withdraw_all_items(uint32_t index) {
  request &r = at(index);
  if (r.first_failure != CUBBY_ERR_CANCELED) {
    r.first_failure = CUBBY_ERR_CANCELED;
    r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before all of it came");
  }
  withdraw_items(index, [](uint32_t) { return true; });
}

void operation::out_of_memory(uint32_t index) {
  request &r = at(index);
  const error why{.status = CUBBY_ERR_NO_MEMORY, .text = {}};
  fail_waiting_items(index, why);
  if (!units_.open.is_open(index) || r.open_count != 0) return;
  if (r.first_failure == CUBBY_OK) r.first_failure = CUBBY_ERR_NO_MEMORY;
  units_.open.complete(index);
}

void operation::fail_waiting_items(uint32_t index, const error &why) {
  for (uint32_t i = 0; i < at(index).items.size(); ++i) {
    if (at(index).items[i].state == item_state::waiting) units_.open.mark_failed(index, i, why);
  }
}

}  // namespace cubby::engine
