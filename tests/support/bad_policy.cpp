// Policy libraries that are wrong, for tests: CUBBY_BAD_POLICY says how. "decline" is right and
// keeps nobody who does not find room.
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
  return 5;  // whether it is there or not, and again and again
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
  ops.next_victim = next_victim;
  if (fault() == "version") ops.abi_version = 99;
  if (fault() == "small") ops.struct_size = 64;
  if (fault() == "nameless") ops.name = "";
  if (fault() == "lacking") ops.removed = nullptr;
  if (fault() == "offline") ops.flags |= CUBBY_POLICY_OFFLINE;
  return fault() == "nothing" ? nullptr : &ops;
}
