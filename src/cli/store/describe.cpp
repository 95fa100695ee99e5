#include "cli/store/describe.hpp"

#include <cstdio>
#include <cstring>
#include <optional>

#include "base/abi.hpp"
#include "cli/printable.hpp"
#include "engine/block_shape.hpp"

namespace cubby_cli {
namespace {

using nlohmann::json;

std::string_view text_of(const unsigned char *bytes, uint32_t count) {
  return {reinterpret_cast<const char *>(bytes), count};
}

std::string hex_of(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const char one : bytes) {
    const auto byte = static_cast<unsigned char>(one);
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

/// Stores are also written without the runtime, and then no shape is there.
std::optional<cubby::engine::block_shape> shape_in(std::string_view fingerprint) {
  cubby::engine::block_shape shape = {};
  if (fingerprint.size() < sizeof shape) return std::nullopt;
  memcpy(&shape, fingerprint.data(), sizeof shape);
  if (shape.locker_bytes == 0 || shape.locker_bytes > store::store_block_bytes_max)
    return std::nullopt;
  return shape;
}

}  // namespace

std::string hex16(uint64_t value) {
  char text[17];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

store_answer refused_with(const cubby::error &why) {
  store_answer answer;
  answer.refused = store_refusal{cubby_status_name(why.status), why.text, why.native,
                                 why.offset_bytes, why.status == CUBBY_ERR_INVALID};
  return answer;
}

void put_text(json &to, const std::string &name, std::string_view bytes) {
  const bool is_text = printable(bytes) == bytes;
  to[name] = is_text ? json(std::string(bytes)) : json();
  to[name + "_hex"] = hex_of(bytes);
}

json space_json(const store::space_body &space) {
  std::string_view fingerprint = text_of(space.fingerprint, space.fingerprint_bytes);
  json object = {{"id", space.id}, {"locker_bytes", nullptr}, {"parts_digest", nullptr}};
  if (const auto shape = shape_in(fingerprint)) {
    object["locker_bytes"] = shape->locker_bytes;
    object["parts_digest"] = hex16(shape->parts_digest);
    fingerprint.remove_prefix(sizeof *shape);
  }
  put_text(object, "fingerprint", fingerprint);
  put_text(object, "domain", text_of(space.domain, space.domain_bytes));
  return object;
}

json block_json(const std::vector<store::store_file> &files, const store::space_table &spaces,
                const store::block_body &body) {
  json object = {{"number", body.number},
                 {"generation", body.generation},
                 {"file", files[body.file].path()},
                 {"offset_bytes", uint64_t{body.first_page} * store::page_bytes},
                 {"bytes", store::bytes_of(body)},
                 {"space", body.space}};
  put_text(object, "key", text_of(body.key, body.key_bytes));
  if (const auto *space = spaces.at(body.space)) {
    const json of = space_json(space->body);
    for (const char *name : {"fingerprint", "fingerprint_hex", "domain", "domain_hex"})
      object[name] = of[name];
  }
  return object;
}

json report_json(const store::recovery_report &report) {
  return {{"blocks", report.blocks},
          {"records_replayed", report.records_replayed},
          {"superblocks_bad", report.superblocks_bad},
          {"heads_bad", report.heads_bad},
          {"spaces_bad", report.spaces_bad},
          {"entries_bad", report.entries_bad},
          {"records_bad", report.records_bad},
          {"records_torn", report.records_torn},
          {"blocks_without_space", report.blocks_without_space},
          {"blocks_overwritten", report.blocks_overwritten},
          {"first_bad_bytes", report.first_bad_bytes},
          {"journal_ends_bytes", report.journal_ends_bytes},
          {"journal_lost_pages", report.journal_lost_pages},
          {"lost", lost_records(report)}};
}

/// Not the torn ones, which nobody had been promised, nor the overwritten ones, whose pages had
/// been given up. Of the others some may have been erased; which, nothing says.
uint64_t lost_records(const store::recovery_report &report) {
  return report.entries_bad + report.records_bad + report.blocks_without_space;
}

}  // namespace cubby_cli
