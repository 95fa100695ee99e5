// The file of a matrix's results: a JSON object a line, added one by one.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/outcome.hpp"

namespace cubby_cli::replay {

class result_lines {
 public:
  /// Reads what is there, and drops a last line that a run left unfinished. Trouble when a line is
  /// no result of ours: the file is left as it is.
  static outcome<result_lines> open(const std::string &path);
  ~result_lines();
  result_lines(result_lines &&other) noexcept;
  result_lines(const result_lines &) = delete;
  result_lines &operator=(const result_lines &) = delete;
  result_lines &operator=(result_lines &&) = delete;

  /// Of a cell; nothing where it is not known.
  [[nodiscard]] const nlohmann::json *find(const std::string &cell) const;
  /// One write, so that no other process's line comes between.
  done add(const std::string &cell, nlohmann::json line);

 private:
  result_lines(int file, std::string path) : file_(file), path_(std::move(path)) {}
  done read();
  /// One line of the file.
  done take(const std::string &text, size_t number);
  done append(const std::string &text);

  int file_ = -1;
  std::string path_;
  std::map<std::string, nlohmann::json> known_;
};

}  // namespace cubby_cli::replay
