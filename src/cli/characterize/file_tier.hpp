// One directory's device, or what is mounted there over a network: what is measured there, and the
// tier that comes of it.
#pragma once

#include <memory>

#include "cli/characterize/bare_loop.hpp"
#include "cli/characterize/pin_stream.hpp"
#include "cli/characterize/plan.hpp"
#include "cli/characterize/repeats.hpp"
#include "cli/characterize/steps.hpp"
#include "cli/characterize/work_file.hpp"

namespace cubby_cli::characterize {

class file_tier {
 public:
  file_tier(const options &chosen, work_place in, energy_counters &energy);
  /// Takes the file, so that what is wrong with the directory shows before anything is measured.
  done open();
  void plan(steps &to);
  /// When all steps have run.
  [[nodiscard]] profile::tier result() const;
  /// How the library reads from here into host memory; nothing where that was not measured.
  [[nodiscard]] std::optional<profile::link> link_to(const std::string &host) const;
  [[nodiscard]] uint64_t device() const { return file_.device(); }
  [[nodiscard]] uint64_t bytes() const { return file_.bytes(); }
  /// By which this process can open the file that is measured.
  [[nodiscard]] std::string path() const { return file_.path(); }

 private:
  done make_loops();
  void end_loops();
  done run_bare(const load &asked, double seconds, bool beside);
  done run_library(uint64_t block_bytes, uint32_t depth, double seconds, bool beside);
  done run_reference(const load &asked, double seconds);
  void give_up_library(const trouble &why);
  template <class Run>
  done with_write_back(const Run &run);
  void plan_grid(steps &to, verb what);
  void plan_beside(steps &to);
  void plan_first_writes(steps &to);
  done run_first_writes(uint64_t block_bytes, double seconds);
  void plan_references(steps &to);
  [[nodiscard]] uint64_t written_bytes() const;
  [[nodiscard]] bool fits(uint64_t block_bytes) const;
  [[nodiscard]] load reference(verb what) const;
  [[nodiscard]] std::vector<load> references() const;
  void judge(profile::tier &made) const;
  [[nodiscard]] std::string source() const;
  [[nodiscard]] std::string name() const;
  void note_remote();

  const options &chosen_;
  const work_place in_;
  energy_counters &energy_;
  // Written back to is another file: the library reads nothing from one that changes.
  work_file file_, written_;
  std::unique_ptr<bare_loop> loop_, writer_;
  std::string loop_name_;
  std::unique_ptr<library_reads> library_;
  uint64_t library_block_bytes_ = 0;
  bool library_failed_ = false, first_failed_ = false;
  repeats references_;
  profile::tier made_;
};

}  // namespace cubby_cli::characterize
