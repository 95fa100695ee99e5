// KV blocks over a store whose process ends again and again: closed, killed, or by a power cut that
// loses what was not flushed. What was acknowledged as CUBBY_KEEP_RESTART or _DURABLE has to be
// found afterwards with its bytes, what was not to outlive the process is gone, and nothing is
// found with other bytes than its key's. Two tenants use the same names for different blocks,
// chains fork, and what a lease holds is neither lost nor dropped.
#pragma once
#include <array>
#include <filesystem>
#include <list>

#include "sim/power.hpp"
#include "sim/simulation.hpp"

namespace sim {

class stored_run {
 public:
  explicit stored_run(const run_options &options);
  stored_run(const stored_run &) = delete;
  stored_run &operator=(const stored_run &) = delete;
  ~stored_run();

  /// Ends at the first violation.
  outcome run();
  [[nodiscard]] uint64_t step() const { return step_; }
  [[nodiscard]] const event_log &log() const { return log_; }

 private:
  struct block {
    uint32_t parent = 0;  // 0 = a root
    uint64_t bytes = 0;
    /// Acknowledged, and not dropped since; what of CUBBY_KEEP_* it has been promised.
    bool known = false;
    uint8_t keep = CUBBY_KEEP_CACHE;
    bool pending = false;      // a put of it is on its way
    bool stored_ever = false;  // it may be found in another life
    bool only_durable = true;  // no put of it has asked for less
    /// By a power cut. That it goes may not be recorded before the next life, which finds it again.
    bool damaged = false;
  };
  struct lease {
    uint32_t number = 0;
    cubby_pins handle = 0;
    uint64_t until_ns = 0;
  };
  struct put {
    uint32_t number = 0;
    uint8_t keep = 0;
    cubby_ticket ticket = 0;
  };

  [[nodiscard]] cubby_space space_of(uint32_t number) const { return spaces_[number % tenants]; }
  bool add_space(uint32_t tenant);
  bool open();
  bool add_tiers();
  void end_life() { end_life(static_cast<ending>(chance(50) ? 2 : random_.below(2))); }
  void end_life(ending how);
  [[nodiscard]] bool hasty_life(bool flush_failed);
  void check_all(ending how);
  void check_found(block &one, uint32_t number, ending how);
  [[nodiscard]] bool is_found(uint32_t number);

  void take_step();
  void do_put();
  void ask(uint32_t number, uint8_t keep);
  void do_get();
  void do_drop();
  void do_lease();
  void end_lease();
  void do_space();
  void do_time();
  void take_ended();
  void ended(const put &one, int status);

  cubby_status get(uint32_t number, std::string &into);
  bool poll();
  [[nodiscard]] std::string content(uint32_t number) const;
  [[nodiscard]] uint32_t pick(bool known);
  [[nodiscard]] uint32_t pick_parent(uint32_t number);
  [[nodiscard]] bool is_leased(uint32_t number) const;
  [[nodiscard]] size_t known_count() const;
  [[nodiscard]] bool chance(uint64_t percent) { return random_.below(100) < percent; }
  void violate(const std::string &text);

  const run_options options_;
  const uint64_t steps_;
  cubby::base::prng random_;
  std::filesystem::path folder_;
  cubby_sim::world world_;
  power power_;
  bool calm_ = true;  // nothing fails in this life
  cubby_handle *rt_ = nullptr;
  cubby_bank bank_ = 0;
  static constexpr uint32_t tenants = 2;
  std::array<cubby_space, tenants> spaces_{};
  uint64_t now_ns_ = 1'000'000, next_ns_ = 0, step_ = 0, next_end_ = 0;
  std::map<uint32_t, block> blocks_;
  std::list<put> puts_;
  std::vector<lease> leases_;
  event_log log_;
  seen_set moves_;
  std::vector<violation> violations_;
};

}  // namespace sim
