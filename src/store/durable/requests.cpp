// The requests of a block_store, up to their first operation.
#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "base/mutant.hpp"
#include "base/room.hpp"
#include "store/durable/block_store.hpp"

namespace cubby::store {

block_store::block_store(recovered_store &&from, uint32_t requests_max)
    : places_(from.places),
      blocks_(std::move(from.blocks)),
      spaces_(from.spaces),
      extents_(std::move(from.extents)),
      journal_(from.places, from.journal),
      checkpoint_(from.places),
      generation_(from.generation),
      requests_(std::max(1u, requests_max)),
      lines_(from.places.shape().file_count),
      last_pages_(requests_.size()),
      to_repair_(std::move(from.bad_superblocks)),
      unproven_(std::move(from.unproven)),
      boot_(from.boot) {
  const size_t count = requests_.size();
  for (std::vector<uint32_t> *list : {&free_, &to_record_, &in_journal_, &done_})
    list->reserve(count);
  for (flush_line &line : lines_) {
    line.waiting.reserve(count);
    line.covered.reserve(count);
  }
  // Torn pages would look like damage once later records say that the journal has been flushed, and
  // what was dropped would be there again: a manifest leaves both behind.
  const recovery_report &report = from.report;
  checkpoint_wanted_ = report.records_torn + report.records_bad + report.entries_bad +
                           report.blocks_without_space + report.blocks_overwritten !=
                       0;
  for (size_t i = count; i-- > 0;) free_.push_back(static_cast<uint32_t>(i));
}

error block_store::read_only() const {
  error why = *failure_;
  why.status = CUBBY_ERR_DEVICE;
  return why;
}

/// Not yet taken from the free ones: what may still fail comes first.
result<uint32_t> block_store::free_request() {
  if (failure_) return read_only();
  if (free_.empty()) {
    auto busy = fail(CUBBY_ERR_BUSY, "%zu requests of the store are in flight; take completions",
                     requests_.size());
    busy.retryable = true;
    return busy;
  }
  return free_.back();
}

/// Their bytes are those of the block, and each begins with a page of it.
result<void> block_store::check_pieces(const put_request &request, uint64_t block_bytes) {
  if (request.piece_count == 0) return {};
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < request.piece_count; i++) {
    const block_piece &one = request.pieces[i];
    const bool last = i + 1 == request.piece_count;
    if (one.at == nullptr || one.bytes == 0 || (!last && one.bytes % page_bytes != 0))
      return fail(CUBBY_ERR_INVALID, "piece %u of a block is not of whole pages", i);
    bytes += one.bytes;
  }
  if (bytes == block_bytes && request.chunk_digests != nullptr) return {};
  return fail(CUBBY_ERR_INVALID,
              "the pieces of a block have %llu bytes, its parts %llu; pieces want chunk_digests",
              static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(block_bytes));
}

result<void> block_store::check(const put_request &request) const {
  if (request.key.empty() || request.key.size() > store_key_bytes_max)
    return fail(CUBBY_ERR_INVALID, "a key has 1 to %u bytes, not %zu", store_key_bytes_max,
                request.key.size());
  if (request.part_count == 0 || request.part_count > store_parts_max)
    return fail(CUBBY_ERR_INVALID, "a block has 1 to %u parts, not %u", store_parts_max,
                request.part_count);
  if (request.keep > CUBBY_KEEP_DURABLE || (!request.data && request.piece_count == 0))
    return fail(CUBBY_ERR_INVALID, "a put needs data and a keep of CUBBY_KEEP_*, not %u",
                request.keep);
  const auto *space = spaces_.at(request.space);
  if (!space || space->removing)
    return fail(CUBBY_ERR_STALE, "the store has no space %u; add it", request.space);
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < request.part_count; i++) {
    if (request.part_bytes[i] == 0)
      return fail(CUBBY_ERR_INVALID, "part %u of a block has no bytes; leave it out", i);
    bytes += request.part_bytes[i];
  }
  if (bytes > store_block_bytes_max)
    return fail(CUBBY_ERR_INVALID, "a block has at most %llu bytes, not %llu; put it as several",
                static_cast<unsigned long long>(store_block_bytes_max),
                static_cast<unsigned long long>(bytes));
  return check_pieces(request, bytes);
}

/// A run in the file with the most free pages that has one, so that files fill alike.
std::optional<uint32_t> block_store::take_pages(uint64_t pages, uint32_t &file) noexcept {
  uint32_t tried = 0;
  for (size_t round = 0; round < extents_.size(); round++) {
    uint32_t best = 0;
    for (uint32_t i = 0; i < extents_.size(); i++)
      if ((tried >> i & 1) == 0 &&
          ((tried >> best & 1) != 0 || extents_[i].free_count() > extents_[best].free_count()))
        best = i;
    tried |= 1u << best;
    if (const auto first = extents_[best].take(pages)) {
      file = best;
      return static_cast<uint32_t>(*first);
    }
  }
  return std::nullopt;
}

result<uint32_t> block_store::put(const put_request &request) {
  if (auto good = check(request); !good) return good.failure();
  auto index = free_request();
  if (!index) return index.failure();
  if (generation_ >= generation_max)
    return fail(CUBBY_ERR_NO_SPACE, "the store has given out all generations; make a new one");
  block_body body = {};
  body.generation = generation_ + 1;
  body.parent = request.parent.empty() ? request.parent_digest
                                       : digest_of_key(places_.shape().store_id, request.parent);
  body.space = request.space;
  body.keep = request.keep;
  body.key_bytes = static_cast<uint8_t>(request.key.size());
  body.part_count = request.part_count;
  memcpy(body.part_bytes, request.part_bytes, request.part_count * sizeof(uint32_t));
  memcpy(body.key, request.key.data(), request.key.size());
  const auto number = blocks_.take_number();
  if (!number)
    return fail(CUBBY_ERR_NO_SPACE, "the store holds %u blocks and no more; erase some",
                places_.shape().blocks_max);
  body.number = *number;
  const uint64_t pages = pages_of(bytes_of(body));
  const uint32_t writes_max = request.piece_count == 0 ? 2 : request.piece_count + 1;
  uint32_t file = 0;
  const auto first = take_pages(pages, file);
  if (!first) {
    blocks_.give_number(*number);
    auto full = fail(CUBBY_ERR_NO_SPACE, "the store has no free run of %llu bytes; erase blocks",
                     static_cast<unsigned long long>(pages * page_bytes));
    full.needed_bytes = pages * page_bytes;
    return full;
  }
  body.first_page = *first;
  body.file = static_cast<uint8_t>(file);
  body.digest = request.chunk_digests == nullptr
                    ? digest_of_block(request.data, body)
                    : combine_digests(request.chunk_digests, request.chunk_digest_count, *number,
                                      body.generation);
  try {
    base::make_room(out_, out_room_ + writes_max);
    blocks_.set(body, block_state::writing);
  } catch (...) {
    blocks_.give_number(*number);
    extents_[file].give(*first, pages);
    throw;
  }
  generation_ = body.generation;
  out_room_ += writes_max;
  ++spaces_.at(request.space)->block_count;
  requests_[*index] = {.what = verb::put,
                       .durable = request.keep == CUBBY_KEEP_DURABLE,
                       .recorded = request.keep >= CUBBY_KEEP_RESTART,
                       .writes_max = writes_max,
                       .subject = *number,
                       .burst = burst_,
                       .group = request.group,
                       .generation = body.generation,
                       .user = request.user,
                       .data = request.data,
                       .pieces = request.pieces,
                       .piece_count = request.piece_count};
  start(*index);
  return *number;
}

result<void> block_store::erase(uint32_t number, uint64_t user) {
  block_entry *entry = blocks_.find(number);
  if (!entry || entry->state != block_state::live)
    return fail(CUBBY_ERR_STALE, "the store has no block %u that can be erased now", number);
  auto index = free_request();
  if (!index) return index.failure();
  entry->state = block_state::erasing;
  requests_[*index] = {.what = verb::erase,
                       .durable = entry->keep == CUBBY_KEEP_DURABLE,
                       .recorded = entry->keep >= CUBBY_KEEP_RESTART,
                       .subject = number,
                       .generation = entry->generation,
                       .user = user};
  if (CUBBY_MUTANT(reuse_before_record))
    extents_[entry->file].give(entry->first_page, pages_of(blocks_.bytes_of_block(number)));
  start(*index);
  return {};
}

result<uint32_t> block_store::add_space(std::string_view fingerprint, std::string_view domain,
                                        uint64_t user) {
  auto index = free_request();
  if (!index) return index.failure();
  auto id = spaces_.add(fingerprint, domain);
  if (!id) return id.failure();
  requests_[*index] = {
      .what = verb::add_space, .durable = true, .recorded = true, .subject = *id, .user = user};
  start(*index);
  return *id;
}

result<void> block_store::remove_space(uint32_t id, uint64_t user) {
  auto *space = spaces_.at(id);
  if (!space || space->removing) return fail(CUBBY_ERR_STALE, "the store has no space %u", id);
  if (space->block_count != 0)
    return fail(CUBBY_ERR_BUSY, "space %u has %u blocks; erase them first", id, space->block_count);
  auto index = free_request();
  if (!index) return index.failure();
  space->removing = true;
  requests_[*index] = {
      .what = verb::remove_space, .durable = true, .recorded = true, .subject = id, .user = user};
  start(*index);
  return {};
}

void block_store::start(uint32_t index) noexcept {
  CUBBY_ASSERT(free_.back() == index);
  free_.pop_back();
  advance(index);
}

std::optional<block_place> block_store::locate(uint32_t number) const noexcept {
  const block_entry *entry = blocks_.find(number);
  if (!entry || entry->state != block_state::live) return std::nullopt;
  return block_place{entry->file, uint64_t{entry->first_page} * page_bytes,
                     blocks_.bytes_of_block(number), entry->digest, entry->generation};
}

store_statistics block_store::statistics() const noexcept {
  store_statistics all;
  for (uint32_t i = 0; i < extents_.size(); i++) {
    all.data_bytes += (places_.end_data_page() - places_.first_data_page(i)) * page_bytes;
    all.free_bytes += extents_[i].free_count() * page_bytes;
    all.memory_bytes += extents_[i].memory_bytes();
  }
  all.block_count = blocks_.count();
  all.journal_used_pages = journal_.used_pages();
  all.checkpoints = checkpoints_;
  all.flushes = flushes_;
  all.requests_failed = requests_failed_;
  all.memory_bytes += blocks_.memory_bytes();
  return all;
}

}  // namespace cubby::store
