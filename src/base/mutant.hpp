// Deliberate defects, for the simulator that has to find them. In the library CUBBY_MUTANT() is
// false and leaves no code behind; the simulator's own build of the layers, and every build with
// sanitizers, defines CUBBY_ENABLE_MUTANTS. A test selects one.
#pragma once

#ifdef CUBBY_ENABLE_MUTANTS

namespace cubby::base {

enum class mutant {
  none,
  drop_completion,
  skip_digest,
  reuse_pinned_frame,
  publish_early,
  lose_waiter,
  exceed_budget,
  publish_before_payload,
  reuse_before_record,
  believe_failed_flush,
  believe_page_cache,
  skip_flush,
  cross_space,
  lose_parent,
  forget_lease,
  neighbour_bytes,
  publish_reserved
};

inline mutant selected_mutant = mutant::none;

}  // namespace cubby::base

#define CUBBY_MUTANT(name) (::cubby::base::selected_mutant == ::cubby::base::mutant::name)
#else
#define CUBBY_MUTANT(name) false
#endif
