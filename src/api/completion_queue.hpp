// Where completions wait to be taken. A place is reserved when a request is accepted, so none is
// ever lost.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "api/runtime.hpp"

struct cubby_cq {
  struct entry {
    cubby_done done{};
    uint32_t request_index = 0;
  };

  cubby_cq(cubby::api::runtime &rt, uint32_t capacity, int fd);
  cubby_cq(const cubby_cq &) = delete;
  cubby_cq &operator=(const cubby_cq &) = delete;
  ~cubby_cq();

  /// False when every place is spoken for.
  bool reserve();
  void unreserve();
  void push(const entry &one);
  uint32_t take(cubby_done *out, uint32_t max_count);
  [[nodiscard]] bool unused();
  [[nodiscard]] int descriptor() const { return fd_; }

 private:
  cubby::api::runtime &rt_;
  const std::shared_ptr<cubby::api::queue_list> list_;
  std::mutex mutex_;
  std::vector<entry> ring_;
  uint32_t head_ = 0, count_ = 0, reserved_ = 0;
  const int fd_;
};
