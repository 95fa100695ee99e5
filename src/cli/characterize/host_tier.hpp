// Host memory of one NUMA node: what is measured there, and the tier that comes of it.
#pragma once

#include <memory>

#include "cli/characterize/memory_set.hpp"
#include "cli/characterize/plan.hpp"
#include "cli/characterize/platform_here.hpp"
#include "cli/characterize/repeats.hpp"
#include "cli/characterize/steps.hpp"

namespace cubby_cli::characterize {

class host_tier {
 public:
  /// `elsewhere`: processors of other nodes, which read a node that has none of its own.
  host_tier(const options &chosen, const node_here &node, const std::vector<uint32_t> &elsewhere,
            energy_counters &energy);
  void plan(steps &to);
  [[nodiscard]] bool has_processors() const { return !remote_; }
  /// Read from processors of another node, for the link between the two.
  void plan_link(steps &to, const host_tier &reader);
  /// Gives the memory back.
  void plan_end(steps &to);
  /// A sentence where the node's memory cannot be had at all, else empty.
  [[nodiscard]] const std::string &why_not() const { return why_not_; }
  [[nodiscard]] profile::tier result() const;
  [[nodiscard]] const std::vector<profile::link> &links() const { return links_; }
  [[nodiscard]] std::string name() const { return "host:" + std::to_string(node_.number); }

 private:
  done open(pages size);
  done chase(pages size, double seconds);
  done run(const memory_load &asked, pages size, double seconds);
  done run_library(uint64_t block_bytes, double seconds);
  done read_from(const host_tier &reader, double seconds);
  void plan_pages(steps &to, pages size);
  void plan_references(steps &to);
  done run_reference(memory_verb what, double seconds);
  void add(profile::point made, pages size);
  [[nodiscard]] std::vector<uint32_t> thread_counts() const;

  const options &chosen_;
  const bool remote_;
  const node_here node_;  // with the processors that read it
  energy_counters &energy_;
  std::unique_ptr<memory_set> set_;
  std::vector<profile::link> links_;
  repeats references_;  // on huge pages
  std::string why_not_;
  profile::tier made_;
};

}  // namespace cubby_cli::characterize
