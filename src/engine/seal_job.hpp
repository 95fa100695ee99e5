// Takes the digests of an adopted file, chunk by chunk behind everything that is urgent, and writes
// them as a seal; an interrupted one goes on where it was.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/chunk_run.hpp"
#include "engine/seal_writer.hpp"
#include "engine/source_files.hpp"
#include "store/seal.hpp"
#include "transfer/io_table.hpp"

namespace cubby::engine {

class seal_job final : public transfer::io_owner {
 public:
  /// Of banks whose files take_files() brings. `at_once`: the seal is written by whoever holds the
  /// pump (under a virtual clock, where nothing may depend on another thread).
  seal_job(engine_state &state, source_files &files, transfer::io_table &ios,
           store::model_file model, std::vector<std::unique_ptr<locker_bank>> banks,
           std::string path, bool at_once);
  seal_job(const seal_job &) = delete;
  seal_job &operator=(const seal_job &) = delete;
  ~seal_job();

  /// The open files of a bank, which the job closes.
  void take_files(size_t bank_index, std::vector<catalog::bank_file> &&files,
                  uint32_t tier) noexcept {
    banks_[bank_index]->files = std::move(files);
    banks_[bank_index]->file_tier = tier;
  }
  /// Takes over the digests of an earlier seal of the same files.
  void resume(const store::seal &earlier);
  /// Starts reads while there is room; true when the job has ended. Without memory it fails.
  bool step() noexcept;
  /// Is the seal being written? Its end is seen by step() alone.
  [[nodiscard]] bool writing() const { return writer_.busy(); }
  void stop() { stopping_ = true; }
  void io_done(uint32_t tag, const cubby_backend_done &done) override;

  [[nodiscard]] uint64_t done_count() const { return done_; }
  [[nodiscard]] uint64_t total_count() const { return total_; }
  [[nodiscard]] uint64_t read_bytes() const { return bytes_; }
  [[nodiscard]] const error &failure() const { return failure_; }

 private:
  struct position {
    size_t bank = 0;
    uint32_t number = 0, part = 0, chunk = 0;
    uint64_t index = 0;  // of the chunk's digest in the bank
  };
  /// A read under way.
  struct read {
    position at;
    chunk_run run;
    std::byte *staging = nullptr;
  };
  bool go_on();
  bool skip_known();
  void advance(uint32_t chunks);
  bool read_next();
  void take_digests(const read &done);
  void fail_with(error why);
  bool take_write();
  void save(bool complete);
  bool end();

  static constexpr uint32_t reads_max = 8;

  engine_state &state_;
  source_files &files_;
  transfer::io_table &ios_;
  store::model_file model_;
  std::vector<std::unique_ptr<locker_bank>> banks_;
  const std::string path_;
  const bool write_at_once_;
  seal_writer writer_;
  store::seal content_;
  position next_;
  std::array<read, reads_max> reads_;  // by tag; free ones have no staging
  bool stopping_ = false;
  bool last_write_ = false;  // the job ends with the write that has begun
  uint32_t in_flight_ = 0;
  uint64_t done_ = 0, total_ = 0, saved_at_ = 0, bytes_ = 0;
  error failure_{.status = CUBBY_OK, .text = {}};
};

}  // namespace cubby::engine
