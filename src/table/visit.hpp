// A visit on its way from those who use lockers to the policies.
#pragma once

#include <cubby/policy.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "placement/policy.hpp"

namespace cubby::table {

/// Sequences of a batch that policies tell apart.
inline constexpr uint32_t sequences_max = 1024;

/// What the note behind this one is.
enum class note_follows : uint8_t {
  another_visit,
  same_sequence,  // more of what this sequence chose
  same_visit,     // what another sequence of the batch chose in the same row
};

/// One layer's choice, or part of it: told by those who pin, heard by the policies.
struct visit_note {
  static constexpr uint32_t numbers_max = 12;
  uint16_t bank = 0;  // handle
  uint8_t count = 0;
  note_follows next = note_follows::another_visit;
  uint32_t slot = 0;  // which sequence of a batch; what pins tell is of the first
  std::array<uint32_t, numbers_max> numbers;  // the first `count`
};

/// The notes of one visit on their way: they are told all at once, or not at all where there is no
/// room for them, so that no other visit is taken for a part of this one. A batch so large that it
/// needs more is several visits.
struct visit_chain {
  static constexpr uint32_t notes_max = 128;
  std::array<visit_note, notes_max> notes;
  uint32_t count = 0;
};

/// Notes put together again.
struct gathered_visit {
  std::vector<cubby_policy_route> routes;
  std::vector<placement::object> chosen;  // of all routes, one after the other
  std::vector<placement::object> used;    // each once

  [[nodiscard]] bool empty() const { return chosen.empty(); }
  void clear() {
    routes.clear();
    chosen.clear();
    used.clear();
  }
  void add(uint32_t slot, placement::object who, bool begins_route) {
    if (begins_route) routes.push_back({slot, 0, nullptr});
    ++routes.back().count;
    chosen.push_back(who);
    if (std::find(used.begin(), used.end(), who) == used.end()) used.push_back(who);
  }
  /// `routes` point into `chosen` from here on.
  void finish() {
    const placement::object *at = chosen.data();
    for (cubby_policy_route &route : routes) {
      route.objects = at;
      at += route.count;
    }
  }
};

}  // namespace cubby::table
