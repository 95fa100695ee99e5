// The experts of the models that this process has mapped: one runtime, one tier of host memory, a
// bank a model. Knows which rows and parts of a bank a tensor of the mapping is.
#pragma once

#include <atomic>
#include <cubby/cubby.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "router_forecast.hpp"
#include "settings.hpp"

namespace cubby_ggml {

/// A tensor of a mapped model, as the loader announces it.
struct mapped_tensor {
  std::string name;
  const void *data = nullptr;
  uint64_t bytes = 0;         // of all experts
  uint64_t expert_bytes = 0;  // from one to the next
  uint32_t experts = 0;
};

/// Where the experts of a tensor are: part `part` of the lockers of row `row`.
struct expert_place {
  const cubby::bank *bank = nullptr;
  uint32_t row = 0, part = 0;
  uint32_t products = 0;     // parts of the row's lockers that are multiplied with: biases are not
  uint64_t frame_bytes = 0;  // what one locker takes in memory, at most
  const router_forecast *routers = nullptr;  // of the model
};

class expert_store {
 public:
  expert_store() : chosen_(settings::from_environment()) {}
  expert_store(const expert_store &) = delete;
  expert_store &operator=(const expert_store &) = delete;

  /// The place of a tensor; the model is adopted when it is the first of it. Nothing when these
  /// experts stay with llama.cpp, after a line that says why.
  std::optional<expert_place> place_of(const mapped_tensor &tensor);
  /// A mapped range is gone, and with it what was known of its tensors.
  void forget(const void *first, uint64_t bytes);

  /// NULL after a line that says why there is none.
  cubby::runtime *opened_runtime();
  /// Memory for so much more of a table, as far as the budget goes; false after a line that says
  /// why there is none.
  bool take_table_memory(uint64_t table_bytes);
  /// The table is gone; the next one, or the next model, takes its memory.
  void give_table_memory(uint64_t table_bytes);

  cubby::result<cubby::pins> pin(const expert_place &place, std::span<const uint64_t> numbers);
  /// They will be pinned next; nothing is held.
  void fetch(const expert_place &place, std::span<const uint64_t> numbers);
  /// Leaves those of a row that are not in memory.
  void keep_missing(const expert_place &place, uint32_t row,
                    std::vector<router_forecast::expected> &experts);
  /// Experts of a row that will probably be used within `patience_ns`; what has not begun to be
  /// read by then is not read.
  void expect(const expert_place &place, uint32_t row, std::span<const uint16_t> experts,
              uint64_t patience_ns);
  /// Lockers of a row that can be held at once.
  uint32_t room_for(const expert_place &place) const;
  std::string name_of(const expert_place &place, uint64_t number) const;

  const settings &chosen() const { return chosen_; }
  /// The counters, once there is a runtime.
  bool read_counters(cubby_stats_block &block, cubby_tier_stats (&tiers)[2]);
  /// What the runtime's log has of errors since the last time: devices that are left alone, files
  /// that changed.
  std::vector<std::string> take_errors();
  /// Files of the models that were there at once, at most.
  uint64_t most_file_bytes() const { return most_file_bytes_; }

 private:
  struct model {
    std::string path;
    cubby::bank bank;
    /// By file (device, inode) and offset of the first expert: row and part.
    std::map<std::tuple<uint64_t, uint64_t, uint64_t>, std::pair<uint32_t, uint32_t>> tensors;
    std::vector<const void *> bound;  // data of the tensors that are looked up in it
    std::unique_ptr<const router_forecast> routers;
  };

  bool open_runtime();
  model *model_of(const struct file_place &file);
  std::unique_ptr<model> adopt(const std::string &path);
  bool index_tensors(model &made);
  void add_copies(const model &made);
  std::unique_ptr<const router_forecast> find_routers(const cubby::bank &bank);
  bool take_memory(uint64_t more_bytes);
  uint64_t most_bytes(const model &made) const;
  static uint64_t bytes_of_experts(const model &made);
  void say_size(const model &made) const;
  void say_if_tight(const model &made);
  std::optional<expert_place> find(const mapped_tensor &tensor);
  std::nullopt_t refuse(const std::string &path, const std::string &why);
  expert_place place_in(const model &in, uint32_t row, uint32_t part) const;

  settings chosen_;
  std::mutex busy_;
  std::optional<cubby::runtime> runtime_;
  cubby::tier host_;
  std::atomic<uint64_t> tier_bytes_ = 0;  // taken of the budget
  uint64_t table_bytes_ = 0;              // of tables of rows that are looked up
  uint64_t file_bytes_ = 0;
  std::atomic<uint64_t> most_file_bytes_ = 0;
  bool failed_ = false;  // the runtime could not be opened; said once
  std::vector<std::unique_ptr<model>> models_;
  std::vector<std::string> refused_, complained_;  // paths: not adopted / said of a tensor
  std::map<const void *, std::optional<expert_place>> known_;
};

/// The one of this process. It is never destroyed: contexts may outlive any order of destruction.
expert_store &store();

}  // namespace cubby_ggml
