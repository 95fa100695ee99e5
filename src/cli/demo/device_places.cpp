#include "cli/demo/device_places.hpp"

#include <algorithm>
#include <chrono>
#include <list>
#include <thread>

namespace cubby_cli::demo {
namespace {

/// Frames of one size in the device's memory, each of a whole expert, and what kernels need to find
/// their parts.
class plain_frames {
 public:
  plain_frames(device_here &on, const expert_file &file) : on_(on), file_(file) {
    constexpr uint64_t align = 64;
    for (uint32_t layer = 0; layer < file.layers; ++layer) {
      uint64_t at = 0;
      for (uint32_t part = 0; part < 3; ++part) {
        offsets_.push_back(at);
        at = (at + file.at(layer, part).bytes + align - 1) / align * align;
      }
      frame_bytes_ = std::max(frame_bytes_, at);
    }
  }
  [[nodiscard]] uint64_t frame_bytes() const { return frame_bytes_; }
  [[nodiscard]] const cubby_slots &slots() const { return slots_; }

  void take(uint64_t count) {
    base_ = on_.take(count * frame_bytes_);
    const uint64_t offset_bytes = offsets_.size() * sizeof(uint64_t);
    slots_.entries = slots_.asked = slots_.part_offsets =
        on_.take(offset_bytes + sizeof(cubby_device::device_state));
    slots_.state = slots_.part_offsets + offset_bytes;
    slots_.rows = file_.layers;
    slots_.columns = file_.experts;
    slots_.part_count = 3;
    for (uint32_t part = 0; part < 3; ++part) {
      slots_.base[part] = base_;
      slots_.stride_bytes[part] = frame_bytes_;
    }
    on_.copy_in(slots_.part_offsets, offsets_.data(), offset_bytes);
  }
  /// An expert from host memory; done once the stream is.
  void fill(uint64_t frame, uint32_t layer, uint32_t expert, expert_source &from) {
    const auto column = static_cast<uint16_t>(expert);
    const void *parts[3] = {};
    if (!from.begin(layer, &column, 1) || from.next(parts) != 0) return;
    for (uint32_t part = 0; part < 3; ++part) {
      on_.copy_in(base_ + frame * frame_bytes_ + offsets_[layer * 3 + part], parts[part],
                  file_.at(layer, part).bytes);
    }
    from.end();
  }

 private:
  device_here &on_;
  const expert_file &file_;
  std::vector<uint64_t> offsets_;  // [layer][part]
  uint64_t frame_bytes_ = 0, base_ = 0;
  cubby_slots slots_{};
};

class resident_place final : public device_place {
 public:
  resident_place(device_here &on, const expert_file &file, const routes &chosen,
                 expert_source &from)
      : chosen_(chosen), frames_(on, file) {
    frames_.take(uint64_t{file.layers} * file.experts);
    for (uint32_t layer = 0; layer < file.layers; ++layer) {
      for (uint32_t expert = 0; expert < file.experts; ++expert) {
        frames_.fill(uint64_t{layer} * file.experts + expert, layer, expert, from);
      }
    }
    std::vector<uint64_t> words;
    for (uint32_t i = 0; i < chosen.tokens * chosen.layers; ++i) {
      for (uint32_t k = 0; k < chosen.top_k; ++k) {
        const uint32_t expert = chosen.experts[uint64_t{i} * chosen.top_k + k];
        words.push_back(cubby_device::word_of(i % chosen.layers * file.experts + expert, 0));
      }
    }
    words_ = on.take(words.size() * sizeof(uint64_t));
    on.copy_in(words_, words.data(), words.size() * sizeof(uint64_t));
    on.finish();
  }
  found_experts bring(uint32_t token, uint32_t layer) override {
    hits_ += chosen_.top_k;
    const uint64_t at = (uint64_t{token} * chosen_.layers + layer) * chosen_.top_k;
    return {frames_.slots(), words_ + at * sizeof(uint64_t), 0};
  }
  counts seen() override { return {.hits = hits_}; }

 private:
  const routes &chosen_;
  plain_frames frames_;
  uint64_t words_ = 0, hits_ = 0;
};

class copying_place final : public device_place {
 public:
  copying_place(device_here &on, const expert_file &file, const routes &chosen, expert_source &from,
                uint64_t bytes, bool registered)
      : on_(on),
        file_(file),
        chosen_(chosen),
        from_(from),
        registered_(registered),
        frames_(on, file) {
    const uint64_t count = std::max<uint64_t>(bytes / frames_.frame_bytes(), chosen.top_k);
    frames_.take(count);
    for (uint64_t number = 0; number < count; ++number) order_.push_back({number, none});
    found_.resize(uint64_t{file.layers} * file.experts, order_.end());
    words_.resize(chosen.experts.size());
    device_words_ = on.take(words_.size() * sizeof(uint64_t));
    on.finish();
  }
  void begin_run() override {
    if (registered_) on_.register_host(from_.memory());
  }
  void end_run() override {
    on_.finish();
    if (registered_) on_.unregister_host(from_.memory());
  }
  found_experts bring(uint32_t token, uint32_t layer) override {
    const uint64_t at = (uint64_t{token} * chosen_.layers + layer) * chosen_.top_k;
    for (uint32_t k = 0; k < chosen_.top_k; ++k) {
      words_[at + k] = cubby_device::word_of(frame_for(layer, chosen_.experts[at + k]), 0);
    }
    const uint64_t there = device_words_ + at * sizeof(uint64_t);
    on_.copy_in(there, &words_[at], chosen_.top_k * sizeof(uint64_t));
    return {frames_.slots(), there, 0};
  }
  counts seen() override { return seen_; }

 private:
  static constexpr uint64_t none = ~uint64_t{0};
  struct frame {
    uint64_t number = 0, expert = none;
  };
  using place = std::list<frame>::iterator;

  uint64_t frame_for(uint32_t layer, uint32_t expert) {
    const uint64_t key = uint64_t{layer} * file_.experts + expert;
    place &found = found_[key];
    if (found != order_.end()) {
      ++seen_.hits;
      order_.splice(order_.begin(), order_, found);
      return found->number;
    }
    ++seen_.misses;
    found = std::prev(order_.end());
    if (found->expert != none) {
      found_[found->expert] = order_.end();
      ++seen_.evictions;
    }
    found->expert = key;
    order_.splice(order_.begin(), order_, found);
    frames_.fill(found->number, layer, expert, from_);
    on_.finish();
    return found->number;
  }

  device_here &on_;
  const expert_file &file_;
  const routes &chosen_;
  expert_source &from_;
  const bool registered_;
  plain_frames frames_;
  std::list<frame> order_;       // used last first
  std::vector<place> found_;     // [expert of the model]; order_.end(): it is not there
  std::vector<uint64_t> words_;  // as long as copies of them may be under way
  uint64_t device_words_ = 0;
  counts seen_;
};

}  // namespace

void device_place::rest() { std::this_thread::sleep_for(std::chrono::microseconds(20)); }

// ---- lockers
// --------------------------------------------------------------------------------------

locker_place::locker_place(device_here &on, const expert_file &file, const routes &chosen,
                           cubby_options settings)
    : on_(on), chosen_(chosen), settings_(std::move(settings)), source_(file, settings_) {
  failure_ = source_.failure();
  if (!failure_.empty()) {
    for (const std::string &line : source_.warnings()) failure_ += "; " + line;
    return;
  }
  slots_.struct_size = sizeof slots_;
  if (cubby_slots_add(source_.handle(), source_.bank(), source_.nearest(), &slots_) != CUBBY_OK) {
    failure_ = "no slot table could be made: " + last_error_text();
    return;
  }
  const std::vector<int32_t> choices(chosen.experts.begin(), chosen.experts.end());
  choices_ = on.take(choices.size() * sizeof(int32_t));
  words_ = on.take(chosen.top_k * sizeof(uint64_t));
  outcomes_ = on.take(uint64_t{chosen.tokens} * chosen.layers * sizeof(int32_t));
  waits_ = on.take(sizeof(cubby_kernels::wait_counts));
  on.copy_in(choices_, choices.data(), choices.size() * sizeof(int32_t));
  on.finish();
}

locker_place::~locker_place() {
  if (slots_.layout == 0) return;
  on_.finish();
  cubby_slots_remove(source_.handle(), source_.bank(), source_.nearest());
}

found_experts locker_place::bring(uint32_t token, uint32_t layer) {
  const uint64_t outcome = outcomes_ + (uint64_t{token} * chosen_.layers + layer) * sizeof(int32_t);
  cubby_kernels::acquire_work look_up{};
  look_up.slots = slots_;
  look_up.chosen = chosen_at(token, layer);
  look_up.words = words_;
  look_up.outcome = outcome;
  look_up.waits = waits_;
  look_up.row = layer;
  look_up.count = chosen_.top_k;
  look_up.looks_max = on_.looks_max();
  on_.good(on_.kernels().acquire(look_up, on_.stream()), "a kernel");
  looked_ += chosen_.top_k;
  if (settings_.ahead.layers != 0 && layer + 1 < chosen_.layers) {
    on_.good(on_.kernels().foresee({slots_, chosen_at(token, layer + 1), layer + 1, chosen_.top_k},
                                   on_.stream()),
             "a kernel");
  }
  return {slots_, words_, outcome};
}

void locker_place::let_go() { on_.good(on_.kernels().leave({slots_}, on_.stream()), "a kernel"); }

void locker_place::token_over(uint32_t token) {
  std::vector<cubby_routed> used(chosen_.layers);
  for (uint32_t layer = 0; layer < chosen_.layers; ++layer) {
    used[layer].row = layer;
    used[layer].column_count = chosen_.top_k;
    used[layer].columns = chosen_.at(token, layer);
  }
  cubby_visit(source_.handle(), source_.bank(), used.data(), chosen_.layers);
  source_.drain_recording();
}

void locker_place::rest() {
  if (settings_.pump == cubby::pump::caller) {
    cubby_poll(source_.handle(), 0, nullptr);
  } else {
    device_place::rest();
  }
}

device_place::counts locker_place::seen() {
  cubby_kernels::wait_counts waits{};
  on_.copy_out(&waits, waits_, sizeof waits);
  counts out{.hits = looked_ - waits.missing_count, .misses = waits.missing_count};
  out.evictions = source_.evictions();
  out.waited_ns = waits.waited_ns;
  return out;
}

done locker_place::check() {
  std::vector<int32_t> outcomes(uint64_t{chosen_.tokens} * chosen_.layers);
  on_.copy_out(outcomes.data(), outcomes_, outcomes.size() * sizeof(int32_t));
  const auto count_of = [&](int32_t one) {
    return std::to_string(std::count(outcomes.begin(), outcomes.end(), one));
  };
  if (std::ranges::all_of(outcomes, [](int32_t one) { return one == cubby_device::found; })) {
    return on_.so_far();
  }
  std::string why = count_of(cubby_device::missing) + " layers waited too long for an expert, " +
                    count_of(cubby_device::refused) + " could not have theirs";
  for (const std::string &line : source_.warnings()) why += "; " + line;
  return trouble{why};
}

// ---- beside it
// ------------------------------------------------------------------------------------

std::unique_ptr<device_place> make_resident_place(device_here &on, const expert_file &file,
                                                  const routes &chosen, expert_source &from) {
  return std::make_unique<resident_place>(on, file, chosen, from);
}
std::unique_ptr<device_place> make_copying_place(device_here &on, const expert_file &file,
                                                 const routes &chosen, expert_source &from,
                                                 uint64_t bytes, bool registered) {
  return std::make_unique<copying_place>(on, file, chosen, from, bytes, registered);
}

}  // namespace cubby_cli::demo
