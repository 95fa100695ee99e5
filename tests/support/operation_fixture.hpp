// What the verbs work with: two host tiers, lockers that are all in the far one, and requests that
// a test takes up itself. Copies come when the test says so.
#pragma once

#include <array>

#include "engine/operations/operation.hpp"
#include "support/engine_fixture.hpp"

namespace cubby_test {

struct operation_fixture : engine_fixture {
  static constexpr uint64_t page = 4096;
  /// Lockers that are somewhere; those behind them are nowhere.
  static constexpr uint32_t present_count = 10;

  const uint32_t near, far;
  cubby::engine::locker_bank &bank = add_bank(present_count + 2, page);
  cubby::engine::sources from{state, table, copies, files};
  cubby::engine::fills life{state, table, copies, stored, from, requests, open};
  cubby::engine::frame_grants grants{state, table, copies};
  const cubby::engine::operation_units units{state,  requests, open,   table, direct, life,
                                             grants, copies,   stored, puts,  regions};
  std::array<int8_t, 8> status{};

  explicit operation_fixture(uint32_t far_flags = 0)
      : near(add_host("near", 0, 4 * page)), far(add_host("far", 1, 64 * page, far_flags)) {
    for (uint32_t number = 0; number < present_count; ++number) land(bank, far, number);
  }
  /// A request that is open.
  uint32_t begin(cubby::engine::request_verb verb, const std::vector<uint32_t> &numbers,
                 uint32_t io_class = CUBBY_DEMAND, uint64_t deadline_ns = 0) {
    const uint32_t index = make_request(std::move(verb), near, bank, numbers, io_class);
    status.fill(CUBBY_PENDING);
    requests[index].item_status = status.data();
    requests[index].deadline_ns = deadline_ns;
    open.open(index);
    return index;
  }
  [[nodiscard]] cubby::engine::locker_word::view word(uint32_t number) const {
    return bank.word(near, number).look();
  }
  [[nodiscard]] bool has_ended(uint32_t index) const { return !open.is_open(index); }
  /// The bytes of a locker that is on its way have come.
  void arrive(uint32_t number) {
    const auto index = static_cast<uint32_t>(word(number).frame);
    table.unqueue(index);
    cubby::engine::fill &f = table[index];
    f.next_part = bank.part_count();
    f.pieces_in_flight = 1;
    life.piece_ended(f);
  }
  /// Somebody else holds it.
  void hold(uint32_t number) const {
    uint64_t frame = 0;
    REQUIRE(bank.word(near, number).pin(frame) == cubby::engine::pin_outcome::pinned);
  }
  [[nodiscard]] uint64_t used_frames() const {
    return state.tiers[near].memory->used_bytes() / page;
  }
};

}  // namespace cubby_test
