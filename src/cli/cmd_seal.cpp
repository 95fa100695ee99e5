// cubby seal: writes the digests of a model file beside it, so that every later load is held
// against them. Interrupted, it goes on where it was.
#include <algorithm>
#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.hpp"
#include "cli/opened_model.hpp"
#include "cli/printable.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

struct options {
  model_choice model;
  bool json = false;
};

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) { interrupted = 1; }

/// Until the seal is written or the person interrupts; then what was done so far stays.
cubby::result<void> wait_for(cubby::runtime &rt, cubby::ticket ticket, bool quiet) {
  progress_line line(quiet);
  const uint64_t start_ns = clock_ns();
  bool canceled = false;
  for (;;) {
    auto ended = rt.wait(ticket, std::chrono::milliseconds(100));
    if (ended.why().status() != CUBBY_ERR_TIMEOUT) return ended;
    if (interrupted && !canceled) {
      canceled = true;
      (void)rt.cancel(ticket);
    }
    if (!line.due()) continue;
    cubby_done done = {};
    if (cubby_progress(rt.handle(), ticket.handle(), &done) < 0) continue;
    line.show("sealing: " + count_text(done.ok_count) + " of " + count_text(done.item_count) +
              " chunks, " + bytes_text(done.bytes) + " read, " +
              speed_text(static_cast<double>(done.bytes) / seconds_since(start_ns)));
  }
}

/// Where the seal lies: as named, or beside the first file of the model.
std::string place_of(cubby::runtime &rt, const model_choice &model) {
  if (!model.seal_path.empty()) return model.seal_path;
  const cubby_adopt_desc desc = model.desc();
  const auto bank = rt.adopt(model.file.c_str(), &desc);
  cubby_file_info first = {};
  first.struct_size = sizeof first;
  const bool found = bank && cubby_bank_file(rt.handle(), bank->handle(), 0, &first) == CUBBY_OK;
  std::string path = found ? first.path : model.file.c_str();
  cubby_part_info part = {};
  part.struct_size = sizeof part;
  cubby_extent page = {};
  if (found && model.table &&
      cubby_bank_part(rt.handle(), bank->handle(), 0, 0, &part) == CUBBY_OK &&
      cubby_bank_extent(rt.handle(), bank->handle(), 0, 0, &page) == CUBBY_OK) {
    std::string tensor = part.tensor;
    std::replace(tensor.begin(), tensor.end(), '/', '_');
    path += "." + tensor + ".p" + std::to_string(page.bytes);
  }
  return path + ".cubby-seal";
}

/// Seals the model; what was done is in `done`.
cubby::result<void> seal(cubby::runtime &rt, const model_choice &model, bool quiet,
                         cubby_done &done) {
  auto queue = rt.add_queue(1);
  if (!queue) return queue.why();
  cubby_how how = {};
  how.struct_size = sizeof how;
  how.cq = queue->handle();
  const cubby_adopt_desc desc = model.desc();
  cubby_ticket ticket = 0;
  const cubby_status status = cubby_seal(rt.handle(), model.file.c_str(), &desc, &how, &ticket);
  if (status < 0) return cubby::error::last(status);
  if (status == CUBBY_PENDING)
    if (auto ended = wait_for(rt, cubby::ticket(ticket), quiet); !ended) return ended;
  (void)queue->take({&done, 1});
  return {};
}

int run(const options &chosen) {
  auto rt = cubby::runtime::open(without_thread);
  if (!rt) return report_failure("seal", rt.why(), chosen.json);
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  const uint64_t start_ns = clock_ns();
  cubby_done done = {};
  const auto sealed = seal(*rt, chosen.model, chosen.json, done);
  const double seconds = seconds_since(start_ns);
  if (sealed.why().status() == CUBBY_ERR_CANCELED && interrupted) {
    std::cerr << "cubby seal: interrupted; what was done is stored, run it again to go on\n";
    return exit_bad;
  }
  if (!sealed) return report_failure("seal", sealed.why(), chosen.json);
  show_log(*rt);

  const std::string &file = chosen.model.file, place = place_of(*rt, chosen.model);
  const double speed = seconds > 0 ? static_cast<double>(done.bytes) / seconds : 0;
  if (chosen.json) {
    const nlohmann::json object = {{"file", file},        {"seal_path", place},
                                   {"bytes", done.bytes}, {"digests", done.ok_count},
                                   {"seconds", seconds},  {"gb_per_s", speed / 1e9}};
    print_json(object);
  } else {
    std::cout << "sealed " << printable(file) << ": read " << bytes_text(done.bytes) << " at "
              << speed_text(speed) << "; the seal is " << printable(place)
              << "\nevery later load is held against it; `cubby verify` checks all of it\n";
  }
  return exit_good;
}

}  // namespace

void add_seal(command &program) {
  command one =
      program.subcommand("seal", "Write the digests of a model file, to hold later loads against");
  auto chosen = std::make_shared<options>();
  chosen->model.add_options(one, "Where to write, where not beside the file");
  one.flag("--json", chosen->json, "One JSON object on stdout");
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
