#include "engine/stored_blocks.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <new>
#include <utility>

#include "base/digest.hpp"
#include "engine/block_shape.hpp"
#include "engine/chunk_run.hpp"

namespace cubby::engine {
namespace {

using directory::key_from;
using directory::no_locker;
using directory::text_of;
using residency::not_stored;

/// Room is made for more than one block at a time: each lets go with a record in the journal.
constexpr uint64_t room_bytes = uint64_t{1} << 20;

block_shape shape_of(const locker_bank &bank) {
  std::array<uint64_t, CUBBY_PARTS_MAX> parts{};
  for (uint32_t p = 0; p < bank.part_count(); ++p) parts[p] = bank.part_bytes(0, p);
  return {bank.locker_bytes(0), base::digest64(parts.data(), bank.part_count() * sizeof parts[0])};
}

/// Can its blocks lie in a store: each part on pages of its own, digested as the store's are?
std::optional<error> unfit(const locker_bank &bank) {
  using ull = unsigned long long;
  if (bank.locker_bytes(0) > store::store_block_bytes_max) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "bank %s: a store has blocks of up to %llu bytes, not %llu", bank.desc().name,
                static_cast<ull>(store::store_block_bytes_max),
                static_cast<ull>(bank.locker_bytes(0)));
  }
  for (uint32_t p = 0; p < bank.part_count(); ++p) {
    const uint64_t bytes = bank.part_bytes(0, p);
    if (p + 1 < bank.part_count() && bytes % store::page_bytes != 0) {
      return fail(CUBBY_ERR_NOT_SUPPORTED,
                  "bank %s: part %u has %llu bytes; to be stored on disk, parts before the last "
                  "must be multiples of 4096 bytes",
                  bank.desc().name, p, static_cast<ull>(bytes));
    }
    const bool one_chunk = bytes <= bank.chunk_bytes() && bytes <= store::store_chunk_bytes;
    if (bank.chunk_bytes() != store::store_chunk_bytes && !one_chunk) {
      return fail(CUBBY_ERR_NOT_SUPPORTED,
                  "bank %s: chunk_bytes is %u; to be stored on disk, leave it 0", bank.desc().name,
                  bank.chunk_bytes());
    }
  }
  return std::nullopt;
}

std::string_view key_in(const store::block_body &body) {
  return {reinterpret_cast<const char *>(body.key), body.key_bytes};
}

/// A bit a part.
uint16_t parts_of(const store::block_body &body) {
  return static_cast<uint16_t>((1u << body.part_count) - 1);
}

/// Stands for a parent of which only the digest is known. As long as a key can be, and no name that
/// anybody would choose.
std::string stand_in(uint64_t parent_digest) {
  std::string key = "cubby: a parent of which only this digest is known";
  key.resize(CUBBY_KEY_BYTES_MAX - sizeof parent_digest, '\xff');
  key.append(reinterpret_cast<const char *>(&parent_digest), sizeof parent_digest);
  return key;
}

using chunk_digests = std::array<uint64_t, store::store_chunks_max>;

/// Of the block's chunks, part after part, as they are known; how many.
uint32_t take_digests(locker_bank &bank, uint32_t number, chunk_digests &out) {
  uint32_t count = 0;
  for (uint32_t p = 0; p < bank.part_count(); ++p) {
    const uint32_t chunks = chunks_of_part(bank, number, p);
    for (uint32_t c = 0; c < chunks; ++c) out[count++] = bank.digest(number, p, c);
  }
  return count;
}

uint64_t orphan_mark(uint32_t stored_id, uint64_t parent_digest) {
  return parent_digest ^ (uint64_t{stored_id} * 0x9E3779B97F4A7C15u);
}

}  // namespace

// ---- spaces ----------------------------------------------------------------------------------

result<void> stored_blocks::open_space(locker_bank &bank, uint32_t handle,
                                       std::string_view fingerprint, std::string_view domain) {
  if (stores_.empty() || unfit(bank)) return {};
  const block_shape shape = shape_of(bank);
  if (sizeof shape + fingerprint.size() > store::space_bytes_max ||
      domain.size() > store::space_bytes_max) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: the store takes fingerprints of up to %zu bytes and domains of up to %u, "
                "not %zu and %zu; give a digest of them",
                bank.desc().name, store::space_bytes_max - sizeof shape, store::space_bytes_max,
                fingerprint.size(), domain.size());
  }
  std::string marked(reinterpret_cast<const char *>(&shape), sizeof shape);
  marked += fingerprint;
  bank.file_tier = stores_.front().disk->tier();
  store_state &from = stores_.front();
  if (from.disk->content().failure() == nullptr) {
    const auto added = from.disk->content().add_space(marked, domain, of_space);
    if (!added) return added.failure();
    return list_space(bank, from, handle, *added);
  }
  // Read-only: what it has of the space is read, and a space that it does not know is added later.
  const uint32_t known = from.disk->content().spaces().find(marked, domain);
  if (known != 0) return list_space(bank, from, handle, known);
  banks_[&bank].waiting.push_back({handle, std::move(marked), std::string(domain)});
  return {};
}

/// Spaces that were opened while the store took none.
void stored_blocks::open_waiting(store_state &in) {
  for (auto &[known, of] : banks_) {
    if (known->file_tier != in.disk->tier()) continue;
    while (!of.waiting.empty() && in.disk->content().failure() == nullptr) {
      const waiting_space &next = of.waiting.front();
      const auto added = in.disk->content().add_space(next.fingerprint, next.domain, of_space);
      if (!added && added.failure().status == CUBBY_ERR_BUSY) return;
      auto &bank = const_cast<locker_bank &>(*known);
      const auto listed = added ? list_space(bank, in, next.handle, *added) : added.failure();
      if (!listed) state_.log(1, listed.failure().text);
      of.waiting.erase(of.waiting.begin());
    }
  }
}

/// The directory's space `handle` is the store's `id`, and its blocks are found.
result<void> stored_blocks::list_space(locker_bank &bank, store_state &from, uint32_t handle,
                                       uint32_t id) {
  for (const auto &[other, of] : banks_) {
    if (other == &bank || of.handles_of.count(id) == 0) continue;
    return fail(CUBBY_ERR_INVALID,
                "bank %s: bank %s has a space of the same fingerprint and domain, and their blocks "
                "are of one size; tell them apart in the fingerprint",
                bank.desc().name, other->desc().name);
  }
  bank_state &of = banks_[&bank];
  of.stored_id[handle] = id;
  if (++of.handles_of[id] == 1) list_blocks(bank, of, from, handle, id);
  return {};
}

void stored_blocks::close_space(locker_bank &bank, uint32_t handle) noexcept {
  const auto known = banks_.find(&bank);
  if (known == banks_.end()) return;
  bank_state &of = known->second;
  std::erase_if(of.waiting, [&](const waiting_space &one) { return one.handle == handle; });
  const auto named = of.stored_id.find(handle);
  if (named == of.stored_id.end()) return;
  const auto count = of.handles_of.find(named->second);
  if (--count->second == 0) of.handles_of.erase(count);
  of.stored_id.erase(named);
}

void stored_blocks::forget_bank(locker_bank &bank) {
  const auto known = banks_.find(&bank);
  if (known == banks_.end()) return;
  for (uint32_t number = 0; number < bank.count(); ++number) release(bank, number);
  damaged_.forget_bank(bank);
  banks_.erase(known);
}

/// What was put in another life of the process is found again.
void stored_blocks::list_blocks(locker_bank &bank, bank_state &of, store_state &from,
                                uint32_t handle, uint32_t stored_id) {
  const store::block_store &content = from.disk->content();
  const store::block_table &blocks = content.blocks();
  const uint64_t store_id = content.places().shape().store_id;
  from.spoken_for.resize(std::max<size_t>(from.spoken_for.size(), blocks.end()));
  std::unordered_map<uint64_t, uint32_t> by_key;  // digest of the key, number
  std::vector<uint32_t> wanted;
  for (uint32_t number = 0; number < blocks.end(); ++number) {
    const store::block_entry *entry = blocks.find(number);
    if (entry == nullptr || entry->space != stored_id || from.spoken_for[number]) continue;
    if (entry->state != store::block_state::live) continue;
    wanted.push_back(number);
    by_key[store::digest_of_key(store_id, key_in(blocks.body_of(number)))] = number;
  }
  uint32_t left_out = 0;
  for (const uint32_t number : wanted) {
    const store::block_body body = blocks.body_of(number);
    const auto parent = by_key.find(body.parent);
    bool listed = false;
    if (body.parent == 0) {
      listed = list_block(bank, from, handle, body, nullptr);
    } else if (parent != by_key.end()) {
      const store::block_body above = blocks.body_of(parent->second);
      const cubby_key key = key_from(key_in(above));
      listed = list_block(bank, from, handle, body, &key);
    } else {
      const std::string unknown = stand_in(body.parent);
      const cubby_key key = key_from(unknown);
      listed = list_block(bank, from, handle, body, &key);
      if (listed) {
        const auto seen = bank.blocks->keys.find(handle, key_from(key_in(body)));
        if (seen) of.orphans.emplace(orphan_mark(stored_id, body.parent), seen->locker);
      }
    }
    if (!listed) ++left_out;
  }
  if (left_out == 0) return;
  state_.log(1, format_text("bank %s: %u blocks of the store are not found, because the bank has "
                            "only %u columns; they go when the store needs their room",
                            bank.desc().name, left_out, bank.columns()));
}

/// False where the bank has no number for it.
bool stored_blocks::list_block(locker_bank &bank, store_state &from, uint32_t handle,
                               const store::block_body &body, const cubby_key *parent) {
  residency::key_blocks &blocks = *bank.blocks;
  const cubby_key key = key_from(key_in(body));
  const auto seen = blocks.keys.find(handle, key);
  if (seen && seen->locker != no_locker) {
    // The later one is right: the record of an erase may have been lost.
    const uint32_t other = blocks.stored(seen->locker);
    const auto *entry = other == not_stored ? nullptr : from.disk->content().blocks().find(other);
    if (entry == nullptr) return true;  // this life has its own, in memory; the store's stays
    if (seen->pending != 0 || entry->generation > body.generation) {
      from.spoken_for[body.number] = true;
      from.to_erase.push_back(body.number);
      return true;
    }
    drop_stored(bank, seen->locker);
  }
  const uint32_t number = blocks.peek_number();
  if (number == no_locker) return false;
  directory::put_request request;
  request.space = handle;
  request.key = key;
  request.parent = parent;
  request.locker = number;
  request.keep = body.keep;
  request.parts = parts_of(body);
  const auto begun = blocks.keys.begin_put(request);
  if (!begun || begun->fresh == 0) return false;
  if (begun->took_locker) {
    blocks.take_number();
    state_.admission.forget(bank.object_base + number);
  }
  blocks.set_length(number, store::bytes_of(body));
  for (uint32_t p = 0; p < bank.part_count() && state_.config.verify; ++p) {
    for (uint32_t c = 0; c < chunks_of_part(bank, number, p); ++c) bank.digest(number, p, c) = 0;
  }
  blocks.set_stored(number, body.number);
  state_.tiers[bank.file_tier].failed_reads.forget(locker_name(bank, number));
  from.spoken_for[body.number] = true;
  static_cast<void>(blocks.keys.publish(begun->entry, number, begun->fresh));
  return true;
}

/// What was to be replaced has not been, and is found again. Without memory for that, in the
/// space's next life.
void stored_blocks::list_again(const block_write &by) noexcept try {
  locker_bank &bank = *by.at.bank;
  store_state &from = *store_for(bank);
  const store::block_table &blocks = from.disk->content().blocks();
  const store::block_entry *entry = blocks.find(by.at.replaced);
  if (entry == nullptr || entry->state != store::block_state::live) return;
  const cubby_key parent = key_from(by.parent);
  const cubby_key *const above = by.parent.empty() ? nullptr : &parent;
  list_block(bank, from, by.space, blocks.body_of(by.at.replaced), above);
} catch (const std::bad_alloc &) {
}

void stored_blocks::link_children(locker_bank &bank, uint32_t handle, const cubby_key &parent) {
  const auto known = banks_.find(&bank);
  if (known == banks_.end() || known->second.orphans.empty() || !directory::is_key(parent)) return;
  bank_state &of = known->second;
  const auto named = of.stored_id.find(handle);
  store_state *const from = store_for(bank);
  if (named == of.stored_id.end() || from == nullptr) return;
  const store::block_store &content = from->disk->content();
  const uint64_t digest = store::digest_of_key(content.places().shape().store_id, text_of(parent));
  residency::key_blocks &blocks = *bank.blocks;
  auto [next, end] = of.orphans.equal_range(orphan_mark(named->second, digest));
  while (next != end) {
    const uint32_t number = next->second;
    const uint32_t stored = blocks.stored(number);
    const store::block_entry *entry =
        stored == not_stored ? nullptr : content.blocks().find(stored);
    next = of.orphans.erase(next);
    if (entry == nullptr || entry->space != named->second || entry->parent != digest) continue;
    const store::block_body body = content.blocks().body_of(stored);
    const auto at = blocks.keys.at_locker(number);
    if (!blocks.keys.erase(at, directory::erase_rule::any)) continue;  // leased: it stays apart
    directory::put_request request;
    request.space = handle;
    request.key = key_from(key_in(body));
    request.parent = &parent;
    request.locker = number;
    request.keep = body.keep;
    request.parts = parts_of(body);
    const auto begun = blocks.keys.begin_put(request);
    if (begun && begun->took_locker) {
      static_cast<void>(blocks.keys.publish(begun->entry, number, begun->fresh));
    } else {
      erase(bank, number);
      blocks.give_number(number);
    }
  }
}

std::optional<error> stored_blocks::why_not_stored(const locker_bank &bank, uint32_t handle) const {
  if (auto why = unfit(bank)) return why;
  const store_state *const to = store_for(bank);
  if (to == nullptr) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "bank %s: there is no store on disk; add a file tier with paths and budget_bytes "
                "before the space, or put with CUBBY_KEEP_SESSION",
                bank.desc().name);
  }
  if (to->disk->content().failure() != nullptr) {
    error why = *to->disk->content().failure();
    why.status = CUBBY_ERR_DEVICE;
    why.tier = state_.tiers[to->disk->tier()].handle;
    return why;
  }
  const auto known = banks_.find(&bank);
  if (known != banks_.end() && known->second.stored_id.count(handle) != 0) return std::nullopt;
  if (known != banks_.end() && known->second.waits(handle)) {
    error why = fail(CUBBY_ERR_DEVICE,
                     "bank %s: the store was read-only until just now; put again a little later",
                     bank.desc().name);
    why.tier = state_.tiers[to->disk->tier()].handle;
    why.retryable = true;
    return why;
  }
  return fail(CUBBY_ERR_NOT_SUPPORTED,
              "bank %s: the space was added before the store; add it again", bank.desc().name);
}

void stored_blocks::add_store(std::unique_ptr<disk_store> made) {
  store_state added;
  added.disk = std::move(made);
  added.spoken_for.resize(added.disk->content().blocks().end());
  stores_.push_back(std::move(added));
}

const disk_store *stored_blocks::store_of(uint32_t tier) const {
  for (const store_state &one : stores_) {
    if (one.disk->tier() == tier) return one.disk.get();
  }
  return nullptr;
}

const stored_blocks::store_state *stored_blocks::store_for(const locker_bank &bank) const {
  for (const store_state &one : stores_) {
    if (one.disk->tier() == bank.file_tier) return &one;
  }
  return nullptr;
}

stored_blocks::store_state *stored_blocks::store_for(const locker_bank &bank) {
  return const_cast<store_state *>(std::as_const(*this).store_for(bank));
}

// ---- writing ---------------------------------------------------------------------------------

uint32_t stored_blocks::new_job(block_write &&what) {
  if (free_jobs_.empty()) {
    free_jobs_.reserve(jobs_.size() + 1);
    jobs_.emplace_back();
    free_jobs_.push_back(static_cast<uint32_t>(jobs_.size() - 1));
  }
  const uint32_t index = free_jobs_.back();
  store_for(*what.at.bank)->to_write.push_back(index);
  free_jobs_.pop_back();
  news_.store(true, std::memory_order_seq_cst);
  const auto &ids = banks_.find(what.at.bank)->second.stored_id;
  const auto named = ids.find(what.space);
  jobs_[index].stored_id = named == ids.end() ? 0 : named->second;
  jobs_[index].what = std::move(what);
  ++write_count_;
  return index;
}

bool stored_blocks::write(block_write &&what) {
  if (why_not_stored(*what.at.bank, what.space)) return false;
  locker_word &word = what.at.bank->word(what.at.tier, what.at.number);
  uint64_t frame = 0;
  if (word.pin(frame) != pin_outcome::pinned) return false;
  try {
    new_job(std::move(what));
  } catch (...) {
    word.unpin();
    throw;
  }
  return true;
}

void stored_blocks::write_and_publish(block_write &&what, store_waiter &waiter, uint32_t request,
                                      uint32_t item) {
  job &one = jobs_[new_job(std::move(what))];
  one.publish = true;
  one.waiter = &waiter;
  one.request = request;
  one.item = item;
  const block_place &at = one.what.at;
  // Pinned until it is stored.
  if (at.has_frame()) at.bank->word(at.tier, at.number).publish(at.frame, 1);
}

/// The block's bytes in a row, on whole pages; NULL without memory for that.
const void *stored_blocks::image_of(job &one) {
  const block_place &at = one.what.at;
  const locker_bank &bank = *at.bank;
  const std::byte *const first = state_.tiers.address(bank, at.tier, at.frame, at.number, 0);
  uint64_t behind = 0;
  bool in_a_row = reinterpret_cast<uintptr_t>(first) % store::page_bytes == 0;
  for (uint32_t p = 0; p < bank.part_count(); ++p) {
    const std::byte *const part = state_.tiers.address(bank, at.tier, at.frame, at.number, p);
    in_a_row = in_a_row && part == first + behind;
    behind += bank.part_bytes(0, p);
  }
  if (in_a_row) return first;
  if (one.copy == nullptr) {
    one.copy = std::make_unique<store::page_buffer>(store::pages_of(behind));
    unsigned char *to = one.copy->at(0);
    for (uint32_t p = 0; p < bank.part_count(); ++p) {
      const uint64_t bytes = bank.extent(at.number, p).bytes;
      if (bytes == 0) break;
      std::memcpy(to, state_.tiers.address(bank, at.tier, at.frame, at.number, p), bytes);
      to += bytes;
    }
  }
  return one.copy->at(0);
}

result<uint32_t> stored_blocks::accept(store_state &to, uint32_t index) {
  job &one = jobs_[index];
  // Its number is at most the next that was never given out.
  const size_t numbers = to.disk->content().blocks().end() + size_t{1};
  if (to.spoken_for.size() < numbers) to.spoken_for.resize(2 * numbers);
  locker_bank &bank = *one.what.at.bank;
  const uint32_t number = one.what.at.number;
  store::put_request request;
  request.space = one.stored_id;
  request.key = one.what.key;
  request.parent = one.what.parent;
  request.keep = one.what.keep;
  request.user = of_write | index;
  if (one.what.at.has_frame()) {
    request.data = image_of(one);
  } else {
    request.pieces = one.what.from.data();
    request.piece_count = static_cast<uint32_t>(one.what.from.size());
  }
  for (uint32_t p = 0; p < bank.part_count(); ++p) {
    const uint64_t bytes = bank.extent(number, p).bytes;
    if (bytes == 0) break;
    request.part_bytes[request.part_count++] = static_cast<uint32_t>(bytes);
  }
  chunk_digests digests;
  if (state_.config.verify) {
    request.chunk_digests = digests.data();
    request.chunk_digest_count = take_digests(bank, number, digests);
  }
  return to.disk->content().put(request);
}

/// True when the store has accepted a block, or given one up.
bool stored_blocks::write_some(store_state &to) {
  bool any = false;
  while (!to.to_write.empty()) {
    const uint32_t index = to.to_write.front();
    const auto accepted = accept(to, index);
    if (!accepted) {
      const error &why = accepted.failure();
      if (why.status == CUBBY_ERR_BUSY) break;
      if (why.status == CUBBY_ERR_NO_SPACE) {
        if (to.erasing_count != 0 || !to.to_erase.empty()) break;
        if (make_room(to)) return true;
      }
      to.to_write.pop_front();
      end_job(index, nullptr, &why);
    } else {
      to.spoken_for[*accepted] = true;
      to.to_write.pop_front();
    }
    any = true;
  }
  return any;
}

bool stored_blocks::erase_some(store_state &of) {
  bool any = false;
  while (!of.to_erase.empty()) {
    const uint32_t number = of.to_erase.front();
    const auto erased = of.disk->content().erase(number, of_erase);
    if (!erased && erased.failure().status == CUBBY_ERR_BUSY) break;
    if (!erased && erased.failure().status == CUBBY_ERR_DEVICE) break;  // until it is restored
    of.to_erase.pop_front();
    if (erased) ++of.erasing_count;
    any = true;
  }
  return any;
}

bool stored_blocks::take_completions(store_state &of) {
  bool any = false;
  store::store_completion done;
  while (of.disk->content().next_completion(done)) {
    any = true;
    const uint64_t kind = done.user & ~uint64_t{0xFFFFFFFF};
    if (kind == of_erase) {
      --of.erasing_count;
      // A write that was accepted meanwhile may have the number.
      const store::block_entry *entry = of.disk->content().blocks().find(done.number);
      if (entry == nullptr) of.spoken_for[done.number] = false;
      if (done.status != CUBBY_OK && entry != nullptr && entry->state == store::block_state::live) {
        of.to_erase.push_back(done.number);  // once more, when the store takes that
      }
    }
    if (kind != of_write) continue;
    if (done.status == CUBBY_OK) {
      end_job(static_cast<uint32_t>(done.user), &done, nullptr);
      continue;
    }
    of.spoken_for[done.number] = false;
    const error *const reason = of.disk->content().failure();
    const char *const name = state_.tiers[of.disk->tier()].name.c_str();
    error why =
        fail_errno(done.native, "tier %s: a block could not be stored; look at the disk", name);
    if (reason != nullptr) why.text = format_text("tier %s: %s", name, reason->text.c_str());
    why.status = CUBBY_ERR_IO;
    why.tier = state_.tiers[of.disk->tier()].handle;
    end_job(static_cast<uint32_t>(done.user), nullptr, &why);
  }
  return any;
}

/// With `done` it is stored; `why` it is not, where somebody waits for that.
void stored_blocks::end_job(uint32_t index, const store::store_completion *done, const error *why) {
  const job one = std::exchange(jobs_[index], {});
  free_jobs_.push_back(index);
  --write_count_;
  ended_count_.fetch_add(1);
  state_.changed = true;
  const block_place &at = one.what.at;
  locker_bank &bank = *at.bank;
  residency::key_blocks &blocks = *bank.blocks;
  if (done != nullptr) {
    blocks.set_stored(at.number, done->number);
    state_.tiers[bank.file_tier].failed_reads.forget(locker_name(bank, at.number));
  }
  end_replaced(at, done != nullptr);
  uint32_t released = no_locker;
  if (one.publish) {
    --blocks.puts_in_flight;
    const auto ended = done != nullptr ? blocks.keys.publish(at.entry, at.number, at.parts)
                                       : blocks.keys.abandon(at.entry, at.number, at.parts);
    if (ended) released = ended->released;
  }
  if (at.has_frame()) copies_.unpin(at.tier, bank.word(at.tier, at.number));
  if (released != no_locker) {  // it failed, or its space was removed meanwhile
    release(bank, at.number);
    give_up_number(bank, at.number, at.tier);
  }
  if (done == nullptr && one.publish && at.replaced != not_stored) list_again(one.what);
  if (one.waiter != nullptr) one.waiter->block_stored(one.request, one.item, why);
}

// ---- reading ---------------------------------------------------------------------------------

std::optional<uint8_t> stored_blocks::keep_of(const locker_bank &bank, uint32_t number) const {
  if (damaged_.knows(bank, number)) return std::nullopt;
  if (is_unreadable(bank, number)) return std::nullopt;
  const store_state *const in = store_for(bank);
  const uint32_t stored = bank.blocks->stored(number);
  const auto *entry =
      in == nullptr || stored == not_stored ? nullptr : in->disk->content().blocks().find(stored);
  if (entry == nullptr) return std::nullopt;
  // What was found at opening is not on the device before that is flushed: put as durable, it is
  // written anew.
  if (in->disk->content().is_started()) return entry->keep;
  return std::min<uint8_t>(entry->keep, CUBBY_KEEP_RESTART);
}

stored_blocks::place stored_blocks::place_of(const locker_bank &bank, uint32_t number) const {
  const store_state *const in = store_for(bank);
  if (in == nullptr) return {};
  const auto at = in->disk->content().locate(bank.blocks->stored(number));
  if (!at) return {};
  return {in->disk->tier(), in->disk->backend_file(at->file), at->offset_bytes,
          &in->disk->path(at->file)};
}

bool stored_blocks::agrees(locker_bank &bank, uint32_t number,
                           std::span<const uint64_t> read) const {
  const store_state *const in = store_for(bank);
  const uint32_t stored = bank.blocks->stored(number);
  const auto at = in == nullptr ? std::nullopt : in->disk->content().locate(stored);
  if (!at || !state_.config.verify) return at.has_value();
  chunk_digests known;
  if (read.empty()) read = {known.data(), take_digests(bank, number, known)};
  const auto count = static_cast<uint32_t>(read.size());
  return store::combine_digests(read.data(), count, stored, at->generation) == at->digest;
}

/// What is put under its key is stored anew.
bool stored_blocks::is_unreadable(const locker_bank &bank, uint32_t number) const {
  if (store_for(bank) == nullptr) return false;
  const failed_reads &of = state_.tiers[bank.file_tier].failed_reads;
  return of.bypassed() || of.knows(locker_name(bank, number));
}

void stored_blocks::look_at_damage() {
  damaged_.take([this](const locker_bank &bank, uint32_t number) { return at_rest(bank, number); },
                [this](locker_bank &bank, uint32_t number) { drop_stored(bank, number); });
}

// ---- the pump --------------------------------------------------------------------------------

void stored_blocks::forget_unrequested() {
  for (store_state &one : stores_) {
    const auto is_session = [&](uint32_t index) { return !jobs_[index].publish; };
    const auto gone =
        std::stable_partition(one.to_write.begin(), one.to_write.end(), std::not_fn(is_session));
    for (auto at = gone; at != one.to_write.end(); ++at) end_job(*at, nullptr, nullptr);
    one.to_write.erase(gone, one.to_write.end());
  }
}

bool stored_blocks::step() {
  bool any = false;
  if (stores_.empty()) return false;
  news_.store(false, std::memory_order_seq_cst);
  if (!damaged_.empty()) look_at_damage();
  for (store_state &one : stores_) {
    open_waiting(one);
    any = take_completions(one) || any;
    any = erase_some(one) || any;
    any = write_some(one) || any;
    any = one.disk->step() || any;
  }
  return any;
}

bool stored_blocks::idle() const {
  if (write_count_ != 0) return false;
  return std::all_of(stores_.begin(), stores_.end(), [](const store_state &one) {
    const bool may_erase = one.disk->content().failure() == nullptr;
    return (one.to_erase.empty() || !may_erase) && one.erasing_count == 0 && one.disk->idle();
  });
}

// ---- what goes -------------------------------------------------------------------------------

void stored_blocks::erase(locker_bank &bank, uint32_t number) {
  const uint32_t stored = bank.blocks->stored(number);
  if (stored == not_stored) return;
  store_state &of = *store_for(bank);
  of.to_erase.push_back(stored);  // and nobody lists it meanwhile
  damaged_.forget(bank, number);
  news_.store(true, std::memory_order_seq_cst);
  bank.blocks->set_stored(number, not_stored);
}

bool stored_blocks::drop_copy(locker_bank &bank, uint32_t number) {
  const bool being_written = std::any_of(jobs_.begin(), jobs_.end(), [&](const job &one) {
    return one.what.at.bank == &bank && one.what.at.number == number;
  });
  if (being_written || !at_rest(bank, number)) return false;
  if (bank.blocks->is_stored(number)) drop_stored(bank, number);
  return true;
}

void stored_blocks::end_replaced(const block_place &by, bool stored) noexcept {
  if (by.replaced == not_stored) return;
  store_state &of = *store_for(*by.bank);
  of.spoken_for[by.replaced] = false;
  if (!stored) return;
  try {
    of.to_erase.push_back(by.replaced);
  } catch (const std::bad_alloc &) {  // it goes when the store needs its room
    return;
  }
  of.spoken_for[by.replaced] = true;
  news_.store(true, std::memory_order_seq_cst);
}

void stored_blocks::give_up_number(locker_bank &bank, uint32_t number, uint32_t tier) {
  if (tier == no_tier || copies_.drop(bank, number, tier)) {
    bank.blocks->give_number(number);
  } else {
    bank.blocks->leaving.push_back(number);  // has room for every number
  }
}

void stored_blocks::release(locker_bank &bank, uint32_t number) {
  const uint32_t stored = bank.blocks->stored(number);
  if (stored == not_stored) return;
  store_state &of = *store_for(bank);
  const store::block_entry *entry = of.disk->content().blocks().find(stored);
  if (entry == nullptr || entry->keep < CUBBY_KEEP_RESTART) return erase(bank, number);
  of.spoken_for[stored] = false;
  bank.blocks->set_stored(number, not_stored);
}

/// Nothing brings it anywhere, or takes it away.
bool stored_blocks::at_rest(const locker_bank &bank, uint32_t number) const {
  if (bank.blocks->is_being_read(number)) return false;
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (!state_.tiers.is_memory(t)) continue;
    const locker_state state = bank.word(t, number).look().state;
    if (state == locker_state::filling || state == locker_state::evicting) return false;
  }
  return true;
}

bool stored_blocks::may_go(const locker_bank &bank, uint32_t number, pass how) const {
  if (!bank.blocks->is_stored(number) || !at_rest(bank, number)) return false;
  const auto &keys = bank.blocks->keys;
  const directory::entry_info known = keys.describe(keys.at_locker(number));
  if (known.leases != 0 || known.pending != 0) return false;
  if (how == pass::leaves && known.children != 0) return false;
  return known.keep < CUBBY_KEEP_DURABLE || how == pass::durable;
}

/// The store's copy goes, and the key with it where it was the only one.
void stored_blocks::drop_stored(locker_bank &bank, uint32_t number) {
  erase(bank, number);
  if (state_.tiers.have_in_memory(bank, number)) return;
  auto &keys = bank.blocks->keys;
  const auto erased = keys.erase(keys.at_locker(number), directory::erase_rule::any);
  if (erased) bank.blocks->give_number(*erased);
}

bool stored_blocks::give_up_unlisted(store_state &in) {
  const store::block_table &blocks = in.disk->content().blocks();
  in.spoken_for.resize(std::max<size_t>(in.spoken_for.size(), blocks.end()));
  for (uint32_t i = 0; i < blocks.end(); ++i) {
    const uint32_t number = in.hand++ % blocks.end();
    const store::block_entry *entry = blocks.find(number);
    if (entry == nullptr || entry->state != store::block_state::live || in.spoken_for[number])
      continue;
    in.to_erase.push_back(number);
    in.spoken_for[number] = true;  // it is not chosen twice
    return true;
  }
  return false;
}

/// The bank's next that may go and was not used since it was looked at last. False: none.
bool stored_blocks::give_up_next(locker_bank &bank, uint32_t &hand, pass how, bool not_in_memory) {
  // Twice round: the first may have found all of them in use.
  for (uint64_t i = 0; i < 2 * bank.count(); ++i) {
    const auto number = static_cast<uint32_t>(hand++ % bank.count());
    if (not_in_memory && state_.tiers.have_in_memory(bank, number)) continue;
    if (!may_go(bank, number, how) || bank.blocks->take_used(number)) continue;
    drop_stored(bank, number);
    return true;
  }
  return false;
}

bool stored_blocks::give_up_listed(store_state &in, pass how) {
  for (auto &[known, of] : banks_) {
    if (known->file_tier != in.disk->tier()) continue;
    if (give_up_next(const_cast<locker_bank &>(*known), of.hand, how, false)) return true;
  }
  return false;
}

/// Chooses blocks that go. False: none may.
bool stored_blocks::make_room(store_state &in) {
  uint64_t found_bytes = 0;
  while (found_bytes < room_bytes) {
    const bool found = give_up_unlisted(in) || give_up_listed(in, pass::leaves) ||
                       give_up_listed(in, pass::others) || give_up_listed(in, pass::durable);
    if (!found) break;
    found_bytes += in.disk->content().blocks().bytes_of_block(in.to_erase.back());
  }
  return found_bytes != 0;
}

bool stored_blocks::free_number(locker_bank &bank) {
  const auto known = banks_.find(&bank);
  if (known == banks_.end()) return false;
  for (const pass how : {pass::leaves, pass::others, pass::durable}) {
    while (give_up_next(bank, known->second.hand, how, true)) {
      if (bank.blocks->peek_number() != no_locker) return true;
    }
  }
  return false;
}

}  // namespace cubby::engine
