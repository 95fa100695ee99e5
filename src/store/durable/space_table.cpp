#include "store/durable/space_table.hpp"

#include <algorithm>
#include <cstring>

namespace cubby::store {
namespace {

constexpr uint32_t generations_max = (1u << 24) - 1;
static_assert(store_spaces_max == 256);

}  // namespace

uint32_t space_table::find(std::string_view fingerprint, std::string_view domain) const {
  for (const entry &slot : slots_)
    if (slot.body.id != 0 && !slot.removing && fingerprint_of(slot.body) == fingerprint &&
        domain_of(slot.body) == domain)
      return slot.body.id;
  return 0;
}

result<uint32_t> space_table::add(std::string_view fingerprint, std::string_view domain) {
  if (fingerprint.size() > space_bytes_max || domain.size() > space_bytes_max)
    return fail(CUBBY_ERR_INVALID,
                "a space's fingerprint of %zu bytes or domain of %zu is longer than %u; give a "
                "digest of it",
                fingerprint.size(), domain.size(), space_bytes_max);
  if (const uint32_t known = find(fingerprint, domain); known != 0) return known;
  if (generation_ >= generations_max)
    return fail(CUBBY_ERR_NO_SPACE, "the store has given out all of its spaces; make a new one");
  for (uint32_t i = 0; i < slots_.size(); i++) {
    if (slots_[i].body.id != 0) continue;
    space_body body = {};
    body.id = ++generation_ << 8 | i;
    body.fingerprint_bytes = static_cast<uint16_t>(fingerprint.size());
    body.domain_bytes = static_cast<uint16_t>(domain.size());
    if (!fingerprint.empty()) memcpy(body.fingerprint, fingerprint.data(), fingerprint.size());
    if (!domain.empty()) memcpy(body.domain, domain.data(), domain.size());
    slots_[i] = {body, 0, false};
    return body.id;
  }
  return fail(CUBBY_ERR_NO_SPACE,
              "the store has %u spaces, all of them in use; remove one, or use another store",
              store_spaces_max);
}

const space_table::entry *space_table::at(uint32_t id) const noexcept {
  const entry &slot = slots_[id & 0xff];
  return id != 0 && slot.body.id == id ? &slot : nullptr;
}

space_table::entry *space_table::at(uint32_t id) noexcept {
  return const_cast<entry *>(static_cast<const space_table *>(this)->at(id));
}

void space_table::remove(uint32_t id) noexcept {
  if (entry *slot = at(id)) *slot = {};
}

bool space_table::set(const space_body &body) noexcept {
  if (body.id >> 8 == 0 || body.fingerprint_bytes > space_bytes_max ||
      body.domain_bytes > space_bytes_max)
    return false;
  entry &slot = slots_[body.id & 0xff];
  if (slot.body.id > body.id) return false;  // the place has had a later space since
  slot = {body, 0, false};
  raise_generation(body.id >> 8);
  return true;
}

void space_table::raise_generation(uint32_t generation) noexcept {
  generation_ = std::max(generation_, std::min(generation, generations_max));
}

}  // namespace cubby::store
