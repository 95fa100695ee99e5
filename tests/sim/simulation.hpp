// One run: a world, a runtime inside it, random operations, and a shadow that knows what must be
// true. Everything follows from the seed.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "base/prng.hpp"
#include "sim/blocks.hpp"
#include "sim/event_log.hpp"
#include "sim/moves.hpp"
#include "sim/shadow.hpp"
#include "sim/world.hpp"

namespace sim {

/// What memory that a gather writes to holds before.
inline constexpr unsigned char not_written = 0xA5;

struct run_options {
  uint64_t seed = 1, steps = 5000;
  std::string policy;  // of the runtime; empty = one that the seed draws
};

struct violation {
  uint64_t seed = 0, step = 0;
  std::string promise, text;
  std::vector<std::string> last_events;
};

struct outcome {
  uint64_t seed = 0, steps = 0, event_hash = 0;
  std::vector<violation> violations;
  std::array<uint64_t, cubby_sim::fault_count> faults{};
  seen_set moves;
};

class simulation {
 public:
  explicit simulation(const run_options &options);
  simulation(const simulation &) = delete;
  simulation &operator=(const simulation &) = delete;
  ~simulation();

  /// Ends at the first violation: what comes after one follows from it.
  outcome run();
  /// Where the run is, for whoever reports that it ended by an assertion.
  [[nodiscard]] uint64_t step() const { return step_; }
  [[nodiscard]] const event_log &log() const { return log_; }

 private:
  using request_list = std::list<shadow_request>;

  // setup.cpp
  bool set_up();
  bool add_blocks();
  bool add_tier(const char *backend, const char *name, uint32_t rank, uint64_t budget_bytes,
                uint32_t flags = 0);
  bool lend(uint64_t bytes, cubby_region &region);
  void lay_out(shadow_bank &bank);
  void add_bank();
  void make_table(shadow_bank &bank);
  void make_experts(shadow_bank &bank);
  cubby_status map_bank(shadow_bank &bank);
  void index_bank(const std::shared_ptr<shadow_bank> &bank);
  void start_weather();
  void watch_faults();

  // operations.cpp
  void take_step();
  void do_pin();
  void do_unpin();
  void do_withdraw();
  void do_prefetch();
  void do_gather();
  void do_drop();
  void do_visit();
  void do_hint();
  void do_estimate();
  void do_cancel();
  void do_wait();
  void do_resize();
  void do_remove_bank();
  void do_change_file();
  void do_force_fault();
  void do_look();
  void do_time();

  // requests.cpp
  shadow_request &prepare(asked kind, uint32_t item_count);
  void fill_how(const shadow_request &r, cubby_how &how);
  std::vector<cubby_item> items_of(const shadow_request &r) const;
  void ask_pin(shadow_request &r);
  void ask_prefetch(shadow_request &r, bool forget);
  void ask_gather(shadow_request &r);
  void accepted(shadow_request &r);
  void refused(shadow_request &r, cubby_status status);
  [[nodiscard]] bool fits_easily(const shadow_request &r) const;
  void finish(shadow_request &r, int status);
  void finish_pin(shadow_request &r, int status);
  void finish_resize(shadow_request &r, int status);
  void finish_items(shadow_request &r, int status);
  void check_failure(const shadow_request &r, const shadow_item &item, int status);
  void take_completions(int queue, uint32_t max_count);
  void try_wait(request_list::iterator r);
  void forget(shadow_request &r);

  // checks.cpp
  [[gnu::format(printf, 3, 4)]] void violate(const char *promise, const char *format, ...);
  void check_everything();
  void check_landed(shadow_request &r);
  uint32_t read_log(uint32_t lines_max);
  void check_tiers();
  void look_at_stats(shadow_tier &tier, const cubby_tier_stats &now);
  bool check_bytes(const shadow_request &r, uint32_t item, bool whole);
  bool check_row(const shadow_request &r, uint32_t item, bool came);
  void hold(shadow_request &r, uint32_t item);
  void let_go(shadow_request &r, uint32_t item);
  [[nodiscard]] uint64_t held_bytes(uint32_t tier) const;

  // drain.cpp
  void poll(uint64_t now_ns);
  void drain();
  bool drain_once(uint32_t &idle_rounds);
  void release_all();
  void probe(uint32_t lockers_max);
  void end();

  shadow_bank *pick_bank();
  uint32_t pick_tier_to_pin();
  std::vector<uint32_t> pick_numbers(const shadow_bank &bank, uint32_t count);
  uint64_t frame_bytes_max(const shadow_bank &bank, uint32_t number) const;
  uint64_t frame_bytes_max() const;
  uint64_t outstanding(int queue) const;
  void saw(seen what) { moves_.set(static_cast<size_t>(what)); }
  bool chance(uint64_t percent) { return random_.below(100) < percent; }

  run_options options_;
  cubby::base::prng random_;
  cubby_sim::world world_;
  cubby_sim::fault_rates weather_{};
  bool calm_ = false;  // a world without faults
  cubby_handle *rt_ = nullptr;
  uint64_t now_ns_ = 1'000'000, next_ns_ = 0, polls_ = 0, step_ = 0;
  uint64_t next_drain_ = 0, next_number_ = 1, next_bank_ = 1;
  uint64_t total_frame_bytes_ = 0;
  uint32_t tickets_max_ = 0;
  bool has_host_ = false, has_device_ = false;
  /// Pins go to the device alone, so that host frames may rot: each is verified when it is copied.
  bool host_may_rot_ = false;
  bool copies_struck_ = false;  // a copy has failed since the world was last well
  bool any_struck_ = false;
  cubby_tier file_tier_ = 0;
  std::vector<shadow_tier> tiers_;
  std::vector<std::shared_ptr<shadow_bank>> banks_;
  struct indexed {
    uint64_t offset_bytes, end_bytes;
    shadow_locker *locker;
    std::shared_ptr<shadow_bank> bank;
  };
  std::map<std::string, std::vector<indexed>> index_;  // by file, in the order of offsets
  struct completion_queue {
    cubby_cq *cq = nullptr;
    uint32_t capacity = 0;
  };
  std::vector<completion_queue> queues_;
  request_list alive_, held_;
  struct alignas(4096) page {
    unsigned char bytes[4096];
  };
  std::unique_ptr<block_sessions> blocks_;  // in some runs
  std::vector<page> lent_;                  // a tier's frames, when it has them from us
  event_log log_;
  seen_set moves_;
  std::vector<violation> violations_;
};

}  // namespace sim
