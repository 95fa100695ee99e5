// Names and words of files as a terminal may see them.
#pragma once

#include "base/printable.hpp"

namespace cubby_cli {

using cubby::base::printable;

}  // namespace cubby_cli
