// An answer for people, for programs, and as a page.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/plan/answer.hpp"

namespace cubby_cli::plan {

/// On stdout; `explain` adds the chain of numbers and formulas.
void print_answer(const answer &of, bool explain);
nlohmann::json json_of(const answer &of);
/// Stands alone, with the object of --json in it.
std::string page_of(const answer &of);
bool is_page(std::string_view begin, uint64_t bytes);

/// What presets there are.
void print_presets();

using table = std::vector<std::vector<std::string>>;
/// The tables that people and the page are shown: what lies where, how fast, at what cost.
table placement_table(const answer &of);
table figures_table(const answer &of);
table break_even_table(const answer &of);
table chain_table(const answer &of);

}  // namespace cubby_cli::plan
