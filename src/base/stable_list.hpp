// A list that grows and never moves what is in it: blocks of a power of two, so that an index leads
// to its place by a shift and a mask.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <memory>
#include <vector>

namespace cubby::base {

template <class T>
class stable_list {
 public:
  [[nodiscard]] T &operator[](size_t index) {
    return (*blocks_[index / block_size])[index % block_size];
  }
  [[nodiscard]] const T &operator[](size_t index) const {
    return (*blocks_[index / block_size])[index % block_size];
  }
  [[nodiscard]] size_t size() const { return size_; }
  /// One more at the end. May throw, and then nothing has changed.
  void add() {
    if (size_ == blocks_.size() * block_size) blocks_.push_back(std::make_unique<block>());
    ++size_;
  }

 private:
  static constexpr size_t block_size = std::bit_ceil((size_t{4096} + sizeof(T) - 1) / sizeof(T));
  using block = std::array<T, block_size>;

  std::vector<std::unique_ptr<block>> blocks_;
  size_t size_ = 0;
};

}  // namespace cubby::base
