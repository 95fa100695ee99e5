// Files that replay writes: whole under their name, or not there.
#pragma once

#include "base/own_file.hpp"
#include "cli/replay/walk/workload.hpp"

namespace cubby_cli::replay {

/// A file and the option that names it; none where the path is empty.
struct named_file {
  std::string option, path;
  cubby::base::file_kind own = {};  // of one that is written: what it may replace
};

/// Trouble when the file cannot be made, as far as that shows beforehand: reported early, not
/// after minutes of replaying.
done check_place(const named_file &file);

bool is_page(std::string_view begin, uint64_t bytes);
/// Trouble when one file is named twice: what is written would replace what is read, or what was
/// written just before.
done check_distinct(const std::vector<named_file> &read, const std::vector<named_file> &written);

/// In the library's own format.
done save_trace(const std::string &path, const workload &of);
/// As libCacheSim's oracleGeneral.
done save_oracle(const std::string &path, const workload &of, uint32_t object_bytes);
done save_page(const std::string &path, std::string_view text);

}  // namespace cubby_cli::replay
