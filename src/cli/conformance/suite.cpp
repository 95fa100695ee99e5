#include "cli/conformance/suite.hpp"

#include <algorithm>
#include <exception>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

const char *missing_member(const cubby_backend_ops &ops) {
  const bool memory = (ops.capabilities & CUBBY_CAP_MEMORY) != 0;
  const bool files = (ops.capabilities & CUBBY_CAP_FILES) != 0;
  if (ops.open == nullptr) return "open";
  if (ops.close == nullptr) return "close";
  if (ops.describe == nullptr) return "describe";
  if (ops.submit == nullptr) return "submit";
  if (ops.reap == nullptr) return "reap";
  if (ops.wait == nullptr) return "wait";
  if (memory && ops.memory_reserve == nullptr) return "memory_reserve";
  if (memory && ops.memory_release == nullptr) return "memory_release";
  if (files && ops.file_open == nullptr) return "file_open";
  if (files && ops.file_stat == nullptr) return "file_stat";
  if (files && ops.file_close == nullptr) return "file_close";
  return nullptr;
}

}  // namespace

cubby_backend_ops read_table(const cubby_backend_ops &table) {
  cubby_backend_ops ops{};
  std::memcpy(&ops, &table, std::min<size_t>(sizeof ops, table.struct_size));
  return ops;
}

outcome check_table(const cubby_backend_ops *table) {
  const auto wrong = [](const auto &...parts) { return outcome{verdict::fail, text(parts...)}; };
  if (table == nullptr) return wrong(CUBBY_BACKEND_ENTRY, "() returned NULL");
  if (table->struct_size < offsetof(cubby_backend_ops, open)) {
    return wrong("the table's struct_size is ", table->struct_size,
                 "; set it to sizeof(cubby_backend_ops)");
  }
  const cubby_backend_ops ops = read_table(*table);
  if (ops.abi_version != CUBBY_BACKEND_ABI_VERSION) {
    return wrong("the table says abi_version ", ops.abi_version, ", this command has ",
                 CUBBY_BACKEND_ABI_VERSION, "; build the backend again with this backend.h");
  }
  if (ops.name == nullptr || ops.name[0] == '\0') return wrong("the table has no name");
  const bool memory = (ops.capabilities & CUBBY_CAP_MEMORY) != 0;
  const bool files = (ops.capabilities & CUBBY_CAP_FILES) != 0;
  if (memory == files) {
    return wrong(
        "capabilities must have exactly one of CUBBY_CAP_MEMORY and CUBBY_CAP_FILES, came ",
        ops.capabilities);
  }
  const char *missing = missing_member(ops);
  if (missing != nullptr) return wrong("the table lacks ", missing);
  return {};
}

std::vector<check> checks_for(uint32_t capabilities) {
  std::vector<check> all;
  add_open_checks(all);
  add_queue_checks(all);
  add_wait_checks(all);
  add_file_checks(all);
  add_read_checks(all);
  add_write_checks(all);
  add_memory_checks(all);
  add_link_checks(all);
  add_stream_checks(all);
  std::erase_if(all, [&](const check &one) { return (one.needs & capabilities) != one.needs; });
  return all;
}

outcome run_here(const subject &on, const check &what) {
  bench table(on);
  try {
    what.run(table);
    table.finish();
    return {};
  } catch (const failed &one) {
    table.forget();
    return {verdict::fail, one.detail};
  } catch (const skipped &one) {
    try {  // what was opened until here
      table.finish();
    } catch (const failed &end) {
      table.forget();
      return {verdict::fail, end.detail};
    }
    return {verdict::skip, one.detail};
  } catch (const std::exception &one) {
    table.forget();
    return {verdict::fail, text("an exception came out of the backend or the check: ", one.what())};
  } catch (...) {
    table.forget();
    return {verdict::fail, "an exception came out of the backend; none may cross its interface"};
  }
}

}  // namespace cubby_conformance
