// A result that nobody looks at.
#include <cubby/cubby.hpp>

void use(cubby::runtime &rt, const cubby::bank &experts, cubby::tier near) {
  if (!rt.drain()) return;
  const uint64_t numbers[] = {1, 2};
  auto held = rt.pin(experts, numbers, near);
  if (held) (void)held->wait();
#ifdef OFFENCE_1  // nodiscard
  rt.drain();
#endif
#ifdef OFFENCE_2  // nodiscard
  rt.pin(experts, numbers, near);
#endif
#ifdef OFFENCE_3  // nodiscard
  cubby::runtime::open();
#endif
#ifdef OFFENCE_4  // no match | cannot convert | conversion from | no viable
  const cubby::tier found = rt.add_tier({});
#endif
}
