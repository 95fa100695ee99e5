#include "api/last_error.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "base/printable.hpp"

namespace {

// Plain memory of fixed size: an error is reported even when memory has run out.
struct stored_error {
  cubby_error what{};
  char text[512]{};
};
thread_local stored_error last{};

/// What passes by itself, or once others have let go.
bool passes(cubby_status status) {
  return status == CUBBY_ERR_BUSY || status == CUBBY_ERR_TIMEOUT || status == CUBBY_ERR_IN_USE;
}

bool continues_a_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// A long name stands in the middle of a sentence and the remedy at its end: what is too long loses
/// its middle.
void keep_text(const std::string &text) noexcept {
  constexpr size_t room = sizeof last.text - 1;
  if (text.size() <= room) {
    std::snprintf(last.text, sizeof last.text, "%s", text.c_str());
    return;
  }
  constexpr size_t side = (room - 5) / 2;
  size_t head = side;
  size_t tail = text.size() - side;
  while (head != 0 && continues_a_character(text[head])) --head;
  while (tail < text.size() && continues_a_character(text[tail])) ++tail;
  std::snprintf(last.text, sizeof last.text, "%.*s ... %s", static_cast<int>(head), text.c_str(),
                text.c_str() + tail);
}

}  // namespace

namespace cubby::api {

cubby_status keep_error(const error &failure) noexcept {
  last.what = {};
  last.what.struct_size = sizeof last.what;
  last.what.status = failure.status;
  last.what.native = failure.native;
  last.what.retryable = failure.retryable || passes(failure.status) ? 1 : 0;
  last.what.data_loss = failure.data_loss ? 1 : 0;
  last.what.tier = failure.tier;
  last.what.id = failure.id;
  last.what.offset_bytes = failure.offset_bytes;
  last.what.needed_bytes = failure.needed_bytes;
  if (!failure.text.empty()) {
    keep_text(failure.text);
  } else if (failure.status == CUBBY_ERR_NO_MEMORY) {
    std::snprintf(last.text, sizeof last.text, "%s", no_memory_text);
  } else {
    std::snprintf(last.text, sizeof last.text, "%s; there was no memory to say more",
                  cubby_status_name(failure.status));
  }
  return failure.status;
}

cubby_status keep_plain_error(cubby_status status, const char *text) noexcept {
  last.what = {};
  last.what.struct_size = sizeof last.what;
  last.what.status = status;
  last.what.retryable = 1;
  base::print_into(last.text, sizeof last.text, text);
  return status;
}

}  // namespace cubby::api

cubby_status cubby_explain(cubby_error *out, char *text, size_t text_bytes) {
  if (out != nullptr) {
    const uint32_t room = out->struct_size == 0 ? sizeof last.what : out->struct_size;
    std::memcpy(out, &last.what, std::min<size_t>(room, sizeof last.what));
    out->struct_size = room;
  }
  if (text != nullptr && text_bytes != 0) cubby::base::cut_into(text, text_bytes, last.text);
  return CUBBY_OK;
}
