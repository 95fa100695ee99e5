// Seals: jobs that read files behind everything else.
#pragma once

#include <vector>

#include "engine/operations/operation.hpp"

namespace cubby::engine {

class seal_operation final : public operation {
 public:
  using operation::operation;
  void begin(uint32_t index) override { running_.push_back(index); }
  bool grant(uint32_t) override { return true; }
  void withdraw(uint32_t index, bool all) override;
  /// Starts reads while there is room; true when a job has ended.
  bool step();
  /// When step() has to be called again though no I/O ends: never_ns unless a seal is being
  /// written.
  [[nodiscard]] uint64_t next_ns();
  /// Jobs whose reads never came back: their tickets end; they themselves cannot, and are leaked.
  void give_up();

 private:
  seal_job &job_of(uint32_t index);
  void finish(uint32_t index, const error &why);

  std::vector<uint32_t> running_;
};

}  // namespace cubby::engine
