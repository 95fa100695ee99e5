#include "cli/demo/cubby_source.hpp"

#include <cuda/cuda.hpp>

#include <algorithm>

#include "api/in_process.hpp"
#include "cli/opened_model.hpp"
#include "cli/support.hpp"

namespace cubby_cli::demo {
namespace {

/// Of the emulated device: about PCIe 4.0 x16.
constexpr uint64_t link_bytes_per_s = 25'000'000'000;
constexpr uint32_t link_latency_ns = 10'000;
/// How long one look at what has landed may take before it is looked at again.
constexpr int64_t look_ns = 100'000;
/// A visit takes a few dozen bytes of the recording's 1 MiB.
constexpr uint32_t visits_a_drain = 2048;

struct tier_facts {
  cubby_tier_stats stats;
  cubby_tier_info info;
};

std::vector<tier_facts> facts_of(cubby_handle *rt, cubby_stats_block &block) {
  block = {};
  block.struct_size = sizeof block;
  cubby_tier_stats stats[8] = {};
  for (auto &one : stats) one.struct_size = sizeof one;
  std::vector<tier_facts> facts;
  if (cubby_stats(rt, &block, stats, 8) != CUBBY_OK) return facts;
  for (uint32_t i = 0; i < std::min(block.tier_count, 8u); ++i) {
    tier_facts one{stats[i], {}};
    one.info.struct_size = sizeof one.info;
    if (cubby_tier_describe(rt, stats[i].tier, &one.info) == CUBBY_OK) facts.push_back(one);
  }
  return facts;
}

nlohmann::json tier_json(const tier_facts &tier) {
  return {{"name", tier.info.name},
          {"budget_bytes", tier.stats.budget_bytes},
          {"peak_bytes", tier.stats.peak_bytes},
          {"hits", tier.stats.hit_count},
          {"misses", tier.stats.miss_count},
          {"bytes_in", tier.stats.bytes_in},
          {"bytes_out", tier.stats.bytes_out},
          {"evictions", tier.stats.evict_count},
          {"emulated", tier.info.emulated != 0}};
}

}  // namespace

outcome<expert_file> look_at_model(const std::string &path, bool on_device) {
  const auto opened = open_model({path, {}, {}});
  if (!opened) {
    const bool is_usage = opened.why().status() == CUBBY_ERR_INVALID;
    return trouble{opened.why().text(), is_usage ? exit_usage : exit_bad};
  }
  cubby_handle *rt = opened->runtime.handle();
  const cubby_bank bank = opened->bank.handle();
  const cubby_bank_desc &desc = opened->bank.info();
  cubby_file_info info{};
  info.struct_size = sizeof info;
  if (desc.part_count != 3 || cubby_bank_file(rt, bank, 1, &info) == CUBBY_OK) {
    return usage_trouble(path + ": the demo computes with one file of gate, up and down apart");
  }
  cubby_bank_file(rt, bank, 0, &info);
  expert_file file;
  file.path = path;
  file.file_bytes = info.bytes;
  file.layers = desc.rows;
  file.experts = desc.columns;
  file.top_k = desc.routed_count == 0 ? 4 : desc.routed_count;
  for (uint32_t at = 0; at < desc.rows * 3; ++at) {
    cubby_part_info part{};
    part.struct_size = sizeof part;
    cubby_bank_part(rt, bank, at / 3, at % 3, &part);
    const auto type = model::expert_type_of(part.type);
    const bool small = type == model::weight_type::q8_0 || type == model::weight_type::q4_0;
    if (!type || (!small && !on_device)) {
      return usage_trouble(path + ": experts of type " + part.type +
                           "; the demo computes with Q8_0 and Q4_0, with --device also with MXFP4 "
                           "and BF16");
    }
    expert_file::part made;
    made.type = *type;
    made.bytes = part.bytes;
    for (uint32_t expert = 0; expert < desc.columns; ++expert) {
      cubby_extent extent{};
      cubby_bank_extent(rt, bank, at / 3 * desc.columns + expert, at % 3, &extent);
      made.offsets.push_back(extent.offset_bytes);
    }
    file.expert_bytes += part.bytes * desc.columns;
    if (at == 0) {
      file.hidden = static_cast<uint32_t>(part.shape[0]);
      file.ffn = static_cast<uint32_t>(part.shape[1]);
    }
    const uint64_t across = at % 3 == 2 ? file.ffn : file.hidden;
    const uint64_t down = at % 3 == 2 ? file.hidden : file.ffn;
    if (part.shape[0] != across || part.shape[1] != down || part.shape[2] != 1) {
      return usage_trouble(path + ": tensor " + part.tensor +
                           " is not of the shape that gate, up and down of one expert have");
    }
    file.parts.push_back(std::move(made));
  }
  return file;
}

cubby_source::cubby_source(const expert_file &file, const cubby_options &chosen)
    : file_(file), chosen_(chosen) {
  open(chosen);
}

bool cubby_source::failed(const char *what) {
  failure_ = std::string(what) + ": " + last_error_text();
  return false;
}

bool cubby_source::add_tier(const cubby::tier_options &how, cubby_tier &made) {
  const auto tier = model_->runtime.add_tier(how);
  if (!tier) return failed(how.name);
  made = tier->handle();
  if (nearest_ == 0) nearest_ = made;
  return true;
}

bool cubby_source::add_device(uint64_t bytes) {
  cubby_tier made = 0;
  if (chosen_.driver == nullptr) {
    return add_tier({.name = "device:0",
                     .budget_bytes = bytes,
                     .emulated_latency_ns = link_latency_ns,
                     .emulated_bytes_per_s = link_bytes_per_s},
                    made);
  }
  auto *driver = const_cast<cubby_cuda::driver_table *>(chosen_.driver);
  if (cubby::api::register_backend(rt_, cubby_cuda_backend(), driver) != CUBBY_OK) {
    return failed("the driver");
  }
  const std::string name = "cuda:" + std::to_string(chosen_.ordinal);
  return add_tier(
      {.backend = "cuda", .name = name.c_str(), .device = chosen_.ordinal, .budget_bytes = bytes},
      made);
}

/// What the device holds needs no second copy; but where there is room for all of it, nothing has
/// to be copied back.
bool cubby_source::add_host(uint64_t bytes) {
  const bool all = chosen_.driver != nullptr && bytes >= file_.expert_bytes;
  return add_tier({.name = "host:0", .rank = 1, .budget_bytes = bytes, .exclusive = !all}, host_);
}

bool cubby_source::open(const cubby_options &chosen) {
  auto opened =
      open_model({file_.path, {}, {}}, {.pump = chosen.pump, .policy = chosen.policy.c_str()});
  if (!opened) return failed("the model could not be opened");
  model_ = std::move(*opened);
  rt_ = model_->runtime.handle();
  bank_ = model_->bank.handle();
  if (chosen.device_bytes != 0 && !add_device(chosen.device_bytes)) return false;
  if (chosen.host_bytes != 0 && !add_host(chosen.host_bytes)) return false;
  const uint64_t nearest_bytes = chosen.device_bytes != 0 ? chosen.device_bytes : chosen.host_bytes;
  if (nearest_bytes >= file_.expert_bytes) {
    if (!load_everything(nearest_)) return false;
  } else if (chosen.driver != nullptr && chosen.host_bytes >= file_.expert_bytes) {
    if (!load_everything(host_)) return false;
  }
  if (chosen.record == nullptr) return true;
  const auto started = chosen.record->start(rt_);
  if (!started) failure_ = "nothing can be recorded: " + started.failure().text;
  return static_cast<bool>(started);
}

bool cubby_source::load_everything(cubby_tier into) {
  const uint64_t start = clock_ns();
  for (uint32_t layer = 0; layer < file_.layers; ++layer) {
    std::vector<cubby_item> items(file_.experts);
    for (uint32_t expert = 0; expert < file_.experts; ++expert) {
      items[expert].id = CUBBY_ID(bank_, uint64_t{layer} * file_.experts + expert);
    }
    cubby_ticket ticket = 0;
    cubby_status status = cubby_prefetch(rt_, items.data(), file_.experts, into, nullptr, &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(rt_, ticket, -1);
    // Frames are a little larger than experts: the last few may find no room, and come when used.
    if (status != CUBBY_OK && status != CUBBY_PARTIAL) return failed("experts could not be loaded");
  }
  loading_ns_ = clock_ns() - start;
  cubby_stats_block block{};
  for (const tier_facts &tier : facts_of(rt_, block)) {
    if (tier.stats.budget_bytes == 0) loaded_bytes_ += tier.stats.bytes_out;
  }
  return true;
}

done cubby_source::finish_recording() {
  return chosen_.record == nullptr ? nothing{} : chosen_.record->finish(rt_);
}

bool cubby_source::begin(uint32_t layer, const uint16_t *experts, uint32_t count) {
  if (!failure_.empty()) return false;
  count_ = count;
  items_.assign(count, cubby_item{});
  for (uint32_t i = 0; i < count; ++i) {
    items_[i].id = CUBBY_ID(bank_, uint64_t{layer} * file_.experts + experts[i]);
  }
  status_.assign(count, CUBBY_PENDING);
  given_.assign(count, false);
  addr_.assign(size_t{count} * 3, nullptr);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.item_status = status_.data();
  ticket_ = 0;
  const cubby_status status =
      cubby_pin(rt_, items_.data(), count, nearest_, &how, &pins_, addr_.data(), &ticket_);
  if (status == CUBBY_OK || status == CUBBY_PENDING) return true;
  return failed("experts could not be pinned");
}

int cubby_source::next(const void *parts[3]) {
  const uint64_t start = clock_ns();
  bool looked = false;
  for (;;) {
    for (uint32_t i = 0; i < count_; ++i) {
      if (given_[i]) continue;
      const int8_t status = __atomic_load_n(&status_[i], __ATOMIC_ACQUIRE);
      if (status == CUBBY_PENDING) continue;
      if (status != CUBBY_OK) {
        if (ticket_ != 0) finish_wait(cubby_wait(rt_, ticket_, -1));
        failure_ = "an expert could not be loaded: " + why_;
        return -1;
      }
      given_[i] = true;
      for (uint32_t p = 0; p < 3; ++p) parts[p] = addr_[i * 3 + p];
      if (looked) waited_ns_ += clock_ns() - start;
      return static_cast<int>(i);
    }
    looked = true;
    if (ticket_ == 0) {
      failure_ = "the runtime ended a request without a word on every expert: " + why_;
      return -1;
    }
    const cubby_status status = cubby_wait(rt_, ticket_, look_ns);
    if (status != CUBBY_ERR_TIMEOUT) finish_wait(status);
  }
}

/// The ticket is gone with its first final answer, and so is what it had to say.
void cubby_source::finish_wait(cubby_status status) {
  ticket_ = 0;
  if (status != CUBBY_OK) why_ = last_error_text();
}

void cubby_source::end() {
  if (ticket_ != 0) finish_wait(cubby_wait(rt_, ticket_, -1));
  cubby_unpin(rt_, pins_, 0, 0, nullptr);
  if (++visits_since_drain_ < visits_a_drain) return;
  visits_since_drain_ = 0;
  drain_recording();
}

void cubby_source::drain_recording() {
  if (chosen_.record == nullptr) return;
  const auto drained = chosen_.record->drain(rt_);
  if (!drained && failure_.empty()) failure_ = drained.failure().text;
}

void cubby_source::forecast(uint32_t layer, const uint16_t *experts, uint32_t count, bool certain) {
  std::vector<cubby_item> items(count);
  for (uint32_t i = 0; i < count; ++i) {
    items[i].id = CUBBY_ID(bank_, uint64_t{layer} * file_.experts + experts[i]);
  }
  cubby_how how{};
  how.struct_size = sizeof how;
  how.io_class = certain ? CUBBY_COMMITTED : CUBBY_FORECAST;
  // A full queue only means that nothing is fetched ahead.
  cubby_prefetch(rt_, items.data(), count, nearest_, &how, nullptr);
}

nlohmann::json cubby_source::report() const {
  cubby_stats_block block{};
  const auto facts = facts_of(rt_, block);
  nlohmann::json json;
  json["device"] = {{"name", "none"}, {"emulated", false}};
  json["tiers"] = nlohmann::json::array();
  uint64_t demand = 0, read = 0, write_back = 0, huge = 0, memory = 0;
  uint64_t prefetch_used = 0, prefetch_wasted = 0, padding = 0;
  for (const tier_facts &tier : facts) {
    json["tiers"].push_back(tier_json(tier));
    const std::string name = tier.info.name;
    if (name.starts_with("device") || name.starts_with("cuda")) {
      json["device"] = {{"name", name}, {"emulated", tier.info.emulated != 0}};
    }
    write_back += tier.stats.write_back_bytes;
    prefetch_used += tier.stats.prefetch_used_bytes;
    prefetch_wasted += tier.stats.prefetch_wasted_bytes;
    padding += tier.stats.padding_bytes;
    huge += tier.info.huge_bytes;
    memory += tier.info.memory_bytes;
    if (tier.stats.budget_bytes != 0) continue;
    demand += tier.stats.demand_bytes;
    read += tier.stats.bytes_out;
    json["path"] = {
        {"io", tier.info.io}, {"why", tier.info.why}, {"registered", tier.info.registered != 0}};
  }
  json["path"]["pages"] = huge == 0 ? "4k" : huge + (2u << 20) > memory ? "huge" : "mixed";
  json["visits"] = block.visit_count;
  json["visits_dropped"] = block.visit_dropped_count;
  json["unverified_bytes"] = block.unverified_bytes;
  json["bytes_by_cause"] = {{"demand", demand},
                            {"prefetch", read > demand ? read - demand : 0},
                            {"prefetch_used", prefetch_used},
                            {"prefetch_wasted", prefetch_wasted},
                            {"write_back", write_back},
                            {"padding", padding}};
  json["stall"]["by_cause_ns"] = {{"read", block.stall_read_ns},
                                  {"join", block.stall_join_ns},
                                  {"frame_wait", block.stall_frame_wait_ns},
                                  {"copy", block.stall_copy_ns},
                                  {"handoff", block.stall_handoff_ns}};
  json["read_bytes"] = read - std::min(read, loaded_bytes_);
  json["loaded_first"] = {{"bytes", loaded_bytes_},
                          {"seconds", static_cast<double>(loading_ns_) / 1e9}};
  return json;
}

uint64_t cubby_source::evictions() const {
  cubby_stats_block block{};
  for (const tier_facts &tier : facts_of(rt_, block)) {
    if (tier.info.tier == nearest_) return tier.stats.evict_count;
  }
  return 0;
}

std::string cubby_source::live() const {
  cubby_stats_block block{};
  std::string text;
  for (const tier_facts &tier : facts_of(rt_, block)) {
    text += std::string("  ") + tier.info.name + " ";
    if (tier.stats.budget_bytes == 0) {
      text += "read " + bytes_text(tier.stats.bytes_out);
    } else {
      const uint64_t asked = tier.stats.hit_count + tier.stats.miss_count;
      text += bytes_text(tier.stats.used_bytes) + " " +
              std::to_string(asked == 0 ? 0 : 100 * tier.stats.hit_count / asked) + "% hits";
    }
  }
  return text;
}

std::vector<std::string> cubby_source::warnings() const {
  std::vector<std::string> lines;
  if (rt_ == nullptr) return lines;
  cubby_log_line line{};
  while (cubby_log_take(rt_, &line, 1) == 1) {
    if (line.level <= 1) lines.emplace_back(line.text);
  }
  return lines;
}

}  // namespace cubby_cli::demo
