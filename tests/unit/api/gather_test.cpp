// Rows of a table, gathered into memory of the caller.
#include <thread>

#include "unit/api/table_fixture.hpp"

namespace gather_test {

using namespace api_test;

namespace {

cubby_how how_with(uint32_t flags = 0, int8_t *item_status = nullptr) {
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = flags;
  how.item_status = item_status;
  return how;
}

}  // namespace

TEST_CASE("a table is adopted in place, as pages of rows of which the last is short") {
  table_file file(3001, GENERATE(table_kind::gguf, table_kind::safetensors));
  const table_fixture f(file, CUBBY_PUMP_CALLER);
  cubby_bank_desc desc{};
  REQUIRE(cubby_bank_info(f.h.rt, f.bank, &desc) == CUBBY_OK);
  CHECK(desc.kind == CUBBY_BANK_ROWS);
  CHECK(desc.table_row_bytes == 102);
  CHECK(desc.table_row_count == 3001);
  CHECK(desc.locker_bytes == 40 * 102);
  CHECK(desc.rows == 1);
  CHECK(desc.columns == 76);
  cubby_extent last{};
  REQUIRE(cubby_bank_extent(f.h.rt, f.bank, 75, 0, &last) == CUBBY_OK);
  CHECK(last.bytes == 102);
  CHECK(last.offset_bytes + last.bytes == file.bytes.size());
  cubby_part_info part{};
  part.struct_size = sizeof part;
  REQUIRE(cubby_bank_part(f.h.rt, f.bank, 0, 0, &part) == CUBBY_OK);
  CHECK(std::string(part.tensor) == "token_embd.weight");
  CHECK(part.shape[1] == 40);
}

TEST_CASE("rows come in the order asked, whatever their number, repeated ones too") {
  table_file file(3001, GENERATE(table_kind::gguf, table_kind::safetensors));
  const table_fixture f(file, GENERATE(0u, 1u), 1 << 20, GENERATE("lru", "auto"));
  f.check({3000});
  f.check({7, 7, 2999, 7, 0, 39, 40, 3000, 0});
  for (uint64_t seed = 1; seed <= 20; ++seed) f.check(f.random_rows(1 + seed * 9, seed));
  f.check(all_rows(file));
  CHECK(f.h.stats(f.host).hit_count > 0);
}

TEST_CASE("a gather of what is in memory needs no ticket, and reads nothing") {
  table_file file;
  const table_fixture f(file, GENERATE(0u, 1u));
  f.check(all_rows(file));
  const uint64_t came = f.h.stats(f.host).bytes_in;
  std::string seen;
  cubby_ticket ticket = 77;
  const std::vector<uint64_t> rows = f.random_rows(500, 3);
  REQUIRE(f.gather(rows, seen, nullptr, &ticket) == CUBBY_OK);
  CHECK(ticket == 0);
  CHECK(seen == file.rows(rows));
  CHECK(f.h.stats(f.host).bytes_in == came);
}

TEST_CASE("each missing page is read once") {
  table_file file;
  const table_fixture f(file, GENERATE(0u, 1u));
  std::vector<uint64_t> rows;
  for (uint64_t i = 0; i < 400; ++i) rows.push_back(80 + i % 80);  // pages 2 and 3
  f.check(rows);
  CHECK(f.h.stats(f.host).bytes_in == 2 * 40 * 102);
}

TEST_CASE("a gather larger than its tier comes in pieces") {
  table_file file;
  const table_fixture f(file, GENERATE(0u, 1u), 4 * 8192, GENERATE("lru", "auto", "w-tinylfu"));
  f.check(all_rows(file));
  for (uint64_t seed = 1; seed <= 3; ++seed) f.check(f.random_rows(900, seed));
  const cubby_tier_stats stats = f.h.stats(f.host);
  CHECK(stats.peak_bytes <= 4 * 8192);
  CHECK(stats.bytes_in > 3 * 3001 * 102);
}

TEST_CASE("a page that can never be there is a matter of the budget") {
  table_file file;
  table_fixture f(file, CUBBY_PUMP_CALLER, 0);
  std::string seen;
  CHECK(f.gather({1}, seen) == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(explain().find("backend \"host\"") != std::string::npos);
  f.host = f.h.tier("host:0", 0, 4096);
  CHECK(f.gather({1}, seen) == CUBBY_ERR_BUDGET);
}

TEST_CASE("a completion counts rows") {
  table_file file;
  const table_fixture f(file, GENERATE(0u, 1u));
  f.check({0});
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(f.h.rt, 4, &queue) == CUBBY_OK);
  std::vector<int8_t> status(5, 77);
  cubby_how how = how_with(0, status.data());
  how.cq = queue;
  how.user = 9;
  std::string seen;
  const std::vector<uint64_t> rows = {100, 1, 101, 1000, 100};
  REQUIRE(f.gather(rows, seen, &how) == CUBBY_PENDING);
  REQUIRE(cubby_cq_wait(queue, 20'000'000'000) == CUBBY_OK);
  cubby_done done{};
  REQUIRE(cubby_cq_take(queue, &done, 1) == 1);
  CHECK(done.user == 9);
  CHECK(done.status == CUBBY_OK);
  CHECK(done.item_count == 5);
  CHECK(done.ok_count == 5);
  CHECK(done.bytes == 5 * 102);
  CHECK(status == std::vector<int8_t>(5, CUBBY_OK));
  CHECK(seen == file.rows(rows));
  REQUIRE(cubby_cq_remove(queue) == CUBBY_OK);
}

TEST_CASE("without waiting only what is in memory comes, and the rest is untouched") {
  table_file file;
  const table_fixture f(file, CUBBY_PUMP_CALLER);
  f.check({5});
  std::vector<int8_t> status(3, 77);
  const cubby_how how = how_with(CUBBY_NO_WAIT, status.data());
  std::string seen;
  CHECK(f.gather({6, 2000, 5}, seen, &how) == CUBBY_PARTIAL);
  CHECK(status == std::vector<int8_t>{CUBBY_OK, CUBBY_MISS, CUBBY_OK});
  CHECK(seen == file.rows({6}) + std::string(102, 'x') + file.rows({5}));
  const cubby_how blind = how_with(CUBBY_NO_WAIT);
  CHECK(f.gather({6, 2000}, seen, &blind) == CUBBY_MISS);
  CHECK(f.gather({6, 7}, seen, &blind) == CUBBY_OK);
}

TEST_CASE("pages that were prefetched are there when their rows are asked for") {
  table_file file;
  const table_fixture f(file, GENERATE(0u, 1u));
  std::vector<cubby_item> pages(2);
  pages[0].id = CUBBY_ID(f.bank, 80 / table_fixture::page_rows);
  pages[1].id = CUBBY_ID(f.bank, 3000 / table_fixture::page_rows);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_prefetch(f.h.rt, pages.data(), 2, f.host, nullptr, &ticket) == CUBBY_PENDING);
  REQUIRE(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
  const cubby_how how = how_with(CUBBY_NO_WAIT);
  std::string seen;
  CHECK(f.gather({80, 3000, 119}, seen, &how) == CUBBY_OK);
  CHECK(seen == file.rows({80, 3000, 119}));
}

TEST_CASE("a gather that makes no sense does nothing and says why") {
  table_file file;
  const table_fixture f(file, CUBBY_PUMP_CALLER);
  std::string into(204, 'x');
  const uint64_t rows[] = {1, 3001};
  cubby_span span{};
  span.offset_bytes = reinterpret_cast<uintptr_t>(into.data());
  span.bytes = 204;
  const auto refused = [&](cubby_bank bank, const uint64_t *asked, uint32_t count,
                           const cubby_span *to, cubby_status status, const char *said) {
    cubby_ticket ticket = 7;
    CHECK(cubby_gather(f.h.rt, bank, asked, count, to, nullptr, &ticket) == status);
    INFO(explain());
    CHECK(explain().find(said) != std::string::npos);
    CHECK(ticket == 0);
    CHECK(into == std::string(204, 'x'));
  };
  refused(f.bank, rows, 2, &span, CUBBY_ERR_INVALID, "has 3001 rows");
  refused(f.bank, rows, 1, &span, CUBBY_ERR_INVALID, "1 rows of bank rows take 102");
  refused(f.bank, nullptr, 1, &span, CUBBY_ERR_INVALID, "NULL");
  refused(f.bank, rows, 0, &span, CUBBY_ERR_INVALID, "count 0");
  refused(f.bank, rows, 1, nullptr, CUBBY_ERR_INVALID, "NULL");
  refused(4711, rows, 1, &span, CUBBY_ERR_STALE, "not one of this runtime");
  cubby_span odd = span;
  odd.bytes = 102;
  odd.region = 99;
  refused(f.bank, rows, 1, &odd, CUBBY_ERR_STALE, "region 99");
  odd = {0, 0, 0, 102};
  refused(f.bank, rows, 1, &odd, CUBBY_ERR_INVALID, "NULL");
  odd.offset_bytes = ~uint64_t{0} - 50;
  refused(f.bank, rows, 1, &odd, CUBBY_ERR_INVALID, "ends beyond every address");
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_OTHER;
  desc.name = "plain";
  desc.rows = desc.columns = 1;
  desc.locker_bytes = 64;
  cubby_bank plain = 0;
  REQUIRE(cubby_bank_add(f.h.rt, &desc, &plain) == CUBBY_OK);
  refused(plain, rows, 1, &span, CUBBY_ERR_INVALID, "no table of rows");
}

TEST_CASE("what is no table is not adopted as one") {
  table_file file;
  const table_fixture f(file, CUBBY_PUMP_CALLER);
  const auto refused = [&](const char *tensors, uint32_t kind, uint32_t page, const char *said) {
    cubby_adopt_desc desc = f.table_desc();
    desc.tensors = tensors;
    desc.kind = kind;
    desc.page_bytes = page;
    cubby_bank bank = 0;
    CHECK(cubby_bank_adopt(f.h.rt, file.path.c_str(), &desc, &bank) == CUBBY_ERR_INVALID);
    INFO(explain());
    CHECK(explain().find(said) != std::string::npos);
  };
  refused(nullptr, CUBBY_BANK_ROWS, 0, "name it");
  refused("*", CUBBY_BANK_ROWS, 0, "2 tensors");
  refused("nothing", CUBBY_BANK_ROWS, 0, "matches nothing");
  refused("output_norm.weight", CUBBY_BANK_ROWS, 0, "two");
  refused("token_embd.weight", CUBBY_BANK_KV, 0, "cubby_adopt_desc.kind");
  refused("token_embd.weight", 0, 4096, "page_bytes");
}

namespace {

cubby_bank_desc native_desc(uint32_t columns, uint64_t row_count) {
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_ROWS;
  desc.name = "table";
  desc.rows = 1;
  desc.columns = columns;
  desc.locker_bytes = 10 * table_file::row_bytes;
  desc.table_row_bytes = table_file::row_bytes;
  desc.table_row_count = row_count;
  return desc;
}

}  // namespace

TEST_CASE("a table that is described is mapped page by page") {
  table_file file(25);
  table_fixture f(file, GENERATE(0u, 1u));
  const cubby_bank_desc desc = native_desc(3, 25);
  REQUIRE(cubby_bank_add(f.h.rt, &desc, &f.bank) == CUBBY_OK);
  std::string seen;
  CHECK(f.gather({24, 3}, seen) == CUBBY_MISS);  // nothing is mapped yet
  std::vector<cubby_extent> extents;
  for (uint64_t page : {uint64_t{2}, uint64_t{0}, uint64_t{1}}) {
    const uint64_t bytes = uint64_t{page == 2 ? 5u : 10u} * table_file::row_bytes;
    extents.push_back(
        {CUBBY_ID(f.bank, page), 0, 0, file.offset_bytes + page * desc.locker_bytes, bytes});
  }
  const char *path = file.path.c_str();
  extents[0].bytes *= 2;
  CHECK(cubby_bank_map(f.h.rt, f.bank, &path, 1, extents.data(), 3) == CUBBY_ERR_INVALID);
  extents[0].bytes /= 2;
  REQUIRE(cubby_bank_map(f.h.rt, f.bank, &path, 1, extents.data(), 3) == CUBBY_OK);
  f.check({24, 3, 10, 9, 24, 20});
  f.check(all_rows(file));
}

TEST_CASE("a table whose sizes do not fit together is refused") {
  const runtime_fixture h(CUBBY_PUMP_CALLER);
  const auto refused = [&](cubby_bank_desc desc, const char *said) {
    cubby_bank bank = 0;
    CHECK(cubby_bank_add(h.rt, &desc, &bank) == CUBBY_ERR_INVALID);
    INFO(explain());
    CHECK(explain().find(said) != std::string::npos);
  };
  refused(native_desc(3, 31), "31 rows of a table take 4 pages of 10");
  refused(native_desc(3, 20), "take 2 pages");
  cubby_bank_desc desc = native_desc(3, 0);
  desc.rows = 2;
  refused(desc, "one row of pages");
  desc = native_desc(3, 0);
  desc.table_row_bytes = 100;
  refused(desc, "no whole number");
  desc.table_row_bytes = 0;
  refused(desc, "no whole number");
  desc = native_desc(3, 0);
  cubby_bank bank = 0;
  REQUIRE(cubby_bank_add(h.rt, &desc, &bank) == CUBBY_OK);
  REQUIRE(cubby_bank_info(h.rt, bank, &desc) == CUBBY_OK);
  CHECK(desc.table_row_count == 30);
}

TEST_CASE("rows go to regions, also in pieces") {
  table_file file;
  const table_fixture f(file, GENERATE(0u, 1u));
  std::string memory(4096, 'x');
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.fd = -1;
  desc.base = memory.data();
  desc.bytes = memory.size();
  desc.piece_bytes = 50;
  desc.stride_bytes = 64;
  desc.piece_count = 60;
  cubby_region region = 0;
  REQUIRE(cubby_region_add(f.h.rt, &desc, &region) == CUBBY_OK);
  const std::vector<uint64_t> rows = {2000, 3, 1999};
  for (int round = 0; round < 2; ++round) {  // from the file, then from memory
    memory.assign(4096, 'x');
    const cubby_span span{region, 0, 10, 306};
    REQUIRE(cubby_gather(f.h.rt, f.bank, rows.data(), 3, &span, nullptr, nullptr) == CUBBY_OK);
    const std::string right = file.rows(rows);
    for (uint64_t i = 0; i < right.size(); ++i) {
      REQUIRE(memory[(i + 10) / 50 * 64 + (i + 10) % 50] == right[i]);
    }
    CHECK(std::count(memory.begin(), memory.end(), 'x') >= 4096 - 306);
  }
  CHECK(cubby_region_remove(f.h.rt, region) == CUBBY_OK);
}

TEST_CASE("a damaged page is an error, and the other rows come where they have statuses") {
  table_file file;
  table_fixture f(file, GENERATE(0u, 1u));
  const bool sealed = GENERATE(false, true);
  if (sealed) {
    const cubby_adopt_desc desc = f.table_desc();
    cubby_ticket ticket = 0;
    REQUIRE(cubby_seal(f.h.rt, file.path.c_str(), &desc, nullptr, &ticket) == CUBBY_PENDING);
    REQUIRE(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
    REQUIRE(std::filesystem::exists(file.path + ".token_embd.weight.p4080.cubby-seal"));
    REQUIRE(cubby_bank_remove(f.h.rt, f.bank) == CUBBY_OK);
  }
  if (!sealed) f.check(all_rows(file));  // takes the digests
  file.flip(1000);
  cubby_bank bank = f.bank;
  if (sealed) {
    REQUIRE(f.adopt(&bank) == CUBBY_OK);
    std::filesystem::remove(file.path + ".token_embd.weight.p4080.cubby-seal");
  }
  f.bank = bank;
  f.drop_all();
  std::string seen;
  CHECK(f.gather({1, 1001, 2}, seen) == CUBBY_ERR_CORRUPT);
  std::vector<int8_t> status(3, 77);
  const cubby_how how = how_with(0, status.data());
  CHECK(f.gather({1, 1001, 2}, seen, &how) == CUBBY_PARTIAL);
  CHECK(status == std::vector<int8_t>{CUBBY_OK, CUBBY_ERR_CORRUPT, CUBBY_OK});
  CHECK(seen == file.rows({1}) + std::string(102, 'x') + file.rows({2}));
  f.check({1, 2, 3000});
}

TEST_CASE("a seal of other pages, or of another table, is no damage") {
  table_file file;
  const table_fixture f(file, CUBBY_PUMP_CALLER);
  cubby_adopt_desc desc = f.table_desc();
  const std::string own = file.path + ".seal";
  desc.seal_path = GENERATE(false, true) ? own.c_str() : nullptr;
  cubby_ticket ticket = 0;
  REQUIRE(cubby_seal(f.h.rt, file.path.c_str(), &desc, nullptr, &ticket) == CUBBY_PENDING);
  REQUIRE(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
  cubby_bank recut = 0;
  desc.page_bytes = 4000;  // of a row less
  const cubby_status status = cubby_bank_adopt(f.h.rt, file.path.c_str(), &desc, &recut);
  CHECK(status == (desc.seal_path == nullptr ? CUBBY_OK : CUBBY_ERR_FORMAT));
  if (desc.seal_path == nullptr) {
    std::string row(table_file::row_bytes, 'x');
    cubby_span into{};
    into.offset_bytes = reinterpret_cast<uintptr_t>(row.data());
    into.bytes = row.size();
    const uint64_t last = file.row_count - 1;
    CHECK(cubby_gather(f.h.rt, recut, &last, 1, &into, nullptr, nullptr) == CUBBY_OK);
    CHECK(row == file.rows({last}));
  }
  std::filesystem::remove(own);
  std::filesystem::remove(file.path + ".token_embd.weight.p4080.cubby-seal");
}

TEST_CASE("a gather that is withdrawn completes once") {
  table_file file;
  const table_fixture f(file, CUBBY_PUMP_CALLER, 4 * 8192);
  const std::vector<uint64_t> rows = all_rows(file);
  std::vector<int8_t> status(rows.size(), 77);
  const cubby_how how = how_with(0, status.data());
  std::string seen;
  cubby_ticket ticket = 0;
  REQUIRE(f.gather(rows, seen, &how, &ticket) == CUBBY_PENDING);
  CHECK(cubby_bank_remove(f.h.rt, f.bank) == CUBBY_ERR_BUSY);
  REQUIRE(cubby_cancel(f.h.rt, ticket) == CUBBY_OK);
  const cubby_status ended = cubby_wait(f.h.rt, ticket, -1);
  CHECK((ended == CUBBY_ERR_CANCELED || ended == CUBBY_PARTIAL));
  CHECK(cubby_wait(f.h.rt, ticket, 0) == CUBBY_ERR_STALE);
  for (size_t i = 0; i < rows.size(); ++i) {
    REQUIRE((status[i] == CUBBY_OK || status[i] == CUBBY_ERR_CANCELED));
    const std::string row = seen.substr(i * 102, 102);
    REQUIRE(row == (status[i] == CUBBY_OK ? file.rows({rows[i]}) : std::string(102, 'x')));
  }
  CHECK(status.back() == CUBBY_ERR_CANCELED);
  f.check({5, 3000});
  CHECK(cubby_bank_remove(f.h.rt, f.bank) == CUBBY_OK);
}

TEST_CASE("a runtime closes in the middle of gathers") {
  table_file file;
  std::string seen[4];
  std::vector<uint64_t> rows = all_rows(file);
  std::vector<int8_t> status[4];
  const uint32_t pump = GENERATE(0u, 1u);
  for (int round = 0; round < 5; ++round) {
    const table_fixture f(file, pump, 4 * 8192);
    for (int i = 0; i < 4; ++i) {
      status[i].assign(rows.size(), 77);
      const cubby_how how = how_with(0, status[i].data());
      cubby_ticket ticket = 0;
      REQUIRE(f.gather(rows, seen[i], &how, &ticket) == CUBBY_PENDING);
    }
  }
  for (const auto &one : status) {
    CHECK(std::ranges::all_of(
        one, [](int8_t now) { return now == CUBBY_OK || now == CUBBY_ERR_CANCELED; }));
  }
}

TEST_CASE("threads gather side by side in a tier of few pages") {
  table_file file;
  const table_fixture f(file, GENERATE(0u, 1u), 6 * 8192);
  std::vector<std::thread> threads;
  std::atomic<uint32_t> wrong{0};
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::string seen;
      for (uint64_t round = 0; round < 40; ++round) {
        const std::vector<uint64_t> rows = f.random_rows(1 + round * 3, t << 8 | round);
        if (f.gather(rows, seen) != CUBBY_OK || seen != file.rows(rows)) ++wrong;
      }
    });
  }
  for (std::thread &one : threads) one.join();
  CHECK(wrong == 0);
}

TEST_CASE("a copy for one use does not stay") {
  table_file file;
  const table_fixture f(file, CUBBY_PUMP_CALLER);
  const cubby_how how = how_with(CUBBY_BYPASS);
  std::string seen;
  REQUIRE(f.gather({100, 900}, seen, &how) == CUBBY_OK);
  CHECK(seen == file.rows({100, 900}));
  REQUIRE(cubby_poll(f.h.rt, 0, nullptr) == CUBBY_OK);
  const cubby_how blind = how_with(CUBBY_NO_WAIT);
  CHECK(f.gather({100}, seen, &blind) == CUBBY_MISS);
}

}  // namespace gather_test
