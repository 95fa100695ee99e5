// policy.hpp: a placement policy as a C++20 class. The class says what it does; policy_ops<> makes
// of it the table of operations of policy.h. A member that is not there takes its default:
//
//   class fifo {
//    public:
//     explicit fifo(const cubby_policy_config &config);        // may throw std::bad_alloc
//     void used(cubby_object object);                          // by a visit or an access
//     void inserted(cubby_object object, uint64_t bytes);
//     void removed(cubby_object object);
//     void begin_victims(const cubby_policy_need &need);
//     cubby_object next_victim();
//     void grow(const cubby_policy_config &config);            // may throw std::bad_alloc
//     uint64_t state_bytes() const;
//   };
//   extern "C" const cubby_policy_ops *cubby_policy_entry() {
//     static const cubby_policy_ops ops = cubby::policy_ops<fifo>("fifo", CUBBY_POLICY_EXPERTS);
//     return &ops;
//   }
//
// Instead of used(): visit(const cubby_policy_visit &) and access(const cubby_policy_access &).
// Optional: admit(incoming, victim), hint(const cubby_policy_hint &), forget(object),
// describe(cubby_policy_stats &), which adds to the counters of this
// wrapper.
#ifndef CUBBY_POLICY_HPP
#define CUBBY_POLICY_HPP
#include <cubby/policy.h>

#include <cerrno>
#include <new>

namespace cubby {

/// An instance behind the C interface: the policy and the counters that every policy has.
template <class P>
struct policy_instance {
  /// Made by create().
  explicit policy_instance(const cubby_policy_config &config) : policy(config) {}

  P policy;                     ///< the policy itself
  uint64_t used_count = 0;      ///< for cubby_policy_stats
  uint64_t insert_count = 0;    ///< for cubby_policy_stats
  uint64_t remove_count = 0;    ///< for cubby_policy_stats
  uint64_t declined_count = 0;  ///< for cubby_policy_stats

  /// The instance behind a handle.
  static policy_instance &of(cubby_policy *handle) {
    return *reinterpret_cast<policy_instance *>(handle);
  }
  /// As above.
  static const policy_instance &of(const cubby_policy *handle) {
    return *reinterpret_cast<const policy_instance *>(handle);
  }
};

namespace detail {

template <class P>
void policy_visit(cubby_policy *handle, const cubby_policy_visit *visit) {
  auto &self = policy_instance<P>::of(handle);
  self.used_count += visit->used_count;
  if constexpr (requires { self.policy.visit(*visit); }) {
    self.policy.visit(*visit);
  } else {
    for (uint32_t i = 0; i < visit->used_count; ++i) self.policy.used(visit->used[i]);
  }
}

template <class P>
void policy_access(cubby_policy *handle, const cubby_policy_access *access) {
  auto &self = policy_instance<P>::of(handle);
  ++self.used_count;
  if constexpr (requires { self.policy.access(*access); }) {
    self.policy.access(*access);
  } else {
    self.policy.used(access->object);
  }
}

template <class P>
void policy_stats(const cubby_policy *handle, cubby_policy_stats *out) {
  const auto &self = policy_instance<P>::of(handle);
  out->used_count = self.used_count;
  out->insert_count = self.insert_count;
  out->remove_count = self.remove_count;
  out->declined_count = self.declined_count;
  out->state_bytes = sizeof self + self.policy.state_bytes() - sizeof(P);
  if constexpr (requires { self.policy.describe(*out); }) self.policy.describe(*out);
}

}  // namespace detail

/// The table of operations of a policy class. Exceptions of its constructor and grow() become
/// -ENOMEM; the other members must not throw.
template <class P>
cubby_policy_ops policy_ops(const char *name, uint32_t flags) {
  using instance = policy_instance<P>;
  cubby_policy_ops ops = {};
  ops.struct_size = sizeof ops;
  ops.abi_version = CUBBY_POLICY_ABI_VERSION;
  ops.name = name;
  ops.flags = flags;
  ops.create = [](const cubby_policy_config *config, cubby_policy **out) -> int32_t {
    try {
      *out = reinterpret_cast<cubby_policy *>(new instance(*config));
    } catch (...) {
      return -ENOMEM;
    }
    return 0;
  };
  ops.destroy = [](cubby_policy *handle) { delete &instance::of(handle); };
  ops.visit = detail::policy_visit<P>;
  ops.access = detail::policy_access<P>;
  ops.inserted = [](cubby_policy *handle, cubby_object object, uint64_t bytes) {
    ++instance::of(handle).insert_count;
    instance::of(handle).policy.inserted(object, bytes);
  };
  ops.removed = [](cubby_policy *handle, cubby_object object) {
    ++instance::of(handle).remove_count;
    instance::of(handle).policy.removed(object);
  };
  ops.begin_victims = [](cubby_policy *handle, const cubby_policy_need *need) {
    instance::of(handle).policy.begin_victims(*need);
  };
  ops.next_victim = [](cubby_policy *handle) { return instance::of(handle).policy.next_victim(); };
  if constexpr (requires(P p) { p.admit(cubby_object{}, cubby_object{}); }) {
    ops.admit = [](cubby_policy *handle, cubby_object incoming, cubby_object victim) -> int32_t {
      const bool admitted = instance::of(handle).policy.admit(incoming, victim);
      if (!admitted) ++instance::of(handle).declined_count;
      return admitted ? 1 : 0;
    };
  }
  if constexpr (requires(P p, const cubby_policy_hint &h) { p.hint(h); }) {
    ops.hint = [](cubby_policy *handle, const cubby_policy_hint *hint) -> int32_t {
      return instance::of(handle).policy.hint(*hint) ? 1 : 0;
    };
  }
  if constexpr (requires(P p) { p.forget(cubby_object{}); }) {
    ops.forget = [](cubby_policy *handle, cubby_object object) {
      instance::of(handle).policy.forget(object);
    };
  }
  ops.grow = [](cubby_policy *handle, const cubby_policy_config *config) -> int32_t {
    try {
      instance::of(handle).policy.grow(*config);
    } catch (...) {
      return -ENOMEM;
    }
    return 0;
  };
  ops.stats = detail::policy_stats<P>;
  return ops;
}

}  // namespace cubby
#endif
