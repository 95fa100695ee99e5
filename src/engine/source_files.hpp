// The files that banks read: opened through a file tier, and held against the identity they had
// when they were adopted.
#pragma once

#include <compare>
#include <vector>

#include "engine/engine_state.hpp"

namespace cubby::engine {

class source_files {
 public:
  explicit source_files(engine_state &state) : state_(state) {}

  /// Opens them through the tier and fills in what they are; a file whose identity is known already
  /// must still have it. A file system may keep it waiting, so it needs no pump where the backend
  /// can open files apart. What was opened before it failed is the caller's to close.
  result<void> open(std::vector<catalog::bank_file> &files, uint32_t tier);
  void close(std::vector<catalog::bank_file> &files, uint32_t tier);
  /// Those of the bank, and its copies.
  void close_all(locker_bank &bank);
  /// Is the bank, or a copy of it, read through the tier?
  [[nodiscard]] static bool reads_through(const locker_bank &bank, uint32_t tier);
  /// Files of a new copy of the bank's. INVALID: one of them is read already, of another copy that
  /// was not left out.
  static result<void> check_new_copy(const locker_bank &bank,
                                     const std::vector<catalog::bank_file> &files);
  /// Are the files of the bank, or of a copy of them, what they were? Looked at again after 10 ms.
  /// False: bank.failed says so, and nothing more is loaded from it.
  bool unchanged(locker_bank &bank);
  /// The same of those that are read through a tier; where they changed, and there are others, they
  /// are left out from here on.
  bool unchanged(locker_bank &bank, uint32_t tier);
  /// The tier of files that a piece of a locker is to be read through: the one with the shortest
  /// queue, of those that are not in `bad` (a bit each). One that fails is left alone, but for a
  /// probe. no_tier: the files changed on all of them, bank.failed says so.
  [[nodiscard]] uint32_t choose(locker_bank &bank, uint32_t number, uint32_t bad);
  /// Is there one that is not in `bad`?
  [[nodiscard]] bool have_other(locker_bank &bank, uint32_t bad);
  /// The files of the bank as they are open through a tier.
  [[nodiscard]] static const std::vector<catalog::bank_file> &through(const locker_bank &bank,
                                                                      uint32_t tier);
  /// Bytes were not as they should be: looks at once, and where a file has changed that is the
  /// reason.
  void explain(locker_bank &bank, error &why);

 private:
  struct load {
    uint64_t waiting_count = 0;
    double share = 0;
    auto operator<=>(const load &) const = default;  // NOLINT(modernize-use-nullptr)
  };
  [[nodiscard]] bool may_read(locker_bank &bank, uint32_t tier, uint32_t bad);
  [[nodiscard]] load load_of(uint32_t tier) const;
  result<void> look_at(const locker_bank &bank, uint32_t tier) const;

  engine_state &state_;
};

}  // namespace cubby::engine
