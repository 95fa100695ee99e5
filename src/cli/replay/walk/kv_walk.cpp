#include "cli/replay/walk/house_walk.hpp"

namespace cubby_cli::replay {
namespace {

class kv_walk final : public house_walk {
 public:
  kv_walk(const kv_trace &of, const std::vector<uint32_t> &next, const simulation &how)
      : house_walk(how, bank_like(how, CUBBY_POLICY_BANK_KV, 1, of.unique, 0), 1),
        of_(of),
        next_(next),
        head_first_((how.policy->flags & CUBBY_POLICY_HEAD_FIRST) != 0) {
    found_.accesses = found_.visits = of.blocks.size();
  }
  [[nodiscard]] double part() const override {
    return of_.requests.empty()
               ? 1
               : static_cast<double>(at_) / static_cast<double>(of_.requests.size());
  }

 private:
  void play(uint64_t uses_max) override {
    for (uint64_t uses = 0; uses < uses_max && at_ < of_.requests.size(); ++at_) {
      uses += of_.requests[at_].block_count;
      if (!play(of_.requests[at_])) return;
    }
  }
  /// False when the policy broke the rules.
  bool play(const kv_request &request) {
    const uint32_t *blocks = of_.blocks.data() + request.first_block;
    uint32_t run = 0;
    while (run < request.block_count && keeper_.resident(blocks[run])) ++run;
    found_.hits += run;
    const bool watched = !how_.watchers.empty();
    if (watched)
      log_.used(at_, {blocks, request.block_count}, {blocks + run, request.block_count - run});
    // Copies that no call can change, so that they stay in registers.
    const cubby_policy_ops &ops = *how_.policy;
    cubby_policy *const policy = keeper_.policy();
    const bool offline = offline_, head_first = head_first_;
    cubby_policy_access access = {};
    access.struct_size = sizeof access;
    access.next_use = CUBBY_NEVER_USED;
    access.now_ns = request.at_ns;
    access.number = at_;
    bool good = true;
    for (uint32_t n = 0; n < request.block_count && good; ++n) {
      const uint32_t i = head_first ? n : request.block_count - 1 - n;
      access.object = blocks[i];
      access.parent = i == 0 ? CUBBY_NO_OBJECT : blocks[i - 1];
      access.depth = i;
      access.last = i + 1 == request.block_count ? 1 : 0;
      if (offline) access.next_use = from_next(next_[request.first_block + i]);
      const bool hit = keeper_.resident(blocks[i]);
      ops.access(policy, &access);
      good = hit || keeper_.bring(blocks[i], access.now_ns);
    }
    if (watched) log_.ended();
    return good;
  }

  const kv_trace &of_;
  const std::vector<uint32_t> &next_;
  const bool head_first_;
  uint64_t at_ = 0;
};

}  // namespace

outcome<std::unique_ptr<walk>> make_walk(const kv_trace &of, const std::vector<uint32_t> &next,
                                         const simulation &how) {
  return checked(std::make_unique<kv_walk>(of, next, how), how);
}

}  // namespace cubby_cli::replay
