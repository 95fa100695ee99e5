// From JSON to the struct, with refusals that name the place in the file.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <utility>

#include "cli/depth_limit.hpp"
#include "cli/profile/profile.hpp"

namespace cubby_cli::profile {
namespace {

using nlohmann::json;

constexpr double number_max = 1e21;  // of bytes, bytes a second, nanoseconds, operations a second

/// The first thing that was found wrong; later ones mostly follow from it.
class complaint {
 public:
  void say(const std::string &place, const std::string &what) {
    if (text_.empty()) text_ = place + " " + what;
  }
  [[nodiscard]] const std::string &text() const { return text_; }

 private:
  std::string text_;
};

/// An object of the file, its place in it, and where to complain.
class fields {
 public:
  fields(const json &of, std::string place, complaint &wrong)
      : of_(of), place_(std::move(place)), wrong_(wrong) {
    if (!of_.is_object()) wrong_.say(place_, "is no object");
  }

  [[nodiscard]] std::string text(const char *name) const {
    const json *found = find(name);
    if (found == nullptr) return {};
    if (found->is_string()) return *found;
    wrong_.say(at(name), "is not a text");
    return {};
  }
  [[nodiscard]] std::string needed_text(const char *name) const {
    std::string value = text(name);
    if (value.empty()) wrong_.say(at(name), "is missing or empty");
    return value;
  }
  [[nodiscard]] std::string one_of(const char *name, const std::vector<std::string> &words) const {
    std::string value = needed_text(name);
    if (std::find(words.begin(), words.end(), value) != words.end()) return value;
    std::string list;
    for (const std::string &word : words) list += (list.empty() ? "" : ", ") + word;
    wrong_.say(at(name), "is \"" + value + "\"; there are " + list);
    return value;
  }
  [[nodiscard]] number maybe(const char *name) const {
    const json *found = find(name);
    if (found == nullptr) return std::nullopt;
    if (!found->is_number()) {
      wrong_.say(at(name), "is not a number");
      return std::nullopt;
    }
    const double value = found->get<double>();
    if (!(value >= 0) || !std::isfinite(value)) wrong_.say(at(name), "is not a number from 0 on");
    if (value > number_max) wrong_.say(at(name), "is above 10^21, which nothing measures");
    return value;
  }
  [[nodiscard]] double positive(const char *name) const {
    const number value = maybe(name);
    if (!value || !(*value > 0)) wrong_.say(at(name), "is missing or not above 0");
    return value.value_or(0);
  }
  /// What is divided by, where it is known.
  [[nodiscard]] number maybe_positive(const char *name) const {
    const number value = maybe(name);
    if (value && !(*value > 0)) wrong_.say(at(name), "is not above 0 (null where it is not known)");
    return value;
  }
  [[nodiscard]] uint64_t count(const char *name) const {
    const json *found = find(name);
    if (found == nullptr) return 0;
    if (found->is_number_unsigned()) return *found;
    wrong_.say(at(name), "is not a whole number from 0 on");
    return 0;
  }
  [[nodiscard]] uint64_t needed_count(const char *name) const {
    const uint64_t value = count(name);
    if (value == 0) wrong_.say(at(name), "is missing or 0");
    return value;
  }
  [[nodiscard]] std::optional<bool> yes_no(const char *name) const {
    const json *found = find(name);
    if (found == nullptr) return std::nullopt;
    if (found->is_boolean()) return found->get<bool>();
    wrong_.say(at(name), "is neither true nor false");
    return std::nullopt;
  }
  [[nodiscard]] std::optional<std::string> maybe_text(const char *name) const {
    return find(name) == nullptr ? std::nullopt : std::optional(text(name));
  }

  template <class Read>
  auto object(const char *name, const Read &read) const
      -> std::optional<decltype(read(std::declval<const fields &>()))> {
    const json *found = find(name);
    if (found == nullptr) return std::nullopt;
    return read(fields(*found, at(name), wrong_));
  }
  template <class Read>
  auto list(const char *name, const Read &read) const {
    std::vector<decltype(read(std::declval<const fields &>()))> all;
    const json *found = find(name);
    if (found == nullptr) return all;
    if (!found->is_array()) {
      wrong_.say(at(name), "is no list");
      return all;
    }
    for (size_t i = 0; i < found->size(); ++i)
      all.push_back(read(fields((*found)[i], at(name) + "[" + std::to_string(i) + "]", wrong_)));
    return all;
  }
  [[nodiscard]] std::vector<std::string> texts(const char *name) const {
    std::vector<std::string> all;
    const json *found = find(name);
    if (found == nullptr) return all;
    if (!found->is_array()) wrong_.say(at(name), "is no list");
    for (const json &one : *found) {
      if (!one.is_string()) wrong_.say(at(name), "has something that is not a text");
      if (one.is_string()) all.push_back(one);
    }
    return all;
  }
  [[nodiscard]] const json *find(const char *name) const {
    if (!of_.is_object()) return nullptr;
    const auto found = of_.find(name);
    return found == of_.end() || found->is_null() ? nullptr : &*found;
  }
  void complain(const char *name, const std::string &what) const { wrong_.say(at(name), what); }

 private:
  [[nodiscard]] std::string at(const char *name) const {
    return place_.empty() ? name : place_ + "." + name;
  }
  const json &of_;
  const std::string place_;
  complaint &wrong_;
};

constexpr uint64_t file_bytes_max = uint64_t{64} << 20;

const std::vector<std::string> origins = {"measured", "preset", "assumed"};

summary summary_of(const fields &of) {
  summary made;
  made.bytes_per_s = of.positive("bytes_per_s");
  made.latency_ns = of.maybe("latency_ns").value_or(0);
  made.block_bytes = of.count("block_bytes");
  made.depth = of.count("depth");
  made.joules_per_byte = of.maybe("joules_per_byte");
  return made;
}

point point_of(const fields &of) {
  point made;
  made.op = of.one_of("op", {"read", "write", "first_write", "mix70", "copy", "chase"});
  made.path = of.one_of("path", {"bare", "cubby"});
  made.pages = of.maybe_text("pages");
  made.beside = of.one_of("beside", {"nothing", "write-back"});
  made.block_bytes = of.needed_count("block_bytes");
  made.depth = of.needed_count("depth");
  made.bytes_per_s = of.positive("bytes_per_s");
  made.p50_ns = of.maybe("p50_ns");
  made.p99_ns = of.maybe("p99_ns");
  made.p999_ns = of.maybe("p999_ns");
  made.cpu_ns_per_byte = of.maybe("cpu_ns_per_byte");
  made.joules_per_byte = of.maybe("joules_per_byte");
  return made;
}

knee knee_of(const fields &of) {
  return {of.needed_text("op"),           of.needed_text("path"),
          of.maybe_text("pages"),         of.text("beside"),
          of.needed_count("block_bytes"), of.needed_count("depth"),
          of.positive("bytes_per_s"),     of.maybe("p50_ns")};
}

spread spread_of(const fields &of) {
  return {of.maybe("read"), of.maybe("write"), of.count("times")};
}

tier tier_of(const fields &of) {
  tier made;
  made.name = of.needed_text("name");
  made.kind = of.one_of("kind", {"host", "file", "device", "remote"});
  made.place = of.text("where");
  made.capacity_bytes = of.maybe("capacity_bytes");
  made.read = of.object("read", summary_of);
  made.write = of.object("write", summary_of);
  made.curves = of.list("curves", point_of);
  made.knees = of.list("knees", knee_of);
  made.steady = of.yes_no("steady");
  made.spread = of.object("spread", spread_of);
  made.price_usd_per_byte = of.maybe("price_usd_per_byte");
  made.endurance_write_bytes = of.maybe("endurance_write_bytes");
  made.origin = of.one_of("origin", origins);
  made.source = of.text("source");
  made.notes = of.texts("notes");
  return made;
}

link link_of(const fields &of) {
  return {of.needed_text("from"), of.needed_text("to"),         of.positive("bytes_per_s"),
          of.maybe("latency_ns"), of.one_of("origin", origins), of.text("source")};
}

compute compute_of(const fields &of) {
  compute made;
  made.place = of.needed_text("where");
  made.product_bytes_per_s = of.positive("product_bytes_per_s");
  made.one_thread_product_bytes_per_s = of.maybe_positive("one_thread_product_bytes_per_s");
  made.threads = of.count("threads");
  made.flop_per_s = of.maybe_positive("flop_per_s");
  made.watt = of.maybe("watt");
  made.price_usd = of.maybe("price_usd");
  made.origin = of.one_of("origin", origins);
  made.source = of.text("source");
  return made;
}

machine machine_of(const fields &of) {
  machine made;
  made.host = of.text("host");
  made.cpu = of.text("cpu");
  made.processors = of.count("processors");
  made.numa_nodes = of.count("numa_nodes");
  made.memory_bytes = of.maybe("memory_bytes");
  if (const json *found = of.find("topology")) made.topology = *found;
  return made;
}

making making_of(const fields &of) {
  return {of.text("by"), of.text("at"), of.yes_no("quick").value_or(false), of.maybe("seconds")};
}

/// Names are how links and plans speak of tiers.
void check_names(const machine_profile &of, const fields &top) {
  for (size_t i = 0; i < of.tiers.size(); ++i)
    if (of.find(of.tiers[i].name) != &of.tiers[i])
      top.complain("tiers", "has two of the name " + of.tiers[i].name);
  std::set<std::pair<std::string, std::string>> ways;
  for (const link &one : of.links)
    if (!ways.insert({one.from, one.to}).second)
      top.complain("links", "has two from " + one.from + " to " + one.to);
  for (const link &one : of.links)
    for (const std::string &end : {one.from, one.to})
      if (of.find(end) == nullptr)
        top.complain("links", "names " + end + ", which is none of the tiers");
}

}  // namespace

outcome<machine_profile> from_json(const json &file, const std::string &path) {
  if (!file.is_object() || !file.contains("format") || file["format"] != format_name)
    return usage_trouble(path + " is no profile of a machine (no \"format\": \"" + format_name +
                         "\" in it); name a file that cubby characterize --save wrote");
  const json version = file.value("version", json());
  if (version != format_version)
    return usage_trouble(path + " is a profile of version " + version.dump() +
                         ", and this program reads version " + std::to_string(format_version) +
                         "; make it again with this program's cubby characterize --save");
  complaint wrong;
  const fields top(file, "", wrong);
  machine_profile made;
  made.made = top.object("made", making_of).value_or(making());
  made.machine = top.object("machine", machine_of).value_or(machine());
  made.tiers = top.list("tiers", tier_of);
  if (made.tiers.empty()) top.complain("tiers", "is missing or empty");
  made.links = top.list("links", link_of);
  made.compute = top.object("compute", compute_of);
  made.digest_bytes_per_s =
      top.object("verify", [](const fields &of) { return of.maybe_positive("digest_bytes_per_s"); })
          .value_or(std::nullopt);
  made.price_usd = top.maybe("price_usd");
  made.watt = top.maybe("watt");
  made.notes = top.texts("notes");
  check_names(made, top);
  if (wrong.text().empty()) return made;
  return usage_trouble(path + ": " + wrong.text() +
                       "; correct it (docs/profile.md tells every field), or make the profile "
                       "again with cubby characterize --save");
}

outcome<machine_profile> load(const std::string &path) {
  constexpr const char *remedy = "; name a file that cubby characterize --save wrote";
  std::error_code failed;
  const auto what = std::filesystem::status(path, failed);
  if (std::filesystem::is_directory(what)) return usage_trouble(path + " is a folder" + remedy);
  // Before it is read: a device never ends, and a pipe waits.
  if (std::filesystem::exists(what) && !std::filesystem::is_regular_file(what))
    return usage_trouble(path + " is no regular file" + remedy);
  if (const auto bytes = std::filesystem::file_size(path, failed);
      !failed && bytes > file_bytes_max)
    return usage_trouble(path + " has more than 64 MiB, so it is no profile" + remedy);
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    trouble why = system_trouble("cannot read the profile " + path, errno);
    why.text += "; cubby characterize --save FILE makes one";
    why.exit_status = exit_usage;
    return why;
  }
  std::string text(std::istreambuf_iterator<char>(in), {});
  try {
    depth_limit limit;
    const json file = json::parse(text, std::ref(limit));
    if (limit.exceeded)
      return usage_trouble(path + " is nested deeper than " + std::to_string(limit.most) +
                           " levels, so it is no profile" + remedy);
    return from_json(file, path);
  } catch (const nlohmann::json::parse_error &wrong) {
    return usage_trouble(path + " is no JSON from byte " + std::to_string(wrong.byte) +
                         " on; it was cut short or is another kind of file: make it again with "
                         "cubby characterize --save");
  }
}

}  // namespace cubby_cli::profile
