// cubby seal: writes the digests of a model file beside it, so that every later load is held
// against them. Interrupted, it goes on where it was.
#include <cubby/cubby.h>

#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

struct options {
  std::string file, tensors, seal_path;
  bool json = false;
};

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) { interrupted = 1; }

/// Until the seal is written or the person interrupts; then what was done so far is kept.
cubby_status wait_for(cubby *rt, cubby_ticket ticket, bool quiet) {
  progress_line line(quiet);
  const uint64_t start_ns = clock_ns();
  bool canceled = false;
  for (;;) {
    const cubby_status status = cubby_wait(rt, ticket, 100'000'000);
    if (status != CUBBY_ERR_TIMEOUT) return status;
    if (interrupted && !canceled) {
      canceled = true;
      cubby_cancel(rt, ticket);
    }
    if (!line.due()) continue;
    cubby_done done = {};
    if (cubby_progress(rt, ticket, &done) < 0) continue;
    line.show("sealing: " + count_text(done.ok_count) + " of " + count_text(done.item_count) +
              " chunks, " + bytes_text(done.bytes) + " read, " +
              speed_text(static_cast<double>(done.bytes) / seconds_since(start_ns)));
  }
}

/// Where the seal lies that is beside the first file of the model.
std::string beside(cubby *rt, const std::string &file, const cubby_adopt_desc &desc) {
  cubby_bank bank = 0;
  cubby_file_info first = {};
  first.struct_size = sizeof first;
  const bool found = cubby_bank_adopt(rt, file.c_str(), &desc, &bank) == CUBBY_OK &&
                     cubby_bank_file(rt, bank, 0, &first) == CUBBY_OK;
  return std::string(found ? first.path : file.c_str()) + ".cubby-seal";
}

int run(const options &chosen) {
  runtime house;
  cubby_status status = house.open();
  if (status != CUBBY_OK) return report_failure("seal", status, chosen.json);
  cubby_adopt_desc desc = {};
  desc.struct_size = sizeof desc;
  desc.tensors = chosen.tensors.empty() ? nullptr : chosen.tensors.c_str();
  desc.seal_path = chosen.seal_path.empty() ? nullptr : chosen.seal_path.c_str();
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);

  cubby_cq *cq = nullptr;
  status = cubby_cq_add(house.get(), 1, &cq);
  if (status != CUBBY_OK) return report_failure("seal", status, chosen.json);
  cubby_how how = {};
  how.struct_size = sizeof how;
  how.cq = cq;
  cubby_ticket ticket = 0;
  const uint64_t start_ns = clock_ns();
  status = cubby_seal(house.get(), chosen.file.c_str(), &desc, &how, &ticket);
  if (status == CUBBY_PENDING) status = wait_for(house.get(), ticket, chosen.json);
  const double seconds = seconds_since(start_ns);
  if (status == CUBBY_ERR_CANCELED && interrupted) {
    std::cerr << "cubby seal: interrupted; what was done is kept, run it again to go on\n";
    return exit_bad;
  }
  if (status != CUBBY_OK) return report_failure("seal", status, chosen.json);
  cubby_done done = {};
  cubby_cq_take(cq, &done, 1);
  house.show_log();

  const std::string place =
      chosen.seal_path.empty() ? beside(house.get(), chosen.file, desc) : chosen.seal_path;
  const double speed = seconds > 0 ? static_cast<double>(done.bytes) / seconds : 0;
  if (chosen.json) {
    const nlohmann::json object = {{"file", chosen.file}, {"seal_path", place},
                                   {"bytes", done.bytes}, {"digests", done.ok_count},
                                   {"seconds", seconds},  {"gb_per_s", speed / 1e9}};
    print_json(object);
  } else {
    std::cout << "sealed " << chosen.file << ": read " << bytes_text(done.bytes) << " at "
              << speed_text(speed) << "; the seal is " << place
              << "\nevery later load is held against it; `cubby verify` checks all of it\n";
  }
  return exit_good;
}

}  // namespace

void add_seal(command &program) {
  command one =
      program.subcommand("seal", "Write the digests of a model file, to hold later loads against");
  auto chosen = std::make_shared<options>();
  one.option("file", chosen->file, "The model: see `cubby inspect`").required();
  one.option("--tensors", chosen->tensors,
             "Pattern of tensor names to take instead of the experts");
  one.option("--seal-path", chosen->seal_path, "Where to write, where not beside the file");
  one.flag("--json", chosen->json, "One JSON object on stdout");
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
