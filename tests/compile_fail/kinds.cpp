// Numbers of one kind are not numbers of another.
#include <cubby/cubby.hpp>

cubby_status use(cubby::runtime &rt, const cubby::bank &experts, cubby::tier near,
                 cubby::region lent, cubby::ticket asked) {
  const uint64_t numbers[] = {1};
  if (!rt.wait(asked)) return CUBBY_ERR_IO;
  if (!rt.remove(lent)) return CUBBY_ERR_BUSY;
  auto held = rt.pin(experts, numbers, near);
#ifdef OFFENCE_1  // convert | no matching | no viable
  auto wrong = rt.pin(experts, numbers, lent);
#endif
#ifdef OFFENCE_2  // convert | no matching | no viable
  auto wrong = rt.pin(near, numbers, near);
#endif
#ifdef OFFENCE_3  // convert | no matching | no viable
  auto wrong = rt.pin(experts, numbers, 1u);
#endif
#ifdef OFFENCE_4  // convert | no matching | no viable
  auto wrong = rt.wait(near);
#endif
#ifdef OFFENCE_5  // convert | no matching | no viable
  auto wrong = rt.remove(near);
#endif
#ifdef OFFENCE_6  // convert | no matching | no viable
  auto wrong = rt.wait(asked, 5);
#endif
  return held.why().status();
}
