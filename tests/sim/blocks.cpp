#include "sim/blocks.hpp"

#include <algorithm>
#include <cstring>

#include "sim/weighted.hpp"

namespace sim {
namespace {

constexpr uint64_t block_bytes = 8192;
constexpr uint32_t block_count = 48;
constexpr size_t sessions_max = 8, keys_max = 20, leases_max = 3, leased_max = 4;
constexpr char untouched = '\x5A';

bool is_present(uint8_t state) { return state >= CUBBY_STATE_FILE; }

std::string name_of(uint32_t number) { return "block " + std::to_string(number); }

std::string said(cubby_status status) {
  char text[256] = "";
  cubby_explain(nullptr, text, sizeof text);
  return std::string(cubby_status_name(status)) + ": " + text;
}

}  // namespace

/// Items by key, with what they point to.
struct block_sessions::item_list {
  std::deque<std::string> names;
  std::deque<cubby_key> keys;
  std::deque<cubby_span> spans;
  std::vector<cubby_item> items;

  cubby_key key(uint32_t number) {
    names.push_back(name_of(number));
    return {names.back().data(), static_cast<uint32_t>(names.back().size())};
  }
  void add(cubby_space of, uint32_t number, uint32_t parent = 0, const void *at = nullptr,
           uint64_t bytes = 0, uint64_t from = 0) {
    cubby_item one{};
    one.space = of;
    one.key = key(number);
    if (parent != 0) {
      keys.push_back(key(parent));
      one.parent = &keys.back();
    }
    if (bytes != 0) {
      spans.push_back({0, 0, reinterpret_cast<uintptr_t>(at), bytes});
      one.spans = &spans.back();
      one.span_count = 1;
    }
    one.at_bytes = from;
    items.push_back(one);
  }
  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(items.size()); }
};

bool block_sessions::set_up() {
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_KV;
  desc.name = "blocks";
  desc.rows = 1;
  desc.columns = block_count;
  desc.locker_bytes = block_bytes;
  desc.chunk_bytes = chance(50) ? 4096 : 0;
  if (const cubby_status status = cubby_bank_add(around_.rt, &desc, &bank_); status != CUBBY_OK) {
    return violate("a bank of blocks was not added: " + said(status));
  }
  spaces_.resize(2 + around_.random.below(2));
  for (space &one : spaces_) {
    if (!add_space(one)) return false;
  }
  return true;
}

bool block_sessions::add_space(space &to) {
  to = {};
  to.ordinal = next_space_++;
  const std::string domain = "tenant " + std::to_string(to.ordinal);
  cubby_space_desc desc{};
  desc.struct_size = sizeof desc;
  desc.bank = bank_;
  desc.fingerprint = "model";
  desc.fingerprint_bytes = 5;
  desc.domain = domain.data();
  desc.domain_bytes = static_cast<uint32_t>(domain.size());
  const cubby_status status = cubby_space_add(around_.rt, &desc, &to.handle);
  return status == CUBBY_OK || violate("a space was not added: " + said(status));
}

/// Of a key: the same for whoever puts it in this space, other bytes in another.
std::string block_sessions::content(const space &of, uint32_t number) const {
  cubby::base::prng bytes(cubby::base::mix64(of.ordinal << 32 | number));
  std::string made(of.blocks.at(number).bytes, '\0');
  for (char &one : made) one = static_cast<char>(bytes.next() >> 56);
  return made;
}

block_sessions::session &block_sessions::pick_session() {
  if (sessions_.empty() || (sessions_.size() < sessions_max && chance(10))) {
    sessions_.push_back({around_.random.below(spaces_.size()), {}});
    return sessions_.back();
  }
  return sessions_[around_.random.below(sessions_.size())];
}

/// Numbers that no block of the space has, for the end of the session's chain.
std::vector<uint32_t> block_sessions::new_keys(const session &of, uint32_t count) {
  space &in = spaces_[of.space];
  uint32_t number = in.blocks.empty() ? 1 : in.blocks.rbegin()->first + 1;
  uint32_t parent = of.keys.empty() ? 0 : of.keys.back();
  std::vector<uint32_t> made;
  for (uint32_t i = 0; i < count; ++i, parent = number++) {
    in.blocks[number] = {parent, 1 + around_.random.below(block_bytes), false, 0, false};
    made.push_back(number);
  }
  return made;
}

void block_sessions::do_put() {
  session &one = pick_session();
  if (one.keys.size() >= keys_max) {  // it closes
    one = {around_.random.below(spaces_.size()), {}};
  }
  const auto count = static_cast<uint32_t>(1 + around_.random.below(4));
  const std::vector<uint32_t> keys = new_keys(one, count);
  space &in = spaces_[one.space];
  std::vector<uint32_t> order = keys;
  if (chance(20)) std::reverse(order.begin(), order.end());  // children before their parents
  std::deque<std::string> bytes;
  item_list all;
  for (const uint32_t number : order) {
    bytes.push_back(content(in, number));
    all.add(in.handle, number, in.blocks[number].parent, bytes.back().data(), bytes.back().size());
  }
  std::vector<int8_t> status(count, 77);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = chance(50) ? CUBBY_KEEP_SESSION : CUBBY_KEEP_CACHE;
  how.item_status = status.data();
  const cubby_status put = cubby_put(around_.rt, all.items.data(), count, &how, nullptr);
  around_.log.add(around_.step, "put space=%" PRIu64 " first=%" PRIu64 " count=%" PRIu64,
                  in.ordinal, keys[0], count, put);
  for (uint32_t i = 0; i < count; ++i) {
    if (status[i] == CUBBY_OK) {
      in.blocks[order[i]].known = true;
    } else if (status[i] != CUBBY_ERR_BUSY && status[i] != CUBBY_ERR_BUDGET &&
               status[i] != CUBBY_ERR_NO_MEMORY) {
      violate("a put says " + said(static_cast<cubby_status>(status[i])));
      return;
    }
  }
  one.keys.insert(one.keys.end(), keys.begin(), keys.end());
}

void block_sessions::do_put_again() {
  session &one = pick_session();
  if (one.keys.empty()) return;
  space &in = spaces_[one.space];
  const size_t at = around_.random.below(one.keys.size());
  const uint32_t number = one.keys[at];
  if (in.blocks[number].reserved) return;  // it waits for the commit
  const std::string bytes = content(in, number);
  item_list all;
  all.add(in.handle, number, in.blocks[number].parent, bytes.data(), bytes.size());
  const cubby_status put = cubby_put(around_.rt, all.items.data(), 1, nullptr, nullptr);
  around_.log.add(around_.step, "put again space=%" PRIu64 " key=%" PRIu64, in.ordinal, number, 0,
                  put);
  if (put == CUBBY_OK) {
    in.blocks[number].known = true;
    // Whoever waits for room may have taken it at once, and one on its way from tier to tier is
    // known, but cannot be got just now.
    get(in, number, is_present(states_of(one)[at]));
  } else if (put != CUBBY_ERR_BUSY && put != CUBBY_ERR_BUDGET && put != CUBBY_ERR_NO_MEMORY) {
    violate("a put says " + said(put));
  }
}

std::vector<uint8_t> block_sessions::states_of(const session &of, uint32_t *hits) {
  item_list all;
  std::vector<cubby_key> keys;
  for (const uint32_t number : of.keys) keys.push_back(all.key(number));
  std::vector<uint8_t> states(keys.size(), 77);
  uint32_t found = 0;
  const cubby_status status =
      cubby_match(around_.rt, spaces_[of.space].handle, keys.data(),
                  static_cast<uint32_t>(keys.size()), nullptr, &found, states.data());
  if (status != CUBBY_OK) violate("match says " + said(status));
  if (hits != nullptr) *hits = found;
  return states;
}

/// Only what was put is found, and of a chain all up to the first that is not there.
bool block_sessions::check_states(const session &of, const std::vector<uint8_t> &states,
                                  uint32_t hits) {
  uint32_t run = 0;
  while (run < states.size() && is_present(states[run])) ++run;
  if (hits != run) {
    return violate("match finds " + std::to_string(hits) + " blocks of a chain of which " +
                   std::to_string(run) + " are there");
  }
  for (size_t i = 0; i < states.size(); ++i) {
    const block &one = spaces_[of.space].blocks.at(of.keys[i]);
    if (is_present(states[i]) && !one.known) {
      return violate("a block is found that was not put, or was dropped");
    }
    if (one.lease_count != 0 && !is_present(states[i])) {
      return violate("a leased block is not found");
    }
  }
  return true;
}

void block_sessions::do_match() {
  const session &one = pick_session();
  if (one.keys.empty()) return;
  uint32_t hits = 0;
  const std::vector<uint8_t> states = states_of(one, &hits);
  around_.log.add(around_.step, "match space=%" PRIu64 " keys=%" PRIu64 " hits=%" PRIu64,
                  spaces_[one.space].ordinal, one.keys.size(), hits, 0);
  check_states(one, states, hits);
}

/// A range of a block. What is not found leaves the memory as it was, and nothing beside the span
/// is written in any case.
bool block_sessions::get(const space &of, uint32_t number, bool must) {
  constexpr uint64_t guard = 64;
  const std::string right = content(of, number);
  const uint64_t first = chance(70) ? 0 : around_.random.below(right.size());
  const uint64_t bytes =
      chance(70) ? right.size() - first : 1 + around_.random.below(right.size() - first);
  std::string got(bytes + 2 * guard, untouched), expected = got;
  item_list all;
  all.add(of.handle, number, 0, got.data() + guard, bytes, first);
  const cubby_status status = cubby_get(around_.rt, all.items.data(), 1, nullptr, nullptr);
  around_.log.add(around_.step, "get space=%" PRIu64 " key=%" PRIu64 " bytes=%" PRIu64, of.ordinal,
                  number, bytes, status);
  if (status == CUBBY_OK) {
    if (!of.blocks.at(number).known) return violate("a block is got that was not put");
    std::memcpy(expected.data() + guard, right.data() + first, bytes);
  } else if (status != CUBBY_MISS) {
    return violate("a get says " + said(status));
  } else if (must) {
    return violate("a block that is there is not got");
  }
  return got == expected || violate("a get has left wrong bytes in the caller's memory");
}

void block_sessions::do_get() {
  const session &one = pick_session();
  if (one.keys.empty()) return;
  const std::vector<uint8_t> states = states_of(one);
  const size_t at = around_.random.below(one.keys.size());
  const uint32_t number = one.keys[at];
  if (!get(spaces_[one.space], number, is_present(states[at]))) return;
  // The same name in another space.
  const space &other = spaces_[around_.random.below(spaces_.size())];
  if (other.blocks.contains(number)) get(other, number, false);
}

void block_sessions::do_pin() {
  const session &one = pick_session();
  if (one.keys.empty()) return;
  const space &in = spaces_[one.space];
  const uint32_t number = one.keys[around_.random.below(one.keys.size())];
  item_list all;
  all.add(in.handle, number);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_WAIT;
  cubby_pins pins = 0;
  const void *address = nullptr;
  const cubby_status status =
      cubby_pin(around_.rt, all.items.data(), 1, around_.tier, &how, &pins, &address, nullptr);
  around_.log.add(around_.step, "pin space=%" PRIu64 " key=%" PRIu64, in.ordinal, number, 0,
                  status);
  if (status == CUBBY_MISS || status == CUBBY_ERR_BUSY) return;
  if (status != CUBBY_OK) {
    violate("a pin by key says " + said(status));
    return;
  }
  const std::string right = content(in, number);
  if (!in.blocks.at(number).known) violate("a block is pinned that was not put");
  if (std::memcmp(address, right.data(), right.size()) != 0) violate("a pin shows wrong bytes");
  if (cubby_unpin(around_.rt, pins, 0, 0, nullptr) != CUBBY_OK) violate("an unpin by key failed");
}

void block_sessions::do_fork() {
  if (sessions_.size() >= sessions_max) return;
  const session one = pick_session();
  if (one.keys.empty()) return;
  const auto length = static_cast<std::ptrdiff_t>(1 + around_.random.below(one.keys.size()));
  sessions_.push_back({one.space, {one.keys.begin(), one.keys.begin() + length}});
}

void block_sessions::do_lease() {
  if (leases_.size() >= leases_max) return do_lease_end();
  const session &one = pick_session();
  if (one.keys.empty()) return;
  const auto count = std::min(one.keys.size(), 1 + around_.random.below(leased_max));
  lease made{
      one.space, 0, {one.keys.begin(), one.keys.begin() + static_cast<std::ptrdiff_t>(count)}};
  space &in = spaces_[one.space];
  const std::vector<uint8_t> states = states_of(one);
  const bool there =
      std::all_of(states.begin(), states.begin() + static_cast<std::ptrdiff_t>(count), is_present);
  item_list all;
  std::vector<cubby_key> keys;
  for (const uint32_t number : made.keys) keys.push_back(all.key(number));
  const cubby_status status = cubby_lease(around_.rt, in.handle, keys.data(),
                                          static_cast<uint32_t>(keys.size()), 0, &made.handle);
  around_.log.add(around_.step, "lease space=%" PRIu64 " keys=%" PRIu64, in.ordinal, count, 0,
                  status);
  if (status != (there ? CUBBY_OK : CUBBY_MISS)) {
    violate(std::string("a lease of blocks that ") + (there ? "are" : "are not all") +
            " there says " + said(status));
    return;
  }
  if (status != CUBBY_OK) return;
  for (const uint32_t number : made.keys) ++in.blocks[number].lease_count;
  leases_.push_back(std::move(made));
}

void block_sessions::do_lease_end() {
  if (leases_.empty()) return;
  const size_t at = around_.random.below(leases_.size());
  for (const uint32_t number : leases_[at].keys) {
    if (!get(spaces_[leases_[at].space], number, true)) return;
  }
  end_lease(at);
}

void block_sessions::end_lease(size_t at) {
  const lease one = leases_[at];
  leases_.erase(leases_.begin() + static_cast<std::ptrdiff_t>(at));
  for (const uint32_t number : one.keys) --spaces_[one.space].blocks[number].lease_count;
  const cubby_status status = cubby_lease_end(around_.rt, one.handle, 0, 0);
  around_.log.add(around_.step, "lease end space=%" PRIu64, spaces_[one.space].ordinal, 0, 0,
                  status);
  if (status != CUBBY_OK) violate("the end of a lease says " + said(status));
}

void block_sessions::do_drop() {
  const session &one = pick_session();
  if (one.keys.empty()) return;
  space &in = spaces_[one.space];
  const uint32_t number = one.keys[around_.random.below(one.keys.size())];
  block &of = in.blocks[number];
  item_list all;
  all.add(in.handle, number);
  const cubby_status status = cubby_drop(around_.rt, all.items.data(), 1, 0);
  around_.log.add(around_.step, "drop space=%" PRIu64 " key=%" PRIu64, in.ordinal, number, 0,
                  status);
  if (status == CUBBY_OK && of.lease_count != 0) violate("a leased block was dropped");
  if (status == CUBBY_OK) {
    of.known = false;
  } else if (status != CUBBY_MISS && status != CUBBY_ERR_BUSY) {
    violate("a drop by key says " + said(status));
  }
}

void block_sessions::do_reserve() {
  if (!reservations_.empty()) return do_commit();
  session &one = pick_session();
  if (one.keys.size() >= keys_max) return;
  const auto count = static_cast<uint32_t>(1 + around_.random.below(3));
  reservation made{one.space, 0, new_keys(one, count)};
  space &in = spaces_[one.space];
  item_list all;
  for (const uint32_t number : made.keys) {
    const block &of = in.blocks[number];
    all.add(in.handle, number, of.parent, nullptr, of.bytes);
  }
  std::vector<void *> addresses(count, nullptr);
  const cubby_status status = cubby_reserve(around_.rt, all.items.data(), count, around_.tier,
                                            nullptr, &made.handle, addresses.data(), nullptr);
  around_.log.add(around_.step, "reserve space=%" PRIu64 " first=%" PRIu64 " count=%" PRIu64,
                  in.ordinal, made.keys[0], count, status);
  if (status == CUBBY_ERR_BUSY || status == CUBBY_ERR_BUDGET || status == CUBBY_ERR_NO_MEMORY) {
    return;
  }
  if (status != CUBBY_OK) {
    violate("a reservation says " + said(status));
    return;
  }
  for (uint32_t i = 0; i < count; ++i) {
    const std::string bytes = content(in, made.keys[i]);
    std::memcpy(addresses[i], bytes.data(), bytes.size());
    in.blocks[made.keys[i]].reserved = true;
  }
  one.keys.insert(one.keys.end(), made.keys.begin(), made.keys.end());
  reservations_.push_back(std::move(made));
  uint32_t hits = 0;
  const std::vector<uint8_t> states = states_of(one, &hits);
  check_states(one, states, hits);
}

void block_sessions::do_commit() {
  if (!reservations_.empty()) commit(around_.random.below(reservations_.size()), chance(70));
}

void block_sessions::commit(size_t at, bool publish) {
  const reservation one = reservations_[at];
  reservations_.erase(reservations_.begin() + static_cast<std::ptrdiff_t>(at));
  const cubby_status status =
      cubby_commit(around_.rt, one.handle, 0, 0, publish ? 1 : 0, nullptr, nullptr);
  space &in = spaces_[one.space];
  around_.log.add(around_.step, "commit space=%" PRIu64 " first=%" PRIu64 " ok=%" PRIu64,
                  in.ordinal, one.keys[0], publish, status);
  if (status != CUBBY_OK) violate("a commit says " + said(status));
  for (const uint32_t number : one.keys) {
    in.blocks[number].reserved = false;
    in.blocks[number].known = in.blocks[number].known || publish;
  }
}

bool block_sessions::may_drop(size_t at) const {
  const auto in_it = [&](const auto &one) { return one.space == at; };
  return std::none_of(leases_.begin(), leases_.end(), in_it) &&
         std::none_of(reservations_.begin(), reservations_.end(), in_it);
}

/// Nothing of a removed space is found in its successor, whose keys have the same names.
void block_sessions::do_replace_space() {
  const size_t at = around_.random.below(spaces_.size());
  if (!may_drop(at)) return;
  const cubby_status status = cubby_space_remove(around_.rt, spaces_[at].handle);
  around_.log.add(around_.step, "space remove %" PRIu64, spaces_[at].ordinal, 0, 0, status);
  if (status != CUBBY_OK) {
    violate("the removal of a space says " + said(status));
    return;
  }
  std::erase_if(sessions_, [&](const session &one) { return one.space == at; });
  add_space(spaces_[at]);
}

void block_sessions::take_step() {
  static constexpr weighted<block_sessions> weights[] = {
      {30, &block_sessions::do_put},   {6, &block_sessions::do_put_again},
      {12, &block_sessions::do_match}, {25, &block_sessions::do_get},
      {6, &block_sessions::do_pin},    {5, &block_sessions::do_fork},
      {7, &block_sessions::do_lease},  {6, &block_sessions::do_lease_end},
      {4, &block_sessions::do_drop},   {6, &block_sessions::do_reserve},
      {6, &block_sessions::do_commit}, {1, &block_sessions::do_replace_space}};
  do_one(*this, around_.random, weights);
}

void block_sessions::check() {
  if (leases_.empty()) return;
  const lease &one = leases_[around_.random.below(leases_.size())];
  get(spaces_[one.space], one.keys[around_.random.below(one.keys.size())], true);
}

void block_sessions::release_all() {
  while (!leases_.empty()) end_lease(leases_.size() - 1);
  while (!reservations_.empty()) commit(reservations_.size() - 1, true);
}

}  // namespace sim
