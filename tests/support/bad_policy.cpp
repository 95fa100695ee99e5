// Policy libraries that are wrong, for tests: CUBBY_BAD_POLICY says how.
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

}  // namespace

extern "C" __attribute__((visibility("default"))) const cubby_policy_ops *cubby_policy_entry() {
  static cubby_policy_ops ops;
  ops = *cubby_policy_find("lru");
  ops.name = "bad";
  ops.next_victim = next_victim;
  if (fault() == "version") ops.abi_version = 99;
  if (fault() == "small") ops.struct_size = 64;
  if (fault() == "nameless") ops.name = "";
  if (fault() == "lacking") ops.removed = nullptr;
  if (fault() == "offline") ops.flags |= CUBBY_POLICY_OFFLINE;
  return fault() == "nothing" ? nullptr : &ops;
}
