#include "cli/store/show.hpp"

#include <iostream>
#include <string>
#include <vector>

#include "cli/printable.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

using nlohmann::json;

uint64_t number_in(const json &object, const char *name) { return object[name].get<uint64_t>(); }
std::string bytes_in(const json &object, const char *name) {
  return bytes_text(number_in(object, name));
}
std::string count_in(const json &object, const char *name) {
  return count_text(number_in(object, name));
}

/// As it is, or its bytes in hex.
std::string text_in(const json &object, const std::string &name) {
  if (!object.contains(name)) return "?";
  if (object[name].is_string()) return object[name].get<std::string>();
  return "x" + object[name + "_hex"].get<std::string>();
}

std::string many(uint64_t count, const std::string &what) {
  return count_text(count) + " " + what + (count == 1 ? "" : "s");
}

/// Only what is not as it should be; nothing where all is.
void show_recovery(const json &found) {
  static constexpr struct {
    const char *name, *words;
  } lines[] = {
      {"superblocks_bad", "copies of superblocks are damaged; the next opening writes them anew"},
      {"heads_bad", "copies of the manifest's head are damaged; the other one was used"},
      {"spaces_bad", "copies of entries of spaces are damaged"},
      {"entries_bad", "blocks of the manifest are LOST"},
      {"records_bad", "records of the journal are damaged: blocks LOST, or erased ones back"},
      {"records_torn", "records had not been flushed when a process or the machine stopped"},
      {"blocks_without_space", "blocks are LOST with their space"},
      {"blocks_overwritten", "blocks had given up their pages to later ones"}};
  for (const auto &line : lines)
    if (number_in(found, line.name) != 0)
      std::cout << "found at opening: " << count_in(found, line.name) << " " << line.words << "\n";
  if (number_in(found, "first_bad_bytes") != 0)
    std::cout << "the first damage is at byte " << found["first_bad_bytes"]
              << " of the first file\n";
  if (number_in(found, "journal_lost_pages") != 0)
    std::cout << "the journal ends early, at byte " << found["journal_ends_bytes"]
              << " of the first file: its last " << count_in(found, "journal_lost_pages")
              << " pages are gone, with up to 20 puts and erases each\n";
}

void show_damaged(const json &damaged) {
  std::vector<std::vector<std::string>> lines = {
      {"block", "file", "at byte", "size", "key", "fingerprint", "domain", "why"}};
  for (const json &one : damaged)
    lines.push_back({one["number"].dump(), one["file"].get<std::string>(),
                     one["offset_bytes"].dump(), bytes_in(one, "bytes"), text_in(one, "key"),
                     text_in(one, "fingerprint"), text_in(one, "domain"),
                     one["status"].get<std::string>()});
  print_table(lines);
}

}  // namespace

void show_store_info(const json &info) {
  std::cout << "store " << info["store_id"].get<std::string>() << ", version " << info["version"]
            << ": " << many(number_in(info, "blocks"), "block") << ", "
            << bytes_in(info, "block_bytes") << " in " << bytes_in(info, "block_page_bytes")
            << " of pages; " << bytes_in(info, "free_bytes") << " of "
            << bytes_in(info, "budget_bytes") << " are free\n"
            << count_in(info, "blocks_restart") << " outlive the process, "
            << count_in(info, "blocks_durable") << " a power cut; there are "
            << count_in(info, "blocks_max") << " numbers for blocks\n"
            << "the files take " << bytes_in(info, "disk_bytes") << " on disk, "
            << bytes_in(info, "bytes") << " by their length; the index takes "
            << bytes_in(info, "index_memory_bytes") << " of memory; "
            << count_in(info, "journal_used_pages") << " of " << count_in(info, "journal_pages")
            << " pages of the journal are in use\n";
  show_recovery(info["recovery"]);
  std::vector<std::vector<std::string>> lines = {{"file", "size", "on disk"}};
  for (const json &file : info["files"])
    lines.push_back({file["path"].get<std::string>(), bytes_in(file, "bytes"),
                     file["disk_bytes"].is_null() ? "?" : bytes_in(file, "disk_bytes")});
  std::cout << "\n";
  print_table(lines);
  lines = {{"space", "fingerprint", "domain", "a block", "blocks", "bytes"}};
  for (const json &space : info["spaces"])
    lines.push_back({space["id"].dump(), text_in(space, "fingerprint"), text_in(space, "domain"),
                     space["locker_bytes"].is_null() ? "?" : bytes_in(space, "locker_bytes"),
                     count_in(space, "blocks"), bytes_in(space, "bytes")});
  std::cout << "\n";
  if (lines.size() > 1)
    print_table(lines);
  else
    std::cout << "no spaces\n";
  for (const json &note : info["notes"]) std::cout << printable(note.get<std::string>()) << "\n";
}

void show_store_check(const json &check) {
  std::cout << many(number_in(check, "blocks"), "block") << ", " << bytes_in(check, "bytes")
            << " read at " << speed_text(check["gb_per_s"].get<double>() * 1e9) << "\n";
  show_recovery(check["recovery"]);
  const json &damaged = check["damaged"];
  if (damaged.empty()) {
    std::cout << "all bytes are those that were put\n";
    return;
  }
  std::cout << count_text(damaged.size())
            << " damaged; they are not delivered, and `cubby store trim` drops them:\n";
  show_damaged(damaged);
}

void show_store_trim(const json &trim) {
  const json &damaged = trim["damaged"];
  const std::string blocks = many(number_in(trim, "blocks"), "block");
  if (trim.contains("old_bytes")) {
    std::cout << "made smaller, from " << bytes_in(trim, "old_bytes") << " to "
              << bytes_in(trim, "bytes") << "; the store has " << blocks << ", "
              << bytes_in(trim, "block_bytes") << "; " << count_in(trim, "left_out") << ", "
              << bytes_in(trim, "left_out_bytes") << ", found no room\n";
    if (number_in(trim, "without_parent") != 0)
      std::cout << many(number_in(trim, "without_parent"), "block")
                << " cannot be matched until the one before is put again\n";
  } else {
    std::cout << "the store has " << blocks << "; " << bytes_in(trim, "freed_bytes")
              << " became free, so that " << bytes_in(trim, "free_bytes") << " are\n";
  }
  show_recovery(trim["recovery"]);
  if (damaged.empty()) {
    std::cout << "no block was damaged\n";
    return;
  }
  std::cout << count_text(damaged.size()) << " damaged, and dropped:\n";
  show_damaged(damaged);
}

}  // namespace cubby_cli
