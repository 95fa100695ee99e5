// A set of objects that knows who was used longest ago: host memory as the models see it.
#pragma once

#include <cubby/policy.h>

#include <vector>

namespace cubby_cli::replay {

/// Chained in two arrays, not nodes: a trace of KV has many blocks, and a replay many sets.
class lru_set {
 public:
  explicit lru_set(uint32_t objects) : end_(objects), after_(objects + 1, absent), before_(after_) {
    after_[end_] = before_[end_] = end_;
  }
  [[nodiscard]] bool has(cubby_object who) const { return after_[who] != absent; }
  [[nodiscard]] uint32_t size() const { return size_; }
  /// Of a set that is not empty.
  [[nodiscard]] cubby_object oldest() const { return after_[end_]; }
  /// Puts it in, if it is not there, as the one used last.
  void use(cubby_object who) {
    drop(who);
    before_[who] = before_[end_];
    after_[who] = end_;
    after_[before_[who]] = who;
    before_[end_] = who;
    ++size_;
  }
  void drop(cubby_object who) {
    if (!has(who)) return;
    after_[before_[who]] = after_[who];
    before_[after_[who]] = before_[who];
    after_[who] = absent;
    --size_;
  }

 private:
  static constexpr uint32_t absent = ~uint32_t{0};
  const uint32_t end_;  // closes the chain
  uint32_t size_ = 0;
  std::vector<uint32_t> after_, before_;
};

}  // namespace cubby_cli::replay
