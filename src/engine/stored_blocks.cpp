#include "engine/stored_blocks.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "engine/chunk_run.hpp"

namespace cubby::engine {

using directory::no_locker;
using residency::not_stored;

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

void stored_blocks::write(block_write &&what) {
  if (why_not_stored(*what.at.bank, what.space)) return;
  locker_word &word = what.at.bank->word(what.at.tier, what.at.number);
  uint64_t frame = 0;
  if (word.pin(frame) != pin_outcome::pinned) return;
  try {
    new_job(std::move(what));
  } catch (...) {
    word.unpin();
    throw;
  }
}

void stored_blocks::write_and_publish(block_write &&what, store_waiter &waiter, uint32_t request,
                                      uint32_t item) {
  locker_word &word = what.at.bank->word(what.at.tier, what.at.number);
  const uint64_t frame = what.at.frame;
  job &one = jobs_[new_job(std::move(what))];
  one.publish = true;
  one.waiter = &waiter;
  one.request = request;
  one.item = item;
  word.publish(frame, 1);
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
  request.data = image_of(one);
  std::array<uint64_t, store::store_chunks_max> digests;
  uint32_t count = 0;
  for (uint32_t p = 0; p < bank.part_count(); ++p) {
    const uint64_t bytes = bank.extent(number, p).bytes;
    if (bytes == 0) break;
    request.part_bytes[request.part_count++] = static_cast<uint32_t>(bytes);
    if (!state_.config.verify) continue;
    const uint32_t chunks = chunks_of_part(bank, number, p);
    for (uint32_t c = 0; c < chunks; ++c) digests[count++] = bank.digest(number, p, c);
  }
  if (count != 0) {
    request.chunk_digests = digests.data();
    request.chunk_digest_count = count;
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
      if (of.disk->content().blocks().find(done.number) == nullptr) {
        of.spoken_for[done.number] = false;
      }
    }
    if (kind != of_write) continue;
    if (done.status == CUBBY_OK) {
      end_job(static_cast<uint32_t>(done.user), &done, nullptr);
      continue;
    }
    of.spoken_for[done.number] = false;
    error why = fail_errno(done.native, "tier %s: a block could not be stored; look at the disk",
                           state_.tiers[of.disk->tier()].name.c_str());
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
  }
  end_replaced(at, done != nullptr);
  uint32_t released = no_locker;
  if (one.publish) {
    --blocks.puts_in_flight;
    const auto ended = done != nullptr ? blocks.keys.publish(at.entry, at.number, at.parts)
                                       : blocks.keys.abandon(at.entry, at.number, at.parts);
    if (ended) released = ended->released;
  }
  copies_.unpin(at.tier, bank.word(at.tier, at.number));
  if (released != no_locker) {  // it failed, or its space was removed meanwhile
    release(bank, at.number);
    give_up_number(bank, at.number, at.tier);
  }
  if (one.waiter != nullptr) one.waiter->block_stored(one.request, one.item, why);
}

// ---- reading ---------------------------------------------------------------------------------

std::optional<uint8_t> stored_blocks::keep_of(const locker_bank &bank, uint32_t number) const {
  const auto is_this = [&](const auto &one) { return one.first == &bank && one.second == number; };
  if (std::any_of(damaged_.begin(), damaged_.end(), is_this)) return std::nullopt;
  const store_state *const in = store_for(bank);
  const uint32_t stored = bank.blocks->stored(number);
  const auto *entry =
      in == nullptr || stored == not_stored ? nullptr : in->disk->content().blocks().find(stored);
  if (entry == nullptr) return std::nullopt;
  return entry->keep;
}

stored_blocks::place stored_blocks::place_of(const locker_bank &bank, uint32_t number) const {
  const store_state *const in = store_for(bank);
  if (in == nullptr) return {};
  const auto at = in->disk->content().locate(bank.blocks->stored(number));
  if (!at) return {};
  return {in->disk->tier(), in->disk->backend_file(at->file), at->offset_bytes,
          &in->disk->path(at->file)};
}

bool stored_blocks::agrees(locker_bank &bank, uint32_t number) const {
  const store_state *const in = store_for(bank);
  const uint32_t stored = bank.blocks->stored(number);
  const auto at = in == nullptr ? std::nullopt : in->disk->content().locate(stored);
  if (!at || !state_.config.verify) return at.has_value();
  std::array<uint64_t, store::store_chunks_max> digests;
  uint32_t count = 0;
  for (uint32_t p = 0; p < bank.part_count(); ++p) {
    const uint32_t chunks = chunks_of_part(bank, number, p);
    for (uint32_t c = 0; c < chunks; ++c) digests[count++] = bank.digest(number, p, c);
  }
  return store::combine_digests(digests.data(), count, stored, at->generation) == at->digest;
}

void stored_blocks::note_damage(locker_bank &bank, uint32_t number) {
  damaged_.emplace_back(&bank, number);
}

void stored_blocks::look_at_damage() {
  for (size_t i = damaged_.size(); i-- > 0;) {
    const auto [bank, number] = damaged_[i];
    if (!at_rest(*bank, number)) continue;
    drop_stored(*bank, number);
    forget_damage(*bank, number);
    i = std::min(i, damaged_.size());
  }
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
    return one.to_erase.empty() && one.erasing_count == 0 && one.disk->idle();
  });
}

}  // namespace cubby::engine
