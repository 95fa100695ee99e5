#include "cli/characterize/host_tier.hpp"

#include <algorithm>

#include "cli/characterize/curves.hpp"
#include "cli/characterize/library_memory.hpp"

namespace cubby_cli::characterize {
namespace {

constexpr memory_verb verbs[] = {memory_verb::read, memory_verb::write, memory_verb::copy,
                                 memory_verb::mix70};
/// Of a point of a file: memory repeats itself sooner than a device.
constexpr double share_of_point = 0.2, share_of_chase = 0.6, chase_seconds_min = 0.05;
constexpr uint64_t library_set_bytes = uint64_t{64} << 20;

const char *name_of(pages size) { return size == pages::huge ? "huge" : "small"; }

std::vector<uint64_t> blocks_of(bool quick) {
  if (quick) return {4096, 65536, 4u << 20};
  return {4096, 16384, 65536, 262144, 1u << 20, 4u << 20};
}

}  // namespace

host_tier::host_tier(const options &chosen, const node_here &node,
                     const std::vector<uint32_t> &elsewhere, energy_counters &energy)
    : chosen_(chosen),
      remote_(node.cpus.empty()),
      node_({node.number, node.memory_bytes, remote_ ? elsewhere : node.cpus}),
      energy_(energy) {
  if (remote_)
    made_.notes.emplace_back(
        "processors of other nodes read it: it has none that this process "
        "may use");
  if (!energy_.why().empty()) made_.notes.push_back("joules_per_byte is null: " + energy_.why());
}

done host_tier::open(pages size) {
  set_.reset();  // before the next one is taken
  set_ = std::make_unique<memory_set>();
  if (auto opened = set_->open(chosen_.memory_bytes(), size, node_.number, node_.cpus); !opened)
    return opened;
  if (remote_ && set_->bind_errno() != 0) {
    why_not_ = system_trouble("memory of node " + std::to_string(node_.number) +
                                  " was not measured, it could not be asked for",
                              set_->bind_errno())
                   .text +
               "; allow mbind in the container (docker: --cap-add SYS_NICE)";
    set_.reset();
    return nothing{};
  }
  const uint64_t huge = set_->huge_bytes();
  if (size == pages::huge && huge < set_->bytes() / 10 * 9)
    made_.notes.push_back("of " + bytes_text(set_->bytes()) + " asked for on huge pages, " +
                          bytes_text(huge) +
                          " are: free some memory, or allow them in "
                          "/sys/kernel/mm/transparent_hugepage/enabled (madvise is enough)");
  return nothing{};
}

void host_tier::add(profile::point made, pages size) {
  made.pages = name_of(size);
  made_.curves.push_back(std::move(made));
}

done host_tier::chase(pages size, double seconds) {
  if (!set_) return nothing{};
  auto found = set_->chase(node_.cpus, seconds, energy_);
  if (!found) return found.failure();
  profile::point made = point_of({verb::read, 64, 1}, "bare", false, *found);
  made.op = "chase";
  add(std::move(made), size);
  return nothing{};
}

done host_tier::run(const memory_load &asked, pages size, double seconds) {
  if (!set_) return nothing{};
  auto found = set_->run(asked, node_.cpus, seconds, energy_);
  if (!found) return found.failure();
  profile::point made =
      point_of({verb::read, asked.block_bytes, asked.threads}, "bare", false, *found);
  made.op = characterize::name_of(asked.what);
  add(std::move(made), size);
  return nothing{};
}

done host_tier::run_library(uint64_t block_bytes, double seconds) {
  if (!set_) return nothing{};
  library_memory gets(block_bytes, std::min(library_set_bytes, chosen_.memory_bytes()));
  auto opened = gets.open();
  auto found = opened ? gets.run(seconds, energy_) : outcome<figures>(opened.failure());
  if (!found) {
    made_.notes.push_back(found.failure().text);
    return nothing{};
  }
  profile::point made = point_of({verb::read, block_bytes, 1}, "cubby", false, *found);
  made.op = "copy";
  add(std::move(made), pages::huge);
  return nothing{};
}

done host_tier::read_from(const host_tier &reader, double seconds) {
  if (!set_) return nothing{};
  const auto threads = static_cast<uint32_t>(reader.node_.cpus.size());
  const uint64_t block = std::min<uint64_t>(1u << 20, set_->bytes() / threads / 4096 * 4096);
  auto found = set_->run({memory_verb::read, block, threads}, reader.node_.cpus, seconds, energy_);
  if (!found) return found.failure();
  auto loads = set_->chase(reader.node_.cpus, seconds, energy_);
  if (!loads) return loads.failure();
  links_.push_back({name(), reader.name(), found->bytes_per_s, loads->p50_ns, "measured",
                    "cubby characterize, reads by the other node's processors"});
  return nothing{};
}

std::vector<uint32_t> host_tier::thread_counts() const {
  const auto all = static_cast<uint32_t>(node_.cpus.size());
  std::vector<uint32_t> counts;
  for (uint32_t n = 1; n < all; n *= chosen_.quick ? all : 2) counts.push_back(n);
  counts.push_back(all);
  return counts;
}

void host_tier::plan_pages(steps &to, pages size) {
  const std::string begin = name() + ", " + name_of(size) + " pages: ";
  const double gib = static_cast<double>(chosen_.memory_bytes()) / (1u << 30);
  to.add(begin + "taking " + bytes_text(chosen_.memory_bytes()), 0, gib,
         [this, size](double) { return open(size); });
  if (size == pages::huge) plan_references(to);
  for (const memory_verb what : verbs)
    for (const uint64_t block : blocks_of(chosen_.quick)) {
      if (block * 4 > chosen_.memory_bytes()) continue;
      for (const uint32_t threads : thread_counts()) {
        if (block * threads > chosen_.memory_bytes()) continue;
        to.add(begin + characterize::name_of(what) + " of " + std::to_string(block >> 10) +
                   " KiB by " + std::to_string(threads) + " threads",
               share_of_point, 0.001, [this, what, block, threads, size](double s) {
                 return run({what, block, threads}, size, s * share_of_point);
               });
      }
    }
  to.add(begin + "latency", share_of_chase, gib, [this, size](double s) {
    return chase(size, std::max(chase_seconds_min, s * share_of_chase));
  });
}

void host_tier::plan(steps &to) {
  plan_pages(to, pages::small);
  plan_pages(to, pages::huge);
  plan_references(to);
  for (const uint64_t block : blocks_of(chosen_.quick)) {
    if (block * 4 > chosen_.memory_bytes()) continue;
    to.add(name() + ": gets of " + std::to_string(block >> 10) + " KiB, by the library",
           share_of_point, 0.1,
           [this, block](double s) { return run_library(block, s * share_of_point); });
  }
}

/// By all threads, a MiB at a time.
done host_tier::run_reference(memory_verb what, double seconds) {
  if (!set_) return nothing{};
  const auto threads = static_cast<uint32_t>(node_.cpus.size());
  const uint64_t block = std::min<uint64_t>(1u << 20, set_->bytes() / threads / 4096 * 4096);
  auto found = set_->run({what, block, threads}, node_.cpus, seconds, energy_);
  if (!found) return found.failure();
  references_.add(characterize::name_of(what), block, threads, found->bytes_per_s);
  return nothing{};
}

void host_tier::plan_references(steps &to) {
  for (const memory_verb what : {memory_verb::read, memory_verb::write})
    to.add(name() + ": " + characterize::name_of(what) + " (to compare)", share_of_point, 0.001,
           [this, what](double s) { return run_reference(what, s * share_of_point); });
}

void host_tier::plan_end(steps &to) {
  plan_references(to);
  to.add(name() + ": done", 0, 0, [this](double) {
    set_.reset();
    return done(nothing{});
  });
}

void host_tier::plan_link(steps &to, const host_tier &reader) {
  to.add(name() + " read by " + reader.name(), 2 * share_of_point, 0.2,
         [this, &reader](double s) { return read_from(reader, s * share_of_point); });
}

profile::tier host_tier::result() const {
  profile::tier made = made_;
  made.name = name();
  made.kind = "host";
  made.place = "node " + std::to_string(node_.number);
  if (node_.memory_bytes != 0) made.capacity_bytes = static_cast<double>(node_.memory_bytes);
  made.read = summary_of(made.curves, "read", "huge");
  made.write = summary_of(made.curves, "write", "huge");
  made.knees = knees_of(made.curves);
  made.spread = references_.result();
  if (const std::string note = spread_note(made.spread); !note.empty()) made.notes.push_back(note);
  made.origin = "measured";
  made.source = std::string("cubby characterize, ") + (chosen_.quick ? "quick, " : "") +
                "blocks at random in " + bytes_text(chosen_.memory_bytes());
  return made;
}

}  // namespace cubby_cli::characterize
