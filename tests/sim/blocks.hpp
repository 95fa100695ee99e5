// Sessions over KV blocks in the simulated runtime: they grow, fork, are read, leased and dropped,
// in several spaces whose keys have the same names. What each key's bytes are is known here; what
// is evicted is not.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "base/prng.hpp"
#include "sim/event_log.hpp"

namespace sim {

class block_sessions {
 public:
  struct surroundings {
    cubby_handle *rt = nullptr;
    cubby_tier tier = 0;  // where blocks are reserved and pinned
    cubby::base::prng &random;
    event_log &log;
    const uint64_t &step;
    std::function<void(const std::string &)> violate;
  };

  explicit block_sessions(const surroundings &around) : around_(around) {}

  /// A bank and spaces. After a violation it is false.
  bool set_up();
  void take_step();
  /// One leased block is looked at.
  void check();
  /// Leases and reservations end.
  void release_all();

 private:
  struct block {
    uint32_t parent = 0;  // 0 = a root
    uint64_t bytes = 0;
    bool known = false;  // it may be found: put, and not dropped
    uint32_t lease_count = 0;
    bool reserved = false;
  };
  struct space {
    cubby_space handle = 0;
    uint64_t ordinal = 0;  // counts spaces ever made
    std::map<uint32_t, block> blocks;
  };
  struct session {
    size_t space = 0;
    std::vector<uint32_t> keys;
  };
  struct lease {
    size_t space = 0;
    cubby_pins handle = 0;
    std::vector<uint32_t> keys;
  };
  struct reservation {
    size_t space = 0;
    cubby_pins handle = 0;
    std::vector<uint32_t> keys;
  };
  struct item_list;

  bool add_space(space &to);
  bool violate(const std::string &text) {
    around_.violate(text);
    return false;
  }
  [[nodiscard]] bool chance(uint64_t percent) { return around_.random.below(100) < percent; }
  session &pick_session();
  [[nodiscard]] std::string content(const space &of, uint32_t number) const;
  std::vector<uint32_t> new_keys(const session &of, uint32_t count);
  std::vector<uint8_t> states_of(const session &of, uint32_t *hits = nullptr);
  bool check_states(const session &of, const std::vector<uint8_t> &states, uint32_t hits);
  bool get(const space &of, uint32_t number, bool must);
  bool may_drop(size_t at) const;

  void do_put();
  void do_put_again();
  void do_match();
  void do_get();
  void do_pin();
  void do_fork();
  void do_lease();
  void do_lease_end();
  void do_drop();
  void do_reserve();
  void do_commit();
  void do_replace_space();
  void end_lease(size_t at);
  void commit(size_t at, bool publish);

  surroundings around_;
  cubby_bank bank_ = 0;
  uint64_t next_space_ = 1;
  std::vector<space> spaces_;
  std::vector<session> sessions_;
  std::vector<lease> leases_;
  std::vector<reservation> reservations_;
};

}  // namespace sim
