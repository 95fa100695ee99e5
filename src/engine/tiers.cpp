#include "engine/tiers.hpp"

namespace cubby::engine {

tier_set::~tier_set() {
  for (uint32_t i = 0; i < count(); ++i) {
    slots_[i]->staging.reset();
    slots_[i]->read_buffers.reset();
    if (!is_memory(i)) continue;
    for (const auto &block : slots_[i]->memory->blocks()) unregister_block(i, block);
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

bool tier_set::connected(uint32_t a, uint32_t b) const {
  return slots_[a]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE) ||
         slots_[b]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE);
}

transfer::channel &tier_set::copy_path(uint32_t from, uint32_t to) {
  const bool pull = slots_[from]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE);
  return *slots_[pull ? to : from]->path;
}

void tier_set::register_blocks(uint32_t tier, size_t first) {
  for (uint32_t i = 0; i < count(); ++i) {
    if (slots_[i]->files != nullptr) register_blocks(tier, first, i);
  }
}

void tier_set::register_blocks(uint32_t tier, size_t first, uint32_t file_tier) {
  const tier::memory_tier &memory = *slots_[tier]->memory;
  if (!is_direct(memory)) return;
  for (size_t i = first; i < memory.blocks().size(); ++i) {
    const cubby_backend_memory &block = memory.blocks()[i];
    slots_[file_tier]->files->backend().register_memory(block.base, block.bytes);
  }
}

void tier_set::unregister_block(uint32_t tier, const cubby_backend_memory &block) {
  if (!is_direct(*slots_[tier]->memory)) return;
  for (uint32_t i = 0; i < count(); ++i) {
    if (is_memory(i)) continue;
    slots_[i]->files->backend().unregister_memory(block.base, block.bytes);
  }
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
