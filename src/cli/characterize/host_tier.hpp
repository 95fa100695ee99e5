// Host memory of one NUMA node: what is measured there, and the tier that comes of it.
#pragma once

#include <memory>

#include "cli/characterize/memory_set.hpp"
#include "cli/characterize/plan.hpp"
#include "cli/characterize/platform_here.hpp"
#include "cli/characterize/steps.hpp"

namespace cubby_cli::characterize {

class host_tier {
 public:
  host_tier(const options &chosen, const node_here &node, energy_counters &energy);
  void plan(steps &to);
  /// Read from processors of another node, for the link between the two.
  void plan_link(steps &to, const host_tier &reader);
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
  void add(profile::point made, pages size);
  [[nodiscard]] std::vector<uint32_t> thread_counts() const;

  const options &chosen_;
  const node_here node_;
  energy_counters &energy_;
  std::unique_ptr<memory_set> set_;
  std::vector<profile::link> links_;
  profile::tier made_;
};

}  // namespace cubby_cli::characterize
