#include "engine/tiers.hpp"

namespace cubby::engine {

tier_set::~tier_set() {
  for (uint32_t i = 0; i < count(); ++i) {
    slots_[i]->staging.reset();
    slots_[i]->read_buffers.reset();
    if (!is_memory(i)) continue;
    for (const auto &block : slots_[i]->memory->blocks()) unregister_block(i, block);
    for (const auto &block : slots_[i]->memory->lent_blocks()) unregister_block(i, block);
  }
  for (uint32_t i = 0; i < count(); ++i) {
    slots_[i]->path.reset();
    slots_[i]->memory.reset();
  }
}

result<void> tier_set::check_new(const std::string &name) const {
  if (count() == tiers_max) {
    return fail(CUBBY_ERR_INVALID, "tier %s: a runtime has at most %u tiers", name.c_str(),
                tiers_max);
  }
  for (uint32_t i = 0; i < count(); ++i) {
    if (slots_[i]->name != name) continue;
    return fail(CUBBY_ERR_INVALID, "there is a tier called %s already", name.c_str());
  }
  return {};
}

uint32_t tier_set::place(std::unique_ptr<tier_slot> slot, uint32_t salt) {
  const uint32_t index = count();
  slot->handle = (salt & 0xFFFF) << 8 | (index + 1);
  slots_[index] = std::move(slot);
  return index;
}

void tier_set::publish(uint32_t index) {
  if (is_memory(index)) ++memory_count_;
  count_.store(index + 1, std::memory_order_release);
  for (uint32_t t = 0; t < count(); ++t) look_below(t);
}

void tier_set::look_below(uint32_t tier) {
  tier_slot &of = *slots_[tier];
  of.demotes_to = no_tier;
  of.has_memory_below = false;
  for (uint32_t t = 0; t < count(); ++t) {
    const tier_slot &slot = *slots_[t];
    if (slot.memory == nullptr || slot.rank <= of.rank) continue;
    of.has_memory_below = true;
    if (!slot.is_exclusive()) continue;
    if (of.demotes_to == no_tier || slot.rank < slots_[of.demotes_to]->rank) of.demotes_to = t;
  }
}

uint32_t tier_set::file_tier_for(const std::string &path) const {
  uint32_t best = no_tier;
  size_t best_match = 0;
  for (uint32_t i = 0; i < count(); ++i) {
    if (is_memory(i)) continue;
    const size_t match = slots_[i]->files->directory_match(path);
    if (best != no_tier && match <= best_match) continue;
    best = i;
    best_match = match;
  }
  return best;
}

bool tier_set::connected(uint32_t from, uint32_t to) const {
  return slots_[from]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE) ||
         slots_[to]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE) || peers(from, to) ||
         (staged(from, to) && slots_[to]->staging->usable());
}

bool tier_set::staged(uint32_t from, uint32_t to) const {
  return is_device(from) && is_device(to) && !peers(from, to) && slots_[to]->staging != nullptr;
}

transfer::channel &tier_set::copy_path(uint32_t from, uint32_t to) {
  const bool pull =
      slots_[from]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE) || peers(from, to);
  return *slots_[pull ? to : from]->path;
}

void tier_set::register_blocks(uint32_t tier, size_t first) {
  for (uint32_t i = 0; i < count(); ++i) {
    if (slots_[i]->files != nullptr || is_device(i)) register_blocks(tier, first, i);
  }
}

void tier_set::register_blocks(uint32_t tier, size_t first, uint32_t user) {
  const tier::memory_tier &memory = *slots_[tier]->memory;
  if (!memory.host_addressable()) return;
  tier::backend_instance &by = slots_[user]->io_backend();
  for (size_t i = first; i < memory.blocks().size(); ++i) {
    by.register_memory(memory.blocks()[i].base, memory.blocks()[i].bytes);
  }
  // Files are not read straight into lent memory.
  if (first != 0 || !is_device(user)) return;
  for (const cubby_backend_memory &block : memory.lent_blocks()) {
    by.register_memory(block.base, block.bytes);
  }
}

void tier_set::register_staging(uint32_t file_tier, uint32_t device_tier) {
  slots_[file_tier]->staging->add_device(slots_[device_tier]->memory->backend());
}

void tier_set::connect_devices(uint32_t device_tier) {
  tier_slot &made = *slots_[device_tier];
  for (uint32_t i = 0; i < device_tier; ++i) {
    if (!is_device(i)) continue;
    tier_slot &other = *slots_[i];
    made.peers[i] = made.memory->backend().copies_from(other.memory->backend());
    other.peers[device_tier] = other.memory->backend().copies_from(made.memory->backend());
    if (other.staging != nullptr) other.staging->add_device(made.memory->backend());
    if (made.staging != nullptr) made.staging->add_device(other.memory->backend());
  }
}

void tier_set::unregister_block(uint32_t tier, const cubby_backend_memory &block) {
  const tier::memory_tier &memory = *slots_[tier]->memory;
  if (!memory.host_addressable()) return;
  for (uint32_t i = 0; i < count(); ++i) {
    if (is_device(i) || (!is_memory(i) && is_direct(memory))) {
      slots_[i]->io_backend().unregister_memory(block.base, block.bytes);
    }
  }
}

error lost_tier(const tier_slot &slot) {
  error why = fail(CUBBY_ERR_DEVICE,
                   "tier %s is lost, for its device is; name a tier of host memory, and start the "
                   "process again to use the device",
                   slot.name.c_str());
  why.tier = slot.handle;
  return why;
}

error not_read_again(const locker_bank &bank, uint32_t number, const tier_slot &files) {
  const char *bank_name = bank.desc().name;
  if (files.failed_reads.bypassed()) {
    return fail(CUBBY_ERR_DEVICE,
                "locker %u of bank %s: tier %s is bypassed, for one block after another could not "
                "be read there; it is probed now and then: compute the block, and look at the disk",
                number, bank_name, files.name.c_str());
  }
  return fail(
      CUBBY_ERR_IO,
      "locker %u of bank %s: tier %s could not read it a moment ago, and is not asked again "
      "at once; compute the block and put it, or look at the disk",
      number, bank_name, files.name.c_str());
}

}  // namespace cubby::engine
