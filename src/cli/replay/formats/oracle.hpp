// libCacheSim's oracleGeneral: one record of 24 bytes a use, which knows when its object is next
// used.
#pragma once

#include <functional>
#include <string_view>

#include "cli/replay/walk/schedule.hpp"

namespace cubby_cli::replay {

/// An object of experts is layer × experts + expert, the clock counts tokens of all slots; of KV it
/// is the number of the block, the clock is in seconds. Objects have one size; times of next use
/// are numbers of records, from 0, and -1 = never.
done write_oracle(const expert_schedule &of, uint32_t object_bytes,
                  const std::function<done(std::string_view)> &put);
done write_oracle(const kv_trace &of, uint32_t object_bytes,
                  const std::function<done(std::string_view)> &put);

}  // namespace cubby_cli::replay
