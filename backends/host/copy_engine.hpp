// The copy engine of an emulated device: a thread that makes the copies in the order they were
// asked for, as a real device's engine does beside the processor that asked.
#pragma once
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "streaming_copy.hpp"

namespace cubby_host {

class copy_engine {
 public:
  /// Up to `depth` copies may be under way. Throws when there is no thread or no memory for it.
  explicit copy_engine(std::size_t depth) : copies_(depth) {
    // Signals are for the program's own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      thread_ = std::thread([this] { run(); });
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~copy_engine() {
    copies_[asked_ % copies_.size()] = {};  // nothing is under way any more: an empty one ends it
    ask();
    thread_.join();
  }
  copy_engine(const copy_engine &) = delete;
  copy_engine &operator=(const copy_engine &) = delete;

  /// Gives the number of the copy, for wait_for().
  uint64_t start(void *to, const void *from, std::size_t bytes) {
    copies_[asked_ % copies_.size()] = {to, from, bytes};
    return ask();
  }
  /// Returns when that copy and all before it have been made.
  void wait_for(uint64_t number) const {
    for (uint64_t made = made_.load(std::memory_order_acquire); made < number;
         made = made_.load(std::memory_order_acquire)) {
      made_.wait(made, std::memory_order_acquire);
    }
  }

 private:
  struct copy {
    void *to = nullptr;
    const void *from = nullptr;
    std::size_t bytes = 0;
  };

  uint64_t ask() {
    const uint64_t number = ++asked_;
    told_.store(number, std::memory_order_release);
    told_.notify_one();
    return number;
  }
  void run() {
    for (uint64_t number = 0;; ++number) {
      told_.wait(number, std::memory_order_acquire);
      const copy next = copies_[number % copies_.size()];
      if (next.to == nullptr) return;
      streaming_copy(next.to, next.from, next.bytes);
      made_.store(number + 1, std::memory_order_release);
      made_.notify_one();
    }
  }

  std::vector<copy> copies_;
  uint64_t asked_ = 0;  // of the thread that asks
  std::atomic<uint64_t> told_{0}, made_{0};
  std::thread thread_;
};

}  // namespace cubby_host
