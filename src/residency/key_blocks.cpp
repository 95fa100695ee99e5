#include "residency/key_blocks.hpp"

#include <sys/random.h>

#include "base/assert.hpp"
#include "base/prng.hpp"

namespace cubby::residency {
namespace {

/// Keys chosen to do harm must not all meet in one bucket.
uint64_t secret_seed() {
  uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, GRND_NONBLOCK) == static_cast<ssize_t>(sizeof seed)) {
    return seed;
  }
  return base::mix64(reinterpret_cast<uintptr_t>(&seed));
}

}  // namespace

result<std::unique_ptr<key_blocks>> key_blocks::make(uint32_t locker_count, uint32_t part_count) {
  directory::directory_config config;
  config.locker_count = locker_count;
  config.part_count = part_count;
  config.seed = secret_seed();
  if (auto checked = directory::key_directory::check(config); !checked) return checked.failure();
  return std::unique_ptr<key_blocks>(new key_blocks(config));
}

key_blocks::key_blocks(const directory::directory_config &config)
    : keys(config),
      locker_count_(config.locker_count),
      lengths_(std::make_unique<std::atomic<uint64_t>[]>(config.locker_count)),
      stored_(std::make_unique<std::atomic<uint32_t>[]>(config.locker_count)),
      used_(std::make_unique<std::atomic<uint8_t>[]>(config.locker_count)),
      reads_(std::make_unique<uint16_t[]>(config.locker_count)) {
  for (uint32_t i = 0; i < locker_count_; ++i) set_stored(i, not_stored);
  free_.reserve(locker_count_);  // giving a number back takes no memory
  leaving.reserve(locker_count_);
}

uint32_t key_blocks::peek_number() const noexcept {
  if (!free_.empty()) return free_.back();
  return first_unused_ < locker_count_ ? first_unused_ : directory::no_locker;
}

void key_blocks::take_number() noexcept {
  if (free_.empty()) {
    CUBBY_ASSERT(first_unused_ < locker_count_);
    ++first_unused_;
  } else {
    free_.pop_back();
  }
}

void key_blocks::give_number(uint32_t number) noexcept {
  CUBBY_ASSERT(number < first_unused_ && free_.size() < free_.capacity());
  free_.push_back(number);
}

uint64_t key_blocks::bytes() const noexcept {
  return sizeof *this + keys.bytes() + free_.capacity() * sizeof(uint32_t) +
         locker_count_ *
             (sizeof lengths_[0] + sizeof stored_[0] + sizeof used_[0] + sizeof reads_[0]);
}

}  // namespace cubby::residency
