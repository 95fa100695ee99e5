#include "engine/stream_releases.hpp"

#include <cerrno>
#include <new>
#include <utility>

#include "base/room.hpp"

namespace cubby::engine {
namespace {

/// So many steps of a decode loop that no stream is past yet are a stream that stands still.
constexpr size_t held_max = 8192;
/// Each that comes looks at as many: what is passed leaves at least as fast as it comes.
constexpr size_t looked_at_by_each = 3;

}  // namespace

void note_lost(tier_slot &slot, residency::pinning &pins,
               const cubby_backend_services &services) noexcept {
  if (slot.lost.exchange(true, std::memory_order_acq_rel)) return;
  pins.note_frames();
  try {
    const std::string line = format_text(
        "tier %s is lost, for its device is: what was there is dropped, other tiers go on; start "
        "the process again to use the device",
        slot.name.c_str());
    services.log(services.context, 0, line.c_str());
  } catch (const std::bad_alloc &) {  // the tier's health tells it, too
  }
}

result<void> stream_releases::make_room() {
  const std::lock_guard lock(mutex_);
  if (held_.size() + promised_ >= held_max) step_some(held_.size());
  if (held_.size() + promised_ < held_max) {
    base::make_room(held_, held_.size() + promised_ + 1);
    base::make_room(lists_, lists_.size() + held_.size() + promised_ + 1);
    ++promised_;
    return {};
  }
  return fail(CUBBY_ERR_BUSY,
              "%zu unpins wait for streams that do not get past them; let the streams go on, or "
              "unpin in host order once their work is over",
              held_.size());
}

void stream_releases::take_room_back() {
  const std::lock_guard lock(mutex_);
  --promised_;
}

bool stream_releases::hold(uint32_t tier, uint64_t mark,
                           std::vector<residency::locker_word *> words) {
  const std::lock_guard lock(mutex_);
  --promised_;
  held_.push_back({tier, mark, std::move(words)});
  step_some(looked_at_by_each);
  count_.store(held_.size(), std::memory_order_seq_cst);
  return pins_.watch(tier).frames_wanted.load(std::memory_order_seq_cst);
}

std::vector<residency::locker_word *> stream_releases::take_list() {
  const std::lock_guard lock(mutex_);
  if (lists_.empty()) return {};
  auto list = std::move(lists_.back());
  lists_.pop_back();
  return list;
}

/// There was room for it when it was held.
void stream_releases::keep_list(std::vector<residency::locker_word *> list) {
  if (list.capacity() == 0 || lists_.size() == lists_.capacity()) return;
  list.clear();
  lists_.push_back(std::move(list));
}

/// Past its mark? It is unpinned then.
bool stream_releases::look_at(held &one) {
  const int32_t passed = tiers_[one.tier].memory->backend().streams().passed(one.mark);
  if (passed == 0) return false;
  // A device that is lost does no more work, either.
  if (passed == -ENODEV) note_lost(tiers_[one.tier], pins_, services_);
  for (residency::locker_word *word : one.words) word->unpin();
  if (!one.words.empty()) pins_.note_frames();
  return true;
}

/// Takes up where it stopped: those of one stream may be over while another's are not.
bool stream_releases::step_some(size_t count) {
  bool any = false;
  for (; count != 0 && !held_.empty(); --count) {
    if (next_ >= held_.size()) next_ = 0;
    if (!look_at(held_[next_])) {
      ++next_;
      continue;
    }
    any = true;
    keep_list(std::move(held_[next_].words));
    std::swap(held_[next_], held_.back());
    held_.pop_back();
  }
  return any;
}

bool stream_releases::step() {
  if (empty()) return false;
  const std::lock_guard lock(mutex_);
  const bool any = step_some(held_.size());
  count_.store(held_.size(), std::memory_order_seq_cst);
  return any;
}

void stream_releases::add_words(uint32_t tier, std::vector<const residency::locker_word *> &out) {
  if (empty()) return;
  const std::lock_guard lock(mutex_);
  for (const held &one : held_) {
    if (one.tier == tier) out.insert(out.end(), one.words.begin(), one.words.end());
  }
}

}  // namespace cubby::engine
