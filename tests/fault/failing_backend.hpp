// A backend that fails as `faults` says, around one that works: the failure is a parameter of a
// test. It is registered in-process, so that a whole runtime runs on it. Caller pump only: the test
// and the backend share `faults` without a lock.
#pragma once

#include <cerrno>
#include <deque>
#include <string>
#include <vector>

#include "api/in_process.hpp"
#include "support/catch.hpp"
#include "support/wrapped_backend.hpp"

namespace failing {

enum class fault {
  none,
  eio,      // completes with EIO and moves nothing
  short_,   // completes without an error, with half of the bytes
  held,     // does not come back until faults::release; then it is done after all
  twice,    // completes, and later once more with the same cookie
  boasts,   // completes, and submit() and reap() say that they did more than was asked
  strange,  // completes, beside completions with cookies that nobody gave
};

/// How much of what is asked for fails.
enum class extent { nothing, one_part, reads, flushes, everything };

inline const char *name_of(extent how_much) {
  return how_much == extent::nothing    ? "nothing"
         : how_much == extent::one_part ? "one part"
         : how_much == extent::reads    ? "reads"
         : how_much == extent::flushes  ? "flushes"
                                        : "all";
}

struct faults {
  fault what = fault::none;
  extent how_much = extent::everything;
  uint64_t at_bytes = 0;          // one_part: I/Os of the file that touch this byte …
  uint32_t at_count = 0;          // … or, for copies, the I/O with this number, from 1
  uint32_t times = ~uint32_t{0};  // so often, then all is well
  bool release = false;           // what was held comes
  uint32_t release_after = 0;     // … by itself, once it was looked for so often; 0 = never

  // What happened.
  uint32_t seen_count = 0, hit_count = 0, looked_count = 0;

  bool hits(const cubby_backend_io &io) {
    ++seen_count;
    const bool file = io.op == CUBBY_BACKEND_READ;
    const bool here = file ? at_bytes >= io.offset_bytes && at_bytes < io.offset_bytes + io.bytes
                           : seen_count == at_count;
    const bool wanted = what != fault::none &&
                        (how_much == extent::everything || (how_much == extent::reads && file) ||
                         (how_much == extent::flushes && io.op == CUBBY_BACKEND_FLUSH) ||
                         (how_much == extent::one_part && here));
    if (!wanted || hit_count >= times) return false;
    ++hit_count;
    return true;
  }
};

/// An opened instance.
struct instance {
  const cubby_backend_ops *inner_ops = nullptr;
  cubby_backend *inner = nullptr;
  faults *injected = nullptr;
  std::vector<cubby_backend_io> held;
  std::vector<uint64_t> altered;         // cookies whose completion is changed when it comes
  std::deque<cubby_backend_done> ready;  // made here
  std::deque<cubby_backend_done> later;  // for the next look: what they name may be something else

  void set_user(void *user) { injected = static_cast<faults *>(user); }

  uint32_t submit(uint64_t now_ns, const cubby_backend_io *ios, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      const bool hit = injected->hits(ios[i]);
      if (hit && injected->what == fault::eio) {
        ready.push_back({ios[i].cookie, 0, EIO, 0});
      } else if (hit && injected->what == fault::held) {
        held.push_back(ios[i]);
      } else {
        if (inner_ops->submit(inner, now_ns, ios + i, 1) == 0) return i;
        if (hit) altered.push_back(ios[i].cookie);
      }
    }
    if (injected->what == fault::boasts) return count + 5;
    return count;
  }

  void alter(cubby_backend_done &done) {
    if (std::erase(altered, done.cookie) == 0) return;
    if (injected->what == fault::short_) done.bytes /= 2;
    if (injected->what == fault::twice) later.push_back(done);
    if (injected->what != fault::strange) return;
    for (const uint64_t cookie :
         {uint64_t{0}, ~uint64_t{0}, uint64_t{77} << 32 | 5, done.cookie + 1}) {
      later.push_back({cookie, done.bytes, 0, 0});
    }
  }

  uint32_t reap(uint64_t now_ns, cubby_backend_done *out, uint32_t max_count, uint64_t *next_ns) {
    ++injected->looked_count;
    const bool by_itself =
        injected->release_after != 0 && injected->looked_count >= injected->release_after;
    if (injected->release || by_itself) {
      while (!held.empty() && inner_ops->submit(inner, now_ns, &held.back(), 1) == 1) {
        held.pop_back();
      }
    }
    ready.insert(ready.end(), later.begin(), later.end());
    later.clear();
    uint32_t count = inner_ops->reap(inner, now_ns, out, max_count, next_ns);
    for (uint32_t i = 0; i < count; ++i) alter(out[i]);
    while (count < max_count && !ready.empty()) {
      out[count++] = ready.front();
      ready.pop_front();
    }
    if (injected->what == fault::boasts && count == max_count) return count + 1;
    return count;
  }
};

/// A table of operations around `inner_of()`, under a name of its own.
template <const cubby_backend_ops *(*inner_of)()>
const cubby_backend_ops *wrapped(const char *name) {
  static const cubby_backend_ops ops = cubby_test::wrapped_backend<instance, inner_of>(name);
  return &ops;
}

}  // namespace failing
