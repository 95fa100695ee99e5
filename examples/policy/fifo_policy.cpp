// First in, first out, as a policy of one's own: a shared library that links nothing of cubby.
//   cubby replay --simulate --trace T --policy ./libfifo_policy.so,lru
#include <cubby/policy.hpp>
#include <vector>

class fifo {
 public:
  explicit fifo(const cubby_policy_config &config) { grow(config); }

  void used(cubby_object) {}  // FIFO does not care
  void inserted(cubby_object who, uint64_t) {
    order_[who] = ++count_;
    queue_[tail_++ % queue_.size()] = {who, count_};
  }
  void removed(cubby_object who) { order_[who] = 0; }
  void begin_victims(const cubby_policy_need &) {
    while (head_ != tail_ && gone(head_)) ++head_;  // entries of those that left
    at_ = head_;
  }
  cubby_object next_victim() {
    while (at_ != tail_ && gone(at_)) ++at_;
    return at_ == tail_ ? CUBBY_NO_OBJECT : queue_[at_++ % queue_.size()].who;
  }
  void grow(const cubby_policy_config &config) {
    // Twice as long as there are objects: entries of those that left are skipped when they come up.
    std::vector<entry> longer(2 * config.object_count + 2);
    uint64_t kept = 0;
    for (uint64_t i = head_; i != tail_; ++i)
      if (!gone(i)) longer[kept++] = queue_[i % queue_.size()];
    head_ = 0;
    tail_ = kept;
    queue_ = std::move(longer);
    order_.resize(config.object_count);
  }
  uint64_t state_bytes() const {
    return sizeof *this + queue_.size() * sizeof(entry) + order_.size() * sizeof(uint64_t);
  }

 private:
  struct entry {
    cubby_object who;
    uint64_t order;
  };
  bool gone(uint64_t at) const {
    const entry &one = queue_[at % queue_.size()];
    return order_[one.who] != one.order;
  }

  std::vector<entry> queue_;
  std::vector<uint64_t> order_;  // when each came; 0 = not here
  uint64_t head_ = 0, tail_ = 0, at_ = 0, count_ = 0;
};

extern "C" __attribute__((visibility("default"))) const cubby_policy_ops *cubby_policy_entry() {
  static const cubby_policy_ops ops =
      cubby::policy_ops<fifo>("fifo", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return &ops;
}
