// Many traces through many policies, capacities and links: what `cubby replay --matrix` runs. Each
// cell is a line of results, written when it is known, so that a run that was broken off goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/outcome.hpp"

namespace cubby_cli::replay {

/// What a matrix file asks for; paths are relative to the file's folder.
struct matrix_wish {
  std::string path;                              // of the file itself
  std::vector<std::string> traces, trace_names;  // files; the same as the matrix file has them
  std::vector<std::string> policies = {"all"}, capacities = {"10%", "25%", "50%"};
  /// Each the links of one machine, as "host:25GB/s,10us nvme:6GB/s,80us"; none = hits alone.
  std::vector<std::string> links;
  std::string results, page;  // files; usual: beside the matrix, .jsonl and .html
  std::optional<uint64_t> limit;
  std::optional<uint64_t> compute_ns, block_compute_ns;  // of a layer, of a KV block
  uint64_t seed = 0;
  uint32_t batch = 1, lookahead = 0, block_tokens = 0;
  uint32_t object_bytes = 1 << 20, block_bytes = 1 << 20;  // of an expert, of a KV block
  std::string host_capacity;
};

outcome<matrix_wish> read_matrix(const std::string &path);

struct matrix_run {
  uint32_t threads = 0;  // as many as there are processors
  bool quiet = false;
};

struct matrix_result {
  nlohmann::json lines;  // of the cells asked for, in the order of the matrix
  uint64_t known = 0, added = 0, broken = 0;
};

/// Runs what the file of results does not yet have. A cell whose policy fails has a line that says
/// why.
outcome<matrix_result> run_matrix(const matrix_wish &wish, const matrix_run &how);

/// One page of all results.
std::string matrix_page(const matrix_wish &wish, const nlohmann::json &lines);

/// `cubby replay --matrix`: gives the exit status.
int matrix_command(const std::string &path, const matrix_run &how, bool as_json);

}  // namespace cubby_cli::replay
