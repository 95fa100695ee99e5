// The pieces of a store as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "cli/store/store_files.hpp"
#include "store/durable/open_store.hpp"

namespace cubby_cli {

namespace store = cubby::store;

std::string hex16(uint64_t value);

store_answer refused_with(const cubby::error &why);

/// `name` has the text, or null where it is none that can be printed, and `name`_hex all bytes.
void put_text(nlohmann::json &to, const std::string &name, std::string_view bytes);

/// Its fingerprint as the caller gave it: what the runtime puts before it, the shape of the
/// blocks, stands by itself.
nlohmann::json space_json(const store::space_body &space);

nlohmann::json block_json(const std::vector<store::store_file> &files,
                          const store::space_table &spaces, const store::block_body &body);

nlohmann::json report_json(const store::recovery_report &report);

/// Records of blocks that had been acknowledged and are no more to be had.
uint64_t lost_records(const store::recovery_report &report);

}  // namespace cubby_cli
