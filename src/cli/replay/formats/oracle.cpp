#include "cli/replay/formats/oracle.hpp"

#include <algorithm>

namespace cubby_cli::replay {
namespace {

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

}  // namespace

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
