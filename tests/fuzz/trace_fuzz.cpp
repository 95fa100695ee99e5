// Traces of every kind that `cubby replay` reads. The first byte says which: 'j' JSON lines, 'c'
// CSV, 'J' and 'Z' JSON lines packed by xz and zstd. An accepted trace keeps to its own shape and
// can be made into visits; a refused one says why.
#include "cli/replay/schedule.hpp"
#include "cli/replay/simulate.hpp"
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
    default:
      return "t.jsonl";
  }
}

void check_schedule(const replay::expert_trace &of, uint32_t batch) {
  const replay::expert_schedule made = replay::make_schedule(of, batch);
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

void check_experts(const replay::expert_trace &of) {
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
  check_schedule(of, 1);
  check_schedule(of, 2);
}

void check_blocks(const replay::kv_trace &of) {
  uint64_t blocks = 0, at_ns = 0;
  for (const replay::kv_request &one : of.requests) {
    require(one.first_block == blocks, "requests leave a gap");
    require(one.at_ns >= at_ns, "time goes back");
    blocks += one.block_count;
    at_ns = one.at_ns;
  }
  require(blocks == of.blocks.size(), "blocks of no request");
  for (const uint32_t block : of.blocks) require(block < of.unique, "a block out of range");
  require(replay::next_touches(of).size() == of.blocks.size(), "next touches");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::folder folder;
  if (size == 0) return 0;
  const char *name = name_of(static_cast<char>(data[0]));
  folder.write(name, {reinterpret_cast<const char *>(data) + 1, size - 1});
  const auto read = replay::read_trace(folder.path(name));
  if (!read) {
    require(read.failure().exit_status == exit_usage, "a refusal that is no usage");
    require(read.failure().text.starts_with(folder.path(name) + ": "), "a refusal of no file");
    require(read.failure().text.size() > folder.path(name).size() + 8, "a refusal without words");
  } else {
    fuzz::accepted = true;
    if (read->of_experts)
      check_experts(read->experts);
    else
      check_blocks(read->kv);
  }
  folder.clear();
  return 0;
}
