#include "engine/set_up.hpp"

#include <new>

namespace cubby::engine {
namespace {

/// Of channels whose copies are made by the thread that starts them: few at once, so that what has
/// landed is published, and what came meanwhile is looked at.
constexpr transfer::window synchronous{uint64_t{2} << 20, uint64_t{1} << 20, true};

constexpr uint64_t staging_buffer_bytes = (uint64_t{1} << 20) + 8192;
constexpr uint32_t staging_max = 16;
// Of gets past the tiers: enough in flight to keep a disk busy with blocks of any size.
constexpr uint64_t read_buffer_bytes = uint64_t{256} << 10;
constexpr uint32_t read_buffers_max = 64;

frame_layout layout_for(const tier::memory_tier &memory, const locker_bank &bank) {
  if (memory.places().strided()) return frame_layout::pieces;
  if (bank.blocks != nullptr) return frame_layout::packed;  // no file says how they lie
  return is_direct(memory) && bank.skew_ok() ? frame_layout::skewed : frame_layout::packed;
}

}  // namespace

result<uint32_t> set_up::add_memory_tier(const memory_tier_request &wanted,
                                         std::unique_ptr<tier::backend_instance> backend) {
  if (auto free = state_.tiers.check_new(wanted.name); !free) return free.failure();
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
                                                   copies_here ? synchronous : transfer::window{});
  if (!slot->memory->readable()) {
    slot->staging = std::make_unique<transfer::staging_pool>(state_.services, nullptr,
                                                             staging_buffer_bytes, staging_max);
    slot->staging->make_room_for_devices(tiers_max);
    slot->staging->add_device(slot->memory->backend());
  }
  slot->name = wanted.name;
  slot->rank = wanted.rank;
  slot->flags = wanted.flags;
  slot->regions = wanted.regions;
  slot->budget_bytes.store(slot->memory->budget_bytes());
  const uint32_t index = state_.tiers.place(std::move(slot), state_.config.salt);
  const tier_slot &placed = state_.tiers[index];
  int32_t policy_status = 0;
  try {
    for (const auto &bank : state_.banks.owned()) {
      bank->add_tier(index, layout_for(*placed.memory, *bank), placed.memory->places().address);
    }
    state_.banks.index_words();
    policy_status = copies_.add_policy(index);
  } catch (...) {
    state_.tiers.withdraw(index);
    throw;
  }
  if (policy_status != 0) {
    state_.tiers.withdraw(index);
    return fail(CUBBY_ERR_NO_MEMORY,
                "tier %s: policy %s could not be made; it found no memory for its tables, or "
                "refused the banks that there are (docs/policies.md)",
                wanted.name.c_str(), state_.config.policy->name);
  }
  state_.tiers.register_blocks(index, 0);
  for (uint32_t i = 0; i < index && state_.tiers.is_device(index); ++i) {
    if (state_.tiers.is_memory(i)) {
      state_.tiers.register_blocks(i, 0, index);
    } else {
      state_.tiers.register_staging(i, index);
    }
  }
  if (state_.tiers.is_device(index)) state_.tiers.connect_devices(index);
  state_.tiers.publish(index);
  copies_.reconfigure_policies();  // of the exclusive tiers that continue this one
  return index;
}

result<uint32_t> set_up::add_file_tier(const std::string &name, uint32_t rank,
                                       std::vector<std::string> directories,
                                       std::unique_ptr<tier::backend_instance> backend,
                                       std::optional<store::opened_store> store) {
  if (auto free = state_.tiers.check_new(name); !free) return free.failure();
  auto slot = std::make_unique<tier_slot>();
  slot->backend = backend->name();
  auto files = tier::file_tier::make(std::move(backend), name, std::move(directories));
  if (!files) return files.failure();
  slot->files = std::move(*files);
  tier::backend_instance &by = slot->files->backend();
  slot->path = std::make_unique<transfer::channel>(by);
  slot->staging = std::make_unique<transfer::staging_pool>(state_.services, &by,
                                                           staging_buffer_bytes, staging_max);
  slot->staging->make_room_for_devices(tiers_max);
  slot->read_buffers = std::make_unique<transfer::staging_pool>(
      state_.services, &by, read_buffer_bytes, read_buffers_max);
  slot->name = name;
  slot->rank = rank;
  const uint32_t index = state_.tiers.place(std::move(slot), state_.config.salt);
  try {
    if (store) {
      auto opened = disk_store::open(state_, ios_, index, std::move(*store));
      if (!opened) {
        state_.tiers.withdraw(index);
        return opened.failure();
      }
      stored_.add_store(std::move(*opened));
    }
  } catch (...) {
    state_.tiers.withdraw(index);
    throw;
  }
  for (uint32_t i = 0; i < index; ++i) {
    if (state_.tiers.is_memory(i)) state_.tiers.register_blocks(i, 0, index);
    if (state_.tiers.is_device(i)) state_.tiers.register_staging(index, i);
  }
  state_.tiers.publish(index);
  return index;
}

result<void> set_up::resize(uint32_t tier, uint64_t budget_bytes) {
  tier_slot &slot = state_.tiers[tier];
  const size_t before = slot.memory->blocks().size();
  if (auto set = slot.memory->set_budget(budget_bytes); !set) return set;
  slot.budget_bytes.store(slot.memory->budget_bytes());
  copies_.reconfigure_policies();
  state_.tiers.register_blocks(tier, before);
  state_.changed = true;
  return {};
}

/// How its lockers lie in each memory tier; again once it is mapped.
void set_up::lay_out(locker_bank &bank) {
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    if (!state_.tiers.is_memory(i)) continue;
    const tier::memory_tier &memory = *state_.tiers[i].memory;
    bank.add_tier(i, layout_for(memory, bank), memory.places().address);
  }
}

/// Of a bank that was not published. What its many objects took is not to be missing, nor asked
/// for again, when a smaller one comes.
void set_up::discard(locker_bank &bank) noexcept {
  state_.banks.withdraw(bank);
  state_.banks.destroy(bank);
  state_.admission.restore_object_count();
}

result<locker_bank *> set_up::add_bank(std::unique_ptr<locker_bank> made) {
  auto added = state_.banks.insert(std::move(made));
  if (!added) return added;
  locker_bank &bank = **added;
  try {
    state_.admission.set_object_count(state_.banks.object_count());
    lay_out(bank);
    state_.banks.index_words();
    if (state_.config.verify && (bank.mapped() || bank.blocks != nullptr)) bank.make_digests();
  } catch (...) {
    discard(bank);
    throw;
  }
  if (!copies_.reconfigure_policies()) {
    const error why =
        fail(CUBBY_ERR_NO_MEMORY,
             "bank %s: policy %s could not grow; it found no memory for its tables, or refused the "
             "bank (docs/policies.md)",
             bank.desc().name, state_.config.policy->name);
    discard(bank);
    copies_.reconfigure_policies();  // of those that had grown already
    return why;
  }
  state_.banks.publish(bank);
  return &bank;
}

result<void> set_up::map_bank(locker_bank &bank, std::vector<catalog::bank_file> &&files,
                              uint32_t tier, const cubby_extent *extents, uint64_t count) {
  if (bank.blocks != nullptr) {
    return fail(CUBBY_ERR_INVALID, "bank %s has KV blocks, which are put; no file holds them",
                bank.desc().name);
  }
  if (bank.mapped()) {
    return fail(CUBBY_ERR_INVALID, "bank %s is mapped already; remove it and add it again",
                bank.desc().name);
  }
  const bool verify = state_.config.verify;
  if (auto mapped = bank.map(std::move(files), extents, count, verify); !mapped) return mapped;
  bank.file_tier = tier;
  lay_out(bank);
  // Frames may be of another size now. A policy that found no memory for that goes on with the
  // sizes it knows, and hears of them with the next change.
  copies_.reconfigure_policies();
  return {};
}

bool set_up::is_in_use(locker_bank &bank) {
  if (bank.blocks != nullptr && bank.blocks->puts_in_flight != 0) return true;
  if (fills_.touches_bank(bank)) return true;
  for (const uint32_t index : open_.open_now()) {
    for (const request_item &item : requests_[index].items) {
      if (item.bank != &bank) continue;
      // Fills were asked about.
      if (item.state <= item_state::copying && item.state != item_state::loading) return true;
    }
  }
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    if (!state_.tiers.is_memory(tier)) continue;
    for (uint32_t number = 0; number < bank.count(); ++number) {
      if (!copies_.drop(bank, number, tier)) return true;
    }
  }
  return false;
}

result<void> set_up::withdraw_bank(locker_bank &bank) {
  if (is_in_use(bank)) {
    return fail(CUBBY_ERR_BUSY,
                "bank %s: some of its lockers are pinned or on their way; unpin them, or drain, "
                "and try again",
                bank.desc().name);
  }
  stored_.forget_bank(bank);
  feed_.forget_bank(bank);
  for (uint32_t number = 0; number < bank.count(); ++number) {
    state_.admission.forget(bank.object_base + number);
  }
  state_.banks.withdraw(bank);
  copies_.reconfigure_policies();
  return {};
}

void set_up::free_bank(locker_bank &bank) {
  files_.close_all(bank);
  state_.banks.destroy(bank);
}

}  // namespace cubby::engine
