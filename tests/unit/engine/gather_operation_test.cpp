// Gathers: pages come as there are frames, their rows are copied as they land, nothing is held.
#include "engine/operations/gather.hpp"

#include "support/operation_fixture.hpp"

namespace gather_operation_test {

using namespace cubby;
using namespace cubby::engine;

namespace {

constexpr uint32_t row_bytes = 16;

struct fixture : cubby_test::operation_fixture {
  gather_operation gathers{units};
  std::vector<std::byte> into = std::vector<std::byte>(16 * row_bytes);

  /// Row 0 of each of these pages, behind `copied` rows that the call has copied itself.
  uint32_t begin_gather(const std::vector<uint32_t> &pages, uint32_t copied = 0) {
    auto plan = std::make_unique<gather_plan>();
    plan->into = {{into.data(), into.size()}};
    plan->into_ends = {into.size()};
    plan->row_bytes = row_bytes;
    plan->row_count = copied + static_cast<uint32_t>(pages.size());
    plan->copied_count = copied;
    for (uint32_t i = 0; i < pages.size(); ++i) {
      plan->rows.push_back({copied + i, 0});
      plan->ends.push_back(i + 1);
    }
    gather_verb verb;
    verb.plan = std::move(plan);
    const uint32_t index = begin(std::move(verb), pages);
    gathers.begin(index);
    return index;
  }
  /// As arrive(), with bytes of its own.
  void bring(uint32_t number) {
    const fill &f = table[static_cast<uint32_t>(word(number).frame)];
    std::byte *at = state.tiers.address(bank, near, f.frame, number, 0);
    std::fill_n(at, row_bytes, static_cast<std::byte>(number + 1));
    arrive(number);
  }
  [[nodiscard]] uint32_t seen(uint32_t row) const {
    return static_cast<uint32_t>(into[row * row_bytes]);
  }
};

}  // namespace

TEST_CASE("a gather of more pages than there are frames goes on as they land") {
  fixture h;  // of four frames
  const uint32_t index = h.begin_gather({0, 1, 2, 3, 4, 5}, 1);
  CHECK(h.requests[index].ok_count == 1);
  CHECK_FALSE(h.gathers.grant(index));
  CHECK(h.status[1] == CUBBY_PENDING);
  h.bring(0);
  h.bring(1);
  CHECK(h.status[1] == CUBBY_OK);
  CHECK(h.seen(1) == 1);
  CHECK(h.word(0).pin_count == 0);
  CHECK(h.gathers.grant(index));
  for (const uint32_t page : {2u, 3u, 4u, 5u}) h.bring(page);
  CHECK(h.has_ended(index));
  CHECK(h.requests[index].status == CUBBY_OK);
  CHECK(h.requests[index].ok_count == 7);
  CHECK(h.requests[index].item_count() == 7);
  CHECK(h.requests[index].bytes == 7 * row_bytes);
  for (uint32_t row = 1; row < 7; ++row) CHECK(h.seen(row) == row);
}

TEST_CASE("a page that is nowhere fails the gather, or the rows where they have statuses") {
  fixture h;
  const bool statuses = GENERATE(true, false);
  const uint32_t index = h.begin_gather({0, h.present_count});
  if (!statuses) h.requests[index].item_status = nullptr;
  CHECK(h.gathers.grant(index));
  h.bring(0);
  CHECK(h.has_ended(index));
  CHECK(h.requests[index].status == (statuses ? CUBBY_PARTIAL : CUBBY_MISS));
  CHECK(h.status[1] == (statuses ? CUBBY_MISS : CUBBY_PENDING));
  CHECK(h.seen(0) == 1);
  CHECK(h.seen(1) == 0);
}

TEST_CASE("what is withdrawn of a gather is not written") {
  fixture h;
  const uint32_t index = h.begin_gather({0, 1});
  CHECK(h.gathers.grant(index));
  h.bring(1);
  h.gathers.withdraw(index, true);
  CHECK(h.has_ended(index));
  CHECK(h.requests[index].status == CUBBY_PARTIAL);
  CHECK(h.status[0] == CUBBY_ERR_CANCELED);
  CHECK(h.status[1] == CUBBY_OK);
  CHECK(h.seen(0) == 0);
}

TEST_CASE("a copy for one use is not announced") {
  fixture h;
  const uint32_t index = h.begin_gather({0});
  h.requests[index].flags = CUBBY_BYPASS;
  CHECK(h.gathers.grant(index));
  CHECK_FALSE(h.table[static_cast<uint32_t>(h.word(0).frame)].admit);
  h.bring(0);
  CHECK(h.requests[index].status == CUBBY_OK);
}

}  // namespace gather_operation_test
