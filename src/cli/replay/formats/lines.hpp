// Lines of a text; holds one line at a time.
#pragma once

#include <cstdint>
#include <string>

#include "cli/replay/formats/bytes.hpp"

namespace cubby_cli::replay {

class line_reader {
 public:
  /// `begun`: bytes of the source that were taken before.
  line_reader(byte_source &from, std::string begun);
  line_reader(const line_reader &) = delete;
  line_reader &operator=(const line_reader &) = delete;

  /// False at the end, or on trouble(). The last line needs no newline.
  bool next(std::string &line);
  /// What went wrong: a sentence without the file's name; empty when nothing did.
  [[nodiscard]] const std::string &trouble() const { return trouble_; }
  /// Of the line last read, from 1.
  [[nodiscard]] uint64_t line_number() const { return line_number_; }

 private:
  byte_source &source_;
  std::string text_, trouble_;
  size_t at_ = 0;  // where the next line begins in text_
  uint64_t line_number_ = 0;
  bool ended_ = false;
};

}  // namespace cubby_cli::replay
