// The "cuda" backend of this library; everything else is said through the table of operations. As
// `cubby_backend_config.user` an instance may be handed a cubby_cuda::driver_table to use in place
// of the machine's driver.
#pragma once
#include <cubby/backend.h>

const cubby_backend_ops *cubby_cuda_backend();
