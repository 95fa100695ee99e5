// A policy library for tests that breaks the rules. CUBBY_MISBEHAVIOUR says how: "twice" names the
// same resident for ever, "silent" names nobody, "absent" names who is not there, "create" cannot
// be made, "abi" is of another version, "namesake" has the name of one of the library's own.
#include <cerrno>
#include <cstdlib>
#include <cubby/policy.hpp>
#include <string>
#include <vector>

namespace {

std::string how() {
  const char *said = std::getenv("CUBBY_MISBEHAVIOUR");
  return said == nullptr ? "" : said;
}

class misbehaving {
 public:
  explicit misbehaving(const cubby_policy_config &config) { grow(config); }
  void used(cubby_object) {}
  void inserted(cubby_object object, uint64_t) { resident_[object] = 1; }
  void removed(cubby_object object) { resident_[object] = 0; }
  void begin_victims(const cubby_policy_need &) {}
  cubby_object next_victim() {
    if (silent_) return CUBBY_NO_OBJECT;
    const char wanted = absent_ ? 0 : 1;
    for (cubby_object object = 0; object < resident_.size(); ++object)
      if (resident_[object] == wanted) return object;
    return CUBBY_NO_OBJECT;
  }
  void grow(const cubby_policy_config &config) { resident_.resize(config.object_count); }
  [[nodiscard]] uint64_t state_bytes() const { return resident_.size(); }

 private:
  const bool absent_ = how() == "absent", silent_ = how() == "silent";
  std::vector<char> resident_;
};

int32_t refuse(const cubby_policy_config *, cubby_policy **) { return -EINVAL; }

}  // namespace

extern "C" __attribute__((visibility("default"))) const cubby_policy_ops *cubby_policy_entry() {
  static cubby_policy_ops ops =
      cubby::policy_ops<misbehaving>("misbehaving", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  if (how() == "create") ops.create = refuse;
  if (how() == "namesake") ops.name = "lru";
  if (how() == "abi") ++ops.abi_version;
  return &ops;
}
