#include "placement/kv/blocks.hpp"

#include <algorithm>
#include <cmath>

namespace cubby::placement::kv {
namespace {

constexpr double sample_every_s = 2;
constexpr double samples_a_touch = 2, samples_min = 128, samples_max = 2048;
constexpr double touches_a_model = 1024;  // the index is computed anew after so many
constexpr float fade_per_sample = 0.998F;
constexpr double prior_requests = 0.1;

constexpr uint32_t fetched_together = 16;  // of those sampled
constexpr uint8_t uses_max = 0xFF;

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
  sampled_touches_ = touches_;
  model_.fade(fade_per_sample);
  if (touches_ - modelled_touches_ < touches_a_model) return;
  modelled_touches_ = touches_;
  const double mean_request = touches_ / std::max(1.0, requests_);
  model_.set_prior_hits(static_cast<float>(prior_requests * mean_request));
  model_.changed();
}

/// As many as there was work in between: that is what may be spent on it.
void blocks::sample(float passed_s) {
  if (known_below_ == 0) return;
  const double work = samples_a_touch * (touches_ - sampled_touches_);
  const auto wanted = static_cast<uint32_t>(std::clamp(work, samples_min, samples_max));
  const float weight = static_cast<float>(known_below_) / static_cast<float>(wanted);
  if (known_below_ <= wanted) {
    for (cubby_object object = 0; object < known_below_; ++object) sample(object, passed_s, 1);
    return;
  }
  for (uint32_t left = wanted; left > 0;) {
    cubby_object drawn[fetched_together];
    const uint32_t count = std::min(left, fetched_together);
    for (uint32_t i = 0; i < count; ++i) {
      drawn[i] = static_cast<cubby_object>(prng_.below(known_below_));
      fetch(drawn[i]);
    }
    for (uint32_t i = 0; i < count; ++i) sample(drawn[i], passed_s, weight);
    left -= count;
  }
}

void blocks::sample(cubby_object object, float passed_s, float weight) {
  const block &one = all_[object];
  if (one.uses == 0) return;
  const float age_s = seconds(now_ms_ - one.last_ms);
  model_.lived(one.of_class, age_s - passed_s, age_s, weight);
}

void blocks::used(const cubby_policy_access &access) {
  go_on(access.now_ns);
  block &one = all_[access.object];
  if (access.number + 1 != request_) {
    request_ = access.number + 1;
    request_ms_ = now_ms_;
  }
  ++touches_;
  if (access.last != 0) ++requests_;
  known_below_ = std::max(known_below_, access.object + 1);
  if (one.uses != 0) {
    const float age_s = seconds(now_ms_ - one.last_ms);
    const float unsampled_s = seconds(now_ms_ - sampled_ms_);
    model_.reused(one.of_class, age_s - unsampled_s, age_s);
  }
  if (one.uses < uses_max) ++one.uses;
  one.last_ms = now_ms_;
  one.request = static_cast<uint8_t>(request_);
  one.parent = access.parent;
  one.of_class =
      static_cast<uint8_t>(class_of(one.uses, depth_class_of(access.depth), access.last != 0));
  if (one.hint != known_hint::prioritized) one.hint = known_hint::none;
}

void blocks::forget(cubby_object object) { all_[object] = block(); }

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
                                                          : known_hint::prioritized;
  }
  return true;
}

float blocks::index(cubby_object object) {
  const block &one = all_[object];
  const float age_s = seconds(now_ms_ - one.last_ms);
  if (one.hint == known_hint::closed) return 0;
  const uint32_t now_s = now_ms_ / 1000;
  if (one.hint == known_hint::scheduled && one.hint_s >= now_s)
    return 1 / (static_cast<float>(one.hint_s - now_s) + 0.2F);
  const float value = model_.index(one.of_class, age_s);
  if (one.hint == known_hint::prioritized && one.hint_s >= now_s)
    return std::max(value, static_cast<float>(one.priority + 1));
  return value;
}

void blocks::grow(uint32_t object_count) {
  if (object_count <= all_.size()) return;
  all_.resize(object_count);
}

void block_set::add_leaf(cubby_object object) {
  slot_[object] = static_cast<uint32_t>(leaves_.size());
  leaves_.push_back(object);
}

void block_set::drop_leaf(cubby_object object) {
  const cubby_object last = leaves_.back();
  leaves_[slot_[object]] = last;
  slot_[last] = slot_[object];
  leaves_.pop_back();
}

void block_set::insert(cubby_object object, cubby_object parent) {
  if (holds(object)) return;
  ++size_;
  if (children_[object] == 0)
    add_leaf(object);
  else
    slot_[object] = inner;
  if (parent == CUBBY_NO_OBJECT || children_[parent]++ != 0 || !is_leaf(parent)) return;
  drop_leaf(parent);
  slot_[parent] = inner;
}

void block_set::remove(cubby_object object, cubby_object parent) {
  if (!holds(object)) return;
  --size_;
  if (is_leaf(object)) drop_leaf(object);
  slot_[object] = absent;
  if (parent == CUBBY_NO_OBJECT || --children_[parent] != 0 || !holds(parent)) return;
  add_leaf(parent);
}

void block_set::grow(uint32_t object_count) {
  if (object_count <= slot_.size()) return;
  children_.resize(object_count);
  slot_.resize(object_count, absent);
  leaves_.reserve(object_count);
}

}  // namespace cubby::placement::kv
