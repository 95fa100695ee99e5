// cubby store trim: without a budget damaged blocks are erased where they lie; with one, a smaller
// store takes the place of the old one.
#include "cli/store/describe.hpp"
#include "cli/store/scan.hpp"
#include "platform/boot.hpp"
#include "store/durable/posix_store.hpp"
#include "store/durable/shrink.hpp"

namespace cubby_cli {
namespace {

using nlohmann::json;

cubby::result<void> erase(store::posix_store &from, const std::vector<damaged_block> &damaged) {
  store::block_store &content = from.store();
  for (const damaged_block &one : damaged) {
    if (auto begun = content.erase(one.body.number, 0); !begun) return begun.failure();
    from.run();
    store::store_completion out;
    while (content.next_completion(out))
      if (out.status != CUBBY_OK && !content.failure())
        return cubby::fail_errno(out.native, "block %u could not be erased", out.number);
    if (content.failure()) return *content.failure();
  }
  // So that what is gone does not come back with a damaged journal.
  content.request_checkpoint();
  from.run();
  if (content.failure()) return *content.failure();
  return {};
}

}  // namespace

store_answer store_drop_damaged(const std::vector<std::string> &directories,
                                const store_progress &watch) {
  auto opened =
      store::posix_store::open({.directories = directories, .boot = cubby::platform::this_boot()});
  if (!opened) return refused_with(opened.failure());
  store::posix_store &from = **opened;
  const uint64_t free_before = from.store().statistics().free_bytes;
  auto found = scan_blocks(from.files(), from.store().blocks(), watch);
  if (!found) return refused_with(found.failure());
  store_answer answer;
  json &object = answer.object;
  object["damaged"] = damaged_json(from.files(), from.store().spaces(), found->damaged);
  if (auto gone = erase(from, found->damaged); !gone) return refused_with(gone.failure());
  const store::store_statistics now = from.store().statistics();
  object["blocks"] = now.block_count;
  object["freed_bytes"] = now.free_bytes - free_before;
  object["free_bytes"] = now.free_bytes;
  object["recovery"] = report_json(from.report());
  return answer;
}

store_answer store_shrink(const std::vector<std::string> &directories, uint64_t budget_bytes,
                          const store_progress &watch) {
  auto opened =
      store::open_store({.directories = directories, .boot = cubby::platform::this_boot()});
  if (!opened) return refused_with(opened.failure());
  const auto done = store::shrink_store(*opened, budget_bytes, watch);
  if (!done) return refused_with(done.failure());
  std::vector<damaged_block> damaged;
  for (const auto &[number, why] : done->damaged)
    damaged.push_back({opened->content.blocks.body_of(number), why.status});
  store_answer answer;
  answer.object = {{"old_bytes", done->old_bytes},
                   {"bytes", done->bytes},
                   {"freed_bytes", done->old_bytes - done->bytes},
                   {"free_bytes", done->free_bytes},
                   {"blocks", done->blocks},
                   {"block_bytes", done->block_bytes},
                   {"left_out", done->left_out},
                   {"left_out_bytes", done->left_out_bytes},
                   {"without_parent", done->without_parent},
                   {"damaged", damaged_json(opened->files, opened->content.spaces, damaged)},
                   {"recovery", report_json(opened->content.report)}};
  return answer;
}

}  // namespace cubby_cli
