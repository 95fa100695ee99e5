#include "cli/replay/stored/plan.hpp"

#include <filesystem>

namespace cubby_cli::replay {
namespace {

constexpr double store_bytes_min = 1 << 20;  // a store without room for blocks helps nobody
constexpr uint32_t usual_block_bytes = 4096, block_bytes_max = 64U << 20, word_bytes = 8;

/// FNV-1a: the same in every process and on every machine.
uint64_t name_digest(const std::string &name) {
  uint64_t digest = 0xCBF29CE484222325u;
  for (const char c : name) digest = (digest ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return digest;
}

/// All blocks of the trace, and the store's own pages: journal, manifests, records of what is
/// where.
uint64_t room_for(uint64_t blocks, uint64_t block_bytes) {
  const uint64_t content =
      blocks * ((block_bytes + stored_page_bytes - 1) / stored_page_bytes * stored_page_bytes);
  return content + content / 4 + (uint64_t{64} << 20);
}

done find_directory(const std::string &path) {
  std::error_code failed;
  if (path.empty())
    return usage_trouble("--io of KV blocks needs --store DIR: where they lie over restarts");
  if (!std::filesystem::is_directory(path, failed))
    return usage_trouble("--store " + path + " is no folder; make it first, or name another");
  return nothing{};
}

}  // namespace

outcome<stored_plan> read_plan(const io_options &chosen, const workload &of) {
  if (auto good = find_directory(chosen.store); !good) return good.failure();
  stored_plan made;
  made.directory = chosen.store;
  made.block_bytes = chosen.block_bytes == 0 ? usual_block_bytes : chosen.block_bytes;
  if (made.block_bytes % word_bytes != 0 || made.block_bytes > block_bytes_max)
    return usage_trouble("--object-bytes " + std::to_string(made.block_bytes) +
                         ": with --io a KV block has a multiple of 8 bytes, at most 64 MiB");
  made.columns = of.requests.unique;
  made.store_bytes = room_for(made.columns, made.block_bytes);
  if (!chosen.store_bytes.empty()) {
    const auto said = byte_count(chosen.store_bytes);
    if (!said || *said < store_bytes_min)
      return usage_trouble("--store-bytes " + chosen.store_bytes +
                           " is no size from 1MiB on, as 4GiB");
    made.store_bytes = static_cast<uint64_t>(*said);
  }
  made.space = "replay of " + std::to_string(of.accesses()) + " uses of " +
               std::filesystem::path(of.path).filename().string();
  made.series = name_digest(made.space);
  made.space = "cubby replay " + std::to_string(made.series);
  return made;
}

}  // namespace cubby_cli::replay
