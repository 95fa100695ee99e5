// Tiers and banks come and go; the pump is held.
#include <algorithm>

#include "base/checked.hpp"
#include "table/controller.hpp"

namespace cubby::table {
namespace {

/// Of channels whose copies are made by the thread that starts them: few at once, so that what has
/// landed is told, and what came meanwhile is looked at.
constexpr transfer::window by_hand{uint64_t{2} << 20, uint64_t{1} << 20, true};

using ull = unsigned long long;

constexpr uint64_t piece_buffer_bytes = (uint64_t{1} << 20) + 8192;
constexpr uint32_t staging_max = 16;

frame_layout layout_for(const tier::memory_tier &tier, const bank &where) {
  if (tier.strided()) return frame_layout::pieces;
  return tier.direct() && where.skew_ok() ? frame_layout::skewed : frame_layout::packed;
}

}  // namespace

result<uint32_t> controller::add_memory_tier(const memory_tier_request &wanted,
                                             std::unique_ptr<tier::backend_instance> backend) {
  const uint32_t index = tier_count();
  if (index == tiers_max) {
    return fail(CUBBY_ERR_INVALID, "tier %s: a runtime has at most %u tiers", wanted.name.c_str(),
                tiers_max);
  }
  auto slot = std::make_unique<tier_slot>();
  slot->backend = backend->name();
  auto memory = wanted.lent.empty()
                    ? tier::memory_tier::own(std::move(backend), wanted.name, wanted.budget_bytes)
                    : tier::memory_tier::lent(std::move(backend), wanted.name, wanted.budget_bytes,
                                              wanted.lent);
  if (!memory) return memory.failure();
  slot->memory = std::move(*memory);
  const tier::backend_instance &by = slot->memory->backend();
  const bool copies_here = by.can(CUBBY_CAP_HOST_ADDRESSABLE) || by.info().emulated != 0;
  slot->path = std::make_unique<transfer::channel>(slot->memory->backend(),
                                                   copies_here ? by_hand : transfer::window{});
  slot->name = wanted.name;
  slot->rank = wanted.rank;
  slot->flags = wanted.flags;
  slot->regions = wanted.regions;
  slot->handle = (config_.salt & 0xFFFF) << 8 | (index + 1);
  slot->budget_bytes.store(slot->memory->budget_bytes());
  tiers_[index] = std::move(slot);
  register_blocks(index, 0);
  for (const auto &owned : banks_.owned()) {
    const tier::memory_tier &tier = *tiers_[index]->memory;
    owned->add_tier(index, layout_for(tier, *owned), tier.address());
  }
  banks_.index_words();
  std::vector<cubby_policy_bank> banks;
  tiers_[index]->policy = placement::make_policy(*config_.policy, policy_view(index, banks));
  if (tiers_[index]->policy == nullptr) {
    tiers_[index].reset();
    return fail(CUBBY_ERR_NO_MEMORY, "tier %s: no memory for policy %s", wanted.name.c_str(),
                config_.policy->name);
  }
  tier_count_.store(index + 1, std::memory_order_release);
  tell_what_is_kept(index);
  tell_policies();  // of those farther away that go on where this one ends
  return index;
}

result<uint32_t> controller::add_file_tier(const std::string &name, uint32_t rank,
                                           std::unique_ptr<tier::backend_instance> backend) {
  const uint32_t index = tier_count();
  if (index == tiers_max) {
    return fail(CUBBY_ERR_INVALID, "tier %s: a runtime has at most %u tiers", name.c_str(),
                tiers_max);
  }
  if (backend->info().align_bytes > tier::frame_align_bytes) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "tier %s: the backend aligns I/O to %u bytes, 4096 are "
                "the most that is possible",
                name.c_str(), backend->info().align_bytes);
  }
  auto slot = std::make_unique<tier_slot>();
  slot->backend = backend->name();
  slot->files = std::move(backend);
  slot->path = std::make_unique<transfer::channel>(*slot->files);
  slot->name = name;
  slot->rank = rank;
  slot->handle = (config_.salt & 0xFFFF) << 8 | (index + 1);
  tiers_[index] = std::move(slot);
  if (file_slot_ == no_tier) {
    file_slot_ = index;
    tier::backend_instance &files = *tiers_[index]->files;
    staging_ = std::make_unique<transfer::staging_pool>(services_, &files, piece_buffer_bytes,
                                                        staging_max);
    for (uint32_t i = 0; i < index; ++i) register_blocks(i, 0);
  }
  tier_count_.store(index + 1, std::memory_order_release);
  return index;
}

result<void> controller::open_files(std::vector<bank_file> &files) {
  CUBBY_ASSERT(file_slot_ != no_tier);
  tier::backend_instance &backend = *tiers_[file_slot_]->files;
  for (bank_file &file : files) {
    auto opened = backend.open_file(file.path.c_str(), CUBBY_BACKEND_FILE_READ);
    if (!opened) {
      close_files(files);
      return opened.failure();
    }
    file.number = opened->file;
    const bool known = file.inode != 0 || file.bytes != 0;
    if (known && (opened->bytes != file.bytes || opened->inode != file.inode ||
                  opened->device != file.device || opened->mtime_ns != file.mtime_ns)) {
      close_files(files);
      return fail(CUBBY_ERR_CORRUPT, "%s changed while it was being adopted; adopt it again",
                  file.path.c_str());
    }
    file.bytes = opened->bytes;
    file.inode = opened->inode;
    file.device = opened->device;
    file.mtime_ns = opened->mtime_ns;
  }
  backend.refresh_info();
  return {};
}

void controller::close_files(std::vector<bank_file> &files) {
  for (bank_file &file : files) {
    if (file.number != 0) tiers_[file_slot_]->files->close_file(file.number);
    file.number = 0;
  }
}

void controller::add_words(bank &to) {
  for (uint32_t i = 0; i < tier_count(); ++i) {
    if (tiers_[i]->memory == nullptr) continue;
    const tier::memory_tier &tier = *tiers_[i]->memory;
    to.add_tier(i, layout_for(tier, to), tier.address());
  }
}

result<bank *> controller::add_bank(std::unique_ptr<bank> made) {
  auto inserted = banks_.insert(std::move(made));
  if (!inserted) return inserted;
  bank &added = **inserted;
  try {
    add_words(added);
    banks_.index_words();
    if (config_.verify) added.make_digests();
    if (!tell_policies()) throw std::bad_alloc();
  } catch (...) {
    close_files(added.files);
    banks_.withdraw(added);
    banks_.destroy(added);
    throw;
  }
  banks_.publish(added);
  return &added;
}

result<void> controller::map_bank(bank &where, std::vector<bank_file> files,
                                  const cubby_extent *extents, uint64_t count) {
  if (where.mapped()) {
    return fail(CUBBY_ERR_INVALID, "bank %s is mapped already; remove it and add it again",
                where.desc().name);
  }
  if (auto opened = open_files(files); !opened) return opened;
  std::vector<bank_file> spare = files;
  if (auto mapped = where.map(std::move(files), extents, count, config_.verify); !mapped) {
    close_files(spare);
    return mapped;
  }
  add_words(where);
  tell_policies();  // frames may be of another size now
  return {};
}

result<void> controller::remove_bank(bank &where) {
  // Seen from here on as gone by new calls; put back when it is in use.
  where.removed.store(true, std::memory_order_seq_cst);
  bool busy = false;
  for (const move &m : moves_) busy = busy || (m.state != move_state::unused && m.where == &where);
  for (const uint32_t index : open_) {
    for (const request_item &item : requests_[index].items) {
      busy = busy || (item.where == &where && item.state == item_state::waiting);
    }
  }
  for (uint32_t tier = 0; tier < tier_count() && !busy; ++tier) {
    if (tiers_[tier]->memory == nullptr) continue;
    for (uint32_t number = 0; number < where.count() && !busy; ++number) {
      const auto word = where.word(tier, number).look();
      if (word.state == locker_state::ready && word.pin_count == 0) {
        busy = !drop(where, number, tier);
      } else {
        busy = word.state != locker_state::absent;
      }
    }
  }
  if (busy) {
    where.removed.store(false, std::memory_order_seq_cst);
    return fail(CUBBY_ERR_BUSY,
                "bank %s: some of its lockers are pinned or on their way; unpin "
                "them, or drain, and try again",
                where.desc().name);
  }
  banks_.withdraw(where);
  for (shard &one : shards_) {
    if (one.chain.where == &where) one.chain = {};
  }
  for (uint32_t tier = 0; tier < tier_count(); ++tier) {
    if (tiers_[tier]->policy == nullptr) continue;
    for (uint32_t number = 0; number < where.count(); ++number)
      tiers_[tier]->policy->forget(where.object_base + number);
  }
  tell_policies();
  return {};
}

void controller::free_bank(bank &where) {
  close_files(where.files);
  banks_.destroy(where);
}

}  // namespace cubby::table
