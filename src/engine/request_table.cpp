#include "engine/request_table.hpp"

#include <algorithm>

namespace cubby::engine {

uint32_t request::item_count() const {
  if (const auto *seal = std::get_if<seal_verb>(&verb)) {
    return seal->job == nullptr ? ok_count : static_cast<uint32_t>(seal->job->total_count());
  }
  if (const gather_plan *gather = gathers()) return gather->row_count;
  return static_cast<uint32_t>(items.size());
}

request_table::request_table(uint32_t tickets_max, uint32_t salt)
    : size_(tickets_max),
      requests_(std::make_unique<request[]>(tickets_max)),
      free_(tickets_max),
      inbox_(tickets_max) {
  for (uint32_t i = tickets_max; i-- > 0;) {
    requests_[i].life.store(life_of(salt + 1, request_state::unused), std::memory_order_relaxed);
    free_.push(i);
  }
}

uint32_t request_table::take(bool forget) {
  const uint32_t forgotten_max = std::max(1u, size_ / 2);
  uint32_t forgotten = forgotten_count_.load();
  do {
    if (!forget) break;
    if (forgotten >= forgotten_max) return no_index;
  } while (!forgotten_count_.compare_exchange_weak(forgotten, forgotten + 1));
  const uint32_t index = free_.pop();
  if (index == no_index) {
    if (forget) forgotten_count_.fetch_sub(1);
    return no_index;
  }
  requests_[index].forget = forget;
  return index;
}

void request_table::give(uint32_t index) {
  request &r = requests_[index];
  const uint32_t generation = generation_of(r.life.load(std::memory_order_relaxed)) + 1;
  // Its memory is used again, so that a request takes none; large sets are rare.
  constexpr size_t retained_count = 32;
  if (r.items.capacity() > retained_count) r.items = {};
  r.items.clear();
  r.verb = {};
  if (r.forget) forgotten_count_.fetch_sub(1);
  if (r.failure.status != CUBBY_OK) r.failure = error{.status = CUBBY_OK, .text = {}};
  r.life.store(life_of(generation, request_state::unused), std::memory_order_release);
  free_.push(index);
}

void request_table::submit(uint32_t index) noexcept {
  request &r = requests_[index];
  const uint64_t life = r.life.load(std::memory_order_relaxed);
  r.life.store(life_of(generation_of(life), request_state::accepted), std::memory_order_release);
  inbox_count_.fetch_add(1, std::memory_order_seq_cst);
  inbox_.push(index);
}

uint32_t request_table::accept() {
  const uint32_t index = inbox_.pop();
  if (index != no_index) inbox_count_.fetch_sub(1, std::memory_order_seq_cst);
  return index;
}

}  // namespace cubby::engine
