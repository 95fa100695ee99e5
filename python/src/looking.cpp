// Tiers, regions, counters and the log.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "handles.hpp"
#include "request.hpp"

namespace pycubby {

nb::object text_of(const char *text) {
  nb::object made = nb::steal(
      PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(strlen(text)), "backslashreplace"));
  if (!made.is_valid()) throw nb::python_error();
  return made;
}

nb::object path_text(const char *path) {
  nb::object made = nb::steal(PyUnicode_DecodeFSDefault(path));
  if (!made.is_valid()) throw nb::python_error();
  return made;
}

std::string path_of(nb::handle from) {
  PyObject *encoded = nullptr;
  if (PyUnicode_FSConverter(from.ptr(), &encoded) == 0) throw nb::python_error();
  const nb::bytes made = nb::steal<nb::bytes>(encoded);
  return {made.c_str(), made.size()};
}

std::optional<std::string> path_or_none(nb::handle from) {
  if (from.is_none()) return std::nullopt;
  return path_of(from);
}

std::vector<std::string> paths_of(nb::handle list) {
  const bool one = PyUnicode_Check(list.ptr()) || PyBytes_Check(list.ptr());
  if (one || PySequence_Check(list.ptr()) == 0) {
    throw nb::type_error("paths are a list of paths, not one");
  }
  std::vector<std::string> paths;
  for (nb::handle each : nb::borrow<nb::sequence>(list)) paths.push_back(path_of(each));
  return paths;
}

namespace {

nb::dict tier_stats(const cubby_tier_stats &t) {
  nb::dict out;
#define CUBBY_FIELD(name) out[#name] = t.name
  CUBBY_FIELD(tier);
  CUBBY_FIELD(budget_bytes);
  CUBBY_FIELD(used_bytes);
  CUBBY_FIELD(pinned_bytes);
  CUBBY_FIELD(peak_bytes);
  CUBBY_FIELD(hit_count);
  CUBBY_FIELD(miss_count);
  CUBBY_FIELD(evict_count);
  CUBBY_FIELD(demand_bytes);
  CUBBY_FIELD(prefetch_used_bytes);
  CUBBY_FIELD(prefetch_wasted_bytes);
  CUBBY_FIELD(write_back_bytes);
  CUBBY_FIELD(padding_bytes);
  CUBBY_FIELD(read_count);
  CUBBY_FIELD(write_count);
  CUBBY_FIELD(error_count);
  CUBBY_FIELD(corrupt_count);
  CUBBY_FIELD(late_count);
  CUBBY_FIELD(health);
  CUBBY_FIELD(emulated);
  CUBBY_FIELD(bytes_in);
  CUBBY_FIELD(bytes_out);
#undef CUBBY_FIELD
  return out;
}

nb::dict describe(const tier &of) {
  cubby_tier_info t{};
  t.struct_size = sizeof t;
  check(of.owner->quick([&](cubby *rt) { return cubby_tier_describe(rt, of.handle, &t); }));
  nb::dict out;
#define CUBBY_FIELD(name) out[#name] = t.name
  CUBBY_FIELD(rank);
  CUBBY_FIELD(emulated);
  CUBBY_FIELD(registered);
  CUBBY_FIELD(queue_depth);
  CUBBY_FIELD(memory_bytes);
  CUBBY_FIELD(huge_bytes);
  CUBBY_FIELD(numa_nodes);
#undef CUBBY_FIELD
  out["name"] = text_of(t.name);
  out["backend"] = text_of(t.backend);
  out["io"] = text_of(t.io);
  out["why"] = text_of(t.why);
  return out;
}

nb::object resize(const tier &of, uint64_t budget_bytes) {
  auto what = std::make_shared<request>();
  what->owner = of.owner.get();
  submit(what, options{}, 0, [&](cubby *rt, const cubby_how *, cubby_ticket *out) {
    return cubby_tier_resize(rt, of.handle, budget_bytes, out);
  });
  if (what->status < 0) raise(error_of(*what));
  return ticket_of(of.owner, std::move(what));
}

void remove_region(const region &of) {
  check(of.owner->call([&](cubby *rt) { return cubby_region_remove(rt, of.handle); }));
  of.owner->regions.erase(of.handle);
}

region_span span_of(const region &of, uint64_t offset_bytes, uint64_t bytes) {
  if (offset_bytes > of.bytes || bytes > of.bytes - offset_bytes) {
    throw nb::value_error("outside of the region");
  }
  return {of.handle, offset_bytes, bytes, of.device};
}

}  // namespace

nb::dict stats_of(core &of) {
  cubby_stats_block s{};
  s.struct_size = sizeof s;
  std::vector<cubby_tier_stats> tiers(64);
  for (auto &each : tiers) each.struct_size = sizeof each;
  check(of.quick([&](cubby *rt) {
    return cubby_stats(rt, &s, tiers.data(), static_cast<uint32_t>(tiers.size()));
  }));
  nb::dict out;
#define CUBBY_FIELD(name) out[#name] = s.name
  CUBBY_FIELD(table_bytes);
  CUBBY_FIELD(policy_bytes);
  CUBBY_FIELD(digest_bytes);
  CUBBY_FIELD(visit_count);
  CUBBY_FIELD(visit_dropped_count);
  CUBBY_FIELD(log_dropped_count);
  CUBBY_FIELD(stall_read_ns);
  CUBBY_FIELD(stall_join_ns);
  CUBBY_FIELD(stall_frame_wait_ns);
  CUBBY_FIELD(stall_copy_ns);
  CUBBY_FIELD(stall_handoff_ns);
  CUBBY_FIELD(unverified_bytes);
#undef CUBBY_FIELD
  nb::list each;
  for (uint32_t i = 0; i < s.tier_count && i < tiers.size(); ++i) each.append(tier_stats(tiers[i]));
  out["tiers"] = each;
  return out;
}

nb::str metrics_of(core &of) {
  std::string text;
  for (size_t needed_bytes = 0;;) {
    const cubby_status asked = of.call(
        [&](cubby *rt) { return cubby_metrics(rt, text.data(), text.size(), &needed_bytes); });
    if (asked == CUBBY_OK) return nb::str(text.c_str(), needed_bytes - 1);
    if (needed_bytes <= text.size()) check(asked);
    text.resize(needed_bytes + 1024);  // it may grow until the next call
  }
}

void publish(core &of, double seconds) {
  if (!(seconds >= 0 && seconds <= 3600)) {
    throw nb::value_error("interval is from 0 to 3600 seconds; 0 ends it");
  }
  const double ms = seconds > 0 ? std::max(1.0, seconds * 1000) : 0;
  check(of.call([&](cubby *rt) { return cubby_publish(rt, static_cast<uint32_t>(ms)); }));
}

nb::list log_of(core &of, uint32_t max_count) {
  nb::list out;
  cubby_log_line line{};
  while (max_count-- != 0 &&
         of.quick([&](cubby *rt) { return cubby_log_take(rt, &line, 1); }) == 1) {
    out.append(nb::make_tuple(line.at_ns, line.level, line.tier, text_of(line.text)));
  }
  return out;
}

cubby_tier tier_of(nb::handle from) {
  if (from.is_none()) return 0;
  if (!nb::isinstance<tier>(from)) throw nb::type_error("tier is a Tier, or None");
  return nb::cast<const tier &>(from).handle;
}

void bind_tiers(nb::module_ &m) {
  nb::class_<tier>(m, "Tier", "A tier of one runtime.")
      .def_ro("handle", &tier::handle, "The number of the tier, as cubby.h calls name it.")
      .def_ro("name", &tier::name)
      .def("describe", &describe,
           "What the tier turned out to be: a dict; 'io' is the path in use, 'why' says why it is "
           "and what would allow a better one.")
      .def("resize", &resize, nb::arg("budget_bytes"),
           "Another budget. The Ticket completes when it holds; BudgetError if pinned bytes alone "
           "exceed it.");
  nb::class_<region_span>(m, "RegionSpan", "A piece of a region; memory for get and put.")
      .def_ro("offset_bytes", &region_span::offset_bytes)
      .def_ro("bytes", &region_span::bytes);
  nb::class_<region>(m, "Region", "Memory of the caller that the runtime knows.")
      .def_ro("handle", &region::handle)
      .def("__len__", [](const region &r) { return r.bytes; })
      .def("span", &span_of, nb::arg("offset_bytes"), nb::arg("bytes"),
           "A piece of it, as memory for get and put: without staging.")
      .def("remove", &remove_region, "BusyError while a tier or a request uses it.");
}

}  // namespace pycubby
