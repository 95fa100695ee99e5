// A table of rows in a model file of known bytes, and a runtime that has adopted it.
#pragma once

#include <algorithm>
#include <numeric>

#include "unit/api/runtime_fixture.hpp"

namespace api_test {

enum class table_kind { gguf, safetensors };

/// A model file with a tensor before the table, so that the table lies at an odd place.
struct table_file {
  static constexpr uint32_t row_bytes = 102;  // of Q8_0: 96 elements
  uint32_t row_count;
  std::string path, bytes;
  uint64_t offset_bytes = 0;

  explicit table_file(uint32_t rows = 3001, table_kind kind = table_kind::gguf) : row_count(rows) {
    static int serial = 0;
    path = "gather_test_" + std::to_string(getpid()) + "_" + std::to_string(++serial) +
           (kind == table_kind::gguf ? ".gguf" : ".safetensors");
    kind == table_kind::gguf ? write_gguf_header() : write_safetensors_header();
    offset_bytes = bytes.size();
    cubby::base::prng random(rows);
    for (uint64_t left = uint64_t{rows} * row_bytes; left != 0; --left) {
      bytes += static_cast<char>(random.next() >> 11);
    }
    std::ofstream(path, std::ios::binary) << bytes;
  }
  table_file(const table_file &) = delete;
  table_file &operator=(const table_file &) = delete;
  ~table_file() { std::filesystem::remove(path); }

  [[nodiscard]] const char *row(uint64_t number) const {
    return bytes.data() + offset_bytes + number * row_bytes;
  }
  /// The rows as they are to be seen, one behind the other.
  [[nodiscard]] std::string rows(const std::vector<uint64_t> &numbers) const {
    std::string all;
    for (const uint64_t number : numbers) all.append(row(number), row_bytes);
    return all;
  }
  /// As a failing device would: the file's time of change stays what it was.
  void flip(uint64_t number) const {
    const auto time = std::filesystem::last_write_time(path);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(row(number) - bytes.data());
    file.put(static_cast<char>(*row(number) ^ 4));
    file.close();
    std::filesystem::last_write_time(path, time);
  }

 private:
  template <class T>
  void put(T value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof value);
  }
  void put_tensor(const std::string &name, std::vector<uint64_t> shape, uint32_t type,
                  uint64_t at) {
    put(uint64_t{name.size()});
    bytes += name;
    put(static_cast<uint32_t>(shape.size()));
    for (const uint64_t one : shape) put(one);
    put(type);
    put(at);
  }
  void write_gguf_header() {
    constexpr uint32_t f32 = 0, q8_0 = 8;
    bytes = "GGUF";
    put(uint32_t{3});
    put(uint64_t{2});
    put(uint64_t{0});
    put_tensor("output_norm.weight", {8}, f32, 0);
    put_tensor("token_embd.weight", {96, row_count}, q8_0, 32);
    bytes.resize((bytes.size() + 31) / 32 * 32 + 32);
  }
  void write_safetensors_header() {
    const std::string table = std::to_string(32 + uint64_t{row_count} * row_bytes);
    const std::string header =
        R"({"norm":{"dtype":"U8","shape":[32],"data_offsets":[0,32]},"token_embd.weight":)"
        R"({"dtype":"U8","shape":[)" +
        std::to_string(row_count) + ",102],\"data_offsets\":[32," + table + "]}}";
    put(uint64_t{header.size()});
    bytes += header;
    bytes.resize(bytes.size() + 32);
  }
};

struct table_fixture {
  static constexpr uint32_t page_rows = 40;  // of 4 KiB
  table_file &file;
  runtime_fixture h;
  cubby_tier host = 0;
  cubby_bank bank = 0;

  explicit table_fixture(table_file &of, uint32_t pump, uint64_t budget = 1 << 20,
                         const char *policy = "lru")
      : file(of), h(pump, 0, policy) {
    if (budget != 0) host = h.tier("host:0", 0, budget);
    REQUIRE(adopt(&bank) == CUBBY_OK);
  }

  [[nodiscard]] cubby_adopt_desc table_desc() const {
    cubby_adopt_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_ROWS;
    desc.tensors = "token_embd.weight";
    desc.page_bytes = 4096;
    return desc;
  }
  cubby_status adopt(cubby_bank *made) const {
    const cubby_adopt_desc desc = table_desc();
    const cubby_status status = cubby_bank_adopt(h.rt, file.path.c_str(), &desc, made);
    INFO(explain());
    CHECK(status == CUBBY_OK);
    return status;
  }
  /// Waits for all of it.
  cubby_status gather(const std::vector<uint64_t> &rows, std::string &into,
                      const cubby_how *how = nullptr, cubby_ticket *ticket = nullptr) const {
    into.assign(rows.size() * table_file::row_bytes, 'x');
    cubby_span span{};
    span.offset_bytes = reinterpret_cast<uintptr_t>(into.data());
    span.bytes = into.size();
    return cubby_gather(h.rt, bank, rows.data(), static_cast<uint32_t>(rows.size()), &span, how,
                        ticket);
  }
  void check(const std::vector<uint64_t> &rows) const {
    std::string seen;
    const cubby_status status = gather(rows, seen);
    INFO(explain());
    REQUIRE(status == CUBBY_OK);
    REQUIRE(seen == file.rows(rows));
  }
  [[nodiscard]] std::vector<uint64_t> random_rows(size_t count, uint64_t seed) const {
    cubby::base::prng random(seed);
    std::vector<uint64_t> rows(count);
    for (uint64_t &row : rows) row = random.below(file.row_count);
    return rows;
  }
  void drop_all() const {
    std::vector<cubby_item> pages((file.row_count - 1) / page_rows + 1);
    for (size_t i = 0; i < pages.size(); ++i) pages[i].id = CUBBY_ID(bank, i);
    REQUIRE(cubby_drop(h.rt, pages.data(), static_cast<uint32_t>(pages.size()), 0) == CUBBY_OK);
  }
};

inline std::vector<uint64_t> all_rows(const table_file &of) {
  std::vector<uint64_t> rows(of.row_count);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

}  // namespace api_test
