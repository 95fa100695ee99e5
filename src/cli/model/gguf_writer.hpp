// The header of a GGUF file: metadata and the table of tensors, as bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/model/geometry.hpp"

namespace cubby_cli::model {

class gguf_header {
 public:
  void text(const std::string &key, const std::string &value);
  void number(const std::string &key, uint32_t value);
  void real(const std::string &key, float value);
  void flag(const std::string &key, bool value);
  void texts(const std::string &key, const std::vector<std::string> &values);
  void numbers(const std::string &key, const std::vector<int32_t> &values);
  /// The whole header, padded so that tensor data may follow at once. Data of the tensors is laid
  /// out in their order, each at a multiple of align_bytes.
  std::string finish(const std::vector<tensor> &tensors) const;

  static constexpr uint64_t align_bytes = 32;
  static constexpr uint64_t aligned(uint64_t bytes) {
    return (bytes + align_bytes - 1) / align_bytes * align_bytes;
  }

 private:
  void key(const std::string &name, uint32_t type);
  std::string pairs_;
  uint64_t pair_count_ = 0;
};

}  // namespace cubby_cli::model
