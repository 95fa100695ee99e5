// Traces of every kind that `cubby replay` reads. The first byte says which: 'j' JSON lines, 'c'
// CSV, 'J' and 'Z' JSON lines packed by xz and zstd, 'b' cubby's own format, 'B' the same with
// check values put right, so that mutations reach what they guard. An accepted trace keeps to its
// own shape, can be made into visits, and is the same after it was written and read again; a
// refused one says why. The beginning of an accepted one keeps to the same rules.
#include "cli/replay/formats/compact.hpp"
#include "cli/replay/formats/read_trace.hpp"
#include "cli/replay/walk/schedule.hpp"
#include "cli/replay/walk/simulate.hpp"
#include "fuzz/input.hpp"

namespace {

using namespace cubby_cli;
using fuzz::require;

const char *name_of(char kind) {
  switch (kind) {
    case 'c':
      return "t.csv";
    case 'J':
      return "t.jsonl.xz";
    case 'Z':
      return "t.jsonl.zst";
    case 'b':
    case 'B':
      return "t.cubbytrace";
    default:
      return "t.jsonl";
  }
}

void put_check(std::string &bytes, size_t head, size_t payload) {
  uint32_t check = cubby_trace_check(0, bytes.data() + head, 12);
  check = cubby_trace_check(check, bytes.data() + head + 16, payload);
  for (size_t i = 0; i < 4; ++i) bytes[head + 12 + i] = static_cast<char>(check >> (8 * i));
}

std::string with_checks(std::string bytes) {
  if (bytes.size() < 16) return bytes;
  put_check(bytes, 0, 0);
  uint32_t number = 0;
  for (size_t at = 16; at + 16 <= bytes.size();) {
    size_t payload = 0;
    for (size_t i = 4; i-- > 0;)
      payload = payload << 8 | static_cast<unsigned char>(bytes[at + 4 + i]);
    if (payload > bytes.size() - at - 16) break;
    for (size_t i = 0; i < 4; ++i) bytes[at + 8 + i] = static_cast<char>(number >> (8 * i));
    put_check(bytes, at, payload);
    at += 16 + payload;
    ++number;
  }
  return bytes;
}

bool same_visits(const replay::trace &a, const replay::trace &b, uint32_t batch) {
  std::vector<uint64_t> before_one, before_other;
  const auto one = replay::make_schedule(a.experts, batch, a.kv.requests, before_one);
  const auto other = replay::make_schedule(b.experts, batch, b.kv.requests, before_other);
  if (one.rows != other.rows || one.columns != other.columns || one.used != other.used ||
      one.next != other.next || one.visits.size() != other.visits.size() ||
      before_one != before_other)
    return false;
  for (size_t i = 0; i < one.visits.size(); ++i)
    if (one.visits[i].row != other.visits[i].row ||
        one.visits[i].prefill != other.visits[i].prefill)
      return false;
  return true;
}

bool same(const replay::trace &a, const replay::trace &b) {
  if (a.kind != b.kind) return false;
  if (a.has_experts() && !(same_visits(a, b, 1) && same_visits(a, b, 3))) return false;
  if (a.kv.blocks != b.kv.blocks || a.kv.requests.size() != b.kv.requests.size()) return false;
  for (size_t i = 0; i < a.kv.requests.size(); ++i)
    if (a.kv.requests[i].at_ns != b.kv.requests[i].at_ns ||
        a.kv.requests[i].block_count != b.kv.requests[i].block_count)
      return false;
  return true;
}

void check_again(const replay::trace &of, fuzz::folder &folder) {
  std::string bytes;
  const auto written = replay::write_compact(of, [&](std::string_view piece) -> done {
    bytes += piece;
    return nothing{};
  });
  require(static_cast<bool>(written), "not written again");
  folder.write("again", bytes);
  const auto read = replay::read_trace(folder.path("again"));
  require(static_cast<bool>(read), "not read again");
  require(read->lost == 0 && read->notes.empty(), "read again with notes");
  require(same(of, *read), "another trace after it was written and read again");
}

void check_schedule(const replay::trace &of, uint32_t batch) {
  std::vector<uint64_t> visits_before;
  const replay::expert_schedule made =
      replay::make_schedule(of.experts, batch, of.kv.requests, visits_before);
  require(visits_before.size() == of.kv.requests.size(), "a request without a place");
  for (const uint64_t visits : visits_before)
    require(visits <= made.visits.size(), "a request behind the end");
  require(made.used.size() == made.next.size(), "uses and next uses differ in number");
  for (const replay::visit_record &visit : made.visits) {
    require(visit.first_used + visit.used_count <= made.used.size(), "a visit beyond the uses");
    require(visit.first_route + visit.route_count <= made.routes.size(), "routes beyond the end");
    for (uint32_t i = 0; i < visit.used_count; ++i)
      require(made.used[visit.first_used + i] / made.columns == visit.row, "a use of another row");
  }
  for (const uint32_t next : made.next)
    require(next == ~uint32_t{0} || next < made.visits.size(), "a next use after the end");
}

void check_experts(const replay::trace &read) {
  const replay::expert_trace &of = read.experts;
  require(of.layers != 0 && of.layers <= replay::layers_max, "layers");
  require(of.top_k != 0 && of.top_k <= replay::top_k_max, "experts of a token");
  require(of.experts <= replay::experts_max, "experts");
  require(of.chosen.size() == of.tokens() * of.layers * of.top_k, "half a token");
  uint64_t tokens = 0;
  for (const replay::expert_sequence &one : of.sequences) {
    require(one.first_token == tokens, "sequences leave a gap");
    require(one.prefill_tokens <= one.token_count, "a prompt longer than its sequence");
    tokens += one.token_count;
  }
  require(tokens == of.tokens(), "tokens of no sequence");
  for (const uint16_t expert : of.chosen)
    require(expert == replay::not_recorded || expert < of.experts, "an expert out of range");
  check_schedule(read, 1);
  check_schedule(read, 2);
}

void check_blocks(const replay::kv_trace &of, uint64_t tokens) {
  uint64_t blocks = 0, at_ns = 0, tokens_before = 0;
  for (const replay::kv_request &one : of.requests) {
    require(one.first_block == blocks, "requests leave a gap");
    require(one.at_ns >= at_ns, "time goes back");
    require(one.tokens_before >= tokens_before && one.tokens_before <= tokens, "a place goes back");
    blocks += one.block_count;
    at_ns = one.at_ns;
    tokens_before = one.tokens_before;
  }
  require(blocks == of.blocks.size(), "blocks of no request");
  for (const uint32_t block : of.blocks) require(block < of.unique, "a block out of range");
  const replay::request_schedule made = replay::make_requests(of, 7);
  require(made.next.size() == of.blocks.size(), "next touches");
  for (const cubby_object block : made.blocks)
    require(block >= 7 && block - 7 < of.unique, "a block out of range once it is renumbered");
}

void check_both(const replay::trace &of) {
  if (of.has_experts()) check_experts(of);
  if (of.has_blocks()) check_blocks(of.kv, of.experts.tokens());
}

/// Its beginning keeps to the same rules, and to its length.
void check_beginning(const std::string &path) {
  for (const uint64_t limit : {uint64_t{1}, uint64_t{3}}) {
    const auto some = replay::read_trace(path, limit);
    if (!some) continue;  // nothing was recorded of it
    require((some->has_experts() ? some->experts.tokens() : some->kv.requests.size()) <= limit,
            "more than was asked for");
    check_both(*some);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::folder folder;
  if (size == 0) return 0;
  const char *name = name_of(static_cast<char>(data[0]));
  std::string bytes(reinterpret_cast<const char *>(data) + 1, size - 1);
  folder.write(name, data[0] == 'B' ? with_checks(bytes) : bytes);
  const auto read = replay::read_trace(folder.path(name));
  if (!read) {
    require(read.failure().exit_status == exit_usage, "a refusal that is no usage");
    require(read.failure().text.starts_with(folder.path(name) + ": "), "a refusal of no file");
    require(read.failure().text.size() > folder.path(name).size() + 8, "a refusal without words");
  } else {
    fuzz::accepted = true;
    check_both(*read);
    check_beginning(folder.path(name));
    if (!read->has_experts() || read->experts.experts != 0) check_again(*read, folder);
  }
  folder.clear();
  return 0;
}
