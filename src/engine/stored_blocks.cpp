#include "engine/stored_blocks.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <new>
#include <utility>

#include "engine/chunk_run.hpp"

namespace cubby::engine {
namespace {

using directory::no_locker;
using residency::not_stored;

using chunk_digests = std::array<uint64_t, store::store_chunks_max>;

void take_first(store_state &of) {
  of.to_write.pop_front();
  --of.in_turn_count;
}

/// Of the block's chunks, part after part, as they are known; how many.
uint32_t take_digests(locker_bank &bank, uint32_t number, chunk_digests &out) {
  uint32_t count = 0;
  for (uint32_t p = 0; p < bank.part_count(); ++p) {
    const uint32_t chunks = chunks_of_part(bank, number, p);
    for (uint32_t c = 0; c < chunks; ++c) out[count++] = bank.digest(number, p, c);
  }
  return count;
}

}  // namespace

void stored_blocks::forget_bank(locker_bank &bank) {
  written_.erase(&bank);
  spaces_.forget_bank(bank);
  room_.forget_bank(bank);
}

std::optional<error> stored_blocks::why_not_stored(const locker_bank &bank, uint32_t handle) const {
  if (auto why = stored_spaces::unfit(bank)) return why;
  const store_state *const to = stores_.find(bank);
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
  if (spaces_.id_of(bank, handle)) return std::nullopt;
  if (spaces_.waits_for_place(bank, handle)) {
    return fail(CUBBY_ERR_BUSY,
                "bank %s: the store is giving up a space that nobody has open, to have a place for "
                "this one; put again a little later",
                bank.desc().name);
  }
  if (spaces_.waits(bank, handle)) {
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

// ---- writing ---------------------------------------------------------------------------------

uint32_t stored_blocks::new_job(block_write &&what) {
  std::vector<bool> &written = written_[what.at.bank];
  written.resize(what.at.bank->count());
  if (free_jobs_.empty()) {
    free_jobs_.reserve(jobs_.size() + 1);
    jobs_.emplace_back();
    free_jobs_.push_back(static_cast<uint32_t>(jobs_.size() - 1));
  }
  const uint32_t index = free_jobs_.back();
  stores_.find(*what.at.bank)->to_write.push_back(index);
  free_jobs_.pop_back();
  stores_.note_news();
  jobs_[index].stored_id = spaces_.id_of(*what.at.bank, what.space).value_or(0);
  written[what.at.number] = true;
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

uint32_t stored_blocks::begin_write(block_write &&what) {
  const uint32_t index = new_job(std::move(what));
  job &one = jobs_[index];
  one.publish = true;
  one.unclaimed = true;
  const block_place &at = one.what.at;
  // Pinned until it is stored.
  if (at.has_frame()) at.bank->word(at.tier, at.number).publish(at.frame, 1);
  return index;
}

stored_blocks::outcome stored_blocks::claim(uint32_t index, store_waiter &waiter, uint32_t request,
                                            uint32_t item) noexcept {
  job &one = jobs_[index];
  CUBBY_ASSERT(one.unclaimed);
  one.unclaimed = false;
  if (!one.ended.over) {
    one.waiter = &waiter;
    one.request = request;
    one.item = item;
    return {};
  }
  outcome how = std::move(one.ended);
  if (one.held) {
    residency::key_blocks &blocks = *one.what.at.bank->blocks;
    blocks.end_read(one.what.at.number);
    --blocks.puts_in_flight;
    state_.changed = true;
  }
  one = {};
  free_jobs_.push_back(index);
  return how;
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
  request.group = one.what.group;
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

const std::byte *stored_blocks::first_byte(const job &one) const {
  const block_place &at = one.what.at;
  if (at.has_frame()) return state_.tiers.address(*at.bank, at.tier, at.frame, at.number, 0);
  return one.what.from.empty() ? nullptr : static_cast<const std::byte *>(one.what.from[0].at);
}

/// Frames come in the order in which the policy lets go of what was there, often the last one
/// first, and the store's room in the order of its file. Blocks that wait together are written in
/// the order in which they lie in memory, so that one large I/O can have several of them. Who has
/// his turn is not overtaken by those that come later.
void stored_blocks::put_in_order(store_state &to) {
  constexpr size_t together_max = 32;
  to.in_turn_count = static_cast<uint32_t>(std::min(to.to_write.size(), together_max));
  const auto first = to.to_write.begin();
  std::sort(first, first + to.in_turn_count, [&](uint32_t a, uint32_t b) {
    return std::less<>()(first_byte(jobs_[a]), first_byte(jobs_[b]));
  });
}

/// True when the store has accepted a block, or given one up.
bool stored_blocks::write_some(store_state &to) {
  bool any = false;
  while (!to.to_write.empty()) {
    if (to.in_turn_count == 0) put_in_order(to);
    const uint32_t index = to.to_write.front();
    const auto accepted = accept(to, index);
    if (!accepted) {
      const error &why = accepted.failure();
      if (why.status == CUBBY_ERR_BUSY) break;
      if (why.status == CUBBY_ERR_NO_SPACE) {
        if (to.erasing_count != 0 || !to.to_erase.empty()) break;
        if (room_.make_room(to)) return true;
      }
      take_first(to);
      end_job(index, nullptr, &why);
    } else {
      to.spoken_for[*accepted] = true;
      take_first(to);
    }
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
    if (kind == of_erase) stores_.erase_ended(of, done);
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

/// For the request that is to come for it.
void stored_blocks::note_outcome(job &of, const error *why) {
  of.unclaimed = of.ended.over = true;
  if (why == nullptr) return;
  try {
    of.ended.why = *why;
  } catch (const std::bad_alloc &) {
    of.ended.why = no_memory();
  }
}

/// One that is stored, and that nobody has come for yet, stays: as it would while it is read.
void stored_blocks::hold_unclaimed(job &of, const block_place &at) noexcept {
  residency::key_blocks &blocks = *at.bank->blocks;
  of.held = blocks.begin_read(at.number);
  if (!of.held) return;
  ++blocks.puts_in_flight;  // nor does its bank go
  of.what.at = at;
}

/// With `done` it is stored; `why` it is not, where somebody waits for that.
void stored_blocks::end_job(uint32_t index, const store::store_completion *done, const error *why) {
  const job one = std::exchange(jobs_[index], {});
  if (one.unclaimed) {
    note_outcome(jobs_[index], why);
    if (done != nullptr) hold_unclaimed(jobs_[index], one.what.at);
  } else {
    free_jobs_.push_back(index);
  }
  --write_count_;
  ended_count_.fetch_add(1);
  state_.changed = true;
  const block_place &at = one.what.at;
  locker_bank &bank = *at.bank;
  written_.find(&bank)->second[at.number] = false;
  residency::key_blocks &blocks = *bank.blocks;
  if (done != nullptr) {
    blocks.set_stored(at.number, done->number);
    state_.tiers[bank.file_tier].failed_reads.forget(locker_name(bank, at.number));
    blocks.keys.offer(at.number);
  }
  if (done != nullptr) end_replaced(at);
  uint32_t released = no_locker;
  if (one.publish) {
    --blocks.puts_in_flight;
    const auto ended = done != nullptr ? blocks.keys.publish(at.entry, at.number, at.parts)
                                       : blocks.keys.abandon(at.entry, at.number, at.parts);
    if (ended) released = ended->released;
  }
  if (at.has_frame()) copies_.unpin(at.tier, bank.word(at.tier, at.number));
  if (released != no_locker) {  // it failed, or its space was removed meanwhile
    stores_.release(bank, at.number);
    give_up_number(copies_, bank, at.number, at.tier);
  }
  if (done == nullptr) put_back(at, one.what.space, one.what.parent);
  if (one.waiter != nullptr) one.waiter->block_stored(one.request, one.item, why);
}

// ---- reading ---------------------------------------------------------------------------------

std::optional<uint8_t> stored_blocks::keep_of(const locker_bank &bank, uint32_t number) const {
  if (stores_.damaged.knows(bank, number)) return std::nullopt;
  if (is_unreadable(bank, number)) return std::nullopt;
  const store_state *const in = stores_.find(bank);
  const uint32_t stored = bank.blocks->stored(number);
  const auto *entry =
      in == nullptr || stored == not_stored ? nullptr : in->disk->content().blocks().find(stored);
  if (entry == nullptr) return std::nullopt;
  // What was found at opening is not on the device before that is flushed: put as durable, it is
  // written anew.
  if (in->disk->content().is_started()) return entry->keep;
  return std::min<uint8_t>(entry->keep, CUBBY_KEEP_RESTART);
}

bool stored_blocks::is_good(const locker_bank &bank, uint32_t number) const {
  return bank.blocks->is_stored(number) && !stores_.damaged.knows(bank, number) &&
         !state_.tiers[bank.file_tier].failed_reads.knows(locker_name(bank, number));
}

stored_blocks::place stored_blocks::place_of(const locker_bank &bank, uint32_t number) const {
  const store_state *const in = stores_.find(bank);
  if (in == nullptr) return {};
  const auto at = in->disk->content().locate(bank.blocks->stored(number));
  if (!at) return {};
  return {in->disk->tier(), in->disk->backend_file(at->file), at->offset_bytes,
          &in->disk->path(at->file)};
}

bool stored_blocks::agrees(locker_bank &bank, uint32_t number,
                           std::span<const uint64_t> read) const {
  const store_state *const in = stores_.find(bank);
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
  if (stores_.find(bank) == nullptr) return false;
  const failed_reads &of = state_.tiers[bank.file_tier].failed_reads;
  return of.bypassed() || of.knows(locker_name(bank, number));
}

// ---- the pump --------------------------------------------------------------------------------

void stored_blocks::forget_unrequested() {
  for (store_state &one : stores_.all()) {
    const auto is_session = [&](uint32_t index) { return !jobs_[index].publish; };
    const auto gone =
        std::stable_partition(one.to_write.begin(), one.to_write.end(), std::not_fn(is_session));
    for (auto at = gone; at != one.to_write.end(); ++at) end_job(*at, nullptr, nullptr);
    one.to_write.erase(gone, one.to_write.end());
    one.in_turn_count = 0;
  }
}

bool stored_blocks::step() {
  bool any = false;
  if (stores_.all().empty()) return false;
  stores_.take_news();
  if (!stores_.damaged.empty()) stores_.drop_damaged();
  for (store_state &one : stores_.all()) {
    spaces_.step(one);
    any = take_completions(one) || any;
    any = stores_.erase_some(one) || any;
    any = write_some(one) || any;
    any = one.disk->step() || any;
  }
  return any;
}

bool stored_blocks::idle() const {
  if (write_count_ != 0 || stores_.has_damaged_at_rest()) return false;
  // A space that goes is gone soon, but not while its store is read-only.
  const bool going = spaces_.next_ns() != base::never_ns &&
                     stores_.all().front().disk->content().failure() == nullptr;
  if (going) return false;
  return std::all_of(stores_.all().begin(), stores_.all().end(), [](const store_state &one) {
    const bool may_erase = one.disk->content().failure() == nullptr;
    return (one.to_erase.empty() || !may_erase) && one.erasing_count == 0 && one.disk->idle();
  });
}

// ---- what goes -------------------------------------------------------------------------------

bool stored_blocks::drop_copy(locker_bank &bank, uint32_t number) {
  const auto written = written_.find(&bank);
  if (written != written_.end() && written->second[number]) return false;
  if (!stores_.at_rest(bank, number)) return false;
  if (bank.blocks->is_stored(number)) stores_.drop(bank, number);
  return true;
}

void stored_blocks::put_back(const block_place &by, uint32_t space,
                             std::string_view parent) noexcept {
  if (by.replaced == not_stored) return;
  stores_.find(*by.bank)->spoken_for[by.replaced] = false;
  if (by.replaced_good) spaces_.list_again(*by.bank, space, by.replaced, parent);
}

void stored_blocks::end_replaced(const block_place &by) noexcept {
  if (by.replaced == not_stored) return;
  store_state &of = *stores_.find(*by.bank);
  of.spoken_for[by.replaced] = false;
  try {
    of.to_erase.push_back(by.replaced);
  } catch (const std::bad_alloc &) {  // it goes when the store needs its room
    return;
  }
  of.spoken_for[by.replaced] = true;
  stores_.note_news();
}

}  // namespace cubby::engine
