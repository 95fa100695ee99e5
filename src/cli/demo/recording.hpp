// A demo's visits in a file that `cubby replay` reads.
#pragma once

#include "cli/trace_header.hpp"

#include <vector>

#include "cli/model/new_file.hpp"
#include "cli/replay/formats/compact.hpp"

namespace cubby_cli::demo {

class recording {
 public:
  /// The file is made before the run, so that a name that cannot be written is known at once.
  done open(const std::string &path) { return file_.open(path, 0); }
  done start(cubby_handle *rt);
  /// Takes what has come; called often enough, nothing is dropped.
  done drain(cubby_handle *rt);
  /// Records no more, and gives the file its name.
  done finish(cubby_handle *rt);
  /// What was recorded, and what found no room.
  [[nodiscard]] uint64_t visits() const { return seen_.visit_count; }
  [[nodiscard]] uint64_t lost() const { return seen_.lost_count; }

 private:
  model::new_file file_{replay::is_compact_file};
  std::vector<std::byte> piece_ = std::vector<std::byte>(size_t{1} << 16);
  cubby_trace_info seen_ = {};
};

}  // namespace cubby_cli::demo
