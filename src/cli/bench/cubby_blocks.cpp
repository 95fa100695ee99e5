#include "cli/bench/cubby_blocks.hpp"

namespace cubby_cli::bench {

done cubby_blocks::open(const layout &file, uint32_t depth, bool verified, uint32_t pump) {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_ABI_VERSION;
  config.pump = pump;
  config.verify = verified ? CUBBY_VERIFY_ON : CUBBY_VERIFY_OFF;
  if (cubby_open(&config, &rt_) != CUBBY_OK) return last_trouble();
  cubby_tier_desc tier{};
  tier.struct_size = sizeof tier;
  tier.backend = "host";
  tier.name = "host:0";
  tier.budget_bytes = 2ull * depth * (file.block_bytes + 16384) + (4u << 20);
  if (cubby_tier_add(rt_, &tier, &tier_) != CUBBY_OK) return last_trouble();
  return map(file);
}

done cubby_blocks::map(const layout &file) {
  cubby_bank_desc bank{};
  bank.struct_size = sizeof bank;
  bank.kind = CUBBY_BANK_OTHER;
  bank.name = "blocks";
  bank.rows = 1;
  bank.columns = static_cast<uint32_t>(file.count());
  bank.locker_bytes = file.block_bytes;
  bank.align_bytes = 16;
  if (cubby_bank_add(rt_, &bank, &bank_) != CUBBY_OK) return last_trouble();
  std::vector<cubby_extent> extents;
  for (uint64_t i = 0; i < file.count(); i++) {
    extents.push_back({CUBBY_ID(bank_, i), 0, 0, file.offset(i), file.block_bytes});
  }
  const char *path = file.path.c_str();
  if (cubby_bank_map(rt_, bank_, &path, 1, extents.data(), extents.size()) != CUBBY_OK) {
    return last_trouble();
  }
  return nothing{};
}

}  // namespace cubby_cli::bench
