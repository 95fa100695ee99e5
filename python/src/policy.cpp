// A placement policy alone, without a runtime: policy.h for whoever keeps the books in Python.
#include <cubby/policy.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <new>
#include <optional>
#include <vector>

#include "errors.hpp"
#include "handles.hpp"
#include "request.hpp"

namespace pycubby {

namespace {

class policy {
 public:
  policy(const std::string &name, uint32_t object_count, uint64_t budget_bytes,
         uint64_t object_bytes, uint64_t seed)
      : ops_(cubby_policy_find(name.c_str())), count_(object_count) {
    if (ops_ == nullptr) {
      throw nb::value_error(
          ("no policy is called " + name + "; cubby.policies() lists them").c_str());
    }
    if ((ops_->flags & CUBBY_POLICY_KV) == 0) {
      throw nb::value_error((name + " is not made for KV blocks").c_str());
    }
    if ((ops_->flags & CUBBY_POLICY_OFFLINE) != 0) {
      throw nb::value_error((name + " needs to know the future; it is for replays").c_str());
    }
    cubby_policy_bank bank{};
    bank.struct_size = sizeof bank;
    bank.kind = CUBBY_POLICY_BANK_KV;
    bank.rows = 1;
    bank.columns = object_count;
    bank.object_bytes = object_bytes;
    cubby_policy_config config{};
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_POLICY_ABI_VERSION;
    config.banks = &bank;
    config.bank_count = 1;
    config.object_count = object_count;
    config.budget_bytes = budget_bytes;
    config.seed = seed;
    const int32_t made = ops_->create(&config, &self_);
    if (made == -12) throw std::bad_alloc();
    if (made != 0) throw nb::value_error((name + " makes no sense of these sizes").c_str());
    try {
      resident_.resize(object_count);
    } catch (...) {
      ops_->destroy(self_);
      throw;
    }
  }
  policy(const policy &) = delete;
  policy &operator=(const policy &) = delete;
  ~policy() { ops_->destroy(self_); }

  bool head_first() const noexcept { return (ops_->flags & CUBBY_POLICY_HEAD_FIRST) != 0; }
  const char *name() const noexcept { return ops_->name; }

  void access(uint32_t object, std::optional<uint32_t> parent, uint32_t depth, bool last,
              uint64_t number, uint64_t now_ns) {
    cubby_policy_access access{};
    access.struct_size = sizeof access;
    access.object = checked(object);
    access.parent = parent ? checked(*parent) : CUBBY_NO_OBJECT;
    access.depth = depth;
    access.last = last ? 1 : 0;
    access.next_use = CUBBY_NEVER_USED;
    access.number = number;
    access.now_ns = now_ns;
    in_round_ = false;
    ops_->access(self_, &access);
  }
  void inserted(uint32_t object, uint64_t bytes) {
    if (resident_[checked(object)]) throw nb::value_error("the object is resident already");
    in_round_ = false;
    ops_->inserted(self_, object, bytes);
    resident_[object] = true;
  }
  void removed(uint32_t object) {
    if (!resident_[checked(object)]) throw nb::value_error("the object is not resident");
    ops_->removed(self_, object);
    resident_[object] = false;
  }
  void forget(uint32_t object) {
    if (resident_[checked(object)])
      throw nb::value_error("the object is resident: removed() first");
    if (ops_->forget != nullptr) ops_->forget(self_, object);
  }
  void begin_victims(uint64_t bytes, std::optional<uint32_t> incoming, uint64_t now_ns) {
    cubby_policy_need need{};
    need.struct_size = sizeof need;
    need.incoming = incoming ? checked(*incoming) : CUBBY_NO_OBJECT;
    need.bytes = bytes;
    need.now_ns = now_ns;
    ops_->begin_victims(self_, &need);
    in_round_ = true;
  }
  std::optional<uint32_t> next_victim() {
    if (!in_round_) throw nb::value_error("begin_victims() first");
    const cubby_object named = ops_->next_victim(self_);
    if (named == CUBBY_NO_OBJECT) {
      in_round_ = false;
      return std::nullopt;
    }
    return named;
  }
  bool admit(uint32_t incoming, uint32_t victim) {
    return ops_->admit == nullptr || ops_->admit(self_, checked(incoming), checked(victim)) != 0;
  }
  bool hint(nb::handle kind, const std::vector<uint32_t> &objects, uint64_t when_ns,
            uint32_t priority, uint64_t ttl_ns, uint64_t now_ns) {
    cubby_policy_hint hint{};
    hint.struct_size = sizeof hint;
    hint.kind = hint_kind_of(kind);
    hint.priority = priority;
    hint.object_count = static_cast<uint32_t>(objects.size());
    for (const uint32_t object : objects) checked(object);
    hint.objects = objects.data();
    hint.when_ns = when_ns;
    hint.ttl_ns = ttl_ns;
    hint.now_ns = now_ns;
    return ops_->hint != nullptr && ops_->hint(self_, &hint) != 0;
  }
  nb::dict stats() const {
    cubby_policy_stats s{};
    s.struct_size = sizeof s;
    ops_->stats(self_, &s);
    nb::dict out;
    out["fallback"] = s.fallback != 0;
    out["state_bytes"] = s.state_bytes;
    out["used_count"] = s.used_count;
    out["insert_count"] = s.insert_count;
    out["remove_count"] = s.remove_count;
    out["fallback_count"] = s.fallback_count;
    out["warning"] = static_cast<const char *>(s.warning);
    return out;
  }

 private:
  uint32_t checked(uint32_t object) const {
    if (object >= count_) throw nb::index_error("no such object: object_count are fewer");
    return object;
  }

  const cubby_policy_ops *const ops_;
  const uint32_t count_;
  cubby_policy *self_ = nullptr;
  bool in_round_ = false;
  std::vector<bool>
      resident_;  // a policy's lists do not bear an object twice, or one that is not there
};

void bind_uses(nb::class_<policy> &c) {
  c.def("access", &policy::access, nb::arg("object"), nb::arg("parent").none() = nb::none(),
        nb::arg("depth") = 0, nb::arg("last") = false, nb::kw_only(), nb::arg("number"),
        nb::arg("now_ns"),
        "An object is used, resident or not. parent: the block before it in its prefix; depth: how "
        "many are; last: it is the last one of its request. number: requests before this one.")
      .def("inserted", &policy::inserted, nb::arg("object"), nb::arg("bytes"),
           "The object is resident from now on.")
      .def("removed", &policy::removed, nb::arg("object"), "The object is no longer resident.")
      .def("forget", &policy::forget, nb::arg("object"),
           "The number stands for something else from now on; it is not resident.");
}

}  // namespace

void bind_policies(nb::module_ &m) {
  nb::class_<policy> c(m, "Policy",
                       "A placement policy alone, for a cache of blocks that somebody else keeps; "
                       "policy.h says what has to be called when. Objects are numbers below "
                       "object_count; one that is inserted twice, or removed while it "
                       "is not there, is a ValueError. For one thread at a time.");
  c.def(nb::init<const std::string &, uint32_t, uint64_t, uint64_t, uint64_t>(), nb::arg("name"),
        nb::kw_only(), nb::arg("object_count"), nb::arg("budget_bytes"), nb::arg("object_bytes"),
        nb::arg("seed") = 0,
        "name: one of cubby.policies(). budget_bytes: what may be "
        "resident together; object_bytes: size of one.")
      .def_prop_ro("name", &policy::name)
      .def_prop_ro("head_first", &policy::head_first,
                   "Whether it takes a request's blocks from the first to the last; others take "
                   "them from the last to the first.");
  bind_uses(c);
  c.def("begin_victims", &policy::begin_victims, nb::arg("bytes"), nb::kw_only(),
        nb::arg("incoming").none() = nb::none(), nb::arg("now_ns"),
        "Room is needed: begins a round.")
      .def("next_victim", &policy::next_victim,
           "A resident object, the least worth keeping first, each once a round; None after the "
           "last.")
      .def("admit", &policy::admit, nb::arg("incoming"), nb::arg("victim"),
           "Whether the newcomer is worth the victim's place.")
      .def("hint", &policy::hint, nb::arg("kind"), nb::arg("objects"), nb::kw_only(),
           nb::arg("when_ns") = 0, nb::arg("priority") = 0, nb::arg("ttl_ns") = 0,
           nb::arg("now_ns"), "As Space.hint(); whether the policy has a use for it.")
      .def("stats", &policy::stats, "What the policy says of itself: a dict.");
}

}  // namespace pycubby
