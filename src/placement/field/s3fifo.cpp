// S3-FIFO: Yang, Zhang, Qiu, Yue and Vinayak, "FIFO Queues Are All You Need for Cache Eviction",
// SOSP 2023. A small queue of a tenth of the cache, a main queue, and a queue of ghosts as long as
// the main one; two bits of frequency an object.
#include <cubby/policy.hpp>

#include "placement/describe.hpp"
#include "placement/newcomers.hpp"
#include "placement/object_list.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

class s3fifo {
 public:
  explicit s3fifo(const cubby_policy_config &config)
      : lists_(3, config.object_count),
        frequency_(config.object_count),
        round_of_(config.object_count) {
    set_sizes(config);
  }

  void used(cubby_object object) {
    newcomers_.settle();
    if (resident(object) && frequency_[object] < 3) ++frequency_[object];
  }
  void inserted(cubby_object object, uint64_t) {
    if (resident(object)) return;
    const uint8_t from = lists_.list_of(object);
    lists_.renew(from == ghosts ? main : small, object);
    newcomers_.came(object, from);
    frequency_[object] = 0;
  }
  void removed(cubby_object object) {
    walk_.leaving(lists_, object);
    if (const auto from = resident(object) ? newcomers_.take(object) : std::nullopt) {
      lists_.take(object);
      if (*from == ghosts) lists_.renew(ghosts, object);
    } else if (lists_.list_of(object) == small) {
      lists_.renew(ghosts, object);
      while (lists_.size(ghosts) > main_size_) lists_.take(lists_.oldest(ghosts));
    } else if (lists_.list_of(object) == main) {
      lists_.take(object);
    }
    if (proposed_ == object) proposed_ = CUBBY_NO_OBJECT;
  }
  void begin_victims(const cubby_policy_need &) {
    proposed_ = CUBBY_NO_OBJECT;
    ++round_;
    walking_ = false;
  }
  /// Who was passed over goes to the newest end of its queue, as if it had just come. When the
  /// queues come round to one already named, the others follow in the queues' order.
  cubby_object next_victim() {
    while (!walking_) {
      if (proposed_ != CUBBY_NO_OBJECT) lists_.renew(lists_.list_of(proposed_), proposed_);
      proposed_ = choose();
      if (proposed_ != CUBBY_NO_OBJECT && round_of_[proposed_] != round_) {
        round_of_[proposed_] = round_;
        newcomers_.named(proposed_);
        return proposed_;
      }
      walking_ = true;
      walked_ = small;
      walk_.begin(lists_, small);
    }
    for (;;) {
      const cubby_object object = walk_.next(lists_);
      if (object != CUBBY_NO_OBJECT && round_of_[object] != round_) {
        newcomers_.named(object);
        return object;
      }
      if (object != CUBBY_NO_OBJECT) continue;
      if (walked_ == main) return object;
      walked_ = main;
      walk_.begin(lists_, main);
    }
  }
  void forget(cubby_object object) { lists_.take(object); }
  void grow(const cubby_policy_config &config) {
    lists_.grow(config.object_count);
    if (config.object_count > frequency_.size()) {
      frequency_.resize(config.object_count);
      round_of_.resize(config.object_count);
    }
    set_sizes(config);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + lists_.bytes() + frequency_.capacity() +
           round_of_.capacity() * sizeof(uint32_t);
  }

 private:
  static constexpr uint8_t small = 0, main = 1, ghosts = 2;

  void set_sizes(const cubby_policy_config &config) {
    const uint32_t capacity = capacity_of(config);
    small_size_ = std::max(1u, capacity / 10);
    main_size_ = std::max(1u, capacity - small_size_);
  }
  [[nodiscard]] bool resident(cubby_object object) const { return lists_.list_of(object) <= main; }

  cubby_object choose() {
    cubby_object object = CUBBY_NO_OBJECT;
    if (lists_.size(small) >= small_size_ || lists_.size(main) == 0) object = from_small();
    if (object == CUBBY_NO_OBJECT) object = from_main();
    return object == CUBBY_NO_OBJECT ? from_small() : object;
  }
  cubby_object from_small() {
    while (lists_.size(small) > 0) {
      const cubby_object object = lists_.oldest(small);
      if (frequency_[object] <= 1) return object;
      frequency_[object] = 0;  // as the authors' code has it; the paper's listing leaves it open
      lists_.renew(main, object);
      if (lists_.size(main) > main_size_) return from_main();
    }
    return CUBBY_NO_OBJECT;
  }
  cubby_object from_main() {
    while (lists_.size(main) > 0) {
      const cubby_object object = lists_.oldest(main);
      if (frequency_[object] == 0) return object;
      --frequency_[object];
      lists_.renew(main, object);
    }
    return CUBBY_NO_OBJECT;
  }

  object_lists lists_;
  newcomers newcomers_;
  std::vector<uint8_t> frequency_;
  std::vector<uint32_t> round_of_;  // in which each was last named
  uint32_t small_size_ = 1, main_size_ = 1;
  cubby_object proposed_ = CUBBY_NO_OBJECT;
  list_walk walk_;
  uint32_t round_ = 0;
  uint8_t walked_ = small;
  bool walking_ = false;
};

}  // namespace

const cubby_policy_ops &s3fifo_ops() {
  static const cubby_policy_ops ops =
      policy_ops<s3fifo>("s3-fifo", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement
