// cubby.h with its own name for the handle, and then cubby.hpp.
#ifdef OFFENCE_1  // include <cubby/cubby.hpp> first
#include <cubby/cubby.h>
#endif
#include <cubby/cubby.hpp>

#include <cubby/cubby.h>

uint32_t version() { return cubby_version(); }
