#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/crc32.hpp"
#include "cli/replay/matrix/matrix.hpp"
#include "cli/replay/matrix/result_lines.hpp"
#include "cli/replay/policies.hpp"
#include "cli/replay/timing/timing_options.hpp"
#include "cli/replay/walk/jobs.hpp"

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

/// What a cell is asked with, and what is found.
struct cell {
  replayed_policy policy;
  asked_capacity capacity;
  std::string links, name;
  job work;
  std::string broken;
};

/// A trace that is changed makes other cells.
std::string mark_of(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<char> piece(1 << 16);
  uint32_t crc = 0;
  uint64_t bytes = 0;
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())), in.gcount() > 0) {
    crc = cubby::base::crc32(crc, piece.data(), static_cast<size_t>(in.gcount()));
    bytes += static_cast<uint64_t>(in.gcount());
  }
  char text[32];
  snprintf(text, sizeof text, "%llu:%08x", static_cast<unsigned long long>(bytes), crc);
  return text;
}

/// All that a result depends on, but for what the cell itself has.
std::string settings_of(const matrix_wish &wish) {
  std::ostringstream text;
  text << "batch=" << wish.batch << " seed=" << wish.seed << " limit=" << wish.limit.value_or(0)
       << " object=" << wish.object_bytes << " block=" << wish.block_bytes
       << " compute=" << wish.compute_ns.value_or(0) << "/" << wish.block_compute_ns.value_or(0)
       << " lookahead=" << wish.lookahead << " tokens=" << wish.block_tokens
       << " host=" << wish.host_capacity;
  return text.str();
}

/// The words of a list of links.
std::vector<std::string> split(const std::string &links) {
  std::istringstream in(links);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

timing_options timing_for(const matrix_wish &wish, const std::string &links, bool experts) {
  timing_options made;
  made.on = !links.empty();
  if (!made.on) return made;
  made.links = split(links);
  made.compute_ns = experts ? wish.compute_ns : wish.block_compute_ns;
  if (!made.compute_ns) made.compute_ns = wish.compute_ns;
  made.host_capacity = wish.host_capacity;
  made.lookahead = experts ? wish.lookahead : 0;
  made.block_tokens = experts ? 0 : wish.block_tokens;
  return made;
}

/// One trace with everything that is to be done with it.
class trace_matrix {
 public:
  /// `number`: of the trace in the matrix file.
  trace_matrix(const matrix_wish &wish, size_t number)
      : wish_(wish), path_(wish.traces[number]), name_(wish.trace_names[number]) {}

  done open() {
    // Batches are of experts: whether these are any is known only once they are read.
    auto read = read_workload({path_, "", 1, wish_.limit.value_or(no_limit), {}});
    if (read && read->of_experts() && wish_.batch > 1)
      read = read_workload({path_, "", wish_.batch, wish_.limit.value_or(no_limit), {}});
    if (!read) return read.failure();
    if (read->is_mixed())
      return usage_trouble(path_ +
                           " is of experts and KV blocks together; a matrix is of traces "
                           "of one kind: give them apart");
    of_ = std::make_unique<workload>(std::move(*read));
    const std::string mark = mark_of(path_);
    auto policies = find_policies(wish_.policies, of_->kind());
    if (!policies) return policies.failure();
    std::vector<std::string> links = wish_.links;
    if (links.empty()) links.emplace_back();
    for (const std::string &each : links)
      for (const std::string &capacity : wish_.capacities)
        for (const replayed_policy &policy : policies->policies)
          if (auto good = add(each, capacity, policy, mark); !good) return good;
    return nothing{};
  }

  [[nodiscard]] std::vector<cell> &cells() { return cells_; }
  [[nodiscard]] const workload &of() const { return *of_; }

  [[nodiscard]] json line_of(const cell &one) const {
    json line = {{"trace", name_},
                 {"kind", name_of(of_->kind())},
                 {"policy", one.policy.name},
                 {"capacity", one.capacity.text},
                 {"capacity_lockers", one.capacity.units},
                 {"lockers", of_->lockers()},
                 {"links", one.links}};
    if (!one.broken.empty()) {
      line["broken"] = one.broken;
      return line;
    }
    const simulated &found = *one.work.found;
    line.update({{"batch", of_->of_experts() ? of_->schedule.batch : 1},
                 {"accesses", found.accesses},
                 {"hits", found.hits},
                 {"hit_ratio", found.accesses == 0 ? 0
                                                   : static_cast<double>(found.hits) /
                                                         static_cast<double>(found.accesses)},
                 {"state_bytes", found.state_bytes}});
    if (!found.warning.empty()) line["warning"] = found.warning;
    if (one.work.clock_report.is_object()) line.update(one.work.clock_report);
    return line;
  }

 private:
  done add(const std::string &links, const std::string &capacity, const replayed_policy &policy,
           const std::string &mark) {
    cell made;
    made.policy = policy;
    made.links = links;
    made.capacity.text = capacity;
    made.name = name_ + ' ' + mark + " | " + policy.name + " | " + capacity + " | " + links +
                " | " + settings_of(wish_);
    const auto asked = read_capacity(capacity, *of_, least_capacity(*of_));
    if (asked)
      made.capacity = *asked;
    else
      made.broken = asked.failure().text;
    if (made.broken.empty())
      if (auto good = set_up(made); !good) return good;
    cells_.push_back(std::move(made));
    return nothing{};
  }

  done set_up(cell &made) {
    simulation &how = made.work.how;
    how.policy = made.policy.ops;
    how.name = made.policy.name;
    how.capacity = made.capacity.units;
    how.seed = wish_.seed;
    if (made.links.empty()) return nothing{};
    const bool experts = of_->of_experts();
    const timing_options timing = timing_for(wish_, made.links, experts);
    const uint32_t bytes = experts ? wish_.object_bytes : wish_.block_bytes;
    const auto rules = read_rules(timing, {bytes, bytes});
    if (!rules) return in_matrix(rules.failure());
    if (auto good = suits(timing, *of_); !good) return in_matrix(good.failure());
    const auto here = rules_at(timing, *rules, *of_, made.capacity);
    if (!here) return in_matrix(here.failure());
    how.refetch = refetch_of(*here, *of_);
    made.work.clock = [of = of_.get(), rules_here = *here] { return make_clock(*of, rules_here); };
    return nothing{};
  }
  trouble in_matrix(const trouble &why) const {
    return usage_trouble(wish_.path + ", of " + path_ + ": " + why.text);
  }

  const matrix_wish &wish_;
  const std::string path_, name_;
  std::unique_ptr<workload> of_;
  std::vector<cell> cells_;
};

/// How far the whole matrix is, with the time that is left as far as it has gone.
class matrix_progress {
 public:
  matrix_progress(bool quiet, size_t traces) : line_(quiet), traces_(traces) {}
  void begin(const std::string &trace, size_t cells) {
    trace_ = trace;
    cells_ = cells;
    number_++;
    begun_ns_ = clock_ns();
  }
  void show(size_t finished) {
    if (!line_.due()) return;
    std::string text = "trace " + std::to_string(number_) + " of " + std::to_string(traces_) +
                       ", " + trace_ + ": " + std::to_string(finished) + " of " +
                       std::to_string(cells_) + " cells";
    if (finished > 0) {
      const double each = seconds_since(begun_ns_) / static_cast<double>(finished);
      text += ", " + fixed_text(each * static_cast<double>(cells_ - finished)) + " s left of it";
    }
    line_.show(text);
  }

 private:
  progress_line line_;
  std::string trace_;
  size_t traces_, cells_ = 0, number_ = 0;
  uint64_t begun_ns_ = 0;
};

/// Cells that are not known yet, as many at a time as there are threads, so that each is written
/// soon after it is found.
done run_missing(trace_matrix &with, const matrix_run &how, result_lines &file,
                 matrix_progress &progress, matrix_result &into) {
  std::vector<cell *> missing;
  for (cell &one : with.cells())
    if (one.broken.empty() && file.find(one.name) == nullptr) missing.push_back(&one);
  const size_t threads =
      how.threads != 0 ? how.threads : std::max(1u, std::thread::hardware_concurrency());
  progress.begin(with.of().path, missing.size());
  for (size_t at = 0; at < missing.size(); at += threads) {
    progress.show(at);
    std::vector<job *> jobs;
    for (size_t i = at; i < std::min(at + threads, missing.size()); i++)
      jobs.push_back(&missing[i]->work);
    if (auto good = run_jobs(with.of(), jobs, static_cast<uint32_t>(threads), true); !good)
      return good;
    for (size_t i = at; i < std::min(at + threads, missing.size()); i++) {
      cell &one = *missing[i];
      if (!one.work.found) {
        one.broken = one.work.broken;
        continue;
      }
      if (auto good = file.add(one.name, with.line_of(one)); !good) return good;
      into.added++;
      one.work = {};
    }
  }
  return nothing{};
}

}  // namespace

outcome<matrix_result> run_matrix(const matrix_wish &wish, const matrix_run &how) {
  if (auto good = check_policies(wish.policies); !good)
    return usage_trouble(wish.path + ": " + good.failure().text);
  std::error_code failed;
  for (const std::string &trace : wish.traces)
    if (!std::filesystem::exists(trace, failed))
      return usage_trouble(wish.path + ": the trace " + trace +
                           " is not there; correct its name (it is relative to the matrix file)");
  auto file = result_lines::open(wish.results);
  if (!file) return file.failure();
  matrix_result made;
  made.lines = json::array();
  matrix_progress progress(how.quiet, wish.traces.size());
  for (size_t number = 0; number < wish.traces.size(); number++) {
    trace_matrix with(wish, number);
    if (auto good = with.open(); !good) return good.failure();
    if (auto good = run_missing(with, how, *file, progress, made); !good) return good.failure();
    for (const cell &one : with.cells()) {
      const json *known = file->find(one.name);
      if (!one.broken.empty()) made.broken++;
      made.lines.push_back(known != nullptr && one.broken.empty() ? *known : with.line_of(one));
    }
  }
  made.known = made.lines.size() - made.added - made.broken;
  return made;
}

}  // namespace cubby_cli::replay
