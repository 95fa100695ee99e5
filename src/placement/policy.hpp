// A placement policy decides who leaves a memory tier. Pure: no clock, no I/O, no allocation after
// create; the same calls give the same answers. Objects are dense indices; sizes differ. One policy
// serves one tier.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace cubby::placement {

using object = uint32_t;
inline constexpr object no_object = ~object{0};

struct policy_config {
  uint32_t object_count = 0;  // objects 0..object_count-1
  uint64_t seed = 0;
};

class policy {
 public:
  virtual ~policy() = default;

  /// These objects were used together (one layer of one token), resident or not. In the order
  /// given.
  virtual void visit(std::span<const object> used) = 0;
  /// The object now lives in the tier / no longer does.
  virtual void inserted(object who) = 0;
  virtual void removed(object who) = 0;

  /// Begin proposing victims; then next_victim() names resident objects from the least worth
  /// keeping on, each at most once, no_object when there are no more. The caller skips what is
  /// pinned and calls removed() for what it takes; visit() and inserted() are not called between
  /// begin_victims() and the last next_victim() of a round.
  virtual void begin_victims() = 0;
  virtual object next_victim() = 0;

  /// Room for more objects (a bank was added). The only call that may allocate after create.
  virtual void grow(uint32_t object_count) = 0;
  /// Bytes of state.
  [[nodiscard]] virtual uint64_t state_bytes() const = 0;
};

/// Names for cubby_policy_list(); "auto" is first and stands for the library's choice.
std::span<const char *const> policy_names();

/// nullptr when the name is unknown.
std::unique_ptr<policy> make_policy(std::string_view name, const policy_config &config);

}  // namespace cubby::placement
