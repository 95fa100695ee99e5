// Takes the digests of an adopted file, chunk by chunk behind everything that is urgent, and writes
// them as a seal; an interrupted one goes on where it was.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/seal.hpp"
#include "table/bank.hpp"

namespace cubby::table {

class controller;
struct piece;

class seal_job {
 public:
  /// `banks` have their files open in the controller.
  seal_job(controller &house, uint32_t request_index, store::model_file model,
           std::vector<std::unique_ptr<bank>> banks, std::string path);
  seal_job(const seal_job &) = delete;
  seal_job &operator=(const seal_job &) = delete;
  ~seal_job();

  /// The open files of a bank, which the job closes.
  void take_files(size_t bank_index, std::vector<bank_file> &&files) noexcept {
    banks_[bank_index]->files = std::move(files);
  }
  /// A seal that was begun earlier and is of the same files.
  void resume(const store::seal &earlier);
  /// Starts reads while there is room; true when it has ended and its request may complete.
  bool step();
  /// The same; without memory the job fails.
  bool try_step() noexcept;
  void stop() { stopping_ = true; }
  /// A read of this job has come back.
  void landed(uint32_t piece_index, int32_t native, uint64_t bytes);

  [[nodiscard]] uint32_t request_index() const { return request_; }
  [[nodiscard]] uint64_t done_count() const { return done_; }
  [[nodiscard]] uint64_t total_count() const { return total_; }
  [[nodiscard]] const error &failure() const { return failure_; }

 private:
  struct place {
    size_t bank = 0;
    uint32_t number = 0, part = 0, chunk = 0;
    uint64_t index = 0;  // of the chunk's digest in the bank
  };
  bool skip_known();
  void advance(uint32_t chunks);
  bool read_next();
  [[nodiscard]] uint32_t chunks_here() const;
  void fail_with(error why);
  void save(bool complete);

  controller &house_;
  const uint32_t request_;
  store::model_file model_;
  std::vector<std::unique_ptr<bank>> banks_;
  const std::string path_;
  store::seal content_;
  place next_;
  std::vector<place> flying_;  // by piece index
  bool stopping_ = false;
  uint32_t in_flight_ = 0;
  uint64_t done_ = 0, total_ = 0, saved_at_ = 0;
  error failure_{.status = CUBBY_OK, .text = {}};
};

}  // namespace cubby::table
