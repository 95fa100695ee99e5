// Where a fill gets its bytes: the nearest copy that can be reached, another fill that is bringing
// one nearer, or the file.
#pragma once

#include "engine/residents.hpp"
#include "engine/source_files.hpp"

namespace cubby::engine {

class sources {
 public:
  sources(engine_state &state, fill_table &fills, residents &copies, source_files &files)
      : state_(state), fills_(fills), copies_(copies), files_(files) {}

  enum class choice { reads, follows };
  /// Sets `from`, and holds the copy there; or makes the fill follow another. An error when nothing
  /// has the bytes.
  result<choice> choose(uint32_t index);
  /// Is there a device left that the fill's locker was not read from in vain?
  [[nodiscard]] bool have_other_files(const fill &f) {
    return files_.have_other(*f.bank, f.bad_files);
  }

 private:
  [[nodiscard]] bool is_nearer(uint32_t a, uint32_t b, uint32_t to) const;
  bool choose_copy(uint32_t index);
  [[nodiscard]] bool may_pass(uint32_t tier, const fill &f) const;
  [[nodiscard]] bool goes_past(uint32_t tier, const fill &f) const;
  void count_passed(const fill &f);
  [[nodiscard]] bool has_file(const fill &f) const;
  bool follow_other(uint32_t index);
  void add_intermediate(uint32_t index);

  engine_state &state_;
  fill_table &fills_;
  residents &copies_;
  source_files &files_;
};

/// A match passes over the fill's block for a while, which cannot be read just now: a caller that
/// is offered it asks in vain. Not where memory has a copy.
void withhold_unread(engine_state &state, const fill &f);

}  // namespace cubby::engine
