// What waits for a channel, most urgent first: a heap that knows where each job stands, so that one
// in the middle can be taken out.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <vector>

#include "base/abi.hpp"
#include "base/clock.hpp"
#include "base/room.hpp"

namespace cubby::transfer {

/// Order of service: I/O class, then deadline, then arrival.
struct urgency {
  uint32_t io_class = CUBBY_DEMAND;
  uint64_t deadline_ns = base::never_ns;
  uint64_t sequence = 0;
  auto operator<=>(const urgency &) const = default;  // NOLINT(modernize-use-nullptr)
};

/// A job is a number. At most one of its three highest bits is set and says of which kind it is;
/// the others count the jobs of a kind from 0. Each is in the queue once at most.
class job_queue {
 public:
  struct entry {
    urgency how;
    uint32_t job = 0;
    auto operator<=>(const entry &) const = default;  // NOLINT(modernize-use-nullptr)
  };

  /// So many jobs in all, the numbers of each kind below that, take no memory. May throw.
  void make_room(size_t jobs) {
    if (jobs <= roomy_for_jobs_) return;
    base::make_room(heap_, jobs);
    for (auto &places : places_) {
      base::make_room(places, jobs);
      places.resize(jobs, nowhere);
    }
    roomy_for_jobs_ = jobs;
  }
  [[nodiscard]] size_t roomy_for_jobs() const { return roomy_for_jobs_; }

  void push(const urgency &how, uint32_t job) {
    make_room(std::max<size_t>(number_of(job), heap_.size()) + 1);
    heap_.emplace_back();
    rise(heap_.size() - 1, {how, job});
  }
  /// Nothing where it is not in the queue.
  void remove(uint32_t job) noexcept {
    if (number_of(job) >= roomy_for_jobs_ || place_of(job) == nowhere) return;
    const uint32_t gap = place_of(job);
    place_of(job) = nowhere;
    const entry last = heap_.back();
    heap_.pop_back();
    if (gap == heap_.size()) return;
    if (gap != 0 && last < heap_[(gap - 1) / 2]) {
      rise(gap, last);
    } else {
      sink(gap, last);
    }
  }
  [[nodiscard]] const entry &first() const { return heap_.front(); }
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] size_t size() const { return heap_.size(); }

 private:
  static constexpr uint32_t nowhere = ~uint32_t{0};
  static constexpr uint32_t kind_shift = 29, kinds = (1u << 2) + 1;

  static uint32_t number_of(uint32_t job) { return job & ((1u << kind_shift) - 1); }
  uint32_t &place_of(uint32_t job) { return places_[job >> kind_shift][number_of(job)]; }
  void put(size_t place, const entry &one) {
    heap_[place] = one;
    place_of(one.job) = static_cast<uint32_t>(place);
  }
  /// Into the gap at `place`, or nearer to the first.
  void rise(size_t place, const entry &one) {
    for (; place != 0 && one < heap_[(place - 1) / 2]; place = (place - 1) / 2) {
      put(place, heap_[(place - 1) / 2]);
    }
    put(place, one);
  }
  /// Or farther from it.
  void sink(size_t place, const entry &one) {
    for (size_t next = 2 * place + 1; next < heap_.size(); next = 2 * place + 1) {
      if (next + 1 < heap_.size() && heap_[next + 1] < heap_[next]) ++next;
      if (!(heap_[next] < one)) break;
      put(place, heap_[next]);
      place = next;
    }
    put(place, one);
  }

  std::vector<entry> heap_;
  std::array<std::vector<uint32_t>, kinds> places_;  // in the heap, by kind and number
  size_t roomy_for_jobs_ = 0;
};

}  // namespace cubby::transfer
