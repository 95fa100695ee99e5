#include "table/controller.hpp"

#include <algorithm>
#include <bit>

namespace cubby::table {
namespace {

uint32_t sets_capacity(uint32_t tickets_max) { return std::max(4096u, 2 * tickets_max); }

}  // namespace

controller::controller(const controller_config &config, const cubby_backend_services &services,
                       completion_sink &sink)
    : config_(config),
      services_(services),
      sink_(sink),
      banks_(config.salt),
      shards_(pin_sets::shard_count),
      pinning_(banks_, sets_capacity(config.tickets_max), config.salt),
      requests_(std::make_unique<request[]>(config.tickets_max)),
      free_requests_(std::bit_ceil(std::max(2u, config.tickets_max))),
      inbox_(std::bit_ceil(std::max(2u, config.tickets_max))) {
  for (uint32_t i = 0; i < config.tickets_max; ++i) {
    requests_[i].life.store(life_of(config.salt + 1, request_state::unused),
                            std::memory_order_relaxed);
    const bool pushed = free_requests_.push(i);
    CUBBY_ASSERT(pushed);
  }
  open_.reserve(config.tickets_max);  // who is taken up is never lost for lack of memory
  waiting_.reserve(config.tickets_max);
}

controller::~controller() {
  jobs_.clear();
  for (const auto &owned : banks_.owned()) close_files(owned->files);
  staging_.reset();
  for (uint32_t i = 0; i < tier_count(); ++i) {
    tier_slot &slot = *tiers_[i];
    if (slot.memory != nullptr) {
      for (const auto &block : slot.memory->blocks()) unregister_block(i, block);
    }
    slot.path.reset();
    slot.memory.reset();
  }
}

uint32_t controller::take_request(bool forget) {
  uint32_t index = no_index;
  const uint32_t forgotten_max = std::max(1u, config_.tickets_max / 2);
  const bool room = !forget || forgotten_count_.fetch_add(1) < forgotten_max;
  if (!room || !free_requests_.pop(index)) {
    if (forget) forgotten_count_.fetch_sub(1);
    return no_index;
  }
  requests_[index].forget = forget;
  return index;
}

void controller::give_request(uint32_t index) {
  request &r = requests_[index];
  const uint32_t generation = generation_of(r.life.load(std::memory_order_relaxed)) + 1;
  r.items.clear();
  if (r.forget) forgotten_count_.fetch_sub(1);
  r.failure = error{.status = CUBBY_OK, .text = {}};
  r.life.store(life_of(generation, request_state::unused), std::memory_order_release);
  const bool pushed = free_requests_.push(index);
  CUBBY_ASSERT(pushed);
}

void controller::submit(uint32_t index) {
  request &r = requests_[index];
  const uint64_t life = r.life.load(std::memory_order_relaxed);
  r.life.store(life_of(generation_of(life), request_state::accepted), std::memory_order_release);
  inbox_count_.fetch_add(1, std::memory_order_seq_cst);
  const bool pushed = inbox_.push(index);
  CUBBY_ASSERT(pushed);
}

void controller::note_route(shard &to, cubby_bank handle, visit_chain &chain,
                            std::span<const uint32_t> numbers, uint32_t slot, note_follows joined) {
  for (size_t first = 0; first < numbers.size(); first += visit_note::numbers_max) {
    if (chain.count == visit_chain::notes_max) end_chain(to, chain);
    if (chain.count != 0) {
      chain.notes[chain.count - 1].next = first == 0 ? joined : note_follows::same_sequence;
    }
    visit_note &note = chain.notes[chain.count++];
    const auto here =
        numbers.subspan(first, std::min<size_t>(numbers.size() - first, visit_note::numbers_max));
    note.bank = static_cast<uint16_t>(handle);
    note.slot = slot;
    note.count = static_cast<uint8_t>(here.size());
    note.next = note_follows::another_visit;
    std::copy(here.begin(), here.end(), note.numbers.begin());
  }
}

void controller::end_chain(shard &to, visit_chain &chain) {
  if (chain.count == 0) return;
  if (!to.visits.push_all(chain.notes.data(), chain.count)) {
    to.visits_dropped.fetch_add(1, std::memory_order_relaxed);
  }
  chain.count = 0;
}

bool controller::has_news() const {
  return inbox_count_.load(std::memory_order_seq_cst) != 0 || pinning_.has_news();
}

}  // namespace cubby::table
