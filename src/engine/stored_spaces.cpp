#include "engine/stored_spaces.hpp"

#include <algorithm>
#include <array>
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

block_shape shape_of(const locker_bank &bank) {
  std::array<uint64_t, CUBBY_PARTS_MAX> parts{};
  for (uint32_t p = 0; p < bank.part_count(); ++p) parts[p] = bank.part_bytes(0, p);
  return {bank.locker_bytes(0), base::digest64(parts.data(), bank.part_count() * sizeof parts[0])};
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

}  // namespace

std::optional<error> stored_spaces::unfit(const locker_bank &bank) {
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
    const bool one_chunk = bytes <= bank.grid().chunk_bytes() && bytes <= store::store_chunk_bytes;
    if (bank.grid().chunk_bytes() != store::store_chunk_bytes && !one_chunk) {
      return fail(CUBBY_ERR_NOT_SUPPORTED,
                  "bank %s: chunk_bytes is %u; to be stored on disk, leave it 0", bank.desc().name,
                  bank.grid().chunk_bytes());
    }
  }
  return std::nullopt;
}

std::optional<uint32_t> stored_spaces::id_of(const locker_bank &bank, uint32_t handle) const {
  const auto known = banks_.find(&bank);
  if (known == banks_.end()) return std::nullopt;
  const auto named = known->second.stored_id.find(handle);
  if (named == known->second.stored_id.end()) return std::nullopt;
  return named->second;
}

const stored_spaces::waiting_space *stored_spaces::find_waiting(const locker_bank &bank,
                                                                uint32_t handle) const {
  const auto known = banks_.find(&bank);
  if (known == banks_.end()) return nullptr;
  const std::vector<waiting_space> &all = known->second.waiting;
  const auto found = std::find_if(all.begin(), all.end(),
                                  [=](const waiting_space &one) { return one.handle == handle; });
  return found == all.end() ? nullptr : &*found;
}

bool stored_spaces::waits(const locker_bank &bank, uint32_t handle) const {
  return find_waiting(bank, handle) != nullptr;
}

bool stored_spaces::waits_for_place(const locker_bank &bank, uint32_t handle) const {
  const waiting_space *const waiting = find_waiting(bank, handle);
  return waiting != nullptr && waiting->for_place;
}

result<void> stored_spaces::open(locker_bank &bank, uint32_t handle, std::string_view fingerprint,
                                 std::string_view domain) {
  if (stores_.all().empty() || unfit(bank)) return {};
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
  bank.file_tier = stores_.all().front().disk->tier();
  store_state &from = stores_.all().front();
  const uint32_t known = from.disk->content().spaces().find(marked, domain);
  if (known != 0) return list_space(bank, from, handle, known);
  if (from.disk->content().failure() == nullptr) {
    const auto added = from.disk->content().add_space(marked, domain, of_space);
    stores_.note_news();
    if (added) return list_space(bank, from, handle, *added);
    const bool waits =
        added.failure().status == CUBBY_ERR_NO_SPACE && space_room::may_come(from, open_test(from));
    if (!waits) return added.failure();
    room_.note_wanted();
    banks_[&bank].waiting.push_back({handle, true, std::move(marked), std::string(domain)});
    return {};
  }
  // Read-only: a space that it does not know is added later.
  banks_[&bank].waiting.push_back({handle, false, std::move(marked), std::string(domain)});
  return {};
}

bool stored_spaces::is_open(const store_state &in, uint32_t id) const {
  return std::any_of(banks_.begin(), banks_.end(), [&](const auto &one) {
    return one.first->file_tier == in.disk->tier() && one.second.handles_of.count(id) != 0;
  });
}

void stored_spaces::step(store_state &in) {
  open_waiting(in);
  if (&in != &stores_.all().front()) return;  // spaces lie in the first one alone
  room_.step(in, open_test(in));
}

/// Spaces that were opened while the store took none.
void stored_spaces::open_waiting(store_state &in) {
  const auto may_come = [&] { return space_room::may_come(in, open_test(in)); };
  for (auto &[known, of] : banks_) {
    if (known->file_tier != in.disk->tier()) continue;
    while (!of.waiting.empty() && in.disk->content().failure() == nullptr) {
      waiting_space &next = of.waiting.front();
      const auto added = in.disk->content().add_space(next.fingerprint, next.domain, of_space);
      if (!added && added.failure().status == CUBBY_ERR_BUSY) return;
      if (!added && added.failure().status == CUBBY_ERR_NO_SPACE && may_come()) {
        next.for_place = true;
        return room_.note_wanted();
      }
      auto &bank = const_cast<locker_bank &>(*known);
      const auto listed = added ? list_space(bank, in, next.handle, *added) : added.failure();
      if (!listed) state_.log(1, listed.failure().text);
      of.waiting.erase(of.waiting.begin());
    }
  }
}

/// The directory's space `handle` is the store's `id`, and its blocks are found.
result<void> stored_spaces::list_space(locker_bank &bank, store_state &from, uint32_t handle,
                                       uint32_t id) {
  for (const auto &[other, of] : banks_) {
    if (other == &bank || of.handles_of.count(id) == 0) continue;
    return fail(CUBBY_ERR_INVALID,
                "bank %s: bank %s has a space of the same fingerprint and domain, and their blocks "
                "are of one size; tell them apart in the fingerprint",
                bank.desc().name, other->desc().name);
  }
  bank_state &of = banks_[&bank];
  // Each step may find no memory, and then all are made again.
  if (of.handles_of.count(id) == 0) list_blocks(bank, of, from, handle, id);
  of.stored_id[handle] = id;
  ++of.handles_of[id];
  return {};
}

void stored_spaces::close(locker_bank &bank, uint32_t handle) noexcept {
  const auto known = banks_.find(&bank);
  if (known == banks_.end()) return;
  bank_state &of = known->second;
  std::erase_if(of.waiting, [&](const waiting_space &one) { return one.handle == handle; });
  const auto named = of.stored_id.find(handle);
  if (named == of.stored_id.end()) return;
  const auto count = of.handles_of.find(named->second);
  if (count == of.handles_of.end() || --count->second == 0) {
    of.orphans.erase(named->second);
    of.handles_of.erase(named->second);
  }
  of.stored_id.erase(named);
}

void stored_spaces::forget_bank(locker_bank &bank) {
  const auto known = banks_.find(&bank);
  if (known == banks_.end()) return;
  for (uint32_t number = 0; number < bank.count(); ++number) stores_.release(bank, number);
  stores_.damaged.forget_bank(bank);
  banks_.erase(known);
}

/// What was put in another life of the process is found again.
void stored_spaces::list_blocks(locker_bank &bank, bank_state &of, store_state &from,
                                uint32_t handle, uint32_t stored_id) {
  const store::block_store &content = from.disk->content();
  const store::block_table &blocks = content.blocks();
  const uint64_t store_id = content.places().shape().store_id;
  from.spoken_for.resize(std::max<size_t>(from.spoken_for.size(), blocks.end()));
  std::unordered_map<uint64_t, uint32_t> by_key;  // digest of the key, number
  std::vector<uint32_t> wanted;
  for (uint32_t number = 0; number < blocks.end(); ++number) {
    const store::block_entry *entry = blocks.find(number);
    if (entry == nullptr || entry->space != stored_id) continue;
    if (entry->state != store::block_state::live) continue;
    by_key[store::digest_of_key(store_id, key_in(blocks.body_of(number)))] = number;
    if (!from.spoken_for[number]) wanted.push_back(number);
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
        if (seen) of.orphans[stored_id].emplace(body.parent, seen->locker);
      }
    }
    if (!listed) ++left_out;
  }
  if (left_out == 0) return;
  state_.log(1, format_text("bank %s: %u blocks of the store are not found, because the bank has "
                            "only %u columns; they go when the store needs their room",
                            bank.desc().name, left_out, bank.grid().columns()));
}

/// False where the bank has no number for it.
bool stored_spaces::list_block(locker_bank &bank, store_state &from, uint32_t handle,
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
    stores_.drop(bank, seen->locker);
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
void stored_spaces::list_again(locker_bank &bank, uint32_t handle, uint32_t stored,
                               std::string_view parent) noexcept try {
  store_state &from = *stores_.find(bank);
  const store::block_table &blocks = from.disk->content().blocks();
  const store::block_entry *entry = blocks.find(stored);
  if (entry == nullptr || entry->state != store::block_state::live) return;
  const cubby_key named = key_from(parent);
  list_block(bank, from, handle, blocks.body_of(stored), parent.empty() ? nullptr : &named);
} catch (const std::bad_alloc &) {
}

void stored_spaces::link_children(locker_bank &bank, uint32_t handle, const cubby_key &parent) {
  const auto known = banks_.find(&bank);
  if (known == banks_.end() || known->second.orphans.empty() || !directory::is_key(parent)) return;
  bank_state &of = known->second;
  const auto named = of.stored_id.find(handle);
  store_state *const from = stores_.find(bank);
  if (named == of.stored_id.end() || from == nullptr) return;
  const auto orphans = of.orphans.find(named->second);
  if (orphans == of.orphans.end()) return;
  const store::block_store &content = from->disk->content();
  const uint64_t digest = store::digest_of_key(content.places().shape().store_id, text_of(parent));
  residency::key_blocks &blocks = *bank.blocks;
  auto [next, end] = orphans->second.equal_range(digest);
  while (next != end) {
    const uint32_t number = next->second;
    const uint32_t stored = blocks.stored(number);
    const store::block_entry *entry =
        stored == not_stored ? nullptr : content.blocks().find(stored);
    const bool waits = entry != nullptr && entry->space == named->second && entry->parent == digest;
    const bool done =
        !waits || blocks.keys.set_parent(blocks.keys.at_locker(number), handle, parent);
    next = done ? orphans->second.erase(next) : std::next(next);
  }
  if (orphans->second.empty()) of.orphans.erase(orphans);
}

}  // namespace cubby::engine
