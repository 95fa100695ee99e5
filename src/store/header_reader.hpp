// A bounded reader of the headers of files nobody vouches for: buffered pread, never a mapping (a
// file cut short under a mapping kills the process). The first failure sticks, later reads give
// zeros, so parsers may check once per record.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "store/model_file.hpp"

namespace cubby::store {

/// Of files whose bytes are missing or do not fit together, and of no others: models are large.
inline constexpr char model_remedy[] =
    "the file is damaged or incomplete: download or convert it again";

/// FORMAT error of a file: names the file and the offset, and says what to do about it. Names taken
/// from the file are shown without control characters and not at any length.
error format_error(const std::string &path, uint64_t offset, const std::string &what,
                   const char *remedy = model_remedy);
/// NOT_SUPPORTED, in the same form: nothing says that the file is damaged, but it has something
/// that is not known here.
error unknown_error(const std::string &path, uint64_t offset, const std::string &what,
                    const char *remedy);

class header_reader {
 public:
  static result<header_reader> open(const std::string &path, const char *remedy = model_remedy);
  header_reader(header_reader &&other) noexcept;
  header_reader(const header_reader &) = delete;
  header_reader &operator=(const header_reader &) = delete;
  header_reader &operator=(header_reader &&) = delete;
  ~header_reader();

  bool take(void *to, uint64_t bytes, const char *what);
  void skip(uint64_t bytes, const char *what);
  /// A string with its length in 8 bytes before it; longer than `bytes_max` is refused before it is
  /// allocated.
  std::string text(uint64_t bytes_max, const char *what);
  /// A number of `bytes` (1, 2, 4 or 8) bytes, little-endian.
  uint64_t number(uint32_t bytes, const char *what);
  /// A count of records of at least `record_bytes` each: refused when the rest of the file cannot
  /// hold so many.
  uint64_t count(uint64_t record_bytes, const char *what);

  /// The first bytes of the file, at most `bytes`; the position stays.
  result<std::string> peek(uint64_t bytes) const;
  /// Bytes of the file that it is known to have; the position stays.
  result<std::string> piece(uint64_t offset_bytes, uint64_t bytes) const;

  void refuse(uint64_t offset, const std::string &what);
  void refuse_unknown(uint64_t offset, const std::string &what, const char *remedy);
  bool failed() const { return failure_.has_value(); }
  const error &failure() const { return *failure_; }
  uint64_t position() const { return position_; }
  uint64_t remaining() const { return identity_.bytes - position_; }
  const std::string &path() const { return identity_.path; }
  /// As it was opened, without a digest.
  const model_part_file &identity() const { return identity_; }
  /// The file's identity, with the digest of its first `header_bytes` bytes.
  result<model_part_file> identify(uint64_t header_bytes);

 private:
  header_reader(int fd, model_part_file identity, const char *remedy);
  bool fill();

  int fd_ = -1;
  model_part_file identity_;
  const char *remedy_;
  uint64_t position_ = 0;
  uint64_t buffer_start_ = 0;
  std::vector<unsigned char> buffer_;
  std::optional<error> failure_;
};

}  // namespace cubby::store
