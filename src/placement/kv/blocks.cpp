#include "placement/kv/blocks.hpp"

#include <algorithm>
#include <cmath>

namespace cubby::placement::kv {
namespace {

constexpr double sample_every_s = 2;
constexpr uint32_t sampled_blocks = 2048;
constexpr float fade_per_sample = 0.998F;
constexpr double prior_requests = 0.1;

constexpr uint64_t ms_ns = 1'000'000;

float seconds(uint32_t ms) { return static_cast<float>(ms) * 1e-3F; }

}  // namespace

/// Lets time pass: now and then some blocks tell how long they have lived.
void blocks::go_on(uint64_t now_ns) {
  now_ms_ = std::max(now_ms_, static_cast<uint32_t>(now_ns / ms_ns));
  const float passed_s = seconds(now_ms_ - sampled_ms_);
  if (passed_s < sample_every_s) return;
  sample(passed_s);
  sampled_ms_ = now_ms_;
  model_.fade(fade_per_sample);
  model_.set_prior_hits(static_cast<float>(prior_requests * mean_request_));
  model_.changed();
}

void blocks::sample(float passed_s) {
  if (known_.empty()) return;
  const bool all = known_.size() <= sampled_blocks;
  const auto count = all ? static_cast<uint32_t>(known_.size()) : sampled_blocks;
  const float weight = static_cast<float>(known_.size()) / static_cast<float>(count);
  for (uint32_t i = 0; i < count; ++i) {
    const block &one = all_[known_[all ? i : prng_.below(known_.size())]];
    if (one.uses == 0) continue;  // forgotten
    const float age_s = seconds(now_ms_ - one.last_ms);
    model_.lived(class_of(one.uses, one.depth_class, one.last != 0), age_s - passed_s, age_s,
                 weight);
  }
}

void blocks::used(const cubby_policy_access &access) {
  go_on(access.now_ns);
  block &one = all_[access.object];
  request_ = static_cast<uint32_t>(access.number) + 1;
  ++touches_;
  if (access.last != 0) ++requests_;
  mean_request_ = touches_ / std::max(1.0, requests_);
  if (one.listed == 0) known_.push_back(access.object);
  one.listed = 1;
  if (one.uses != 0) {
    const float age_s = seconds(now_ms_ - one.last_ms);
    const float unsampled_s = seconds(now_ms_ - sampled_ms_);
    model_.reused(class_of(one.uses, one.depth_class, one.last != 0), age_s - unsampled_s, age_s);
  }
  if (one.uses < 0xFFFF) ++one.uses;
  one.last_ms = now_ms_;
  one.request = request_;
  one.parent = access.parent;
  one.depth_class = static_cast<uint8_t>(depth_class_of(access.depth));
  one.last = access.last != 0 ? 1 : 0;
  if (one.hint != known_hint::kept) one.hint = known_hint::none;
}

void blocks::forget(cubby_object who) {
  const uint8_t listed = all_[who].listed;
  all_[who] = block();
  all_[who].listed = listed & 1;
}

bool blocks::hint(const cubby_policy_hint &hint) {
  go_on(hint.now_ns);
  if (hint.kind == CUBBY_POLICY_HINT_ROUTE) return false;
  for (uint32_t i = 0; i < hint.object_count; ++i) {
    block &one = all_[hint.objects[i]];
    const uint64_t from_now = hint.kind == CUBBY_POLICY_HINT_PRIORITY ? hint.ttl_ns : hint.when_ns;
    one.hint_s = static_cast<uint32_t>(now_ms_ / 1000 + from_now / (1000 * ms_ns));
    one.priority = static_cast<uint8_t>(std::min(hint.priority, 15u)) & 15;
    one.hint = hint.kind == CUBBY_POLICY_HINT_CLOSED      ? known_hint::closed
               : hint.kind == CUBBY_POLICY_HINT_SCHEDULED ? known_hint::scheduled
                                                          : known_hint::kept;
  }
  return true;
}

float blocks::index(cubby_object who) {
  const block &one = all_[who];
  const float age_s = seconds(now_ms_ - one.last_ms);
  if (one.hint == known_hint::closed) return 0;
  const uint32_t now_s = now_ms_ / 1000;
  if (one.hint == known_hint::scheduled && one.hint_s >= now_s)
    return 1 / (static_cast<float>(one.hint_s - now_s) + 0.2F);
  const float value = model_.index(class_of(one.uses, one.depth_class, one.last != 0), age_s);
  if (one.hint == known_hint::kept && one.hint_s >= now_s)
    return std::max(value, static_cast<float>(one.priority + 1));
  return value;
}

void blocks::grow(uint32_t object_count) {
  if (object_count <= all_.size()) return;
  all_.resize(object_count);
  known_.reserve(object_count);
}

void block_set::add_leaf(cubby_object who) {
  slot_[who] = static_cast<uint32_t>(leaves_.size());
  leaves_.push_back(who);
}

void block_set::drop_leaf(cubby_object who) {
  const cubby_object last = leaves_.back();
  leaves_[slot_[who]] = last;
  slot_[last] = slot_[who];
  leaves_.pop_back();
}

void block_set::insert(cubby_object who, cubby_object parent) {
  if (holds(who)) return;
  ++size_;
  if (children_[who] == 0)
    add_leaf(who);
  else
    slot_[who] = inner;
  if (parent == CUBBY_NO_OBJECT || children_[parent]++ != 0 || !is_leaf(parent)) return;
  drop_leaf(parent);
  slot_[parent] = inner;
}

void block_set::remove(cubby_object who, cubby_object parent) {
  if (!holds(who)) return;
  --size_;
  if (is_leaf(who)) drop_leaf(who);
  slot_[who] = absent;
  if (parent == CUBBY_NO_OBJECT || --children_[parent] != 0 || !holds(parent)) return;
  add_leaf(parent);
}

void block_set::grow(uint32_t object_count) {
  if (object_count <= slot_.size()) return;
  children_.resize(object_count);
  slot_.resize(object_count, absent);
  leaves_.reserve(object_count);
}

const std::vector<cubby_object> &chooser::choose(const block_set &of, blocks &known) {
  const auto &leaves = of.leaves();
  for (size_t i = 0; i < drawn_max && !leaves.empty(); ++i) {
    if (leaves.size() <= drawn_max && i == leaves.size()) break;
    kept_.push_back(leaves[leaves.size() <= drawn_max ? i : prng_.below(leaves.size())]);
  }
  order_.clear();
  for (const cubby_object who : kept_)
    if (of.is_leaf(who) && !known.in_use(who))
      order_.push_back({known.index(who), known.at(who).last_ms, who});
  const auto before = [](const candidate &a, const candidate &b) {
    if (a.index != b.index) return a.index < b.index;
    return a.last_ms != b.last_ms ? a.last_ms < b.last_ms : a.who < b.who;
  };
  kept_.clear();
  if (order_.empty()) return kept_;
  if (order_.size() > kept_max)
    std::nth_element(order_.begin(), order_.begin() + kept_max, order_.end(), before);
  order_.resize(std::min(order_.size(), kept_max + 1));
  std::iter_swap(order_.begin(), std::min_element(order_.begin(), order_.end(), before));
  for (const candidate &one : order_)
    if (kept_.empty() || kept_.front() != one.who) kept_.push_back(one.who);
  return kept_;
}

}  // namespace cubby::placement::kv
