// The spaces of a store: what makes bytes interchangeable, and the tenant. A removed space's number
// is never given out again, so that a block of it is not found in another.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "store/durable/format.hpp"

namespace cubby::store {

[[nodiscard]] inline std::string_view fingerprint_of(const space_body &space) noexcept {
  return {reinterpret_cast<const char *>(space.fingerprint), space.fingerprint_bytes};
}
[[nodiscard]] inline std::string_view domain_of(const space_body &space) noexcept {
  return {reinterpret_cast<const char *>(space.domain), space.domain_bytes};
}

class space_table {
 public:
  struct entry {
    space_body body = {};  // id 0 = free
    uint32_t block_count = 0;
    bool removing = false;
  };

  /// The space of just these, a new one where there is none.
  result<uint32_t> add(std::string_view fingerprint, std::string_view domain);
  [[nodiscard]] uint32_t find(std::string_view fingerprint, std::string_view domain) const;

  /// NULL when there is no such space.
  [[nodiscard]] entry *at(uint32_t id) noexcept;
  [[nodiscard]] const entry *at(uint32_t id) const noexcept;
  void remove(uint32_t id) noexcept;

  /// As recorded, when the store is opened; false when it cannot be.
  bool set(const space_body &body) noexcept;

  [[nodiscard]] const std::array<entry, store_spaces_max> &slots() const { return slots_; }
  [[nodiscard]] uint32_t generation() const noexcept { return generation_; }
  void raise_generation(uint32_t generation) noexcept;

 private:
  std::array<entry, store_spaces_max> slots_;
  uint32_t generation_ = 0;  // the last one given out; ids are generation << 8 | slot
};

}  // namespace cubby::store
