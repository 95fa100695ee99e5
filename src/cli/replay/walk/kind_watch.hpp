// What becomes of the two kinds of a mixed trace: hits, waiting, and how the tier is divided
// between them over its length.
#pragma once

#include "cli/replay/walk/simulate.hpp"

namespace cubby_cli::replay {

/// Watches a simulation of a mixed trace.
class kind_watch final : public reporter {
 public:
  kind_watch(const course &of, const miss_costs &refetch);
  void used(uint64_t number, std::span<const cubby_object> used,
            std::span<const cubby_object> missing) override;
  void came(cubby_object object) override {
    kind_of(object).held_bytes += kind_of(object).object_bytes;
  }
  void left(cubby_object object) override {
    kind_of(object).held_bytes -= kind_of(object).object_bytes;
  }
  void ended() override;
  /// "experts", "blocks", "waited_ns" and "blocks_share".
  [[nodiscard]] nlohmann::json report() override;

 private:
  static constexpr uint64_t part_count = 20;
  struct kind {
    uint64_t object_bytes, refetch_ns;
    uint64_t accesses = 0, missed = 0, fresh = 0;
    uint64_t held_bytes = 0;

    [[nodiscard]] uint64_t waited_ns() const { return (missed - fresh) * refetch_ns; }
    [[nodiscard]] nlohmann::json report() const;
  };
  struct part {
    double sum = 0;
    uint64_t count = 0;
  };
  kind &kind_of(cubby_object object) { return of_.is_block(object) ? blocks_ : experts_; }
  [[nodiscard]] nlohmann::json shares() const;

  const course of_;
  kind experts_, blocks_;
  std::vector<bool> known_;  // blocks that were computed before
  std::vector<part> parts_;
  uint64_t visit_ = 0;
};

}  // namespace cubby_cli::replay
