// A runtime whose lockers are the blocks of a file.
#pragma once

#include <cubby/cubby.hpp>

#include "cli/bench/reader.hpp"

namespace cubby_cli::bench {

class cubby_blocks {
 public:
  cubby_blocks() = default;
  ~cubby_blocks() { cubby_close(rt_); }
  cubby_blocks(const cubby_blocks &) = delete;
  cubby_blocks &operator=(const cubby_blocks &) = delete;
  /// With a host tier for `depth` blocks in flight, and as many again so that no frame is waited
  /// for.
  done open(const layout &file, uint32_t depth, bool verified, uint32_t pump);

  [[nodiscard]] cubby_handle *rt() const { return rt_; }
  [[nodiscard]] cubby_bank bank() const { return bank_; }
  [[nodiscard]] cubby_tier tier() const { return tier_; }

 private:
  done map(const layout &file);

  cubby_handle *rt_ = nullptr;
  cubby_bank bank_ = 0;
  cubby_tier tier_ = 0;
};

}  // namespace cubby_cli::bench
