#include "cli/characterize/file_tier.hpp"

#include <algorithm>
#include <thread>

#include "cli/characterize/curves.hpp"
#include "cli/characterize/first_writes.hpp"
#include "cli/characterize/machine_here.hpp"

namespace cubby_cli::characterize {
namespace {

/// As the library writes back: pieces of a MiB, eight of them at once.
constexpr load write_back = {verb::write, uint64_t{1} << 20, 8};
constexpr uint32_t library_depth_max = 64;
/// What a file system notes of first writes it writes down a while later: soon is too soon.
constexpr double first_seconds_min = 1;

std::string step_name(const std::string &folder, const load &asked, const std::string &how) {
  return folder + ": " + name_of(asked.what) + " of " + std::to_string(asked.block_bytes >> 10) +
         " KiB at depth " + std::to_string(asked.depth) + how;
}

}  // namespace

file_tier::file_tier(const options &chosen, work_place in, energy_counters &energy)
    : chosen_(chosen), in_(std::move(in)), energy_(energy) {}

/// Enough for what is in flight to be all over the place.
uint64_t file_tier::written_bytes() const {
  return std::max(file_.bytes() / 4, write_back.block_bytes);
}

done file_tier::open() {
  if (auto good = file_.open(in_, chosen_.bytes_in(in_.remote), chosen_.direct); !good) return good;
  if (auto good = written_.open(in_, written_bytes(), chosen_.direct); !good) return good;
  if (!chosen_.direct)
    made_.notes.emplace_back("--direct 0: the page cache is part of what was measured");
  if (in_.remote) note_remote();
  if (!energy_.why().empty()) made_.notes.push_back("joules_per_byte is null: " + energy_.why());
  return nothing{};
}

/// What its figures are of besides the way there.
void file_tier::note_remote() {
  made_.notes.push_back(
      std::string(file_.on().of_a_program ? "served by a program (" : "over a network (") +
      text_of(file_.on()) +
      "): caches of what serves it, and others who use it, are part of what was "
      "measured");
  if (chosen_.direct && !file_.is_direct())
    made_.notes.emplace_back(
        "O_DIRECT is not granted here: the page cache of this machine may have answered");
}

/// Their memory is taken only while this directory is measured.
done file_tier::make_loops() {
  const grid all = file_grid(chosen_.quick, true);
  uint64_t memory_bytes = 0;
  for (const uint64_t block : all.blocks)
    if (fits(block)) memory_bytes = std::max(memory_bytes, block * all.depths.back());
  std::string why;
  auto made = make_loop({file_.fd(), 0, file_.bytes()}, memory_bytes, why);
  if (!made) return made.failure();
  loop_ = std::move(*made);
  loop_name_ = loop_->name();
  auto writes = make_loop({written_.fd(), 0, written_bytes()},
                          write_back.block_bytes * write_back.depth, why);
  if (!writes) return writes.failure();
  writer_ = std::move(*writes);
  if (!why.empty()) made_.notes.push_back(why);
  return nothing{};
}

void file_tier::end_loops() {
  library_.reset();
  loop_.reset();
  writer_.reset();
}

/// Several blocks, or it would be the same one again and again.
bool file_tier::fits(uint64_t block_bytes) const { return block_bytes * 4 <= file_.bytes(); }

load file_tier::reference(verb what) const {
  uint64_t block = uint64_t{1} << 20;
  while (!fits(block)) block /= 4;
  return {what, block, 8};
}

done file_tier::run_bare(const load &asked, double seconds, bool beside) {
  auto found = loop_->run(asked, seconds, energy_, nullptr);
  if (!found) return found.failure();
  made_.curves.push_back(point_of(asked, "bare", beside, *found));
  return nothing{};
}

/// What the library cannot do here is said once; the rest goes on without it.
void file_tier::give_up_library(const trouble &why) {
  library_.reset();
  made_.notes.push_back("not measured everywhere: " + why.text);
  library_failed_ = true;
}

done file_tier::run_library(uint64_t block_bytes, uint32_t depth, double seconds, bool beside) {
  if (library_failed_) return nothing{};
  const uint64_t deepest = std::min<uint64_t>(library_depth_max, file_.bytes() / block_bytes / 2);
  if (depth > deepest) return nothing{};
  if (library_block_bytes_ != block_bytes) {
    library_block_bytes_ = block_bytes;
    library_.reset();  // before the next one takes its memory
    library_ = std::make_unique<library_reads>();
    if (auto opened = library_->open(file_.path(), file_.bytes(), block_bytes,
                                     static_cast<uint32_t>(deepest));
        !opened) {
      give_up_library(opened.failure());
      return nothing{};
    }
  }
  auto found = library_->run(depth, seconds, energy_);
  if (!found) {
    give_up_library(found.failure());
    return nothing{};
  }
  made_.curves.push_back(point_of({verb::read, block_bytes, depth}, "cubby", beside, *found));
  return nothing{};
}

template <class Run>
done file_tier::with_write_back(const Run &run) {
  std::atomic<bool> stop = false;
  energy_counters own_energy("");  // counters are not for two threads
  done written = nothing{};
  std::thread other([&] {
    auto found = writer_->run(write_back, 3600, own_energy, &stop);
    if (!found) written = found.failure();
  });
  const done good = run();
  stop = true;
  other.join();
  return !good ? good : written;
}

/// What is measured again and again: how many bytes, and how many blocks.
std::vector<load> file_tier::references() const {
  std::vector<load> all;
  for (const verb what : {verb::read, verb::write}) {
    all.push_back(reference(what));
    all.push_back({what, 4096, 16});
  }
  return all;
}

done file_tier::run_reference(const load &asked, double seconds) {
  auto found = loop_->run(asked, seconds, energy_, nullptr);
  if (!found) return found.failure();
  references_.add(name_of(asked.what), asked.block_bytes, asked.depth, found->bytes_per_s);
  return nothing{};
}

void file_tier::plan_references(steps &to) {
  for (const load &asked : references())
    to.add(step_name(in_.folder, asked, " (to compare)"), 1, 0.02,
           [this, asked](double s) { return run_reference(asked, s); });
}

void file_tier::plan_grid(steps &to, verb what) {
  const grid all = file_grid(chosen_.quick, what == verb::read);
  for (const uint64_t block : all.blocks) {
    if (!fits(block)) continue;
    for (const uint32_t depth : all.depths) {
      const load asked = {what, block, depth};
      const double drain_s = static_cast<double>(block * depth) / 2e9;
      to.add(step_name(in_.folder, asked, ""), 1, drain_s,
             [this, asked](double s) { return run_bare(asked, s, false); });
      if (what != verb::read) continue;
      const double open_s = depth == all.depths.front() ? 0.1 + 70 * drain_s : 0;
      to.add(step_name(in_.folder, asked, ", by the library"), 1, drain_s + open_s,
             [this, asked](double s) {
               return run_library(asked.block_bytes, asked.depth, s, false);
             });
    }
  }
}

void file_tier::plan_beside(steps &to) {
  const grid all = beside_grid(chosen_.quick);
  for (const uint64_t block : all.blocks) {
    if (!fits(block)) continue;
    for (const uint32_t depth : all.depths) {
      const load asked = {verb::read, block, depth};
      to.add(step_name(in_.folder, asked, " beside write-back"), 1, 0.1, [this, asked](double s) {
        return with_write_back([&] { return run_bare(asked, s, true); });
      });
      to.add(step_name(in_.folder, asked, " beside write-back, by the library"), 1, 0.1,
             [this, asked](double s) {
               return with_write_back(
                   [&] { return run_library(asked.block_bytes, asked.depth, s, true); });
             });
    }
  }
}

/// A file system that takes no space beforehand has no such writes; that is said once.
done file_tier::run_first_writes(uint64_t block_bytes, double seconds) {
  if (first_failed_) return nothing{};
  const auto found = first_writes(written_, block_bytes, seconds, energy_);
  if (!found) {
    first_failed_ = true;
    made_.notes.push_back("first writes were not measured: " + found.failure().text);
    return nothing{};
  }
  made_.curves.push_back(point_of({verb::write, block_bytes, 1}, "bare", false, *found));
  made_.curves.back().op = "first_write";
  return nothing{};
}

void file_tier::plan_first_writes(steps &to) {
  for (const uint64_t block : file_grid(true, false).blocks) {
    if (block * 4 > written_.bytes()) continue;
    to.add(in_.folder + ": first writes of " + std::to_string(block >> 10) + " KiB", 1,
           first_seconds_min, [this, block](double s) {
             return run_first_writes(block, std::max(first_seconds_min, s));
           });
  }
}

void file_tier::plan(steps &to) {
  to.add(in_.folder + ": filling " + bytes_text(file_.bytes()), 0,
         static_cast<double>(file_.bytes()) / 0.8e9, [this](double) {
           if (auto filled = file_.fill(); !filled) return filled;
           return make_loops();
         });
  plan_references(to);
  // Reads before anything is overwritten: devices tidy up behind writes for a while.
  plan_grid(to, verb::read);
  plan_references(to);
  plan_grid(to, verb::write);
  plan_grid(to, verb::mix70);
  plan_references(to);
  to.add(in_.folder + ": opening it anew", 0, 0, [this](double) {
    library_.reset();  // what was written since has made another file of it
    library_block_bytes_ = 0;
    return done(nothing{});
  });
  plan_beside(to);
  plan_first_writes(to);
  plan_references(to);
  to.add(in_.folder + ": done", 0, 0, [this](double) {
    end_loops();
    return done(nothing{});
  });
}

std::string file_tier::source() const {
  return std::string("cubby characterize, ") + (chosen_.quick ? "quick, " : "") + loop_name_ +
         (file_.is_direct() ? ", O_DIRECT, " : ", buffered, ") + bytes_text(file_.bytes()) +
         " of " + block_device_of(file_.device()).text;
}

std::string file_tier::name() const { return (in_.remote ? "remote:" : "file:") + in_.folder; }

profile::tier file_tier::result() const {
  profile::tier made = made_;
  made.name = name();
  made.kind = in_.remote ? "remote" : "file";
  made.place = in_.folder;
  made.capacity_bytes = static_cast<double>(file_.free_bytes());
  made.read = summary_of(made.curves, "read", std::nullopt);
  made.write = summary_of(made.curves, "write", std::nullopt);
  made.knees = knees_of(made.curves);
  made.origin = "measured";
  made.source = source();
  judge(made);
  return made;
}

/// Do its figures hold, and how closely?
void file_tier::judge(profile::tier &made) const {
  made.steady = true;
  for (const verb what : {verb::read, verb::write}) {
    const load asked = reference(what);
    const auto speeds = references_.of(name_of(what), asked.block_bytes, asked.depth);
    if (speeds.empty() || agree(speeds.front(), speeds.back())) continue;
    made.steady = false;
    made.notes.push_back(
        std::string("not steady: the same ") + name_of(what) + " gave " +
        speed_text(speeds.front()) + " at first and " + speed_text(speeds.back()) +
        " at last; the device throttles (heat, a full write cache) or others use it: let it "
        "rest, keep others off, and measure again, or plan with the lower figure");
  }
  made.spread = references_.result();
  if (const std::string note = spread_note(made.spread); !note.empty()) made.notes.push_back(note);
}

std::optional<profile::link> file_tier::link_to(const std::string &host) const {
  double most = 0;
  const profile::point *alone = nullptr;
  for (const profile::point &one : made_.curves) {
    if (one.path != "cubby" || one.beside != "nothing") continue;
    most = std::max(most, one.bytes_per_s);
    if (alone == nullptr ||
        std::tie(one.block_bytes, one.depth) < std::tie(alone->block_bytes, alone->depth))
      alone = &one;
  }
  if (alone == nullptr) return std::nullopt;
  return profile::link{name(),     host,
                       most,       alone->p50_ns,
                       "measured", "cubby characterize, verified pins of the library"};
}

}  // namespace cubby_cli::characterize
