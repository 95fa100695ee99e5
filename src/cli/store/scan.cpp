#include "cli/store/scan.hpp"

#include <algorithm>
#include <tuple>

#include "base/abi.hpp"

namespace cubby_cli {

cubby::result<scanned> scan_blocks(const std::vector<store::store_file> &files,
                                   const store::block_table &blocks, const store_progress &watch) {
  std::vector<uint32_t> numbers;
  for (uint32_t number = 0; number < blocks.end(); number++)
    if (blocks.find(number)) numbers.push_back(number);
  std::sort(numbers.begin(), numbers.end(), [&](uint32_t a, uint32_t b) {
    const store::block_entry *one = blocks.find(a), *other = blocks.find(b);
    return std::tie(one->file, one->first_page) < std::tie(other->file, other->first_page);
  });
  scanned all;
  for (const uint32_t number : numbers) {
    if (!watch(all.blocks, numbers.size(), all.bytes))
      return cubby::fail(CUBBY_ERR_CANCELED, "interrupted; the store is as it was");
    const store::block_body body = blocks.body_of(number);
    const auto bytes = store::read_block(files, body);
    all.blocks++;
    all.bytes += store::bytes_of(body);
    if (!bytes) all.damaged.push_back({body, bytes.failure().status});
  }
  return all;
}

nlohmann::json damaged_json(const std::vector<store::store_file> &files,
                            const store::space_table &spaces,
                            const std::vector<damaged_block> &damaged) {
  nlohmann::json list = nlohmann::json::array();
  for (const damaged_block &one : damaged) {
    list.push_back(block_json(files, spaces, one.body));
    list.back()["status"] = cubby_status_name(one.status);
  }
  return list;
}

}  // namespace cubby_cli
