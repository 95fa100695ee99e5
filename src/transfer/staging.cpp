#include "transfer/staging.hpp"

#include <algorithm>
#include <new>

#include "base/room.hpp"

namespace cubby::transfer {
namespace {

/// Taken a few at a time, for most runtimes never need many; and no fewer than fill a huge page:
/// a device reads into memory in a row in one piece, and takes long over many small ones.
uint32_t buffers_per_block(uint64_t buffer_bytes) {
  constexpr uint64_t huge_page_bytes = uint64_t{2} << 20;
  return static_cast<uint32_t>(std::max<uint64_t>(4, huge_page_bytes / buffer_bytes));
}

}  // namespace

staging_pool::~staging_pool() {
  for (const cubby_backend_memory &block : blocks_) {
    if (files_ != nullptr) files_->unregister_memory(block.base, block.bytes);
    for (auto *device : devices_) device->unregister_memory(block.base, block.bytes);
    services_.memory_give(services_.context, &block);
  }
}

void staging_pool::add_device(tier::backend_instance &device) {
  devices_.push_back(&device);
  for (const cubby_backend_memory &block : blocks_) device.register_memory(block.base, block.bytes);
}

void staging_pool::grow() {
  const uint32_t per_block = buffers_per_block(buffer_bytes_);
  const uint32_t count = std::min(left_, per_block);
  if (count == 0) return;
  try {
    base::make_room(blocks_, blocks_.size() + 1);
    base::make_room(free_, (blocks_.size() + 1) * per_block);  // give() takes none
  } catch (const std::bad_alloc &) {
    return;  // another take tries again
  }
  left_ -= count;
  cubby_backend_memory block{};
  block.struct_size = sizeof block;
  if (services_.memory_take(services_.context, count * buffer_bytes_, 0, &block) != 0) return;
  blocks_.push_back(block);
  if (files_ != nullptr) files_->register_memory(block.base, block.bytes);
  for (auto *device : devices_) device->register_memory(block.base, block.bytes);
  for (uint32_t i = 0; i < count; ++i) {
    free_.push_back(static_cast<std::byte *>(block.base) + i * buffer_bytes_);
  }
}

bool staging_pool::fill() {
  while (left_ != 0) {
    const size_t before = blocks_.size();
    grow();
    if (blocks_.size() == before) return false;
  }
  return true;
}

std::byte *staging_pool::take() {
  if (free_.empty()) grow();
  if (free_.empty()) return nullptr;
  std::byte *buffer = free_.back();
  free_.pop_back();
  return buffer;
}

}  // namespace cubby::transfer
