// libCacheSim's oracleGeneral: one record of 24 bytes a use (clock, object, size, next use), which
// knows when its object is next used.
#pragma once

#include <functional>
#include <string_view>

#include "cli/outcome.hpp"
#include "cli/replay/formats/bytes.hpp"
#include "cli/replay/walk/schedule.hpp"

namespace cubby_cli::replay {

/// The format has no mark of its own: what tells it are next uses that lie ahead, or are none, in
/// every record that has come.
bool is_oracle(std::string_view begin);
bool is_oracle_file(std::string_view begin, uint64_t bytes);

/// Objects as KV blocks, one request a record, `limit` of them at most. `begun`: bytes of the
/// source that were taken before. What is wrong; empty when nothing is.
std::string read_oracle(byte_source &from, std::string begun, trace &to, uint64_t limit);

/// An object of experts is layer × experts + expert, the clock counts tokens of all slots; of KV it
/// is the number of the block, the clock is in seconds. Objects have one size; times of next use
/// are numbers of records, from 0, and -1 = never.
done write_oracle(const expert_schedule &of, uint32_t object_bytes,
                  const std::function<done(std::string_view)> &put);
done write_oracle(const kv_trace &of, uint32_t object_bytes,
                  const std::function<done(std::string_view)> &put);

}  // namespace cubby_cli::replay
