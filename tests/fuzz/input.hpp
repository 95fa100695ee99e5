// What the fuzz targets share: input bytes as files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// One run of a target. Called by libFuzzer, or by driver.cpp with each file of a corpus.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace fuzz {

/// Was something of the last input accepted? The driver holds it against the name of the input.
extern bool accepted;

/// Ends the process, with a line that says what was broken.
[[noreturn]] void broken(const char *what);
inline void require(bool holds, const char *what) {
  if (!holds) broken(what);
}

/// An unnamed file with these bytes; `path()` opens it.
class memory_file {
 public:
  memory_file(const void *data, size_t bytes);
  ~memory_file();
  memory_file(const memory_file &) = delete;
  memory_file &operator=(const memory_file &) = delete;
  std::string path() const;

 private:
  int fd_;
};

/// A folder of this process in memory where there is such a file system; empty again after clear().
class folder {
 public:
  folder();
  ~folder();
  folder(const folder &) = delete;
  folder &operator=(const folder &) = delete;
  void write(const std::string &name, std::string_view bytes);
  void clear();
  std::string path(const std::string &name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  std::vector<std::string> names_;
};

/// Pieces of the input between lines of "%%%".
std::vector<std::string_view> split(std::string_view input);

}  // namespace fuzz
