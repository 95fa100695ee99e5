#include "tier/memory_tier.hpp"

#include <algorithm>
#include <new>

#include "base/checked.hpp"
#include "base/mutant.hpp"

namespace cubby::tier {
namespace {

/// Own memory comes in blocks, so that a tier made smaller can give some of it back. They are
/// larger only where what is to lie in one asks for it.
constexpr uint64_t block_bytes_max = uint64_t{1} << 30;

}  // namespace

memory_tier::memory_tier(std::unique_ptr<backend_instance> backend, std::string name, bool lent)
    : backend_(std::move(backend)),
      name_(std::move(name)),
      lent_(lent),
      host_addressable_(backend_->can(CUBBY_CAP_HOST_ADDRESSABLE)),
      emulated_(backend_->info().emulated != 0) {}

memory_tier::~memory_tier() {
  for (const cubby_backend_memory &block : blocks_) backend_->release(block);
}

result<void> memory_tier::add_memory(uint64_t bytes, uint64_t first_block_bytes) {
  for (uint64_t left = bytes; left != 0;) {
    const uint64_t part = std::min(left, std::max(first_block_bytes, block_bytes_max));
    first_block_bytes = 0;
    auto block = backend_->reserve(part);
    if (!block) {
      error failure = block.failure();
      failure.text = "tier " + name_ + ": " + failure.text;
      return failure;
    }
    CUBBY_ASSERT(reinterpret_cast<uintptr_t>(block->base) % frame_align_bytes == 0);
    try {
      base::make_room(blocks_, blocks_.size() + 1);
      frames_.add_block(reinterpret_cast<uintptr_t>(block->base) / frame_align_bytes,
                        part / frame_align_bytes);
    } catch (const std::bad_alloc &) {
      backend_->release(*block);
      return no_memory();
    }
    blocks_.push_back(*block);
    memory_bytes_ += part;
    left -= part;
  }
  return {};
}

result<std::unique_ptr<memory_tier>> memory_tier::own(std::unique_ptr<backend_instance> backend,
                                                      std::string name, uint64_t budget_bytes) {
  std::unique_ptr<memory_tier> made(new memory_tier(std::move(backend), std::move(name), false));
  made->places_.address.stride.fill(frame_align_bytes);
  if (auto set = made->set_budget(budget_bytes); !set) return set.failure();
  return made;
}

void memory_tier::note_lent(std::byte *base, uint64_t bytes) {
  cubby_backend_memory block{};
  block.base = base;
  block.bytes = bytes;
  lent_blocks_.push_back(block);
}

result<void> memory_tier::lend_packed(const lent_memory &memory) {
  const auto base = reinterpret_cast<uintptr_t>(memory.base);
  places_.align_bytes = std::min<uint64_t>(frame_align_bytes, base & (~base + 1));
  places_.address.base.fill(base);
  places_.address.stride.fill(frame_align_bytes);
  memory_bytes_ = base::align_down(memory.bytes, frame_align_bytes);
  if (memory_bytes_ == 0) {
    return fail(CUBBY_ERR_INVALID,
                "tier %s: the lent region has %llu bytes; at least 4096 are "
                "needed",
                name_.c_str(), static_cast<unsigned long long>(memory.bytes));
  }
  frames_.add_block(0, memory_bytes_ / frame_align_bytes);
  note_lent(memory.base, memory.bytes);
  return {};
}

result<void> memory_tier::lend_strided(const std::vector<lent_memory> &memory) {
  uint64_t count = ~uint64_t{0};
  unit_bytes_ = 0;
  for (const lent_memory &one : memory) {
    const auto base = reinterpret_cast<uintptr_t>(one.base);
    places_.align_bytes = std::min(
        {places_.align_bytes, base & (~base + 1), one.stride_bytes & (~one.stride_bytes + 1)});
    places_.address.base[piece_parts_] = base;
    places_.address.stride[piece_parts_] = one.stride_bytes;
    places_.piece_bytes[piece_parts_++] = one.piece_bytes;
    const uint64_t span = one.stride_bytes * (one.piece_count - 1) + one.piece_bytes;
    note_lent(one.base, span);
    unit_bytes_ += one.piece_bytes;
    count = std::min(count, one.piece_count);
  }
  memory_bytes_ = count * unit_bytes_;
  frames_.add_block(0, count);
  return {};
}

result<std::unique_ptr<memory_tier>> memory_tier::lent(std::unique_ptr<backend_instance> backend,
                                                       std::string name, uint64_t budget_bytes,
                                                       const std::vector<lent_memory> &memory) {
  std::unique_ptr<memory_tier> made(new memory_tier(std::move(backend), std::move(name), true));
  const bool packed = memory.size() == 1 && memory[0].piece_count == 0;
  auto lent = packed ? made->lend_packed(memory[0]) : made->lend_strided(memory);
  if (!lent) return lent.failure();
  if (auto set = made->set_budget(budget_bytes); !set) return set.failure();
  return made;
}

std::optional<uint64_t> memory_tier::take(uint64_t bytes) {
  const uint64_t count = units(bytes);
  const uint64_t cost = count * unit_bytes_;
  const bool within = cost <= budget_bytes_ && used_bytes_ <= budget_bytes_ - cost;
  if (!within && !CUBBY_MUTANT(exceed_budget)) return std::nullopt;
  const auto frame = frames_.take(count);
  if (!frame) return std::nullopt;
  used_bytes_ += cost;
  peak_bytes_ = std::max(peak_bytes_, used_bytes_);
  return frame;
}

void memory_tier::give(uint64_t frame, uint64_t bytes) {
  const uint64_t count = units(bytes);
  CUBBY_ASSERT(used_bytes_ >= count * unit_bytes_);
  used_bytes_ -= count * unit_bytes_;
  frames_.give(frame, count);
}

bool memory_tier::fits(uint64_t bytes) {
  const uint64_t count = units(bytes);
  const uint64_t cost = count * unit_bytes_;
  const bool within = cost <= budget_bytes_ && used_bytes_ <= budget_bytes_ - cost;
  return (within || CUBBY_MUTANT(exceed_budget)) && frames_.fits(count);
}

bool memory_tier::would_fit(uint64_t frame, uint64_t frame_bytes, uint64_t bytes) {
  const uint64_t cost = units(bytes) * unit_bytes_;
  const uint64_t freed = units(frame_bytes) * unit_bytes_;
  return used_bytes_ - freed + cost <= budget_bytes_ &&
         frames_.would_fit(frame, units(frame_bytes), units(bytes));
}

result<void> memory_tier::set_budget(uint64_t budget_bytes) {
  const uint64_t wanted = base::align_down(budget_bytes, frame_align_bytes);
  if (lent_ && budget_bytes > memory_bytes_) {
    error failure = fail(CUBBY_ERR_BUDGET,
                         "tier %s: a budget of %llu bytes was asked for, the lent memory holds "
                         "%llu; lend more or ask for less",
                         name_.c_str(), static_cast<unsigned long long>(budget_bytes),
                         static_cast<unsigned long long>(memory_bytes_));
    failure.needed_bytes = budget_bytes;
    return failure;
  }
  if (!lent_ && wanted > memory_bytes_) {
    const size_t before = blocks_.size();
    if (auto added = add_memory(wanted - memory_bytes_, 0); !added) {
      while (blocks_.size() > before) release_last_block();  // all that was asked for, or none
      return added;
    }
  }
  budget_bytes_ = lent_ ? (budget_bytes == 0 ? memory_bytes_ : budget_bytes) : wanted;
  return {};
}

/// In whole blocks, so that there are no more of them than otherwise.
uint64_t memory_tier::block_bytes_for(uint64_t bytes) const {
  return bytes >= budget_bytes_ ? budget_bytes_
                                : std::min(base::align_up(bytes, block_bytes_max), budget_bytes_);
}

bool memory_tier::has_block_for(uint64_t bytes) const {
  const uint64_t wanted = block_bytes_for(bytes);
  return lent_ || std::any_of(blocks_.begin(), blocks_.end(),
                              [&](const cubby_backend_memory &one) { return one.bytes >= wanted; });
}

bool memory_tier::in_pieces() const {
  const uint64_t fewest = (budget_bytes_ + block_bytes_max - 1) / block_bytes_max;
  return !lent_ && (blocks_.size() > fewest || memory_bytes_ < budget_bytes_);
}

result<void> memory_tier::merge(const std::function<void(const cubby_backend_memory &)> &before,
                                uint64_t together_bytes) {
  CUBBY_ASSERT(used_bytes_ == 0);
  while (!blocks_.empty()) {
    before(blocks_.back());
    release_last_block();
  }
  auto taken = add_memory(budget_bytes_, block_bytes_for(together_bytes));
  if (taken || together_bytes == 0) return taken;
  while (!blocks_.empty()) release_last_block();
  if (auto again = add_memory(budget_bytes_, 0); !again) return again;  // as it was, at least
  return taken;
}

void memory_tier::release_last_block() {
  const cubby_backend_memory block = blocks_.back();
  const bool removed =
      frames_.remove_block(reinterpret_cast<uintptr_t>(block.base) / frame_align_bytes);
  CUBBY_ASSERT(removed);
  memory_bytes_ -= block.bytes;
  backend_->release(block);
  blocks_.pop_back();
}

void memory_tier::trim(const std::function<void(const cubby_backend_memory &)> &before) {
  for (size_t i = blocks_.size(); i-- > 0 && !lent_;) {
    const cubby_backend_memory block = blocks_[i];
    if (memory_bytes_ - block.bytes < budget_bytes_) continue;
    if (!frames_.remove_block(reinterpret_cast<uintptr_t>(block.base) / frame_align_bytes))
      continue;
    memory_bytes_ -= block.bytes;
    before(block);
    backend_->release(block);
    blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

}  // namespace cubby::tier
