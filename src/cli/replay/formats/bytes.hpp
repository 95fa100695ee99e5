// Bytes of a file, unpacked on the way where it is .xz or .zst, in bounded memory.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace cubby_cli::replay {

class byte_source {
 public:
  byte_source(const std::string &path, bool packed);
  virtual ~byte_source() = default;
  byte_source(const byte_source &) = delete;
  byte_source &operator=(const byte_source &) = delete;

  /// Adds some bytes to the text; false at the end, or on trouble().
  bool more(std::string &text);
  /// What went wrong: a sentence without the file's name; empty when nothing did.
  [[nodiscard]] const std::string &trouble() const { return trouble_; }

 protected:
  virtual bool unpack(std::string &text);
  bool read_raw();
  void fail(const std::string &what);

  std::ifstream in_;
  std::vector<char> raw_;
  size_t raw_bytes_ = 0;
  uint64_t raw_from_ = 0;  // bytes read so far
  std::string trouble_;

 private:
  bool packed_;
  uint64_t unpacked_ = 0;
};

std::unique_ptr<byte_source> open_bytes(const std::string &path);

}  // namespace cubby_cli::replay
