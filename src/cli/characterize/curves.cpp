#include "cli/characterize/curves.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace cubby_cli::characterize {
namespace {

using profile::point;

constexpr double enough = 0.95, steady_share = 0.15;

auto curve_of(const point &one) {
  return std::make_tuple(one.op, one.path, one.pages.value_or(""), one.beside, one.block_bytes);
}

}  // namespace

std::vector<profile::knee> knees_of(const std::vector<point> &curves) {
  std::map<decltype(curve_of(point())), std::vector<const point *>> by_curve;
  for (const point &one : curves)
    if (one.op != "chase") by_curve[curve_of(one)].push_back(&one);
  std::vector<profile::knee> knees;
  for (auto &[name, points] : by_curve) {
    std::sort(points.begin(), points.end(),
              [](const point *a, const point *b) { return a->depth < b->depth; });
    double most = 0;
    for (const point *one : points) most = std::max(most, one->bytes_per_s);
    const point &at = **std::find_if(points.begin(), points.end(), [&](const point *one) {
      return one->bytes_per_s >= enough * most;
    });
    knees.push_back(
        {at.op, at.path, at.pages, at.beside, at.block_bytes, at.depth, at.bytes_per_s, at.p50_ns});
  }
  return knees;
}

std::optional<profile::summary> summary_of(const std::vector<point> &curves, const std::string &op,
                                           const std::optional<std::string> &pages) {
  std::vector<point> own;
  const point *alone = nullptr, *chase = nullptr;
  for (const point &one : curves) {
    if (one.op == "chase" && one.pages == pages) chase = &one;
    if (one.op != op || one.path != "bare" || one.beside != "nothing" || one.pages != pages)
      continue;
    own.push_back(one);
    if (alone == nullptr ||
        std::tie(one.block_bytes, one.depth) < std::tie(alone->block_bytes, alone->depth))
      alone = &one;
  }
  if (own.empty()) return std::nullopt;
  const auto knees = knees_of(own);  // by size of block
  double most = 0;
  for (const auto &one : knees) most = std::max(most, one.bytes_per_s);
  const auto best = std::find_if(knees.begin(), knees.end(), [&](const profile::knee &one) {
    return one.bytes_per_s >= enough * most;
  });
  profile::summary made;
  made.bytes_per_s = best->bytes_per_s;
  made.block_bytes = best->block_bytes;
  made.depth = best->depth;
  made.latency_ns = (chase != nullptr ? chase : alone)->p50_ns.value_or(0);
  for (const point &one : own)
    if (one.block_bytes == best->block_bytes && one.depth == best->depth)
      made.joules_per_byte = one.joules_per_byte;
  return made;
}

const point *same_load(const std::vector<point> &curves, const point &as, const std::string &path,
                       const std::string &beside) {
  for (const point &one : curves)
    if (one.op == as.op && one.block_bytes == as.block_bytes && one.depth == as.depth &&
        one.pages == as.pages && one.path == path && one.beside == beside)
      return &one;
  return nullptr;
}

bool agree(double first, double last) {
  return first > 0 && std::fabs(last / first - 1) <= steady_share;
}

}  // namespace cubby_cli::characterize
