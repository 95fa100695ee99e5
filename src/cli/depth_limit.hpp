// For JSON that others wrote: copying a value takes the stack as deep as it is nested.
#pragma once

#include <nlohmann/json.hpp>

namespace cubby_cli {

/// What json::parse asks at each event, by std::ref: what is nested deeper than `most` is left out,
/// and `exceeded` then says that the value is not whole.
struct depth_limit {
  int most = 64;
  bool exceeded = false;

  bool operator()(int depth, nlohmann::json::parse_event_t /*event*/, nlohmann::json & /*value*/) {
    exceeded = exceeded || depth > most;
    return !exceeded;
  }
};

}  // namespace cubby_cli
