#include "cli/demo/bare_loop.hpp"

#include <algorithm>

#include "cli/bench/blocks.hpp"
#include "cli/bench/reader.hpp"
#include "cli/support.hpp"

namespace cubby_cli::demo {

double bare_bytes_per_s(const std::string &path, uint64_t file_bytes, uint64_t read_bytes) {
  constexpr uint64_t block_bytes = uint64_t{2} << 20;
  constexpr uint32_t depth = 8;
  const bench::layout blocks{path, file_bytes, block_bytes, block_bytes, 0};
  auto reader = bench::make_pread(blocks, depth);
  if (!reader) return 0;
  const uint64_t count = std::min(blocks.count(), read_bytes / block_bytes);
  auto read = (*reader)->run(bench::random_blocks(blocks.count(), count, clock_ns()));
  return read && count != 0 ? static_cast<double>(read->bytes) / read->seconds : 0;
}

}  // namespace cubby_cli::demo
