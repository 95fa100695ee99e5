// Blocks through the library.
#include "cli/bench/cubby_blocks.hpp"

namespace cubby_cli::bench {
namespace {

class cubby_reader : public reader {
 public:
  explicit cubby_reader(uint32_t depth) : depth_(depth) {}
  done open(const layout &file, bool verified);
  outcome<sample> run(const std::vector<uint32_t> &blocks) override;

 private:
  done start(uint32_t block);

  uint32_t depth_;
  uint64_t block_bytes_ = 0;
  cubby_blocks blocks_;
  cubby_cq *queue_ = nullptr;
  struct slot {
    cubby_pins pins = 0;
    const void *address = nullptr;
  };
  std::vector<slot> slots_;
  std::vector<uint32_t> free_;
};

done cubby_reader::open(const layout &file, bool verified) {
  block_bytes_ = file.block_bytes;
  if (auto opened = blocks_.open(file, depth_, verified, CUBBY_PUMP_CALLER); !opened) {
    return opened;
  }
  if (cubby_cq_add(blocks_.rt(), depth_, &queue_) != CUBBY_OK) return last_trouble();
  slots_.resize(depth_);
  for (uint32_t i = 0; i < depth_; i++) free_.push_back(i);
  return nothing{};
}

done cubby_reader::start(uint32_t block) {
  const uint32_t at = free_.back();
  cubby_item item{};
  item.id = CUBBY_ID(blocks_.bank(), block);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_VISIT | CUBBY_BYPASS;
  how.user = at;
  how.cq = queue_;
  cubby_ticket ticket = 0;
  slot &to = slots_[at];
  const auto pin = [&] {
    return cubby_pin(blocks_.rt(), &item, 1, blocks_.tier(), &how, &to.pins, &to.address, &ticket);
  };
  cubby_status status = pin();
  if (status == CUBBY_OK) {
    // Read just before and not evicted yet: the runtime does that when it advances.
    cubby_unpin(blocks_.rt(), to.pins, 0, 0, nullptr);
    cubby_poll(blocks_.rt(), 0, nullptr);
    status = pin();
  }
  if (status != CUBBY_PENDING) {
    return status == CUBBY_OK ? done(trouble{"a block was there already; it was to be read"})
                              : done(last_trouble());
  }
  free_.pop_back();
  return nothing{};
}

outcome<sample> cubby_reader::run(const std::vector<uint32_t> &blocks) {
  const stopwatch watch;
  size_t next = 0, ended = 0;
  cubby_done completed[64];
  while (ended < blocks.size()) {
    while (next < blocks.size() && !free_.empty()) {
      if (auto started = start(blocks[next]); !started) return started.failure();
      next++;
    }
    if (cubby_cq_wait(queue_, -1) != CUBBY_OK) return last_trouble();
    const uint32_t count = cubby_cq_take(queue_, completed, 64);
    for (uint32_t i = 0; i < count; i++) {
      if (completed[i].status != CUBBY_OK) return last_trouble();
      const auto at = static_cast<uint32_t>(completed[i].user);
      if (cubby_unpin(blocks_.rt(), slots_[at].pins, 0, 0, nullptr) != CUBBY_OK)
        return last_trouble();
      free_.push_back(at);
    }
    ended += count;
  }
  return watch.stop(blocks.size() * block_bytes_);
}

}  // namespace

outcome<std::unique_ptr<reader>> make_cubby(const layout &file, uint32_t depth, bool verified) {
  auto made = std::make_unique<cubby_reader>(depth);
  if (auto opened = made->open(file, verified); !opened) return opened.failure();
  return std::unique_ptr<reader>(std::move(made));
}

}  // namespace cubby_cli::bench
