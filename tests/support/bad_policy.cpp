// Policy libraries that are wrong, for tests: CUBBY_BAD_POLICY says how. "decline" is right and
// keeps nobody who does not find room; "counting" is right and says in CUBBY_TEST_INSERTED how many
// calls of inserted() it got; "hooked" is right and calls CUBBY_TEST_HOOK at each visit.
#include <cubby/policy.h>

#include <cstdlib>
#include <string>

namespace {

std::string fault() {
  const char *said = std::getenv("CUBBY_BAD_POLICY");
  return said == nullptr ? "" : said;
}

cubby_object next_victim(cubby_policy *) {
  if (fault() == "outside") return 0x7FFFFFFF;
  if (fault() == "silent") return CUBBY_NO_OBJECT;
  return 5;  // whether it is there or not, and again and again
}

uint32_t inserted_count = 0;

void count_inserted(cubby_policy *policy, cubby_object object, uint64_t bytes) {
  setenv("CUBBY_TEST_INSERTED", std::to_string(++inserted_count).c_str(), 1);
  cubby_policy_find("lru")->inserted(policy, object, bytes);
}

/// CUBBY_TEST_HOOK: the address of what to call at each visit, while the pump is held.
void visit_and_call(cubby_policy *policy, const cubby_policy_visit *visit) {
  const auto call =
      reinterpret_cast<void (*)()>(std::strtoull(std::getenv("CUBBY_TEST_HOOK"), nullptr, 10));
  call();
  cubby_policy_find("lru")->visit(policy, visit);
}

int32_t decline(cubby_policy *, cubby_object, cubby_object) { return 0; }

}  // namespace

extern "C" __attribute__((visibility("default"))) const cubby_policy_ops *cubby_policy_entry() {
  static cubby_policy_ops ops;
  ops = *cubby_policy_find("lru");
  ops.name = "bad";
  if (fault() == "decline") {
    ops.admit = decline;
    return &ops;
  }
  if (fault() == "counting") {
    inserted_count = 0;
    ops.inserted = count_inserted;
    return &ops;
  }
  if (fault() == "hooked") {
    ops.visit = visit_and_call;
    return &ops;
  }
  ops.next_victim = next_victim;
  if (fault() == "version") ops.abi_version = 99;
  if (fault() == "small") ops.struct_size = 64;
  if (fault() == "nameless") ops.name = "";
  if (fault() == "lacking") ops.removed = nullptr;
  if (fault() == "offline") ops.flags |= CUBBY_POLICY_OFFLINE;
  return fault() == "nothing" ? nullptr : &ops;
}
