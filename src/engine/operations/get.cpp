#include "engine/operations/get.hpp"

namespace cubby::engine {

/// Between the call and now the key may have been dropped, and its number given to another.
bool get_operation::settle(uint32_t index, uint32_t i) {
  const request &r = at(index);
  const request_item &item = r.items[i];
  const get_target &target = std::get<get_verb>(r.verb).targets[i];
  if (item.bank->blocks->keys.still_holds(target.seen)) return false;
  units_.open.mark_failed(index, i, open_requests::not_there(item));
  return true;
}

}  // namespace cubby::engine
