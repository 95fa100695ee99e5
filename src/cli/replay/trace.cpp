#include "cli/replay/trace.hpp"

#include <algorithm>

namespace cubby_cli::replay {

const char *name_of(trace_kind kind) {
  constexpr const char *names[] = {"experts", "kv", "mixed"};
  return names[static_cast<size_t>(kind)];
}

const char *words_for(trace_kind kind) {
  constexpr const char *words[] = {"experts", "KV blocks", "experts and KV blocks"};
  return words[static_cast<size_t>(kind)];
}

void keep_requests(kv_trace &of, size_t count) {
  if (count >= of.requests.size()) return;
  of.blocks.resize(of.requests[count].first_block);
  of.requests.resize(count);
  of.tokens = 0;
  of.unique = 0;  // blocks are numbered as they come
  for (const uint32_t block : of.blocks) of.unique = std::max(of.unique, block + 1);
}

}  // namespace cubby_cli::replay
