#include "cli/characterize/measured.hpp"

#include <algorithm>
#include <limits>

namespace cubby_cli::characterize {

const char *name_of(verb what) {
  return what == verb::read ? "read" : what == verb::write ? "write" : "mix70";
}

void latencies::add(uint64_t ns) {
  ns_.push_back(
      static_cast<uint32_t>(std::min<uint64_t>(ns, std::numeric_limits<uint32_t>::max())));
}

void latencies::into(figures &to) {
  if (ns_.empty()) return;
  const auto at = [&](double share) {
    const auto rank = static_cast<size_t>(share * static_cast<double>(ns_.size() - 1));
    const auto place = ns_.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(ns_.begin(), place, ns_.end());
    return static_cast<double>(*place);
  };
  to.p50_ns = at(0.5);
  to.p99_ns = at(0.99);
  to.p999_ns = at(0.999);
}

double median_of(std::vector<uint64_t> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return static_cast<double>(*middle);
}

meter::meter(energy_source &energy, double seconds)
    : energy_(energy), seconds_(seconds), joules_(energy.joules()) {}

void meter::ended_at(uint64_t bytes, uint64_t now_ns) {
  constexpr double slice_seconds_min = 0.02;
  last_ns_ = now_ns;
  if (first_ns_ == 0) {
    first_ns_ = slice_start_ns_ = now_ns;
    return;
  }
  bytes_ += bytes;
  slice_bytes_ += bytes;
  const double took = static_cast<double>(now_ns - slice_start_ns_) / 1e9;
  if (took < std::max(slice_seconds_min, seconds_ / 10)) return;
  slices_.push_back(static_cast<uint64_t>(static_cast<double>(slice_bytes_) / took));
  slice_start_ns_ = now_ns;
  slice_bytes_ = 0;
}

double meter::bytes_per_s() const {
  if (slices_.size() >= 5) return median_of(slices_);
  if (bytes_ == 0 || last_ns_ == first_ns_) return 0;
  return static_cast<double>(bytes_) * 1e9 / static_cast<double>(last_ns_ - first_ns_);
}

figures meter::stop(uint64_t bytes, latencies &of) {
  const bench::sample took = watch_.stop(bytes);
  const auto joules = energy_.joules();
  figures found;
  found.bytes = bytes;
  found.bytes_per_s = bytes_per_s();
  if (found.bytes_per_s == 0) found.bytes_per_s = static_cast<double>(bytes) / took.seconds;
  if (bytes != 0) {
    found.cpu_ns_per_byte = static_cast<double>(took.cpu_ns) / static_cast<double>(bytes);
    if (joules && joules_)
      found.joules_per_byte = (*joules - *joules_) / static_cast<double>(bytes);
  }
  of.into(found);
  return found;
}

profile::point point_of(const load &asked, const char *path, bool beside, const figures &found) {
  profile::point made;
  made.op = name_of(asked.what);
  made.path = path;
  if (beside) made.beside = "write-back";
  made.block_bytes = asked.block_bytes;
  made.depth = asked.depth;
  made.bytes_per_s = found.bytes_per_s;
  made.p50_ns = found.p50_ns;
  made.p99_ns = found.p99_ns;
  made.p999_ns = found.p999_ns;
  if (beside) return made;
  made.cpu_ns_per_byte = found.cpu_ns_per_byte;
  made.joules_per_byte = found.joules_per_byte;
  return made;
}

}  // namespace cubby_cli::characterize
