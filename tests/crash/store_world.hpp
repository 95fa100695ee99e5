// A store on a disk that may lose power at any moment, and a model of what was acknowledged.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support/store_disk.hpp"

namespace crash {

struct block_model {
  std::string key;
  std::string bytes;
  std::vector<uint32_t> parts;
  uint32_t space = 0;
  uint8_t keep = 0;
  uint32_t number = 0;
  bool acknowledged = false;
  bool failed = false;
  bool damaged = false;  // by a power cut, before this process
  bool erase_asked = false;
  bool erase_acknowledged = false;
};

struct options {
  uint64_t seed = 1;
  uint32_t requests = 450;
  uint32_t files = 1;
  uint32_t failing_flush = 0;    // 0 = none, else which
  uint32_t failing_writes = 0;   // of a thousand writes of blocks
  uint32_t failing_own = 0;      // 0 = none, else which write that is not of a block
  uint32_t restores = 0;         // of a store that became read-only
  bool failing_opening = false;  // the first flush after a crash fails
  bool until_idle = true;        // else the script ends in the middle of its work
  uint32_t check_every = 1;      // writes between two power cuts
};

class world {
 public:
  explicit world(const options &choice);

  /// The script, with every kind of power cut after every write. Ends at the first violation.
  void run();
  /// Goes on from what one power cut leaves, as the next process would.
  void crash(store_disk::fate how);

  [[nodiscard]] const std::string &violation() const { return violation_; }
  [[nodiscard]] uint64_t cuts() const { return cuts_; }
  [[nodiscard]] uint64_t acknowledged() const { return acknowledged_; }
  [[nodiscard]] uint64_t checkpoints() const { return checkpoints_; }
  [[nodiscard]] uint32_t restored() const { return restored_; }

 private:
  struct taken {
    cubby::store::store_operation op;
    std::vector<unsigned char> data;  // as it was when taken
    uint64_t before = 0;              // of a flush
  };

  void open(const store_disk::image &files, bool power_was_cut);
  void ask();
  void ask_put();
  void ask_erase();
  void complete_one();
  bool restore();
  void take_completions();
  void cut_everywhere();
  std::vector<store_disk::disk::write> outstanding() const;
  void judge(const store_disk::image &files, store_disk::fate how);
  void judge_listed(const store_disk::image &files, store_disk::fate how,
                    const cubby::store::block_body &body, std::map<std::string, bool> &listed);
  void violated(const std::string &what, store_disk::fate how);

  options choice_;
  cubby::base::prng random_;
  cubby::store::layout places_;
  std::unique_ptr<store_disk::disk> disk_;
  std::unique_ptr<cubby::store::block_store> store_;
  std::vector<taken> taken_;
  std::map<uint64_t, std::shared_ptr<block_model>> by_user_;
  std::map<std::string, std::shared_ptr<block_model>> blocks_;  // by key
  std::map<uint64_t, uint32_t> space_users_;
  std::vector<uint32_t> spaces_;  // all
  std::map<uint32_t, bool> space_acknowledged_;
  uint64_t user_ = 0;
  uint32_t asked_ = 0;
  uint64_t boot_ = 1;
  uint32_t power_cuts_ = 0, restores_ = 0, restored_ = 0;
  uint64_t writes_ = 0, own_writes_ = 0, flushes_ = 0, cuts_ = 0, acknowledged_ = 0,
           checkpoints_ = 0;
  std::string violation_;
};

}  // namespace crash
