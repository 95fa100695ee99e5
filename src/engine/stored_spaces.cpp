// Spaces of keys whose blocks are stored: what a store has of each is listed in the directory.
#include <algorithm>
#include <utility>

#include "base/digest.hpp"
#include "engine/block_shape.hpp"
#include "engine/chunk_run.hpp"
#include "engine/stored_blocks.hpp"

namespace cubby::engine {
namespace {

using directory::no_locker;
using residency::not_stored;

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

std::string_view text_of(const cubby_key &key) {
  return {static_cast<const char *>(key.data), key.bytes};
}
cubby_key key_of(std::string_view text) {
  return {text.data(), static_cast<uint32_t>(text.size())};
}
std::string_view key_in(const store::block_body &body) {
  return {reinterpret_cast<const char *>(body.key), body.key_bytes};
}

/// Stands for a parent of which only the digest is known. As long as a key can be, and no name that
/// anybody would choose.
std::string stand_in(uint64_t parent_digest) {
  std::string key = "cubby: a parent of which only this digest is known";
  key.resize(CUBBY_KEY_BYTES_MAX - sizeof parent_digest, '\xff');
  key.append(reinterpret_cast<const char *>(&parent_digest), sizeof parent_digest);
  return key;
}

uint64_t orphan_mark(uint32_t stored_id, uint64_t parent_digest) {
  return parent_digest ^ (uint64_t{stored_id} * 0x9E3779B97F4A7C15u);
}

}  // namespace

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
  auto added = from.disk->content().add_space(marked, domain, of_space);
  if (!added) {
    if (from.disk->content().failure() != nullptr) return {};  // read-only: memory serves
    return added.failure();
  }
  const uint32_t id = *added;
  for (const auto &[other, of] : banks_) {
    if (other == &bank || of.handles_of.count(id) == 0) continue;
    return fail(CUBBY_ERR_INVALID,
                "bank %s: bank %s has a space of the same fingerprint and domain, and their blocks "
                "are of one size; tell them apart in the fingerprint",
                bank.desc().name, other->desc().name);
  }
  bank_state &of = banks_[&bank];
  of.tier = bank.file_tier;
  of.stored_id[handle] = id;
  if (++of.handles_of[id] == 1) list_blocks(bank, of, from, handle, id);
  return {};
}

void stored_blocks::close_space(locker_bank &bank, uint32_t handle) noexcept {
  const auto known = banks_.find(&bank);
  if (known == banks_.end()) return;
  bank_state &of = known->second;
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
  std::erase_if(damaged_, [&](const auto &one) { return one.first == &bank; });
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
      const cubby_key key = key_of(key_in(above));
      listed = list_block(bank, from, handle, body, &key);
    } else {
      const std::string unknown = stand_in(body.parent);
      const cubby_key key = key_of(unknown);
      listed = list_block(bank, from, handle, body, &key);
      if (listed) {
        const auto seen = bank.blocks->keys.find(handle, key_of(key_in(body)));
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
  const cubby_key key = key_of(key_in(body));
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
  const auto begun = blocks.keys.begin_put(request);
  if (!begun || begun->fresh == 0) return false;
  if (begun->took_locker) blocks.take_number();
  blocks.set_length(number, store::bytes_of(body));
  for (uint32_t p = 0; p < bank.part_count() && state_.config.verify; ++p) {
    for (uint32_t c = 0; c < chunks_of_part(bank, number, p); ++c) bank.digest(number, p, c) = 0;
  }
  blocks.set_stored(number, body.number);
  from.spoken_for[body.number] = true;
  static_cast<void>(blocks.keys.publish(begun->entry, number, begun->fresh));
  return true;
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
    request.key = key_of(key_in(body));
    request.parent = &parent;
    request.locker = number;
    request.keep = body.keep;
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
  return fail(CUBBY_ERR_NOT_SUPPORTED,
              "bank %s: the space was added before the store; add it again", bank.desc().name);
}

}  // namespace cubby::engine
