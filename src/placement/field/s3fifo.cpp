// S3-FIFO: Yang, Zhang, Qiu, Yue and Vinayak, "FIFO Queues Are All You Need for Cache Eviction",
// SOSP 2023. A small queue of a tenth of the cache, a main queue, and a queue of ghosts as long as
// the main one; two bits of frequency an object.
#include <cubby/policy.hpp>

#include "placement/describe.hpp"
#include "placement/object_list.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

class s3fifo {
 public:
  explicit s3fifo(const cubby_policy_config &config)
      : lists_(3, config.object_count), frequency_(config.object_count) {
    set_sizes(config);
  }

  void used(cubby_object who) {
    if (resident(who) && frequency_[who] < 3) ++frequency_[who];
  }
  void inserted(cubby_object who, uint64_t) {
    if (resident(who)) return;
    lists_.renew(lists_.where(who) == ghosts ? main : small, who);
    frequency_[who] = 0;
  }
  void removed(cubby_object who) {
    if (lists_.where(who) == small) {
      lists_.renew(ghosts, who);
      while (lists_.size(ghosts) > main_size_) lists_.take(lists_.oldest(ghosts));
    } else if (lists_.where(who) == main) {
      lists_.take(who);
    }
    if (proposed_ == who) proposed_ = CUBBY_NO_OBJECT;
  }
  void begin_victims(const cubby_policy_need &) {
    proposed_ = CUBBY_NO_OBJECT;
    left_ = lists_.size(small) + lists_.size(main);
  }
  /// Who was passed over goes to the newest end of its queue, as if it had just come.
  cubby_object next_victim() {
    if (proposed_ != CUBBY_NO_OBJECT) lists_.renew(lists_.where(proposed_), proposed_);
    proposed_ = CUBBY_NO_OBJECT;
    if (left_ == 0) return CUBBY_NO_OBJECT;
    --left_;
    const bool small_first = lists_.size(small) >= small_size_ || lists_.size(main) == 0;
    if (small_first) proposed_ = from_small();
    if (proposed_ == CUBBY_NO_OBJECT) proposed_ = from_main();
    if (proposed_ == CUBBY_NO_OBJECT) proposed_ = from_small();
    return proposed_;
  }
  void forget(cubby_object who) { lists_.take(who); }
  void grow(const cubby_policy_config &config) {
    lists_.grow(config.object_count);
    if (config.object_count > frequency_.size()) frequency_.resize(config.object_count);
    set_sizes(config);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + lists_.bytes() + frequency_.capacity();
  }

 private:
  static constexpr uint8_t small = 0, main = 1, ghosts = 2;

  void set_sizes(const cubby_policy_config &config) {
    const uint32_t capacity = capacity_of(config);
    small_size_ = std::max(1u, capacity / 10);
    main_size_ = std::max(1u, capacity - small_size_);
  }
  [[nodiscard]] bool resident(cubby_object who) const { return lists_.where(who) <= main; }

  cubby_object from_small() {
    while (lists_.size(small) > 0) {
      const cubby_object who = lists_.oldest(small);
      if (frequency_[who] <= 1) return who;
      frequency_[who] = 0;  // as the authors' code has it; the paper's listing leaves it open
      lists_.renew(main, who);
      if (lists_.size(main) > main_size_) return from_main();
    }
    return CUBBY_NO_OBJECT;
  }
  cubby_object from_main() {
    while (lists_.size(main) > 0) {
      const cubby_object who = lists_.oldest(main);
      if (frequency_[who] == 0) return who;
      --frequency_[who];
      lists_.renew(main, who);
    }
    return CUBBY_NO_OBJECT;
  }

  object_lists lists_;
  std::vector<uint8_t> frequency_;
  uint32_t small_size_ = 1, main_size_ = 1;
  cubby_object proposed_ = CUBBY_NO_OBJECT;
  uint32_t left_ = 0;  // proposals of this round
};

}  // namespace

const cubby_policy_ops &s3fifo_ops() {
  static const cubby_policy_ops ops =
      policy_ops<s3fifo>("s3-fifo", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement
