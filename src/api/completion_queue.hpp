// Where completions wait to be taken. A place is reserved when a request is accepted, so none is
// ever lost. A queue lives until its caller removes it: what a close cancelled is taken after it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"

namespace cubby::api {

/// Whose requests complete to a queue.
class queue_owner {
 public:
  /// The completions of these requests were taken.
  virtual void taken(std::span<const uint32_t> requests) = 0;
  /// While it is not zero the owner stays.
  std::atomic<uint32_t> waiting_calls{0};

 protected:
  ~queue_owner() = default;
};

}  // namespace cubby::api

struct cubby_cq {
  struct entry {
    cubby_done done{};
    uint32_t request_index = 0;
  };

  cubby_cq(cubby::api::queue_owner &owner, uint32_t capacity);
  /// Takes its descriptor.
  cubby::result<void> open();
  cubby_cq(const cubby_cq &) = delete;
  cubby_cq &operator=(const cubby_cq &) = delete;
  ~cubby_cq();

  /// False when every place is spoken for.
  bool reserve();
  void unreserve();
  void push(const entry &one);
  uint32_t take(cubby_done *out, uint32_t max_count);
  [[nodiscard]] bool empty();
  /// From here on nothing is accepted for it. False, and nothing done, while a place is reserved.
  [[nodiscard]] bool retire();
  [[nodiscard]] bool removed() const {
    return (places_.load(std::memory_order_seq_cst) & removed_bit) != 0;
  }
  /// It is the parent process's, and its locks may be held for ever.
  [[nodiscard]] bool forked() const;
  /// From here on it is readable exactly while there is something to take.
  [[nodiscard]] int descriptor();
  /// nullptr once the runtime has been closed.
  [[nodiscard]] cubby::api::queue_owner *owner() const { return owner_.load(); }
  /// The same; the runtime stays until let_go().
  [[nodiscard]] cubby::api::queue_owner *hold_owner();
  static void let_go(cubby::api::queue_owner *held);
  /// The runtime is gone: from here on only what is in the queue counts.
  void outlive();

  /// Every queue there is, so that any pointer may be asked about without looking at its memory.
  static void enlist(const std::shared_ptr<cubby_cq> &made);
  static void remove(const cubby_cq *one);
  /// nullptr when it was removed, or never was.
  static std::shared_ptr<cubby_cq> find(const cubby_cq *one);
  /// Calls on its runtime that have seen it there may use it until they end.
  static bool is_living(const cubby_cq *one);
  static void outlive(cubby::api::queue_owner &owner);

 private:
  std::atomic<cubby::api::queue_owner *> owner_;  // changes under taking_
  std::mutex taking_;  // before mutex_; held while the runtime is notified, so that it stands
  std::mutex mutex_;
  std::vector<entry> ring_;
  uint32_t head_ = 0, count_ = 0;
  bool watched_ = false;  // somebody has asked for the descriptor; before, it costs nothing
  // Places that are spoken for; with the bit nothing more is accepted.
  static constexpr uint32_t removed_bit = 0x8000'0000;
  std::atomic<uint32_t> places_{0};
  const uint32_t process_;  // the registry's count of forks when it was made
  int fd_ = -1;
};
