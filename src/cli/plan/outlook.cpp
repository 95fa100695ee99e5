#include "cli/plan/outlook.hpp"

#include "cli/plan/formulas.hpp"

namespace cubby_cli::plan {

outcome<outlook> look_ahead(const question &of) {
  auto places = places_of(of);
  if (!places) return places.failure();
  outlook made;
  made.places = std::move(*places);
  admit(of, made.places);
  made.parts = lay_out(of, made.places);
  made.step = time_step(of, made.places, made.parts);
  made.first = time_first(of, made.places, made.parts, made.step);
  made.price = price_of(of, made.places, made.parts);
  if (made.price.usd_each_s)
    made.usd_per_million_tokens =
        usd_per_million(*made.price.usd_each_s, made.wanted_tokens_per_s(of));
  made.energy = energy_of(of, made.places, made.step, made.first);
  made.life = life_of(of, made.places, made.parts, made.step, made.first);
  return made;
}

}  // namespace cubby_cli::plan
