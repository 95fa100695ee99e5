// cubby characterize: what the tiers of this machine deliver, as a profile that other commands use.
#include <cmath>
#include <cstdlib>
#include <span>

#include "cli/characterize/page.hpp"
#include "cli/characterize/report.hpp"
#include "cli/characterize/run.hpp"
#include "cli/commands.hpp"
#include "cli/model/new_file.hpp"
#include "cli/replay/formats/save.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

using characterize::options;

constexpr uint64_t size_bytes_min = uint64_t{1} << 20, size_bytes_max = uint64_t{1} << 40;

struct words {
  options chosen;
  std::string size, runtime, direct = "1";
};

int fail(const options &chosen, const trouble &why) {
  return report_trouble("characterize", why, chosen.json);
}

done read_size(const std::string &text, options &to) {
  if (text.empty()) return nothing{};
  const double bytes = byte_count(text).value_or(0);
  if (bytes < size_bytes_min || bytes > size_bytes_max)
    return usage_trouble("--size is from 1m to 1t (64m, 4g), not " + text);
  to.size_bytes = static_cast<uint64_t>(bytes) >> 20 << 20;
  return nothing{};
}

done read_runtime(const std::string &text, options &to) {
  if (text.empty()) return nothing{};
  char *end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || *end != '\0' || !(seconds >= 0.001) || seconds > 3600)
    return usage_trouble("--runtime is the seconds for a point, from 0.001 to 3600, not " + text);
  to.runtime_seconds = seconds;
  return nothing{};
}

/// Before minutes of measuring.
done check_places(const options &chosen) {
  const std::vector<replay::named_file> written = {{"--save", chosen.save, profile::is_profile},
                                                   {"--html", chosen.html, characterize::is_page}};
  if (auto good = replay::check_distinct({}, written); !good) return good;
  for (const replay::named_file &file : written) {
    if (file.path.empty()) continue;
    if (auto good = replay::check_place(file); !good) return good;
  }
  return nothing{};
}

done save_page(const std::string &path, const std::string &text) {
  model::new_file out(characterize::is_page);
  if (auto opened = out.open(path, text.size()); !opened) return opened;
  if (auto put = out.write(std::as_bytes(std::span(text))); !put) return put;
  return out.publish();
}

int run(words &given) {
  options &chosen = given.chosen;
  chosen.direct = given.direct == "1";
  if (auto good = read_size(given.size, chosen); !good) return fail(chosen, good.failure());
  if (auto good = read_runtime(given.runtime, chosen); !good) return fail(chosen, good.failure());
  if (auto good = check_places(chosen); !good) return fail(chosen, good.failure());
  const auto found = characterize::run(chosen);
  if (!found) return fail(chosen, found.failure());
  if (!chosen.save.empty())
    if (auto saved = profile::save(*found, chosen.save); !saved)
      return fail(chosen, saved.failure());
  if (!chosen.html.empty())
    if (auto saved = save_page(chosen.html, characterize::page_of(*found)); !saved)
      return fail(chosen, saved.failure());
  if (chosen.json) {
    print_json(profile::to_json(*found));
  } else {
    characterize::print(*found);
  }
  return exit_good;
}

}  // namespace

void add_characterize(command &program) {
  auto given = std::make_shared<words>();
  options &chosen = given->chosen;
  command one = program.subcommand(
      "characterize", "What memory, disks and processors of this machine deliver, as a profile");
  one.option("--dir", chosen.dirs,
             "Directories whose devices are measured, each in files without a name");
  one.option("--remote", chosen.remotes,
             "Directories that are mounted over a network, or served by a program (FUSE)");
  one.flag("--quick", chosen.quick, "Within a minute: fewer points, less time for each");
  one.option("--size", given->size, "Of the file in each directory (default 4g, quick 1g)")
      .not_empty();
  one.option("--runtime", given->runtime, "Seconds for a point (default 2, quick what fits)")
      .not_empty();
  one.option("--direct", given->direct, "1: past the page cache; 0: through it")
      .one_of({"0", "1"})
      .show_default();
  one.flag("--json", chosen.json, "The profile as JSON on stdout");
  one.option("--html", chosen.html, "A page with plots, which opens without a network").not_empty();
  one.option("--save", chosen.save, "The profile as a file").not_empty();
  one.runs([given] { return run(*given); });
}

}  // namespace cubby_cli
