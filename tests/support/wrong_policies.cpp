// A policy that keeps every rule but the one that CUBBY_WRONG_POLICY names, for tests of `cubby
// conformance`; with no such variable it keeps all of them. It links nothing of cubby.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cubby/policy.hpp>
#include <string>
#include <vector>

namespace {

bool wrong(const char *how) {
  const char *said = std::getenv("CUBBY_WRONG_POLICY");
  return said != nullptr && std::string(said) == how;
}

/// Whoever has the lowest number leaves first.
class by_number {
 public:
  explicit by_number(const cubby_policy_config &config) {
    if (wrong("no_bank") && config.bank_count == 0) std::abort();
    grow(config);
    if (wrong("never_freed")) leaked_ = std::malloc(64);
  }

  void visit(const cubby_policy_visit &visit) {
    if (wrong("row") && visit.row >= here_.size()) std::abort();
    if (wrong("borrows")) {
      void *volatile piece = std::malloc(48);
      std::free(piece);
    }
    if (wrong("keeps_memory")) history_.push_back(visit.row);
    if (wrong("prints")) std::puts("visited");
  }
  void access(const cubby_policy_access &) {}
  void inserted(cubby_object object, uint64_t) { here_[object] = 1; }
  void removed(cubby_object object) {
    here_[object] = 0;
    passed_[object] = 0;
  }
  void begin_victims(const cubby_policy_need &) {
    at_ = 0;
    order_count_ = 0;
    for (cubby_object object = 0; object < here_.size(); ++object)
      if (here_[object] != 0) order_[order_count_++] = object;
    if (wrong("chance") && order_count_ > 1)
      std::swap(order_[0], order_[static_cast<uint32_t>(std::rand()) % order_count_]);
    if (wrong("misses_last") && order_count_ > 1) --order_count_;
  }
  cubby_object next_victim() {
    if (wrong("none")) return CUBBY_NO_OBJECT;
    if (wrong("throws")) throw 1;
    while (wrong("hangs")) {
    }
    while (at_ != order_count_ && here_[order_[at_]] == 0) ++at_;
    if (at_ == order_count_) return CUBBY_NO_OBJECT;
    // Once it was passed over so often, it is named without end.
    if (wrong("pins") && ++passed_[order_[at_]] > 400) return order_[at_];
    return wrong("same") ? order_[at_] : order_[at_++];
  }
  bool admit(cubby_object, cubby_object) { return true; }
  bool hint(const cubby_policy_hint &what) {
    if (wrong("hint") && what.kind > CUBBY_POLICY_HINT_PRIORITY) std::abort();
    return false;
  }
  void forget(cubby_object object) {
    if (wrong("forget")) here_[object] = 1;
  }
  void grow(const cubby_policy_config &config) {
    if (wrong("grow")) here_.clear();
    here_.resize(config.object_count);
    order_.resize(config.object_count);
    passed_.resize(config.object_count);
  }
  uint64_t state_bytes() const { return sizeof *this + here_.size() * 9; }
  void describe(cubby_policy_stats &out) const {
    if (wrong("counters")) out.insert_count = 7;
    if (wrong("no_state")) out.state_bytes = 0;
  }

 private:
  std::vector<uint8_t> here_;
  std::vector<cubby_object> order_;  // of this round
  std::vector<uint32_t> passed_;     // how often named since it came
  uint32_t order_count_ = 0, at_ = 0;
  std::vector<uint32_t> history_;
  void *volatile leaked_ = nullptr;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const cubby_policy_ops *cubby_policy_entry() {
  static cubby_policy_ops ops;
  ops = cubby::policy_ops<by_number>("by-number", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  if (wrong("flagless")) ops.flags = 0;
  if (wrong("refuses"))
    ops.create = [](const cubby_policy_config *, cubby_policy **) -> int32_t { return -EINVAL; };
  return &ops;
}
