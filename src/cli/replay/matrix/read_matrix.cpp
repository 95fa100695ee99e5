#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "cli/replay/matrix/matrix.hpp"
#include "cli/replay/matrix/toml.hpp"

namespace cubby_cli::replay {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t file_bytes_max = 1 << 20;

/// Takes values out of a table by their names; what is left over at the end is not known.
class taker {
 public:
  taker(toml_table table, const std::string &path) : table_(std::move(table)), path_(path) {}

  void text(const char *key, std::string &to) {
    if (const auto *found = take<std::string>(key, "a string in quotes")) to = *found;
    done_with(key);
  }
  void list(const char *key, std::vector<std::string> &to) {
    if (const auto *found = take<std::vector<std::string>>(key, "a list of strings")) {
      to = *found;
      if (to.empty()) fail(key, "is empty; name at least one, or leave the line out");
    }
    done_with(key);
  }
  template <class Number>
  void number(const char *key, Number &to, int64_t least, int64_t most) {
    if (const auto *found = take<int64_t>(key, "a whole number")) {
      if (*found < least || *found > most)
        fail(key, "is out of bounds; give one from " + std::to_string(least) + " to " +
                      std::to_string(most));
      else
        to = static_cast<Number>(*found);
    }
    done_with(key);
  }
  void number(const char *key, std::optional<uint64_t> &to, int64_t least, int64_t most) {
    if (table_.count(key) == 0) return;
    uint64_t value = 0;
    number(key, value, least, most);
    to = value;
  }
  [[nodiscard]] done rest() {
    if (why_.empty() && !table_.empty()) {
      const auto &[key, value] = *table_.begin();
      fail(key.c_str(),
           "is not known here; there are traces, policies, capacities, links, results, "
           "page, limit, compute-ns, block-compute-ns, seed, batch, object-bytes, block-bytes, "
           "lookahead, block-tokens and host-capacity",
           value.line);
    }
    if (!why_.empty()) return usage_trouble(why_);
    return nothing{};
  }

 private:
  template <class T>
  const T *take(const char *key, const char *kind) {
    const auto found = table_.find(key);
    if (found == table_.end()) return nullptr;
    const T *value = std::get_if<T>(&found->second.what);
    if (value == nullptr) fail(key, std::string("has to be ") + kind);
    return value;
  }
  void fail(const char *key, const std::string &why, uint32_t line = 0) {
    const auto found = table_.find(key);
    if (line == 0 && found != table_.end()) line = found->second.line;
    if (why_.empty()) why_ = path_ + ":" + std::to_string(line) + ": " + key + " " + why;
  }
  void done_with(const char *key) { table_.erase(key); }

  toml_table table_;
  const std::string &path_;
  std::string why_;
};

outcome<std::string> text_of(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::error_code failed;
  if (!in || fs::is_directory(path, failed))
    return usage_trouble(path + " could not be read; name a matrix file, as docs/study.md shows");
  if (fs::file_size(path, failed) > file_bytes_max)
    return usage_trouble(path + " is larger than any matrix file (1 MiB); name another");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// What is named twice is computed and counted once.
void drop_repeats(std::vector<std::string> &in) {
  std::set<std::string> seen;
  std::erase_if(in, [&](const std::string &one) { return !seen.insert(one).second; });
}

/// Relative paths are of the matrix file's folder.
std::string beside(const std::string &matrix, const std::string &name) {
  const fs::path path(name);
  return path.is_absolute() ? name : (fs::path(matrix).parent_path() / path).string();
}

}  // namespace

outcome<matrix_wish> read_matrix(const std::string &path) {
  auto text = text_of(path);
  if (!text) return text.failure();
  auto table = read_toml(*text, path);
  if (!table) return table.failure();
  matrix_wish made;
  made.path = path;
  const bool sized = table->count("object-bytes") + table->count("block-bytes") != 0;
  taker from(std::move(*table), path);
  from.list("traces", made.traces);
  from.list("policies", made.policies);
  from.list("capacities", made.capacities);
  from.list("links", made.links);
  from.text("results", made.results);
  from.text("page", made.page);
  from.text("host-capacity", made.host_capacity);
  from.number("limit", made.limit, 1, int64_t{1} << 40);
  from.number("compute-ns", made.compute_ns, 0, 1'000'000'000'000);
  from.number("block-compute-ns", made.block_compute_ns, 0, 1'000'000'000'000);
  from.number("seed", made.seed, 0, INT64_MAX);
  from.number("batch", made.batch, 1, 1024);
  from.number("object-bytes", made.object_bytes, 1, 0xFFFFFFFF);
  from.number("block-bytes", made.block_bytes, 1, 0xFFFFFFFF);
  from.number("lookahead", made.lookahead, 0, 1);
  from.number("block-tokens", made.block_tokens, 1, 1 << 20);
  if (auto good = from.rest(); !good) return good.failure();
  if (made.traces.empty())
    return usage_trouble(path + " names no traces; add traces = [\"FILE\", …]");
  const bool computes = made.compute_ns || made.block_compute_ns;
  if (!made.links.empty() && !computes)
    return usage_trouble(path +
                         ": links need compute-ns = N, the time that one layer computes, or "
                         "block-compute-ns = N, that of one KV block");
  if (made.links.empty() && computes)
    return usage_trouble(path +
                         ": compute-ns is for links; add links = [\"host:25GB/s,10us\"], or "
                         "leave it out");
  if (made.links.empty() &&
      (made.lookahead != 0 || made.block_tokens != 0 || !made.host_capacity.empty()))
    return usage_trouble(path +
                         ": lookahead, block-tokens and host-capacity are for links; add links = "
                         "[\"host:25GB/s,10us\"], or leave them out");
  if (made.links.empty() && sized)
    return usage_trouble(path +
                         ": object-bytes and block-bytes are for links, for hits alone have no "
                         "size; add links = [\"host:25GB/s,10us\"], or leave them out");
  for (auto *list : {&made.traces, &made.policies, &made.capacities, &made.links})
    drop_repeats(*list);
  const std::string stem = fs::path(path).stem().string();
  made.trace_names = made.traces;
  for (std::string &trace : made.traces) trace = beside(path, trace);
  made.results = beside(path, made.results.empty() ? stem + ".jsonl" : made.results);
  made.page = beside(path, made.page.empty() ? stem + ".html" : made.page);
  return made;
}

}  // namespace cubby_cli::replay
