#include "cli/conformance/policy/suite.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>

#include "cli/conformance/expect.hpp"
#include "cli/conformance/isolated.hpp"

namespace cubby_conformance::policies {
namespace {

const char *missing_member(const cubby_policy_ops &ops) {
  if (ops.create == nullptr) return "create";
  if (ops.destroy == nullptr) return "destroy";
  if (ops.visit == nullptr) return "visit";
  if (ops.access == nullptr) return "access";
  if (ops.inserted == nullptr) return "inserted";
  if (ops.removed == nullptr) return "removed";
  if (ops.begin_victims == nullptr) return "begin_victims";
  if (ops.next_victim == nullptr) return "next_victim";
  if (ops.grow == nullptr) return "grow";
  if (ops.stats == nullptr) return "stats";
  return nullptr;
}

std::string thrown(const subject &on) {
  const char *name = on.doing == nullptr ? nullptr : *on.doing;
  return text("an exception came out of ", name == nullptr ? "the policy" : name,
              name == nullptr ? "" : "()", "; none may cross its interface");
}

}  // namespace

cubby_policy_ops read_table(const cubby_policy_ops &table) {
  cubby_policy_ops ops{};
  std::memcpy(&ops, &table, std::min<size_t>(sizeof ops, table.struct_size));
  return ops;
}

outcome check_table(const cubby_policy_ops *table) {
  const auto wrong = [](const auto &...parts) { return outcome{verdict::fail, text(parts...)}; };
  if (table == nullptr) return wrong(CUBBY_POLICY_ENTRY, "() returned NULL");
  if (table->struct_size < sizeof(cubby_policy_ops)) {
    return wrong("the table's struct_size is ", table->struct_size, ", ", sizeof(cubby_policy_ops),
                 " are expected; set it to sizeof(cubby_policy_ops)");
  }
  const cubby_policy_ops ops = read_table(*table);
  if (ops.abi_version != CUBBY_POLICY_ABI_VERSION) {
    return wrong("the table says abi_version ", ops.abi_version, ", this command has ",
                 CUBBY_POLICY_ABI_VERSION, "; build the policy again with this policy.h");
  }
  if (ops.name == nullptr || ops.name[0] == '\0') return wrong("the table has no name");
  for (const char *at = ops.name; *at != '\0'; ++at) {
    if (*at > ' ' && *at <= '~' && !(*at >= 'A' && *at <= 'Z')) continue;
    return wrong("byte ", at - ops.name, " of the name is ", int{static_cast<unsigned char>(*at)},
                 "; a name is printable ASCII in lower case, without spaces");
  }
  if ((ops.flags & (CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV)) == 0) {
    return wrong("flags name neither CUBBY_POLICY_EXPERTS nor CUBBY_POLICY_KV, came ", ops.flags);
  }
  const char *missing = missing_member(ops);
  if (missing != nullptr) return wrong("the table lacks ", missing);
  return {};
}

std::vector<check> checks() {
  std::vector<check> all;
  add_make_checks(all);
  add_victim_checks(all);
  add_grow_checks(all);
  add_purity_checks(all);
  add_report_checks(all);
  return all;
}

outcome run_here(const subject &on, const check &what) {
  try {
    what.run(on);
    return {};
  } catch (const failed &one) {
    return {verdict::fail, one.detail};
  } catch (const skipped &one) {
    return {verdict::skip, one.detail};
  } catch (const std::exception &one) {
    return {verdict::fail, thrown(on) + ": " + one.what()};
  } catch (...) {
    return {verdict::fail, thrown(on)};
  }
}

namespace {

outcome run_isolated(const subject &on, const check &what) {
  const manners expected = {"policy", "a policy waits for nothing", "a policy prints nothing"};
  return run_in_child(
      on.patience_ns * 4,
      [&](const char *volatile *doing) {
        subject watched = on;
        watched.doing = doing;
        return run_here(watched, what);
      },
      expected);
}

}  // namespace

void run_all(const subject &on, const std::function<void(const char *name, outcome came)> &report) {
  bool rounds_hold = true;
  for (const check &one : checks()) {
    if (one.stands_on == footing::needs_rounds && !rounds_hold) {
      report(one.name, {verdict::skip, "rounds of victims have to be right first"});
      continue;
    }
    outcome came = run_isolated(on, one);
    if (one.stands_on == footing::rounds && came.result == verdict::fail) rounds_hold = false;
    report(one.name, std::move(came));
  }
}

}  // namespace cubby_conformance::policies
