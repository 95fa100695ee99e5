#include "cli/profile/profile.hpp"

#include <span>

#include "cli/model/new_file.hpp"

namespace cubby_cli::profile {
namespace {

ordered_json of_number(const number &value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

template <class T>
ordered_json of_optional(const std::optional<T> &value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json json_of(const std::optional<summary> &of) {
  if (!of) return nullptr;
  return {{"bytes_per_s", of->bytes_per_s},
          {"latency_ns", of->latency_ns},
          {"block_bytes", of->block_bytes},
          {"depth", of->depth},
          {"joules_per_byte", of_number(of->joules_per_byte)}};
}

ordered_json json_of(const point &of) {
  return {{"op", of.op},
          {"path", of.path},
          {"pages", of_optional(of.pages)},
          {"beside", of.beside},
          {"block_bytes", of.block_bytes},
          {"depth", of.depth},
          {"bytes_per_s", of.bytes_per_s},
          {"p50_ns", of_number(of.p50_ns)},
          {"p99_ns", of_number(of.p99_ns)},
          {"p999_ns", of_number(of.p999_ns)},
          {"cpu_ns_per_byte", of_number(of.cpu_ns_per_byte)},
          {"joules_per_byte", of_number(of.joules_per_byte)}};
}

ordered_json json_of(const knee &of) {
  return {{"op", of.op},
          {"path", of.path},
          {"pages", of_optional(of.pages)},
          {"beside", of.beside},
          {"block_bytes", of.block_bytes},
          {"depth", of.depth},
          {"bytes_per_s", of.bytes_per_s},
          {"p50_ns", of_number(of.p50_ns)}};
}

ordered_json json_of(const std::optional<spread> &of) {
  if (!of) return nullptr;
  return {{"read", of_number(of->read)}, {"write", of_number(of->write)}, {"times", of->times}};
}

ordered_json json_of(const tier &of);
ordered_json json_of(const link &of);

template <class T>
ordered_json list_of(const std::vector<T> &all) {
  ordered_json list = ordered_json::array();
  for (const T &one : all) list.push_back(json_of(one));
  return list;
}

ordered_json json_of(const tier &of) {
  return {{"name", of.name},
          {"kind", of.kind},
          {"where", of.place},
          {"capacity_bytes", of_number(of.capacity_bytes)},
          {"read", json_of(of.read)},
          {"write", json_of(of.write)},
          {"curves", list_of(of.curves)},
          {"knees", list_of(of.knees)},
          {"steady", of_optional(of.steady)},
          {"spread", json_of(of.spread)},
          {"price_usd_per_byte", of_number(of.price_usd_per_byte)},
          {"endurance_write_bytes", of_number(of.endurance_write_bytes)},
          {"origin", of.origin},
          {"source", of.source},
          {"notes", of.notes}};
}

ordered_json json_of(const link &of) {
  return {{"from", of.from},
          {"to", of.to},
          {"bytes_per_s", of.bytes_per_s},
          {"latency_ns", of_number(of.latency_ns)},
          {"origin", of.origin},
          {"source", of.source}};
}

ordered_json json_of(const std::optional<compute> &of) {
  if (!of) return nullptr;
  return {{"where", of->place},
          {"product_bytes_per_s", of->product_bytes_per_s},
          {"one_thread_product_bytes_per_s", of_number(of->one_thread_product_bytes_per_s)},
          {"threads", of->threads},
          {"flop_per_s", of_number(of->flop_per_s)},
          {"watt", of_number(of->watt)},
          {"price_usd", of_number(of->price_usd)},
          {"origin", of->origin},
          {"source", of->source}};
}

std::string text_of(const ordered_json &of) {
  return of.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

const tier *machine_profile::find(const std::string &name) const {
  for (const tier &one : tiers)
    if (one.name == name) return &one;
  return nullptr;
}

ordered_json to_json(const machine_profile &of) {
  const making &made = of.made;
  const machine &here = of.machine;
  return {{"format", format_name},
          {"version", format_version},
          {"made",
           {{"by", made.by},
            {"at", made.at},
            {"quick", made.quick},
            {"seconds", of_number(made.seconds)}}},
          {"machine",
           {{"host", here.host},
            {"cpu", here.cpu},
            {"processors", here.processors},
            {"numa_nodes", here.numa_nodes},
            {"memory_bytes", of_number(here.memory_bytes)},
            {"topology", here.topology}}},
          {"tiers", list_of(of.tiers)},
          {"links", list_of(of.links)},
          {"compute", json_of(of.compute)},
          {"verify", {{"digest_bytes_per_s", of_number(of.digest_bytes_per_s)}}},
          {"price_usd", of_number(of.price_usd)},
          {"watt", of_number(of.watt)},
          {"notes", of.notes}};
}

bool is_profile(std::string_view begin, uint64_t) {
  std::string squeezed;
  for (const char c : begin.substr(0, 80))
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') squeezed += c;
  return squeezed.starts_with(R"({"format":"cubby-profile")");
}

done save(const machine_profile &what, const std::string &path) {
  const std::string text = text_of(to_json(what));
  model::new_file out(is_profile);
  if (auto opened = out.open(path, text.size()); !opened) return opened;
  if (auto put = out.write(std::as_bytes(std::span(text))); !put) return put;
  return out.publish();
}

}  // namespace cubby_cli::profile
