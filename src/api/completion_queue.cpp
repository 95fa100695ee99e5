#include "api/completion_queue.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

cubby_cq::cubby_cq(cubby::api::runtime &rt, uint32_t capacity, int fd)
    : rt_(rt), list_(rt.queues), ring_(capacity), fd_(fd) {
  list_->add(this);
}

cubby_cq::~cubby_cq() {
  list_->remove(this);
  ::close(fd_);
}

bool cubby_cq::reserve() {
  const std::lock_guard lock(mutex_);
  if (reserved_ == ring_.size()) return false;
  ++reserved_;
  return true;
}

void cubby_cq::unreserve() {
  const std::lock_guard lock(mutex_);
  --reserved_;
}

void cubby_cq::push(const entry &one) {
  const std::lock_guard lock(mutex_);
  CUBBY_ASSERT(count_ < ring_.size());
  ring_[(head_ + count_++) % ring_.size()] = one;
  if (count_ == 1) eventfd_write(fd_, 1);
}

uint32_t cubby_cq::take(cubby_done *out, uint32_t max_count) {
  std::vector<uint32_t> taken;
  {
    const std::lock_guard lock(mutex_);
    while (taken.size() < max_count && count_ != 0) {
      out[taken.size()] = ring_[head_].done;
      taken.push_back(ring_[head_].request_index);
      head_ = (head_ + 1) % static_cast<uint32_t>(ring_.size());
      --count_;
    }
    reserved_ -= static_cast<uint32_t>(taken.size());
    if (!taken.empty() && count_ == 0) {
      eventfd_t ignored = 0;
      eventfd_read(fd_, &ignored);
    }
  }
  // After cubby_close() the requests are gone; the completions are not.
  if (list_->closed.load(std::memory_order_seq_cst)) return static_cast<uint32_t>(taken.size());
  for (const uint32_t index : taken) rt_.taken(index);
  return static_cast<uint32_t>(taken.size());
}

bool cubby_cq::unused() {
  const std::lock_guard lock(mutex_);
  return reserved_ == 0 || list_->closed.load(std::memory_order_seq_cst);
}
