#include <iostream>

#include "cli/plan/formulas.hpp"
#include "cli/plan/print/print.hpp"
#include "cli/printable.hpp"
#include "cli/support.hpp"

namespace cubby_cli::plan {
namespace {

std::string parameters_text(const model_shape &of) {
  return short_number(total_parameters(of) / 1e9) + " B parameters, " +
         short_number(active_parameters(of) / 1e9) + " B active";
}

/// Of a token far from the beginning.
std::string kv_text(const model_shape &of, kv_format format) {
  const double bytes = kv_bytes_per_token(of, format);
  return bytes > 0 ? bytes_text(whole(bytes)) + " a token" : "in windows";
}

void print_head(const answer &of) {
  const question &asked = of.asked;
  std::cout << printable(asked.model.title) << ": " << parameters_text(asked.model) << ", KV "
            << kv_text(asked.model, asked.kv) << " (" << name_of(asked.kv) << ")\n"
            << printable(asked.machine_name) << ", " << short_number(asked.users.value)
            << (asked.users.value == 1 ? " user of " : " users of ")
            << count_text(whole(asked.context.value)) << " tokens\n\n";
}

void print_chain(const chain &of) {
  std::cout << "\n";
  for (const step &one : of.steps()) {
    std::cout << one.name << " = " << short_number(one.value)
              << (one.unit.empty() ? "" : " " + one.unit) << "  [" << name_of(one.from) << "] ";
    if (!one.formula.empty()) std::cout << printable(one.formula) << "; ";
    std::cout << printable(one.source) << "\n";
  }
}

}  // namespace

void print_answer(const answer &of, bool explain) {
  print_head(of);
  std::cout << "Offload " << (of.overall.which == verdict::kind::pays ? "pays" : "does not pay")
            << " here: " << of.overall.reason << "\n\n";
  print_table(placement_table(of));
  std::cout << "\n";
  if (of.offload.fits()) {
    print_table(figures_table(of));
    std::cout << "\n";
  }
  for (const verdict &one : of.verdicts)
    std::cout << one.respect << ": " << name_of(one.which) << "; " << one.reason << "\n";
  std::cout << "\n";
  print_table(break_even_table(of));
  for (const std::string &note : of.notes) std::cout << "note: " << printable(note) << "\n";
  if (explain) {
    print_chain(of.steps);
  } else {
    std::cout << "\n--explain shows where each number is from\n";
  }
}

void print_presets() {
  table models = {{"model", "", "parameters", "active", "KV a token, bf16"}};
  for (const model_shape &one : model_presets())
    models.push_back({one.name, one.title, short_number(total_parameters(one) / 1e9) + " B",
                      short_number(active_parameters(one) / 1e9) + " B",
                      bytes_text(whole(kv_bytes_per_token(one, kv_format::bf16)))});
  print_table(models);
  std::cout << "\n";
  table machines = {{"profile", ""}};
  for (const machine_preset &one : machine_presets()) machines.push_back({one.name, one.title});
  print_table(machines);
  std::cout << "\n";
  table classes = {{"slo", "first token", "each token", "origin", ""}};
  for (const latency_class &one : latency_classes())
    classes.push_back({one.name, short_number(1e3 * one.first_token_s) + " ms",
                       short_number(1e3 * one.token_s) + " ms", name_of(one.from), one.source});
  print_table(classes);
  std::cout << "\n";
  table prices = {{"input price", "found", "not found", "($ a million tokens)"}};
  for (const input_price &one : input_prices())
    prices.push_back(
        {one.name, "$" + short_number(one.hit_usd), "$" + short_number(one.miss_usd), one.source});
  print_table(prices);
}

}  // namespace cubby_cli::plan
