// I/Os under way in one simulated instance: when each is due, and which are stuck.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common/common.hpp"
#include "sim/world.hpp"

namespace cubby_sim {

/// One way for bytes and when it is free again.
class channel {
 public:
  explicit channel(const link_speed &speed) : speed_(speed) {}
  /// When an I/O that starts now is over.
  uint64_t due_ns(generator &random, uint64_t now_ns, uint64_t bytes) {
    uint64_t busy_ns = 0;
    if (speed_.bytes_per_s != 0) {
      const auto per_s = static_cast<double>(speed_.bytes_per_s);
      busy_ns = static_cast<uint64_t>(std::ceil(static_cast<double>(bytes) * 1e9 / per_s));
    }
    free_ns_ = std::max(now_ns, free_ns_) + busy_ns;
    const uint64_t jitter_ns = speed_.jitter_ns == 0 ? 0 : random.below(speed_.jitter_ns + 1);
    return free_ns_ + speed_.latency_ns + jitter_ns;
  }

 private:
  link_speed speed_;
  uint64_t free_ns_ = 0;
};

template <class plan>
class in_flight {
 public:
  struct entry {
    cubby_backend_io io{};
    plan what{};
    uint64_t due_ns = 0;
    uint64_t number = 0;            // order of submission, for equal times
    uint64_t stuck_until_heal = 0;  // number of the heal that frees it; 0 = not stuck
  };

  in_flight(world &sim, uint32_t depth) : world_(sim), depth_(depth) {}
  uint32_t depth() const { return depth_; }
  bool full() const { return entries_.size() >= depth_; }
  bool empty() const { return entries_.empty(); }

  /// Late and stuck are the same for every kind of I/O and are drawn here.
  void add(const cubby_backend_io &io, const plan &what, uint64_t now_ns, uint64_t due_ns,
           const std::string &path) {
    entry made{io, what, due_ns, next_number_++, 0};
    if (world_.strikes(fault::late, path, io.offset_bytes, io.bytes)) {
      made.due_ns += world_.options().late_ns;
    }
    if (world_.strikes(fault::stuck, path, io.offset_bytes, io.bytes)) {
      world_.stuck_begins();
      const uint64_t bound = world_.options().stuck_ns;
      made.stuck_until_heal = world_.heal_count() + 1;
      made.due_ns = bound == ~uint64_t{0} ? bound : now_ns + bound;
    }
    entries_.push_back(made);
  }

  /// Takes the entry that is due first; false when none is due at now_ns.
  bool take_due(uint64_t now_ns, entry &out) {
    free_healed();
    last_now_ns_ = now_ns;
    auto first = earliest();
    if (first == entries_.end() || first->due_ns > now_ns) return false;
    out = *first;
    *first = entries_.back();
    entries_.pop_back();
    if (out.stuck_until_heal != 0) world_.stuck_ends();
    return true;
  }
  uint64_t next_ns() {
    const auto first = earliest();
    return first == entries_.end() ? cubby_backends::never_ns : first->due_ns;
  }

  /// For callers without virtual time: sleeps as long as the first entry takes, with the time last
  /// passed to reap() as the present.
  int32_t wait(uint64_t timeout_ns, int wake_fd) {
    free_healed();
    const uint64_t due = next_ns();
    if (due != cubby_backends::never_ns) {
      timeout_ns = std::min(timeout_ns, due > last_now_ns_ ? due - last_now_ns_ : 0);
    }
    return cubby_backends::poll_readable(-1, wake_fd, timeout_ns);
  }

 private:
  auto earliest() {
    return std::min_element(entries_.begin(), entries_.end(), [](const entry &a, const entry &b) {
      return a.due_ns != b.due_ns ? a.due_ns < b.due_ns : a.number < b.number;
    });
  }
  void free_healed() {
    for (entry &one : entries_) {
      if (one.stuck_until_heal == 0 || one.stuck_until_heal > world_.heal_count()) continue;
      one.stuck_until_heal = 0;  // heal() has already counted it as freed
      one.due_ns = 0;
    }
  }

  world &world_;
  uint32_t depth_;
  std::vector<entry> entries_;
  uint64_t next_number_ = 0, last_now_ns_ = 0;
};

/// The world an instance lives in: the one it was given, or a faultless one of its own.
class home {
 public:
  explicit home(void *given) : world_(static_cast<world *>(given)) {
    if (world_ != nullptr) return;
    world_options options;
    options.real_files = true;
    options.file = {50'000, 0, 0};
    options.copy = {};
    own_ = std::make_unique<world>(options);
    world_ = own_.get();
  }
  world &operator*() const { return *world_; }
  world *operator->() const { return world_; }

 private:
  std::unique_ptr<world> own_;
  world *world_;
};

/// A destination holds noise until its I/O is over: what is read from it early is found out.
inline void fill_with_noise(void *memory, uint64_t bytes, uint64_t number) {
  std::memset(memory, static_cast<int>(0x80 | (number & 0x7f)), bytes);
}

}  // namespace cubby_sim
