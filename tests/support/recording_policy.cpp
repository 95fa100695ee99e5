// A policy library for tests: one of cubby's own policies that writes down who comes and who
// leaves. CUBBY_RECORDED names it; CUBBY_RECORD is the path of the record, to which ".N" is added
// for the N-th instance.
#include <cubby/policy.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace {

const cubby_policy_ops *base = nullptr;
std::map<const cubby_policy *, std::FILE *> records;

int32_t create(const cubby_policy_config *config, cubby_policy **out) {
  static int made = 0;
  const int32_t status = base->create(config, out);
  if (status != 0) return status;
  const std::string path = std::string(std::getenv("CUBBY_RECORD")) + "." + std::to_string(made++);
  records[*out] = std::fopen(path.c_str(), "w");
  return records[*out] == nullptr ? -1 : 0;
}

void destroy(cubby_policy *policy) {
  std::fclose(records.at(policy));
  records.erase(policy);
  base->destroy(policy);
}

void inserted(cubby_policy *policy, cubby_object object, uint64_t bytes) {
  std::fprintf(records.at(policy), "in %u\n", object);
  base->inserted(policy, object, bytes);
}

void removed(cubby_policy *policy, cubby_object object) {
  std::fprintf(records.at(policy), "out %u\n", object);
  base->removed(policy, object);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const cubby_policy_ops *cubby_policy_entry() {
  const char *name = std::getenv("CUBBY_RECORDED");
  base = name == nullptr ? nullptr : cubby_policy_find(name);
  if (base == nullptr || std::getenv("CUBBY_RECORD") == nullptr) return nullptr;
  static cubby_policy_ops ops;
  ops = *base;
  ops.name = "recording";
  ops.create = create;
  ops.destroy = destroy;
  ops.inserted = inserted;
  ops.removed = removed;
  return &ops;
}
