// cubby store info and verify: they open the store to be read, which keeps its writers out, and
// write nothing.
#include <sys/stat.h>

#include <map>

#include "cli/store/describe.hpp"
#include "cli/store/scan.hpp"
#include "platform/boot.hpp"
#include "store/durable/block_store.hpp"

namespace cubby_cli {
namespace {

using nlohmann::json;

json files_json(const std::vector<store::store_file> &files) {
  json list = json::array();
  for (const store::store_file &file : files) {
    struct stat seen = {};
    const bool known = fstat(file.fd(), &seen) == 0;
    list.push_back({{"path", file.path()},
                    {"bytes", file.bytes()},
                    {"disk_bytes", known ? json(uint64_t(seen.st_blocks) * 512) : json()}});
  }
  return list;
}

/// What is good to know about the files; what a process that died left beside them, too.
json notes_json(const std::vector<store::store_file> &files) {
  json notes = json::array();
  for (const store::store_file &file : files) {
    for (const std::string &note : file.notes()) notes.push_back(note);
    const std::string unfinished = file.path() + ".new";
    struct stat seen = {};
    if (lstat(unfinished.c_str(), &seen) == 0)
      notes.push_back(unfinished +
                      " is a new store that was not finished; the next `cubby store trim "
                      "--budget` removes it");
  }
  return notes;
}

struct share {
  uint64_t blocks = 0, bytes = 0;
};

/// Counts of blocks: of all, of each keep and in each space.
void add_blocks(json &object, const store::block_table &blocks, const store::space_table &spaces) {
  share all, restart, durable;
  uint64_t page_count = 0;
  std::map<uint32_t, share> by_space;
  for (uint32_t number = 0; number < blocks.end(); number++) {
    const store::block_entry *entry = blocks.find(number);
    if (!entry) continue;
    const uint64_t bytes = blocks.bytes_of_block(number);
    share &same = entry->keep == CUBBY_KEEP_DURABLE ? durable : restart;
    for (share *one : {&all, &same, &by_space[entry->space]}) {
      one->blocks++;
      one->bytes += bytes;
    }
    page_count += store::pages_of(bytes);
  }
  object["blocks"] = all.blocks;
  object["blocks_restart"] = restart.blocks;
  object["blocks_durable"] = durable.blocks;
  object["block_bytes"] = all.bytes;
  object["block_page_bytes"] = page_count * store::page_bytes;
  json list = json::array();
  for (const store::space_table::entry &slot : spaces.slots()) {
    if (slot.body.id == 0) continue;
    json one = space_json(slot.body);
    one["blocks"] = by_space[slot.body.id].blocks;
    one["bytes"] = by_space[slot.body.id].bytes;
    list.push_back(std::move(one));
  }
  object["spaces"] = std::move(list);
}

uint64_t disk_bytes(const json &files) {
  uint64_t sum = 0;
  for (const json &file : files)
    sum += file["disk_bytes"].is_null() ? 0 : file["disk_bytes"].get<uint64_t>();
  return sum;
}

}  // namespace

store_answer store_info(const std::vector<std::string> &directories) {
  auto opened = store::open_store(
      {.directories = directories, .boot = cubby::platform::this_boot(), .read_only = true});
  if (!opened) return refused_with(opened.failure());
  const store::recovery_report report = opened->content.report;
  // Never run, so that it writes nothing.
  const store::block_store content(std::move(opened->content), 1);
  const store::store_shape &shape = content.places().shape();
  const store::store_statistics numbers = content.statistics();
  store_answer answer;
  json &object = answer.object;
  object = {{"version", store::store_version},
            {"store_id", hex16(shape.store_id)},
            {"fingerprint", hex16(shape.fingerprint)},
            {"files", files_json(opened->files)},
            {"bytes", shape.pages_per_file * shape.file_count * store::page_bytes},
            {"budget_bytes", numbers.data_bytes},
            {"free_bytes", numbers.free_bytes},
            {"blocks_max", shape.blocks_max},
            {"index_memory_bytes", numbers.memory_bytes},
            {"journal_pages", shape.journal_pages},
            {"journal_used_pages", numbers.journal_used_pages},
            {"recovery", report_json(report)},
            {"notes", notes_json(opened->files)}};
  object["disk_bytes"] = disk_bytes(object["files"]);
  add_blocks(object, content.blocks(), content.spaces());
  return answer;
}

store_answer store_verify(const std::vector<std::string> &directories,
                          const store_progress &watch) {
  auto opened = store::open_store(
      {.directories = directories, .boot = cubby::platform::this_boot(), .read_only = true});
  if (!opened) return refused_with(opened.failure());
  const store::recovered_store &content = opened->content;
  auto found = scan_blocks(opened->files, content.blocks, watch);
  if (!found) return refused_with(found.failure());
  store_answer answer;
  answer.object = {{"blocks", found->blocks},
                   {"bytes", found->bytes},
                   {"damaged", damaged_json(opened->files, content.spaces, found->damaged)},
                   {"recovery", report_json(content.report)}};
  answer.lost = !found->damaged.empty() || lost_records(content.report) != 0;
  return answer;
}

}  // namespace cubby_cli
