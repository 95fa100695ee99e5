#include "store/durable/shrink.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "store/durable/posix_store.hpp"
#include "store/durable/space_table.hpp"

namespace cubby::store {
namespace {

using wide = unsigned long long;

/// Puts that are in flight together: they share a page of the journal and a flush.
constexpr size_t batch_blocks = 64;
constexpr uint64_t batch_bytes = 16u << 20;

std::string_view key_in(const block_body &body) {
  return {reinterpret_cast<const char *>(body.key), body.key_bytes};
}

class copier {
 public:
  copier(const opened_store &old, opened_store &&made)
      : old_(old), store_id_(old.content.places.shape().store_id) {
    made_ = posix_store::over(std::move(made));
    outcome_.old_bytes = old.files[0].bytes();
    outcome_.bytes = made_->files()[0].bytes();
  }

  result<shrink_outcome> run(const shrink_progress &progress);

 private:
  std::vector<uint32_t> choose();
  result<void> add_spaces();
  result<void> copy(const std::vector<uint32_t> &numbers, const shrink_progress &progress);
  result<void> put(const block_body &body, std::vector<unsigned char> &&bytes);
  result<void> settle();
  result<void> finish();
  [[nodiscard]] uint64_t count_without_parent() const;

  const opened_store &old_;
  const uint64_t store_id_;
  std::unique_ptr<posix_store> made_;
  std::map<uint32_t, uint32_t> space_of_;              // old id, new id
  std::vector<std::vector<unsigned char>> in_flight_;  // bytes of puts
  uint64_t in_flight_bytes_ = 0;
  shrink_outcome outcome_;
};

/// The newest first until the room is used, then in the order of their puts, so that what is later
/// stays later.
std::vector<uint32_t> copier::choose() {
  const block_table &blocks = old_.content.blocks;
  std::vector<uint32_t> all, chosen;
  for (uint32_t number = 0; number < blocks.end(); number++)
    if (blocks.find(number)) all.push_back(number);
  const auto later = [&](uint32_t a, uint32_t b) {
    return blocks.find(a)->generation > blocks.find(b)->generation;
  };
  std::sort(all.begin(), all.end(), later);
  uint64_t room_pages = made_->store().statistics().free_bytes / page_bytes;
  const uint32_t numbers = made_->store().places().shape().blocks_max;
  for (const uint32_t number : all) {
    const uint64_t bytes = blocks.bytes_of_block(number);
    if (chosen.size() < numbers && pages_of(bytes) <= room_pages) {
      room_pages -= pages_of(bytes);
      chosen.push_back(number);
    } else {
      outcome_.left_out++;
      outcome_.left_out_bytes += bytes;
    }
  }
  std::reverse(chosen.begin(), chosen.end());
  return chosen;
}

/// Does what the store has been asked for; the first request that failed, if any.
result<void> copier::settle() {
  block_store &store = made_->store();
  made_->run();
  in_flight_.clear();
  in_flight_bytes_ = 0;
  store_completion out;
  int native = 0;
  while (store.next_completion(out))
    if (out.status != CUBBY_OK && native == 0) native = out.native;
  if (store.failure()) return *store.failure();
  if (native != 0)
    return fail_errno(native, "the new store beside %s could not be written; the old one is there",
                      old_.files[0].path().c_str());
  return {};
}

/// All of them, also those without blocks, in the order in which they were made.
result<void> copier::add_spaces() {
  std::map<uint32_t, const space_body *> spaces;
  for (const space_table::entry &slot : old_.content.spaces.slots())
    if (slot.body.id != 0) spaces[slot.body.id] = &slot.body;
  for (const auto &[id, body] : spaces) {
    const auto added = made_->store().add_space(fingerprint_of(*body), domain_of(*body), 0);
    if (!added) return added.failure();
    space_of_[id] = *added;
    if (auto settled = settle(); !settled) return settled;
  }
  return {};
}

result<void> copier::put(const block_body &body, std::vector<unsigned char> &&bytes) {
  in_flight_bytes_ += bytes.size();
  in_flight_.push_back(std::move(bytes));
  put_request request;
  request.space = space_of_.at(body.space);
  request.key = key_in(body);
  request.parent_digest = body.parent;
  request.keep = body.keep;
  request.part_count = body.part_count;
  std::copy_n(body.part_bytes, body.part_count, request.part_bytes);
  request.data = in_flight_.back().data();
  const auto number = made_->store().put(request);
  if (!number) return number.failure();
  if (in_flight_.size() < batch_blocks && in_flight_bytes_ < batch_bytes) return {};
  return settle();
}

result<void> copier::copy(const std::vector<uint32_t> &numbers, const shrink_progress &progress) {
  uint64_t done = 0;
  for (const uint32_t number : numbers) {
    if (!progress(done++, numbers.size(), outcome_.block_bytes))
      return fail(CUBBY_ERR_CANCELED, "interrupted; %s is as it was", old_.files[0].path().c_str());
    const block_body body = old_.content.blocks.body_of(number);
    auto bytes = read_block(old_.files, body);
    if (!bytes) {
      outcome_.damaged.emplace_back(number, bytes.failure());
      continue;
    }
    outcome_.blocks++;
    outcome_.block_bytes += bytes->size();
    if (auto given = put(body, std::move(bytes).value()); !given) return given;
  }
  return settle();
}

uint64_t copier::count_without_parent() const {
  const block_table &blocks = made_->store().blocks();
  std::set<std::pair<uint32_t, uint64_t>> keys;
  for (uint32_t number = 0; number < blocks.end(); number++) {
    if (!blocks.find(number)) continue;
    const block_body body = blocks.body_of(number);
    keys.emplace(body.space, digest_of_key(store_id_, key_in(body)));
  }
  uint64_t count = 0;
  for (uint32_t number = 0; number < blocks.end(); number++) {
    const block_entry *entry = blocks.find(number);
    if (entry && entry->parent != 0 && keys.count({entry->space, entry->parent}) == 0) count++;
  }
  return count;
}

/// A manifest, so that the store needs no journal to be opened; then the old one's place.
result<void> copier::finish() {
  made_->store().request_checkpoint();
  if (auto settled = settle(); !settled) return settled;
  outcome_.without_parent = count_without_parent();
  outcome_.free_bytes = made_->store().statistics().free_bytes;
  return made_->files()[0].replace(old_.files[0]);
}

result<shrink_outcome> copier::run(const shrink_progress &progress) {
  const std::vector<uint32_t> numbers = choose();
  if (auto added = add_spaces(); !added) return added.failure();
  if (auto copied = copy(numbers, progress); !copied) return copied.failure();
  if (auto named = finish(); !named) return named.failure();
  return std::move(outcome_);
}

}  // namespace

result<shrink_outcome> shrink_store(const opened_store &old, uint64_t budget_bytes,
                                    const shrink_progress &progress) {
  if (old.files.size() != 1)
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "the store lies in %zu directories, and only one in a single directory can be made "
                "smaller; remove it and let it be made anew with another budget",
                old.files.size());
  const uint64_t bytes = old.files[0].bytes();
  if (budget_bytes / page_bytes * page_bytes >= bytes)
    return fail(CUBBY_ERR_INVALID,
                "%s has %llu bytes already, and %llu would not make it smaller; give a smaller "
                "budget",
                old.files[0].path().c_str(), static_cast<wide>(bytes),
                static_cast<wide>(budget_bytes));
  auto made = create_beside(old, budget_bytes);
  if (!made) return made.failure();
  return copier(old, std::move(made).value()).run(progress);
}

}  // namespace cubby::store
