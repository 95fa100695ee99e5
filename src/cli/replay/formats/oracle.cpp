#include "cli/replay/formats/oracle.hpp"

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "cli/replay/formats/read.hpp"

namespace cubby_cli::replay {
namespace {

constexpr size_t record_bytes = 24;

/// For each use, the record that uses the same object next; -1 = none.
std::vector<int64_t> next_records(const std::vector<uint32_t> &used, uint32_t objects) {
  std::vector<int64_t> next(used.size()), upcoming(objects, -1);
  for (size_t i = used.size(); i-- > 0;) {
    next[i] = upcoming[used[i]];
    upcoming[used[i]] = static_cast<int64_t>(i);
  }
  return next;
}

class records {
 public:
  records(uint32_t object_bytes, const std::function<done(std::string_view)> &put)
      : object_bytes_(object_bytes), put_(put) {}

  done add(uint64_t clock, uint32_t object, int64_t next) {
    number(std::min<uint64_t>(clock, ~uint32_t{0}), 4);
    number(object, 8);
    number(object_bytes_, 4);
    number(static_cast<uint64_t>(next), 8);
    return text_.size() < (size_t{1} << 16) ? nothing{} : finish();
  }
  done finish() {
    auto good = put_(text_);
    text_.clear();
    return good;
  }

 private:
  void number(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) text_ += static_cast<char>(value >> (8 * i));
  }
  uint32_t object_bytes_;
  const std::function<done(std::string_view)> &put_;
  std::string text_;
};

struct record {
  uint64_t clock, object, bytes;
  int64_t next;
};

record record_at(std::string_view text, size_t at) {
  const auto number = [&](size_t from, size_t count) {
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;)
      value = value << 8 | static_cast<unsigned char>(text[at + from + i]);
    return value;
  };
  return {number(0, 4), number(4, 8), number(12, 4), static_cast<int64_t>(number(16, 8))};
}

constexpr int64_t next_max = int64_t{1} << 48;  // letters make numbers beyond it

bool plausible(const record &one, uint64_t index) {
  const bool never = one.next == -1 || one.next == std::numeric_limits<int64_t>::max();
  return one.bytes != 0 &&
         (never || (one.next > static_cast<int64_t>(index) && one.next < next_max));
}

}  // namespace

bool is_oracle(std::string_view begin) {
  uint64_t index = 0;
  for (size_t at = 0; at + record_bytes <= begin.size(); at += record_bytes)
    if (!plausible(record_at(begin, at), index++)) return false;
  return index != 0;
}

bool is_oracle_file(std::string_view begin, uint64_t bytes) {
  return bytes % record_bytes == 0 && is_oracle(begin);
}

std::string read_oracle(byte_source &from, std::string begun, trace &to, uint64_t limit) {
  std::unordered_map<uint64_t, uint32_t> numbers;
  uint64_t last_clock = 0, object_bytes = 0;
  bool one_size = true;
  size_t at = 0;
  kv_trace &kv = to.kv;
  while (kv.requests.size() < limit) {
    if (at + record_bytes > begun.size()) {
      begun.erase(0, at);
      at = 0;
      if (from.more(begun)) continue;
      if (!from.trouble().empty()) return from.trouble();
      if (!begun.empty())
        return "ends within record " + std::to_string(kv.requests.size()) +
               " of oracleGeneral (24 bytes each); it was cut short";
      break;
    }
    const record one = record_at(begun, at);
    at += record_bytes;
    if (!plausible(one, kv.requests.size()))
      return "record " + std::to_string(kv.requests.size()) +
             " is none of oracleGeneral: its size is 0 or its next use does not lie ahead";
    if (kv.requests.size() == held_max) return too_much();
    if (object_bytes == 0) object_bytes = one.bytes;
    one_size = one_size && one.bytes == object_bytes;
    last_clock = std::max(last_clock, one.clock);
    kv.requests.push_back({last_clock * 1'000'000'000, kv.blocks.size(), 1});
    const auto next_number = static_cast<uint32_t>(numbers.size());
    kv.blocks.push_back(numbers.try_emplace(one.object, next_number).first->second);
  }
  kv.unique = static_cast<uint32_t>(numbers.size());
  if (kv.blocks.empty()) return "holds no record";
  if (!one_size) to.notes.emplace_back("has objects of several sizes; each counts as one block");
  return {};
}

done write_oracle(const expert_schedule &of, uint32_t object_bytes,
                  const std::function<done(std::string_view)> &put) {
  records to(object_bytes, put);
  const std::vector<int64_t> next = next_records(of.used, of.objects());
  uint64_t tokens = 0;
  uint32_t last_row = 0;
  for (const visit_record &visit : of.visits) {
    if (visit.row <= last_row && visit.first_used != 0) ++tokens;
    last_row = visit.row;
    for (uint64_t i = visit.first_used; i < visit.first_used + visit.used_count; ++i)
      if (auto good = to.add(tokens, of.used[i], next[i]); !good) return good;
  }
  return to.finish();
}

done write_oracle(const kv_trace &of, uint32_t object_bytes,
                  const std::function<done(std::string_view)> &put) {
  records to(object_bytes, put);
  const std::vector<int64_t> next = next_records(of.blocks, of.unique);
  for (const kv_request &one : of.requests)
    for (uint64_t i = one.first_block; i < one.first_block + one.block_count; ++i)
      if (auto good = to.add(one.at_ns / 1'000'000'000, of.blocks[i], next[i]); !good) return good;
  return to.finish();
}

}  // namespace cubby_cli::replay
