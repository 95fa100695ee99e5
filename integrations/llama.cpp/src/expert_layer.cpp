#include "expert_layer.hpp"

#include <algorithm>
#include <utility>

#include "run_counters.hpp"

namespace cubby_ggml {
namespace {

/// How long one look at what has landed may take before it is looked at again.
constexpr std::chrono::nanoseconds look = std::chrono::microseconds(100);

bool has_no_room(cubby_status status) {
  return status == CUBBY_ERR_BUDGET || status == CUBBY_ERR_NO_MEMORY;
}

}  // namespace

bool expert_layer::same_layer(const expert_place &place) const {
  return place_.bank == place.bank && place_.row == place.row && parts_used_ != 0 &&
         next_routes_ == routes_;
}

layer_outcome expert_layer::run(std::span<const expert_product> products,
                                const ggml_cgraph &graph) {
  const expert_place &place = products[0].place;
  if (!next_routes_.read(*products[0].node->src[2], place.bank->columns())) {
    release();
    return fail("the router has named an expert that there is not");
  }
  const bool first = !same_layer(place);
  if (first) {
    release();
    place_ = place;
    std::swap(routes_, next_routes_);
  }
  parts_used_ += products.size();
  layer_outcome outcome = layer_outcome::declined;
  if (holding_ || routes_.experts().size() <= store().room_for(place_))
    outcome = run_held(products, graph);
  if (outcome == layer_outcome::declined) outcome = run_in_rounds(products, graph);
  if (first && place.row == 0 && outcome == layer_outcome::computed)
    counters().begin_batch(routes_.token_count());
  if (parts_used_ >= place_.products || outcome != layer_outcome::computed) release();
  return outcome;
}

void expert_layer::release() {
  held_.release();
  holding_ = false;
  parts_used_ = 0;
}

std::span<const uint64_t> expert_layer::numbers_of(std::span<const uint64_t> experts) {
  numbers_.clear();
  for (const uint64_t expert : experts)
    numbers_.push_back(place_.bank->number(place_.row, static_cast<uint32_t>(expert)));
  return numbers_;
}

cubby::result<cubby::pins> expert_layer::pin(std::span<const uint64_t> experts) {
  return store().pin(place_, numbers_of(experts));
}

layer_outcome expert_layer::run_held(std::span<const expert_product> products,
                                     const ggml_cgraph &graph) {
  if (!holding_) {
    auto pinned = pin(routes_.experts());
    if (!pinned && has_no_room(pinned.why().status())) return layer_outcome::declined;
    if (!pinned) return fail(pinned.why().text());
    held_ = std::move(*pinned);
    holding_ = true;
    look_ahead_of(*products[0].node);
  }
  const layer_outcome outcome = compute_as_they_land(held_, routes_.experts(), products, graph);
  if (outcome != layer_outcome::declined) return outcome;
  held_.release();  // who goes on in rounds must hold none
  holding_ = false;
  return outcome;
}

/// What is missing of this layer has been asked for; what the next one will miss may follow it.
void expert_layer::look_ahead_of(const ggml_tensor &node) {
  const uint32_t room = store().room_for(place_);
  const auto used = static_cast<uint32_t>(routes_.experts().size());
  ahead_.begin_layer(place_, routes_.experts(), held_.pending());
  ahead_.ask_for_next(*node.src[1], static_cast<uint32_t>(node.src[2]->ne[0]),
                      room - std::min(room, used));
}

/// A batch may use more experts than there is room for: a part of them at a time, the next part on
/// its way meanwhile. It is not pinned yet: who waits for frames must hold none.
layer_outcome expert_layer::run_in_rounds(std::span<const expert_product> products,
                                          const ggml_cgraph &graph) {
  const std::span<const uint64_t> all = routes_.experts();
  size_t count = std::max<size_t>(1, store().room_for(place_) / 2);
  for (size_t at = 0; at < all.size();) {
    const auto now = all.subspan(at, std::min(count, all.size() - at));
    auto pinned = pin(now);
    if (!pinned && has_no_room(pinned.why().status())) {
      if (count == 1) return at == 0 ? layer_outcome::declined : fail(pinned.why().text());
      count /= 2;
      continue;
    }
    if (!pinned) return fail(pinned.why().text());
    at += now.size();
    if (at < all.size())
      store().fetch(place_, numbers_of(all.subspan(at, std::min(count, all.size() - at))));
    const layer_outcome outcome = compute_as_they_land(*pinned, now, products, graph);
    if (outcome != layer_outcome::computed) return outcome;
  }
  return layer_outcome::computed;
}

layer_outcome expert_layer::compute_as_they_land(cubby::pins &pins,
                                                 std::span<const uint64_t> experts,
                                                 std::span<const expert_product> products,
                                                 const ggml_cgraph &graph) {
  batch_.clear();  // of a request that was given up
  why_.clear();
  done_.assign(experts.size(), 0);
  for (size_t left = experts.size(); left > 0;) {
    for (uint32_t i = 0; i < experts.size(); ++i) {
      if (done_[i] != 0) continue;
      const cubby_status status = pins.status(i);
      if (status == CUBBY_PENDING) continue;
      if (status != CUBBY_OK) {
        while (pins.pending() && wait(pins)) {
        }
        batch_.clear();
        if (has_no_room(status)) return layer_outcome::declined;
        const uint64_t number = place_.bank->number(place_.row, static_cast<uint32_t>(experts[i]));
        return fail(store().name_of(products[0].place, number) + ": " +
                    (why_.empty() ? cubby_status_name(status) : why_));
      }
      done_[i] = 1;
      --left;
      for (const expert_product &one : products)
        batch_.add(*one.node, routes_.rows_of(experts[i]),
                   pins.addresses()[i * place_.bank->part_count() + one.place.part]);
    }
    if (!batch_.empty()) {
      if (batch_.compute(cpu_, graph) != GGML_STATUS_SUCCESS) return layer_outcome::failed;
    } else if (left > 0 && !wait(pins)) {
      return fail(why_);
    }
  }
  return layer_outcome::computed;
}

/// False when the request has ended with an error of all its items.
bool expert_layer::wait(cubby::pins &pins) {
  const uint64_t since_ns = clock_ns();
  const auto ended = pins.wait(look);
  counters().waited(clock_ns() - since_ns);
  const cubby_status status = ended.why().status();
  if (ended || status == CUBBY_ERR_TIMEOUT) return true;
  why_ = ended.why().text();
  return status == CUBBY_PARTIAL;
}

layer_outcome expert_layer::fail(const std::string &what) const {
  say(what + "; this request is given up; where it goes on so, start the program again");
  return layer_outcome::failed;
}

}  // namespace cubby_ggml
