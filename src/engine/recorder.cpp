#include "engine/recorder.hpp"

#include <algorithm>
#include <cstring>

#include "base/crc32.hpp"
#include "engine/names.hpp"

namespace cubby::engine {
namespace {

constexpr uint32_t grids_max = 64;
constexpr uint32_t grid_bytes = 16, lost_bytes = 8;

void put32(std::byte *to, uint32_t value) {
  for (uint32_t i = 0; i < 4; ++i) to[i] = static_cast<std::byte>(value >> (8 * i));
}

std::byte *put_number(std::byte *to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *to++ = static_cast<std::byte>(value | 0x80);
  *to++ = static_cast<std::byte>(value);
  return to;
}

}  // namespace

recorder::recorder(uint64_t ring_bytes)
    : ring_bytes_(ring_bytes), ring_(std::make_unique<std::byte[]>(ring_bytes)) {
  grids_.reserve(grids_max);
  places_.resize(CUBBY_TRACE_SLOTS_MAX);
  std::byte head[head_bytes];
  std::memcpy(head, CUBBY_TRACE_MAGIC, 8);
  put32(head + 8, CUBBY_TRACE_VERSION);
  put32(head + 12, base::crc32(0, head, 12));
  push(head, sizeof head);
}

void recorder::visit(const locker_bank &bank, uint32_t row, uint32_t slot,
                     std::span<const cubby_object> objects) {
  if (!running_) return;
  grid *of = grid_of(bank);
  if (of == nullptr || slot >= places_.size() || objects.size() > CUBBY_TRACE_USED_MAX ||
      !write_grid(*of)) {
    return lose(1);
  }
  // A layer that does not lie behind the last one begins a token.
  const uint32_t layer = of->first_layer + row;
  place &here = places_[slot];
  if (here.begun && layer < here.next_layer) ++here.token;
  append(layer, slot, here.token, !here.begun, objects, bank.object_base + row * of->experts);
  here.begun = true;
  here.next_layer = layer + 1;
}

/// nullptr when its layers have no place in a trace.
recorder::grid *recorder::grid_of(const locker_bank &bank) {
  for (grid &one : grids_)
    if (one.bank == bank.handle) return &one;
  if (grids_.size() == grids_max || bank.grid().rows() > CUBBY_TRACE_LAYERS_MAX - layers_ ||
      bank.grid().columns() > CUBBY_TRACE_EXPERTS_MAX) {
    return nullptr;
  }
  const uint32_t top_k = std::min<uint32_t>(bank.desc().routed_count, CUBBY_TRACE_USED_MAX);
  grids_.push_back({bank.handle, layers_, bank.grid().rows(), bank.grid().columns(), top_k, false});
  layers_ += bank.grid().rows();
  return &grids_.back();
}

/// A grid comes before what names it; until there is room for it, its visits are lost.
bool recorder::write_grid(grid &which) {
  if (which.written) return true;
  seal();
  if (!push_lost(head_bytes + grid_bytes)) return false;
  std::byte payload[grid_bytes];
  put32(payload, which.first_layer);
  put32(payload + 4, which.layers);
  put32(payload + 8, which.experts);
  put32(payload + 12, which.top_k);
  push_block(CUBBY_TRACE_GRID, payload, sizeof payload);
  return which.written = true;
}

void recorder::append(uint32_t layer, uint32_t slot, uint64_t token, bool begins,
                      std::span<const cubby_object> objects, uint32_t first_object) {
  if (open_bytes_ + record_bytes_max > payload_max) seal();
  std::byte *at = open_.data() + open_bytes_;
  at = put_number(at, layer << 2 | (begins ? 1u : 0u));
  at = put_number(at, slot);
  at = put_number(at, token);
  at = put_number(at, objects.size());
  for (const cubby_object object : objects) at = put_number(at, object - first_object);
  open_bytes_ = static_cast<uint32_t>(at - open_.data());
  ++open_records_;
  ++visits_;
}

/// Ends the block under way: into the ring, or lost.
void recorder::seal() {
  if (open_records_ == 0) return;
  if (push_lost(head_bytes + open_bytes_)) {
    push_block(CUBBY_TRACE_VISITS, open_.data(), open_bytes_);
  } else {
    lose(open_records_);
    visits_ -= open_records_;
  }
  open_bytes_ = open_records_ = 0;
}

/// Says what was lost before the next block. False when there is no room for both.
bool recorder::push_lost(uint64_t bytes_behind) {
  const uint64_t own = lost_unwritten_ == 0 ? 0 : head_bytes + lost_bytes;
  if (own + bytes_behind > room()) return false;
  if (own == 0) return true;
  std::byte payload[lost_bytes];
  put32(payload, static_cast<uint32_t>(lost_unwritten_));
  put32(payload + 4, static_cast<uint32_t>(lost_unwritten_ >> 32));
  push_block(CUBBY_TRACE_LOST, payload, sizeof payload);
  lost_unwritten_ = 0;
  return true;
}

void recorder::push_block(uint32_t kind, const std::byte *payload, uint32_t bytes) {
  std::byte head[head_bytes];
  put32(head, kind);
  put32(head + 4, bytes);
  put32(head + 8, blocks_++);
  put32(head + 12, base::crc32(base::crc32(0, head, 12), payload, bytes));
  push(head, sizeof head);
  push(payload, bytes);
}

void recorder::push(const void *bytes, uint64_t count) {
  if (count == 0) return;  // of a block without payload
  const uint64_t at = (first_ + used_) % ring_bytes_;
  const uint64_t until_end = std::min(count, ring_bytes_ - at);
  std::memcpy(ring_.get() + at, bytes, until_end);
  if (count != until_end)
    std::memcpy(ring_.get(), static_cast<const std::byte *>(bytes) + until_end, count - until_end);
  used_ += count;
}

uint64_t recorder::read(std::byte *to, uint64_t max_bytes) {
  uint64_t got = 0;
  for (;;) {
    // What is under way comes last, and only into a ring that has room for it.
    if (used_ == 0) seal();
    if (used_ == 0 && !running_ && !ended_) {
      push_lost(head_bytes);
      push_block(CUBBY_TRACE_END, nullptr, 0);
      ended_ = true;
    }
    const uint64_t piece = std::min({max_bytes - got, used_, ring_bytes_ - first_});
    if (piece == 0) return got;
    std::memcpy(to + got, ring_.get() + first_, piece);
    got += piece;
    used_ -= piece;
    first_ = (first_ + piece) % ring_bytes_;
  }
}

cubby_trace_info recorder::describe() const {
  cubby_trace_info info{};
  info.struct_size = sizeof info;
  info.running = running_ ? 1 : 0;
  info.ring_bytes = ring_bytes_;
  info.waiting_bytes = used_ + (open_records_ == 0 ? 0 : head_bytes + open_bytes_);
  info.visit_count = visits_;
  info.lost_count = lost_;
  return info;
}

}  // namespace cubby::engine
