// Sides that a row of `cubby bench kv` compares, measured in turn.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "cli/bench/reader.hpp"

namespace cubby_cli::bench {

struct kv_side {
  std::string name;
  std::function<outcome<sample>(uint32_t round)> run;  // a round never comes twice
  std::vector<sample> samples;
};

/// Some rounds to warm up, then `rounds` that count, each of them beginning with another side.
done take_turns(const std::vector<kv_side *> &sides, uint32_t warm_up, uint32_t rounds,
                const std::string &what, progress_line &line);

/// {"row","block_bytes","ours_gb_per_s","reference_gb_per_s","reference","ratio","goal_ratio",
/// "goal_met","ours_cpu_s_per_gb","reference_cpu_s_per_gb","ours_starved_s_per_gb",
/// "reference_starved_s_per_gb"}; starved: could run while others had the processors, by thread.
nlohmann::json compared_row(const char *row, uint64_t block_bytes, const kv_side &ours,
                            const kv_side &reference, double goal_ratio);

/// A file that is written piece by piece past the page cache, as large pieces as the library's:
/// with io_uring, else with pwrite.
class bare_writer {
 public:
  bare_writer();
  ~bare_writer();
  bare_writer(const bare_writer &) = delete;
  bare_writer &operator=(const bare_writer &) = delete;
  done open(const std::string &path, uint64_t bytes);
  /// Begins at the file's byte `at`. Over when all is written.
  done write(const char *from, uint64_t at, uint64_t bytes);
  done flush();
  [[nodiscard]] const char *name() const;

 private:
  struct ring;
  std::unique_ptr<ring> ring_;
  std::string path_;
  int fd_ = -1;
};

}  // namespace cubby_cli::bench
