#include "cli/replay/formats/read_trace.hpp"

#include "cli/replay/formats/compact.hpp"
#include "cli/replay/formats/lines.hpp"
#include "cli/replay/formats/oracle.hpp"
#include "cli/replay/formats/read.hpp"

namespace cubby_cli::replay {
namespace {

bool is_csv(std::string path) {
  for (const char *packed : {".xz", ".zst"})
    if (path.ends_with(packed)) path.erase(path.rfind('.'));
  return path.ends_with(".csv");
}

/// What other kinds of files begin with, and what to do with them.
std::string other_format(std::string_view begin) {
  constexpr struct {
    std::string_view magic;
    const char *advice;
  } known[] = {
      {"\x1f\x8b", "is packed with gzip: unpack it (gunzip), or pack it as .xz or .zst"},
      {"BZh", "is packed with bzip2: unpack it (bunzip2), or pack it as .xz or .zst"},
      {"\x04\x22\x4d\x18", "is packed with lz4: unpack it, or pack it as .xz or .zst"},
      {"PK\x03\x04", "is a zip archive: unpack it, and name the trace in it"},
      {"\xfd"
       "7zXZ",
       "is packed with xz, but its name does not end in .xz: rename it"},
      {"\x28\xb5\x2f\xfd", "is packed with zstd, but its name does not end in .zst: rename it"},
      {"PAR1", "is a Parquet file: write its rows as JSON lines"},
      {"GGUF", "is a model, not a trace"}};
  for (const auto &one : known)
    if (begin.starts_with(one.magic)) return one.advice;
  if (begin.find('\0') != std::string_view::npos)
    return "is binary, but neither a recorded trace nor libCacheSim's oracleGeneral, whose records "
           "name uses that lie ahead: convert it to one of the two";
  return {};
}

}  // namespace

outcome<trace> read_trace(const std::string &path, uint64_t limit) {
  const auto refuse = [&](const std::string &what) { return usage_trouble(path + ": " + what); };
  const auto source = open_bytes(path);
  std::string begin;
  while (begin.size() < sizeof CUBBY_TRACE_MAGIC && source->more(begin)) {
  }
  trace read;
  if (is_compact(begin)) {
    const std::string wrong = compact_reader(*source, std::move(begin), read, limit).read();
    if (!wrong.empty()) return refuse(wrong);
    return read;
  }
  if (is_oracle(begin)) {
    read.kind = trace_kind::kv;
    const std::string wrong = read_oracle(*source, std::move(begin), read, limit);
    if (!wrong.empty()) return refuse(wrong);
    return read;
  }
  if (const std::string other = other_format(begin); !other.empty()) return refuse(other);
  if (begin.starts_with("\xEF\xBB\xBF")) begin.erase(0, 3);  // as spreadsheets begin a text
  line_reader lines(*source, std::move(begin));
  std::string line;
  csv_reader csv(read.experts, limit);
  json_lines json(read, limit);
  const bool as_csv = is_csv(path);
  while (!(as_csv ? csv.full() : json.full()) && lines.next(line)) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    const std::string wrong = as_csv ? csv.take(line) : json.take(line);
    if (!wrong.empty()) return refuse("line " + std::to_string(lines.line_number()) + ": " + wrong);
  }
  if (!lines.trouble().empty()) {
    const uint64_t line_number = lines.line_number();
    return refuse(lines.trouble() + (line_number == 0
                                         ? std::string()
                                         : " (after line " + std::to_string(line_number) + ")"));
  }
  if (as_csv) read.kind = trace_kind::experts;
  const std::string wrong = as_csv ? csv.finish() : json.finish();
  if (!wrong.empty()) return refuse(wrong);
  return read;
}

}  // namespace cubby_cli::replay
