#include "expert_store.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <thread>

#include "file_view.hpp"

namespace cubby_ggml {
namespace {

/// A part of a frame has the file's own pages: up to one more at each end.
constexpr uint64_t page_bytes = 4096;
/// For frames that do not fill the pages they are cut from.
constexpr uint64_t spare_bytes = 16 << 20;

template <class T>
T sized() {
  T made = {};
  made.struct_size = sizeof(T);
  return made;
}

cubby_extent extent_of(cubby::runtime &rt, const cubby::bank &bank, uint64_t number,
                       uint32_t part) {
  cubby_extent found = {};
  if (cubby_bank_extent(rt.handle(), bank.handle(), number, part, &found) != CUBBY_OK) found = {};
  return found;
}

/// The beginning of the names of a row's tensors, "blk.3."; empty where they have another form.
std::string block_of_row(cubby::runtime &rt, const cubby::bank &bank, uint32_t row) {
  auto info = sized<cubby_part_info>();
  for (uint32_t part = 0; part < bank.part_count(); ++part) {
    if (bank.part_bytes(row, part) == 0) continue;
    if (cubby_bank_part(rt.handle(), bank.handle(), row, part, &info) != CUBBY_OK) continue;
    const std::string_view name(info.tensor);
    const size_t end = name.find('.', name.find('.') + 1);
    if (name.starts_with("blk.") && end != name.npos) return std::string(name.substr(0, end + 1));
  }
  return "";
}

std::vector<cubby_file_info> files_of(cubby::runtime &rt, const cubby::bank &bank) {
  std::vector<cubby_file_info> files;
  auto info = sized<cubby_file_info>();
  while (cubby_bank_file(rt.handle(), bank.handle(), static_cast<uint32_t>(files.size()), &info) ==
         CUBBY_OK)
    files.push_back(info);
  return files;
}

uint64_t bytes_of_files(cubby::runtime &rt, const cubby::bank &bank) {
  uint64_t bytes = 0;
  for (const cubby_file_info &file : files_of(rt, bank)) bytes += file.bytes;
  return bytes;
}

}  // namespace

std::optional<expert_place> expert_store::place_of(const mapped_tensor &tensor) {
  const std::scoped_lock lock(busy_);
  const auto known = known_.find(tensor.data);
  if (known != known_.end()) return known->second;
  const auto found = find(tensor);
  known_.emplace(tensor.data, found);
  return found;
}

std::optional<expert_place> expert_store::find(const mapped_tensor &tensor) {
  const auto file = file_at(tensor.data);
  if (!file) return refuse("", tensor.name + " is in no mapped file, or in one that was deleted");
  model *in = model_of(*file);
  if (in == nullptr) return std::nullopt;
  const std::string name = tensor.name + " of " + file->path;
  const auto at = in->tensors.find({file->device, file->inode, file->offset_bytes});
  if (at == in->tensors.end())
    return refuse(file->path, name + " is not among the experts that were found there");
  const auto [row, part] = at->second;
  if (in->bank.columns() != tensor.experts || in->bank.part_bytes(row, part) != tensor.expert_bytes)
    return refuse(file->path, name + " has another shape in the file than in llama.cpp");
  if (!same_bytes(*file, tensor.data, tensor.bytes))
    return refuse(file->path, name + ": the file was replaced after it was mapped");
  drop_pages(tensor.data, tensor.bytes);
  in->bound.push_back(tensor.data);
  return place_in(*in, row, part);
}

/// Said for the first tensor of a file alone: a model has hundreds.
std::nullopt_t expert_store::refuse(const std::string &path, const std::string &why) {
  if (std::find(complained_.begin(), complained_.end(), path) == complained_.end()) {
    complained_.push_back(path);
    say(why + "; it stays with llama.cpp, and so does what else is like it");
  }
  return std::nullopt;
}

expert_place expert_store::place_in(const model &in, uint32_t row, uint32_t part) const {
  expert_place made{&in.bank, row, part, 0, 0, in.routers.get()};
  for (uint32_t p = 0; p < in.bank.part_count(); ++p) {
    const uint64_t bytes = in.bank.part_bytes(row, p);
    if (bytes == 0) continue;
    auto info = sized<cubby_part_info>();
    const bool known =
        cubby_bank_part(runtime_->handle(), in.bank.handle(), row, p, &info) == CUBBY_OK;
    const std::string_view name(known ? info.name : "");
    if (!name.ends_with("bias") && !name.ends_with("scale")) ++made.products;
    made.frame_bytes += (bytes + page_bytes - 1) / page_bytes * page_bytes + page_bytes;
  }
  return made;
}

expert_store::model *expert_store::model_of(const file_place &file) {
  for (const auto &one : models_) {
    const auto at = one->tensors.lower_bound({file.device, file.inode, 0});
    if (at != one->tensors.end() && std::get<0>(at->first) == file.device &&
        std::get<1>(at->first) == file.inode)
      return one.get();
  }
  if (std::find(refused_.begin(), refused_.end(), file.path) != refused_.end()) return nullptr;
  auto made = open_runtime() ? adopt(file.path) : nullptr;
  if (!made) {
    refused_.push_back(file.path);
    return nullptr;
  }
  models_.push_back(std::move(made));
  return models_.back().get();
}

bool expert_store::open_runtime() {
  if (runtime_ || failed_) return !failed_;
  cubby::runtime_options how;
  if (!chosen_.policy.empty()) how.policy = chosen_.policy.c_str();
  auto opened = cubby::runtime::open(how);
  if (!opened) {
    failed_ = true;
    say(opened.why().text() + std::string("; experts stay with llama.cpp"));
    return false;
  }
  runtime_.emplace(std::move(*opened));
  if (chosen_.publish_ms != 0) (void)cubby_publish(runtime_->handle(), chosen_.publish_ms);
  return true;
}

/// Memory is touched when it is taken, so no more of the budget is taken than the models can fill.
bool expert_store::take_memory(uint64_t more_bytes) {
  uint64_t wanted_bytes = more_bytes + table_bytes_ + spare_bytes;
  for (const auto &one : models_) wanted_bytes += most_bytes(*one);
  wanted_bytes = std::min(wanted_bytes, chosen_.host_budget_bytes);
  if (wanted_bytes <= tier_bytes_) return true;
  const auto add = [&]() -> cubby::result<void> {
    auto added = runtime_->add_tier({.name = "host:0", .budget_bytes = wanted_bytes});
    if (!added) return added.why();
    host_ = *added;
    return {};
  };
  const auto grow = [&]() -> cubby::result<void> {
    auto grown = runtime_->resize(host_, wanted_bytes);
    if (!grown) return grown.why();
    return grown->handle() == 0 ? cubby::result<void>() : runtime_->wait(*grown);
  };
  const auto taken = tier_bytes_ == 0 ? add() : grow();
  if (!taken) {
    say("no host memory of " + bytes_text(wanted_bytes) + ": " + taken.why().text());
    return false;
  }
  tier_bytes_ = wanted_bytes;
  return true;
}

cubby::runtime *expert_store::opened_runtime() {
  const std::scoped_lock lock(busy_);
  return open_runtime() ? &*runtime_ : nullptr;
}

bool expert_store::take_table_memory(uint64_t table_bytes) {
  const std::scoped_lock lock(busy_);
  if (!take_memory(table_bytes)) return false;
  table_bytes_ += table_bytes;
  return true;
}

void expert_store::give_table_memory(uint64_t table_bytes) {
  const std::scoped_lock lock(busy_);
  table_bytes_ -= table_bytes;
}

uint64_t expert_store::most_bytes(const model &made) const {
  uint64_t bytes = 0;
  for (uint32_t row = 0; row < made.bank.rows(); ++row)
    bytes += place_in(made, row, 0).frame_bytes * made.bank.columns();
  return bytes;
}

std::unique_ptr<expert_store::model> expert_store::adopt(const std::string &path) {
  auto bank = runtime_->adopt(path.c_str());
  if (!bank) {
    say(path + ": " + bank.why().text() + "; its experts stay with llama.cpp");
    return nullptr;
  }
  auto made = std::make_unique<model>();
  made->path = path;
  made->bank = *bank;
  if (!index_tensors(*made)) {
    say(path + ": its files cannot be looked at; its experts stay with llama.cpp");
    (void)runtime_->remove(made->bank);
    return nullptr;
  }
  if (!take_memory(most_bytes(*made))) {
    say(path + ": its experts stay with llama.cpp");
    (void)runtime_->remove(made->bank);
    return nullptr;
  }
  add_copies(*made);
  if (chosen_.look_ahead) made->routers = find_routers(made->bank);
  say_size(*made);
  say_if_tight(*made);
  file_bytes_ += bytes_of_files(*runtime_, made->bank);
  most_file_bytes_ = std::max(most_file_bytes_.load(), file_bytes_);
  return made;
}

/// Those that are called as the model is.
void expert_store::add_copies(const model &made) {
  const auto name = [](const std::string &path) { return path.substr(path.rfind('/') + 1); };
  const auto is_of_model = [&](const std::string &path) { return name(path) == name(made.path); };
  if (!chosen_.copies.empty() && std::ranges::none_of(chosen_.copies, is_of_model))
    say("CUBBY_MODEL_COPIES names no file called " + name(made.path) + ", so " + made.path +
        " is read from one device; a copy has its model's name, of a set that of its first file");
  for (const std::string &path : chosen_.copies) {
    if (!is_of_model(path)) continue;
    if (auto added = runtime_->add_copy(made.bank, path.c_str()); added)
      say(made.path + " is read from " + path + ", too");
    else
      say(std::string("CUBBY_MODEL_COPIES: ") + added.why().text());
  }
}

bool expert_store::index_tensors(model &made) {
  std::vector<struct stat> files;
  for (const cubby_file_info &file : files_of(*runtime_, made.bank)) {
    struct stat facts = {};
    if (stat(file.path, &facts) != 0) return false;
    files.push_back(facts);
  }
  const uint64_t last = made.bank.columns() - 1;
  for (uint32_t row = 0; row < made.bank.rows(); ++row) {
    for (uint32_t part = 0; part < made.bank.part_count(); ++part) {
      const uint64_t bytes = made.bank.part_bytes(row, part);
      if (bytes == 0) continue;
      const auto first_expert = extent_of(*runtime_, made.bank, made.bank.number(row, 0), part);
      const auto last_expert =
          extent_of(*runtime_, made.bank, made.bank.number(row, made.bank.columns() - 1), part);
      // One tensor: expert after expert in one file.
      if (first_expert.file >= files.size() || first_expert.file != last_expert.file ||
          last_expert.offset_bytes != first_expert.offset_bytes + last * bytes)
        continue;
      const struct stat &facts = files[first_expert.file];
      made.tensors[{facts.st_dev, facts.st_ino, first_expert.offset_bytes}] = {row, part};
    }
  }
  return !made.tensors.empty();
}

std::unique_ptr<const router_forecast> expert_store::find_routers(const cubby::bank &bank) {
  std::vector<std::string> files, blocks;
  for (const cubby_file_info &file : files_of(*runtime_, bank)) files.emplace_back(file.path);
  for (uint32_t row = 0; row < bank.rows(); ++row)
    blocks.push_back(block_of_row(*runtime_, bank, row));
  return std::make_unique<const router_forecast>(files, blocks, bank.columns());
}

uint64_t expert_store::bytes_of_experts(const model &made) {
  uint64_t bytes = 0;
  for (uint32_t row = 0; row < made.bank.rows(); ++row)
    bytes += made.bank.locker_bytes(row) * made.bank.columns();
  return bytes;
}

void expert_store::say_size(const model &made) const {
  uint64_t expert_bytes = 0;
  for (uint32_t row = 0; row < made.bank.rows(); ++row)
    expert_bytes = std::max(expert_bytes, place_in(made, row, 0).frame_bytes);
  const uint64_t budget_bytes = chosen_.host_budget_bytes;
  say(made.path + ": " + std::to_string(made.bank.rows()) + " layers of " +
      std::to_string(made.bank.columns()) + " experts, " + bytes_text(bytes_of_experts(made)) +
      ", in " + bytes_text(budget_bytes) + " of host memory");
  const uint64_t layer_bytes = expert_bytes * std::max(made.bank.info().routed_count, 1u);
  if (budget_bytes >= layer_bytes) return;
  say("CUBBY_HOST_BUDGET is " + bytes_text(budget_bytes) + ", but one token uses " +
      bytes_text(layer_bytes) + " of experts in a layer: " +
      (budget_bytes < expert_bytes ? "there is no room for one of them, so they stay with llama.cpp"
                                   : "a layer is computed in several rounds, slowly"));
}

/// llama.cpp reads the rest of the model through the page cache, for which there is what the budget
/// leaves. The program needs memory beside it: a quarter of the rest is taken for too little.
void expert_store::say_if_tight(const model &made) {
  const uint64_t rest_bytes = bytes_of_files(*runtime_, made.bank) - bytes_of_experts(made);
  const uint64_t needed_bytes = rest_bytes + rest_bytes / 4, left_bytes = room_bytes(0);
  if (left_bytes >= needed_bytes) return;
  const uint64_t lacking_bytes = std::min(needed_bytes - left_bytes, tier_bytes_.load());
  say("the budget leaves " + bytes_text(left_bytes) +
      " of memory, and the rest of the model takes " + bytes_text(rest_bytes) +
      ", the program more: what does not fit is read again for every " +
      "token, which takes many times as long; set --host-budget (CUBBY_HOST_BUDGET) to " +
      bytes_text(tier_bytes_ - lacking_bytes) + " or less");
}

void expert_store::forget(const void *first, uint64_t bytes) {
  const std::scoped_lock lock(busy_);
  const auto *from = static_cast<const char *>(first);
  const auto inside = [&](const void *data) {
    return data >= static_cast<const void *>(from) &&
           data < static_cast<const void *>(from + bytes);
  };
  std::erase_if(known_, [&](const auto &one) { return inside(one.first); });
  std::erase_if(models_, [&](const auto &one) {
    if (std::erase_if(one->bound, inside) == 0 || !one->bound.empty()) return false;
    const uint64_t gone_bytes = runtime_ ? bytes_of_files(*runtime_, one->bank) : 0;
    if (runtime_ && !runtime_->remove(one->bank)) return false;
    file_bytes_ -= gone_bytes;
    return true;
  });
  refused_.clear();
  complained_.clear();
}

cubby::result<cubby::pins> expert_store::pin(const expert_place &place,
                                             std::span<const uint64_t> numbers) {
  constexpr int attempts = 1000;
  for (int i = 1;; ++i) {
    auto pinned = runtime_->pin(*place.bank, numbers, host_);
    // All tickets are taken: they come back as what is under way completes.
    if (pinned || pinned.why().status() != CUBBY_ERR_BUSY || i == attempts) return pinned;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void expert_store::fetch(const expert_place &place, std::span<const uint64_t> numbers) {
  std::vector<cubby_item> items(numbers.size(), cubby_item{});
  for (size_t i = 0; i < numbers.size(); ++i) items[i].id = place.bank->id(numbers[i]);
  auto how = sized<cubby_how>();
  how.io_class = CUBBY_COMMITTED;
  // Without a ticket: one that nobody waits for would stay alive, and there are 4096. A full queue
  // only means that nothing is fetched ahead.
  (void)cubby_prefetch(runtime_->handle(), items.data(), static_cast<uint32_t>(items.size()),
                       host_.handle(), &how, nullptr);
}

void expert_store::keep_missing(const expert_place &place, uint32_t row,
                                std::vector<router_forecast::expected> &experts) {
  if (experts.empty()) return;
  std::vector<cubby_item> items(experts.size(), cubby_item{});
  std::vector<uint64_t> ready_ns(experts.size());
  for (size_t i = 0; i < experts.size(); ++i)
    items[i].id = place.bank->id(place.bank->number(row, experts[i].expert));
  if (cubby_estimate(runtime_->handle(), items.data(), static_cast<uint32_t>(items.size()),
                     host_.handle(), ready_ns.data()) != CUBBY_OK)
    return;
  size_t i = 0;
  std::erase_if(experts, [&](const router_forecast::expected &) { return ready_ns[i++] == 0; });
}

void expert_store::expect(const expert_place &place, uint32_t row,
                          std::span<const uint16_t> experts, uint64_t patience_ns) {
  auto hint = sized<cubby_hint_item>();
  hint.kind = CUBBY_HINT_ROUTE;
  hint.bank = place.bank->handle();
  hint.route.row = row;
  hint.route.column_count = static_cast<uint32_t>(experts.size());
  hint.route.columns = experts.data();
  hint.ttl_ns = patience_ns;
  (void)cubby_hint(runtime_->handle(), &hint, 1, nullptr);
}

uint32_t expert_store::room_for(const expert_place &place) const {
  const uint64_t lockers = tier_bytes_ / std::max<uint64_t>(place.frame_bytes, 1);
  return static_cast<uint32_t>(std::clamp<uint64_t>(lockers, 1, place.bank->columns()));
}

std::string expert_store::name_of(const expert_place &place, uint64_t number) const {
  auto info = sized<cubby_part_info>();
  const bool found = cubby_bank_part(runtime_->handle(), place.bank->handle(), place.row,
                                     place.part, &info) == CUBBY_OK;
  return "expert " + std::to_string(number % place.bank->columns()) + " of " +
         (found ? info.tensor : "a layer");
}

std::vector<std::string> expert_store::take_errors() {
  std::vector<std::string> errors;
  cubby_log_line line = {};
  while (runtime_ && runtime_->take_log({&line, 1}) == 1)
    if (line.level == 0) errors.emplace_back(line.text);
  return errors;
}

bool expert_store::read_counters(cubby_stats_block &block, cubby_tier_stats (&tiers)[2]) {
  if (!runtime_) return false;
  block = sized<cubby_stats_block>();
  cubby_tier_stats all[8] = {};
  for (auto &one : all) one.struct_size = sizeof one;
  if (cubby_stats(runtime_->handle(), &block, all, 8) != CUBBY_OK) return false;
  tiers[0] = tiers[1] = {};
  for (uint32_t i = 0; i < std::min(block.tier_count, 8u); ++i) {
    if (all[i].tier == host_.handle())
      tiers[0] = all[i];
    else
      tiers[1].bytes_out += all[i].bytes_out;  // files
  }
  return true;
}

expert_store &store() {
  static expert_store *one = new expert_store;
  return *one;
}

}  // namespace cubby_ggml
