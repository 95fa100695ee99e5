// What `cubby store` does with a store's files, apart from words on a terminal. These files see the
// inside of the library; `cubby::error` means another thing there than in cubby.hpp, so that no
// file of the command includes both.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace cubby_cli {

/// Why the library refused.
struct store_refusal {
  std::string status;  // its name
  std::string text;    // cause and remedy
  int32_t native = 0;
  uint64_t offset_bytes = 0;
  bool usage = false;  // the words of the command are wrong, not the store
};

/// The object of --json, or why there is none.
struct store_answer {
  nlohmann::json object;
  std::optional<store_refusal> refused;
  bool lost = false;  // blocks are damaged or lost
};

/// Of `all` blocks so many are done, with so many bytes. False: stop.
using store_progress = std::function<bool(uint64_t done, uint64_t all, uint64_t bytes)>;

/// Neither of these changes the store.
store_answer store_info(const std::vector<std::string> &directories);
store_answer store_verify(const std::vector<std::string> &directories, const store_progress &watch);

/// Erases the damaged blocks.
store_answer store_drop_damaged(const std::vector<std::string> &directories,
                                const store_progress &watch);
/// Puts a smaller store in the place of this one.
store_answer store_shrink(const std::vector<std::string> &directories, uint64_t budget_bytes,
                          const store_progress &watch);

}  // namespace cubby_cli
