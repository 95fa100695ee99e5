#include "cli/characterize/file_tier.hpp"

#include <algorithm>
#include <thread>

#include "cli/characterize/curves.hpp"
#include "cli/characterize/machine_here.hpp"

namespace cubby_cli::characterize {
namespace {

/// As the library writes back: pieces of a MiB, eight of them at once.
constexpr load write_back = {verb::write, uint64_t{1} << 20, 8};
constexpr uint32_t library_depth_max = 64;

std::string step_name(const std::string &folder, const load &asked, const std::string &how) {
  return folder + ": " + name_of(asked.what) + " of " + std::to_string(asked.block_bytes >> 10) +
         " KiB at depth " + std::to_string(asked.depth) + how;
}

}  // namespace

file_tier::file_tier(const options &chosen, std::string folder, energy_counters &energy)
    : chosen_(chosen), folder_(std::move(folder)), energy_(energy) {}

/// Enough for what is in flight to be all over the place.
uint64_t file_tier::written_bytes() const {
  return std::max(chosen_.file_bytes() / 4, write_back.block_bytes);
}

done file_tier::open() {
  const uint64_t bytes = chosen_.file_bytes();
  if (auto good = file_.open(folder_, bytes, chosen_.direct); !good) return good;
  if (auto good = written_.open(folder_, written_bytes(), chosen_.direct); !good) return good;
  if (!chosen_.direct)
    made_.notes.emplace_back("--direct 0: the page cache is part of what was measured");
  if (!energy_.why().empty()) made_.notes.push_back("joules_per_byte is null: " + energy_.why());
  return nothing{};
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
bool file_tier::fits(uint64_t block_bytes) const { return block_bytes * 4 <= chosen_.file_bytes(); }

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

done file_tier::run_reference(verb what, double seconds, bool last) {
  auto found = loop_->run(reference(what), seconds, energy_, nullptr);
  if (!found) return found.failure();
  (last ? last_ : first_)[what] = found->bytes_per_s;
  return nothing{};
}

void file_tier::plan_reference(steps &to, bool last) {
  for (const verb what : {verb::read, verb::write})
    to.add(step_name(folder_, reference(what), last ? " (again)" : " (to compare with later)"), 1,
           0.02, [this, what, last](double s) { return run_reference(what, s, last); });
}

void file_tier::plan_grid(steps &to, verb what) {
  const grid all = file_grid(chosen_.quick, what == verb::read);
  for (const uint64_t block : all.blocks) {
    if (!fits(block)) continue;
    for (const uint32_t depth : all.depths) {
      const load asked = {what, block, depth};
      const double drain_s = static_cast<double>(block * depth) / 2e9;
      to.add(step_name(folder_, asked, ""), 1, drain_s,
             [this, asked](double s) { return run_bare(asked, s, false); });
      if (what != verb::read) continue;
      const double open_s = depth == all.depths.front() ? 0.1 + 70 * drain_s : 0;
      to.add(step_name(folder_, asked, ", by the library"), 1, drain_s + open_s,
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
      to.add(step_name(folder_, asked, " beside write-back"), 1, 0.1, [this, asked](double s) {
        return with_write_back([&] { return run_bare(asked, s, true); });
      });
      to.add(step_name(folder_, asked, " beside write-back, by the library"), 1, 0.1,
             [this, asked](double s) {
               return with_write_back(
                   [&] { return run_library(asked.block_bytes, asked.depth, s, true); });
             });
    }
  }
}

void file_tier::plan(steps &to) {
  to.add(folder_ + ": filling " + bytes_text(chosen_.file_bytes()), 0,
         static_cast<double>(chosen_.file_bytes()) / 0.8e9, [this](double) {
           if (auto filled = file_.fill(); !filled) return filled;
           return make_loops();
         });
  plan_reference(to, false);
  // Reads before anything is overwritten: devices tidy up behind writes for a while.
  plan_grid(to, verb::read);
  plan_grid(to, verb::write);
  plan_grid(to, verb::mix70);
  to.add(folder_ + ": opening it anew", 0, 0, [this](double) {
    library_.reset();  // what was written since has made another file of it
    library_block_bytes_ = 0;
    return done(nothing{});
  });
  plan_beside(to);
  plan_reference(to, true);
  to.add(folder_ + ": done", 0, 0, [this](double) {
    end_loops();
    return done(nothing{});
  });
}

std::string file_tier::source() const {
  return std::string("cubby characterize, ") + (chosen_.quick ? "quick, " : "") + loop_name_ +
         (chosen_.direct ? ", O_DIRECT, " : ", buffered, ") + bytes_text(file_.bytes()) + " of " +
         block_device_of(file_.device()).text;
}

profile::tier file_tier::result() const {
  profile::tier made = made_;
  made.name = "file:" + folder_;
  made.kind = "file";
  made.place = folder_;
  made.capacity_bytes = static_cast<double>(file_.free_bytes());
  made.read = summary_of(made.curves, "read", std::nullopt);
  made.write = summary_of(made.curves, "write", std::nullopt);
  made.knees = knees_of(made.curves);
  made.origin = "measured";
  made.source = source();
  made.steady = true;
  for (const auto &[what, first] : first_) {
    const auto last = last_.find(what);
    if (last == last_.end() || agree(first, last->second)) continue;
    made.steady = false;
    made.notes.push_back(
        std::string("not steady: the same ") + name_of(what) + " gave " + speed_text(first) +
        " at first and " + speed_text(last->second) +
        " at last; the device throttles (heat, a full write cache) or others use it: let it "
        "rest, keep others off, and measure again, or plan with the lower figure");
  }
  return made;
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
  return profile::link{
      "file:" + folder_, host,       most,
      alone->p50_ns,     "measured", "cubby characterize, verified pins of the library"};
}

}  // namespace cubby_cli::characterize
