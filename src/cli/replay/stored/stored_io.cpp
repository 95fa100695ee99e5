#include "cli/replay/stored/stored_io.hpp"

#include <algorithm>
#include <iostream>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

/// Why such a policy's hits need not be the simulation's; empty where they are.
std::string why_different(const replayed_policy &policy) {
  if (policy.ops->admit != nullptr)
    return policy.name +
           " chooses what it admits, and goes by the time and the bounds of requests: the runtime "
           "keeps each block that is put without asking it, takes each call for a request, and has "
           "the machine's time, not the trace's";
  if (policy.name == "w-tinylfu" || names_library(policy.asked))
    return policy.name +
           " may go by the numbers of blocks: those of the runtime are in the order of puts";
  return {};
}

json as_json(const checked_blocks &of) {
  return {{"checked", of.count}, {"wrong_bytes", of.wrong_bytes}, {"damaged", of.damaged_count}};
}

}  // namespace

done stored_io::prepare() {
  stored_cache one(plan_, seed_);
  const uint64_t frame_max = (plan_.block_bytes + stored_page_bytes - 1) / stored_page_bytes + 1;
  if (auto opened = one.open("lru", 4 * frame_max * stored_page_bytes); !opened) return opened;
  const auto there = one.find_all();
  if (!there) return there.failure();
  found_at_open_ = there->size();
  for (const uint32_t block : *there) {
    const auto got = one.get(block, CUBBY_BYPASS, checked_at_open_);
    if (!got) return got.failure();
    if (progress_.due())
      progress_.show("reading what the store has: " + count_text(checked_at_open_.count) + " of " +
                     count_text(found_at_open_) + " blocks");
  }
  return measure_frame(one, *there);
}

/// What memory one block takes.
done stored_io::measure_frame(stored_cache &in, const std::vector<uint32_t> &there) {
  if (there.empty()) {
    checked_blocks unused;
    in.make(0, unused);
    if (auto put = in.put_made(0, nullptr, CUBBY_KEEP_CACHE); !put) return put;
  } else {
    checked_blocks again;
    if (const auto got = in.get(there.back(), 0, again); !got) return got.failure();
  }
  const auto seen = in.host_stats();
  if (!seen) return seen.failure();
  frame_bytes_ = std::max<uint64_t>(seen->used_bytes, 1);
  return nothing{};
}

json stored_io::about() const {
  json store = as_json(checked_at_open_);
  store["directory"] = plan_.directory;
  store["block_bytes"] = plan_.block_bytes;
  store["found_at_open"] = found_at_open_;
  return store;
}

outcome<stored_run> stored_io::run(const replayed_policy &which, uint64_t capacity) {
  stored_cache one(plan_, seed_);
  if (auto opened = one.open(which.asked, capacity * frame_bytes_); !opened)
    return opened.failure();
  stored_walk walk(of_, one, (which.ops->flags & CUBBY_POLICY_HEAD_FIRST) != 0);
  if (auto begun = walk.begin(); !begun) return begun.failure();
  const bench::stopwatch watch;
  for (size_t r = 0; r < of_.requests.size(); ++r) {
    if (auto played = walk.play(r); !played) return played.failure();
    if (progress_.due())
      progress_.show(which.name + " with real bytes, " + std::to_string(capacity) +
                     " lockers: " + std::to_string(100 * r / of_.requests.size()) + " %");
  }
  const bench::sample took = watch.stop(0);
  auto found = walk.finish();
  if (!found) return found;
  found->seconds = took.seconds;
  found->starved_ns = took.starved_ns;
  return found;
}

done stored_io::add(replayer &, const workload &of, const replayed_policy &which,
                    const asked_capacity &capacity, json &line) {
  if (which.needs_future())
    return usage_trouble("policy " + which.name +
                         " needs the future; --io asks the runtime, which has none");
  const auto found = run(which, capacity.units);
  if (!found) return found.failure();
  line["simulated_hits"] = line["hits"];
  line["equal"] = line["hits"] == found->hits;
  if (const std::string why = why_different(which); !why.empty()) line["may_differ"] = why;
  line["hits"] = found->hits;
  line["hit_ratio"] = static_cast<double>(found->hits) / static_cast<double>(of.accesses());
  json io = as_json(found->checked);
  io["found_at_open"] = found->found_at_open;
  io["usable"] = found->usable;
  io["put"] = found->put_count;
  io["put_again"] = found->put_again_count;
  io["read_bytes"] = found->read_bytes;
  io["evictions"] = found->evictions;
  io["seconds"] = found->seconds;
  io["time"] = {{"memory_ns", found->memory_ns},
                {"disk_ns", found->disk_ns},
                {"put_ns", found->put_ns},
                {"own_ns", found->checked.took_ns}};
  io["uses"] = {{"memory", found->memory_count}, {"disk", found->disk_count}};
  io["starved_ns"] = found->starved_ns;
  io["blocks_per_s"] = static_cast<double>(of.accesses()) / found->seconds;
  line["io"] = std::move(io);
  return nothing{};
}

void stored_io::print(const json &results) const {
  std::vector<std::vector<std::string>> lines = {{"policy", "capacity", "found at open", "put",
                                                  "checked", "wrong bytes", "usable",
                                                  "hits as simulated"}};
  for (const json &one : results) {
    const json &io = one["io"];
    const auto count = [&](const char *name) { return count_text(io[name].get<uint64_t>()); };
    lines.push_back({one["policy"], one["capacity"], count("found_at_open"), count("put"),
                     count("checked"), count("wrong_bytes"), count("usable"),
                     one["equal"] == true         ? "yes"
                     : one.contains("may_differ") ? "differ"
                                                  : "NO"});
  }
  std::cout << "\nwith real bytes, " << bytes_text(plan_.block_bytes) << " a block; the store had "
            << count_text(found_at_open_) << " blocks, " << count_text(checked_at_open_.wrong_bytes)
            << " wrong bytes in them\n";
  print_table(lines);
  for (const json &one : results)
    if (one["equal"] == false && one.contains("may_differ"))
      std::cout << one["policy"].get<std::string>() << " at " << one["capacity"].get<std::string>()
                << ": " << count_text(one["hits"].get<uint64_t>()) << " hits, "
                << count_text(one["simulated_hits"].get<uint64_t>()) << " as simulated; "
                << one["may_differ"].get<std::string>() << "\n";
}

}  // namespace cubby_cli::replay
