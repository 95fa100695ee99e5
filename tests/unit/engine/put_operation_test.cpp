// Puts that go on as requests: what comes of their blocks where there is no memory to go on.
#include "engine/operations/put.hpp"

#include "support/operation_fixture.hpp"

namespace put_operation_test {

using namespace cubby;
using namespace cubby::engine;

namespace {

struct fixture : cubby_test::operation_fixture {
  put_operation verb{units};
  locker_bank &stored_bank = add_blocks();
  const uint32_t space = add_space();

  locker_bank &add_blocks() {
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_KV;
    desc.name = "blocks";
    desc.rows = 1;
    desc.columns = 4;
    desc.locker_bytes = page;
    auto made = locker_bank::describe(desc);
    REQUIRE(made.ok());
    auto added = setup.add_bank(std::move(*made));
    REQUIRE(added.ok());
    return **added;
  }
  uint32_t add_space() {
    auto added = stored_bank.blocks->keys.add_space({}, {});
    REQUIRE(added.ok());
    return *added;
  }
  /// A put that has its frame and waits to be taken up.
  put_item begin_put(const std::string &key) {
    directory::put_request request;
    request.space = space;
    request.key = {key.data(), static_cast<uint32_t>(key.size())};
    request.keep = CUBBY_KEEP_CACHE;
    request.parts = 1;
    block_write what;
    const auto begun = puts.begin(stored_bank, request, what.at, 1, {});
    REQUIRE(begun.ok());
    REQUIRE(*begun == blocks::start::begun);
    what.space = space;
    what.key = key;
    what.keep = CUBBY_KEEP_CACHE;
    return put_item(std::move(what));
  }
};

}  // namespace

TEST_CASE("what waits of a put gives its blocks back when there is no memory to go on") {
  fixture h;
  const uint64_t used = h.used_frames();
  put_verb put;
  put.items.resize(3);  // one of them is over already
  put.items[0] = h.begin_put("one");
  put.items[2] = h.begin_put("three");
  REQUIRE(h.used_frames() == used + 2);
  const uint32_t index = h.begin(std::move(put), {0, 1, 2});
  h.verb.out_of_memory(index);
  CHECK(h.has_ended(index));
  CHECK(h.requests[index].status == CUBBY_ERR_NO_MEMORY);
  CHECK(h.used_frames() == used);
  CHECK(h.stored_bank.blocks->puts_in_flight == 0);
  const put_item again = h.begin_put("one");  // nobody has it
  h.puts.abandon(*again.block);
}

}  // namespace put_operation_test
