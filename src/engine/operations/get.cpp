#include "engine/operations/get.hpp"

namespace cubby::engine {

bool get_operation::begin_past_tiers(uint32_t index, uint32_t i) {
  request &r = at(index);
  request_item &item = r.items[i];
  if ((r.flags & CUBBY_BYPASS) == 0 || item.through_tier) return false;
  const get_target &target = std::get<get_verb>(r.verb).targets[i];
  // What has not been held against its digests is not passed on to a device.
  if (target.device != no_tier) return false;
  const uint32_t read =
      units_.direct.begin({index, i, item.bank, item.number, &target, r.order}, units_.open);
  if (read == no_index) return false;
  item.fill = read;
  item.state = item_state::reading;
  units_.open.mark_begun(index, i);
  return true;
}

}  // namespace cubby::engine
