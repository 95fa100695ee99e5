// A trace through one policy at one capacity. How hits are counted, so that figures can be
// compared: experts are found or not when their visit begins, and what is used in a visit is pinned
// until it ends; of KV requests the leading run of resident blocks counts, then all blocks are
// touched, the last first. Cold misses count.
#pragma once

#include <cubby/policy.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "cli/outcome.hpp"
#include "cli/replay/walk/schedule.hpp"

namespace cubby_cli::replay {

/// Hears what becomes of the uses of a trace.
class observer {
 public:
  virtual ~observer() = default;
  /// A visit of experts, or one request's blocks, begins; each kind has its own numbers. `missing`
  /// are not there: of experts in the order of `used`; of KV those beyond the leading run.
  virtual void used(uint64_t number, std::span<const cubby_object> used,
                    std::span<const cubby_object> missing) = 0;
  virtual void came(cubby_object object) = 0;
  virtual void left(cubby_object object) = 0;
  /// The places of what was missing have been given.
  virtual void ended() = 0;
};

/// One that has something to say in the end.
class reporter : public observer {
 public:
  /// Fields for the object of --json.
  [[nodiscard]] virtual nlohmann::json report() = 0;
};

/// What a miss costs, by kind; 0 = not known.
struct miss_costs {
  uint64_t expert_ns = 0, block_ns = 0;
};

struct simulation {
  const cubby_policy_ops *policy = nullptr;
  std::string name;       // what it is called where it breaks the rules
  uint64_t capacity = 0;  // bytes
  uint64_t seed = 0;
  miss_costs refetch;
  std::vector<observer *> watchers;  // get events in pieces, later than they happen
};

struct simulated {
  uint64_t accesses = 0, hits = 0;
  uint64_t visits = 0;  // layer visits and blocks touched
  double ns_per_visit = 0;
  uint64_t state_bytes = 0;
  std::string warning;  // what the policy has to say
};

/// One policy at one capacity on its way through a trace.
class walk {
 public:
  walk() = default;
  virtual ~walk() = default;
  walk(const walk &) = delete;
  walk &operator=(const walk &) = delete;
  /// Plays a piece of it; false at the end, or where the policy broke the rules.
  virtual bool advance() = 0;
  /// Of the trace, what lies behind it.
  [[nodiscard]] virtual double part() const = 0;
  /// What was found, or which rule the policy broke.
  [[nodiscard]] virtual outcome<simulated> finish() const = 0;
};

/// What is walked through. Where all lockers are alike one is a byte, so that a capacity in bytes
/// is a number of lockers.
struct course {
  const expert_schedule *visits = nullptr;     // none in a trace of KV blocks
  const request_schedule *requests = nullptr;  // none in a trace of experts
  uint64_t expert_bytes = 1, block_bytes = 1;

  /// Of a trace that has both kinds.
  [[nodiscard]] bool is_block(cubby_object object) const { return object >= requests->first_block; }
  /// Of what an observer hears there. No visit is without a use.
  [[nodiscard]] bool is_request(std::span<const cubby_object> used) const {
    return used.empty() || is_block(used.front());
  }
};
outcome<std::unique_ptr<walk>> make_walk(const course &of, const simulation &how);
/// A whole walk at once.
outcome<simulated> simulate(const course &of, const simulation &how);

}  // namespace cubby_cli::replay
